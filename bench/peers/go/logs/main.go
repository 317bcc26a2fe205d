// The work of examples/log_pipeline in Go: the same stages, messages, buffers and files.
//
//	logs [-line] [-parsers n] input folder
//
// Blocks of 256 KB come from a free list; parsers may overtake each other, and a router takes their blocks up in order; lines
// are gathered by service and written 64 KB at a time. With -line a message is a line. JSON by goccy/go-json, the
// quickest of encoding/json, its version 2 and goccy here, into a struct of the two members that matter.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"
)

const (
	blockBytes = 256 * 1024
	writeBytes = 64 * 1024
)

var levels = map[string]int{"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4, "fatal": 5}

type event struct {
	Level   string `json:"level"`
	Service string `json:"service"`
}

type record struct {
	text    []byte // with its end
	service string
}

type block struct {
	room    []byte
	size    int
	number  int
	records []record
	below   int
	lines   int
	owed    atomic.Int64
}

type counts struct{ lines, below, malformed atomic.Int64 }

var (
	folder string
	free   chan *block
	done   counts
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "logs:", err)
		os.Exit(1)
	}
}

// fill reads whole lines; false at the end.
func fill(in io.Reader, b *block, begun *[]byte) bool {
	have := copy(b.room, *begun)
	for {
		if have == len(b.room) {
			b.room = append(b.room, make([]byte, len(b.room))...)
		}
		n, err := in.Read(b.room[have:])
		if n > 0 {
			if end := bytes.LastIndexByte(b.room[have:have+n], '\n'); end >= 0 {
				b.size = have + end + 1
				*begun = append((*begun)[:0], b.room[b.size:have+n]...)
				return true
			}
			have += n
		}
		if err == io.EOF {
			*begun = (*begun)[:0]
			if have == 0 {
				return false
			}
			b.room = append(b.room[:have], '\n')
			b.size = have + 1
			return true
		}
		check(err)
	}
}

// parse says whether the line is kept, and where it goes.
func parse(line []byte, e *event) (service string, kept bool) {
	*e = event{}
	if json.Unmarshal(line, e) != nil {
		return "rejected", true
	}
	level, known := levels[e.Level]
	if !known || e.Service == "" {
		return "rejected", true
	}
	return e.Service, level >= levels["warn"]
}

func eachLine(text []byte, f func([]byte)) {
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n')
		f(text[:end+1])
		text = text[end+1:]
	}
}

func create(service string) *os.File {
	f, err := os.Create(filepath.Join(folder, service+".log"))
	check(err)
	return f
}

func byBlock(in io.Reader, parsers int) {
	filled, parsed := make(chan *block, cap(free)), make(chan *block, cap(free))
	go func() {
		var begun []byte
		for number := 0; ; number++ {
			b := <-free
			if !fill(in, b, &begun) {
				close(filled)
				return
			}
			b.number = number
			filled <- b
		}
	}()
	var parsing, writing sync.WaitGroup
	for range parsers {
		parsing.Go(func() {
			var e event
			for b := range filled {
				b.records, b.below, b.lines = b.records[:0], 0, 0
				eachLine(b.room[:b.size], func(line []byte) {
					b.lines++
					if service, kept := parse(line[:len(line)-1], &e); kept {
						b.records = append(b.records, record{line, service})
					} else {
						b.below++
					}
				})
				parsed <- b
			}
		})
	}
	go func() {
		parsing.Wait()
		close(parsed)
	}()
	type target struct {
		text []byte
		full chan []byte
	}
	targets, spare := map[string]*target{}, make(chan []byte, 16)
	early, next := make([]*block, cap(free)), 0
	for b := range parsed {
		early[b.number%len(early)] = b
		for b = early[next%len(early)]; b != nil; b = early[next%len(early)] {
			early[next%len(early)] = nil
			next++
			for _, r := range b.records {
				t := targets[r.service]
				if t == nil {
					t = &target{full: make(chan []byte, 2)}
					targets[r.service] = t
					f := create(r.service)
					writing.Go(func() {
						for text := range t.full {
							_, err := f.Write(text)
							check(err)
							select {
							case spare <- text[:0]:
							default:
							}
						}
						check(f.Close())
					})
				}
				t.text = append(t.text, r.text...)
				if len(t.text) >= writeBytes {
					t.full <- t.text
					select {
					case t.text = <-spare:
					default:
						t.text = nil
					}
				}
			}
			done.lines.Add(int64(b.lines))
			done.below.Add(int64(b.below))
			free <- b
		}
	}
	for _, t := range targets {
		t.full <- t.text
		close(t.full)
	}
	writing.Wait()
}

type line struct {
	from *block
	text []byte
}

func (b *block) leave(n int64) {
	if b.owed.Add(-n) == 0 {
		free <- b
	}
}

func byLine(in io.Reader, parsers int) {
	lines := make(chan line, 1024)
	go func() {
		var begun []byte
		for {
			b := <-free
			if !fill(in, b, &begun) {
				close(lines)
				return
			}
			var n int64
			b.owed.Store(1 << 40)
			eachLine(b.room[:b.size], func(text []byte) {
				lines <- line{b, text}
				n++
			})
			b.leave(1<<40 - n)
		}
	}()
	var parsing, writing sync.WaitGroup
	var guard sync.Mutex
	channels := map[string]chan line{}
	for range parsers {
		parsing.Go(func() {
			var e event
			known := map[string]chan line{}
			var n, below int64
			defer func() {
				done.lines.Add(n)
				done.below.Add(below)
			}()
			for l := range lines {
				service, kept := parse(l.text[:len(l.text)-1], &e)
				n++
				if !kept {
					below++
					l.from.leave(1)
					continue
				}
				to := known[service]
				if to == nil {
					guard.Lock()
					if to = channels[service]; to == nil {
						to = make(chan line, 1024)
						channels[service] = to
						f := create(service)
						writing.Go(func() {
							var text []byte
							write := func() {
								_, err := f.Write(text)
								check(err)
								text = text[:0]
							}
							for l := range to {
								text = append(text, l.text...)
								l.from.leave(1)
								if len(text) >= writeBytes {
									write()
								}
							}
							write()
							check(f.Close())
						})
					}
					guard.Unlock()
					known[service] = to
				}
				to <- l
			}
		})
	}
	parsing.Wait()
	for _, c := range channels {
		close(c)
	}
	writing.Wait()
}

// peakMegabytes is of this process alone: getrusage's figure begins with that of the one that started it.
func peakMegabytes() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	var kb int
	if at := bytes.Index(status, []byte("VmHWM:")); at >= 0 {
		_, err = fmt.Sscanf(string(status[at+6:]), "%d", &kb)
		check(err)
	}
	return kb / 1024
}

func main() {
	perLine := flag.Bool("line", false, "a message is a line, not a block of lines")
	parsers := flag.Int("parsers", runtime.GOMAXPROCS(0), "goroutines that parse")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "logs: usage: logs [-line] [-parsers n] input folder")
		os.Exit(2)
	}
	in, err := os.Open(flag.Arg(0))
	check(err)
	folder = flag.Arg(1)
	check(os.MkdirAll(folder, 0o755))
	free = make(chan *block, 2**parsers+6)
	for range cap(free) {
		free <- &block{room: make([]byte, blockBytes)}
	}
	began := time.Now()
	if *perLine {
		byLine(in, *parsers)
	} else {
		byBlock(in, *parsers)
	}
	took := time.Since(began).Seconds()
	fmt.Printf("%d lines in %g s, at most %d MB of memory\n%d below the level\n", done.lines.Load(), took, peakMegabytes(),
		done.below.Load())
}
