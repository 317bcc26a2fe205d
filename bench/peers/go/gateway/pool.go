// Connections to the cache, and the Redis protocol.
package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"
)

type reply struct {
	kind   byte
	text   string
	number int64
	null   bool
}

var errNoAnswer = errors.New("no answer to a command of this program")

const largest = 1 << 20

type connection struct {
	net.Conn
	in *bufio.Reader
}

// pool keeps connections to the cache, so many at most.
type pool struct {
	address string
	free    chan struct{}
	idle    chan *connection
}

func newPool(address string, most int) *pool {
	return &pool{address, make(chan struct{}, most), make(chan *connection, most)}
}

func (p *pool) call(ctx context.Context, command []string) (reply, error) {
	select {
	case p.free <- struct{}{}:
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
	defer func() { <-p.free }()
	var c *connection
	select {
	case c = <-p.idle:
	default:
		var d net.Dialer
		s, err := d.DialContext(ctx, "tcp", p.address)
		if err != nil {
			return reply{}, err
		}
		c = &connection{s, bufio.NewReader(s)}
	}
	if end, ok := ctx.Deadline(); ok {
		c.SetDeadline(end)
	}
	// A client that goes away lets go of the connection, too.
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	got, err := c.call(command)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil || c.in.Buffered() != 0 {
		c.Close()
		if err == nil {
			err = errNoAnswer
		}
		return got, err
	}
	p.idle <- c
	return got, nil
}

func (c *connection) call(command []string) (reply, error) {
	out := append(strconv.AppendInt([]byte{'*'}, int64(len(command)), 10), "\r\n"...)
	for _, word := range command {
		out = append(strconv.AppendInt(append(out, '$'), int64(len(word)), 10), "\r\n"...)
		out = append(append(out, word...), "\r\n"...)
	}
	if _, err := c.Write(out); err != nil {
		return reply{}, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return reply{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return reply{}, errNoAnswer
	}
	got := reply{kind: line[0], text: string(line[1 : len(line)-2])}
	if got.kind == '+' || got.kind == '-' {
		return got, nil
	}
	if got.number, err = strconv.ParseInt(got.text, 10, 64); err != nil || (got.kind != ':' && got.kind != '$') {
		return got, errNoAnswer
	}
	if got.kind == ':' {
		return got, nil
	}
	if got.number < -1 || got.number > largest {
		return got, errNoAnswer
	}
	if got.null = got.number == -1; got.null {
		return got, nil
	}
	text := make([]byte, got.number+2)
	if _, err = io.ReadFull(c.in, text); err != nil {
		return got, err
	}
	got.text = string(text[:got.number])
	return got, nil
}
