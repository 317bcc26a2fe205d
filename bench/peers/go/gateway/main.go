// examples/fastjson_api in Go, with net/http, encoding/json and log/slog, for scripts/bench programs to set beside it: the same requests
// and answers, timeouts, retries, rate limit and log lines in front of a cache that speaks the Redis protocol.
//
// usage: go-gateway [-listen HOST:PORT] [-cache HOST:PORT] [-connections N] [-rate N] [-quiet]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type fields struct {
	Name  string   `json:"name"`
	Price float64  `json:"price"`
	Tags  []string `json:"tags,omitempty"`
}

type item struct {
	ID string `json:"id"`
	fields
}

func (f *fields) valid() bool {
	for _, tag := range f.Tags {
		if tag == "" || len(tag) > 32 {
			return false
		}
	}
	return f.Name != "" && len(f.Name) <= 100 && f.Price >= 0 && f.Price <= 1e9 && len(f.Tags) <= 16
}

type gateway struct {
	cache    *pool
	quiet    bool
	requests atomic.Uint64
	rate     float64
	mutex    sync.Mutex
	tokens   float64
	filled   time.Time
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		status, text = 500, []byte(`{"error":"cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

func failure(w http.ResponseWriter, status int, what string) {
	answer(w, status, map[string]string{"error": what})
}

// ask tries three times, 200 ms each and 1 s in all; false: the client has been told why there is no answer.
func (g *gateway) ask(w http.ResponseWriter, r *http.Request, command ...string) (reply, bool) {
	all, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	pause := 10 * time.Millisecond
	for tried := 1; ; tried++ {
		once, done := context.WithTimeout(all, 200*time.Millisecond)
		got, err := g.cache.call(once, command)
		done()
		if err == nil && got.kind == '-' {
			status := 502
			if strings.HasPrefix(got.text, "OOM ") {
				status = 507
			}
			failure(w, status, "the cache refuses it: "+got.text)
			return got, false
		}
		if err == nil {
			return got, true
		}
		var late net.Error
		if tried == 3 || all.Err() != nil || errors.Is(err, errNoAnswer) {
			slog.Error("cache", "command", command[0], "error", err.Error())
			if all.Err() != nil || (errors.As(err, &late) && late.Timeout()) {
				failure(w, 504, "the cache does not answer in time")
			} else {
				failure(w, 502, "the cache cannot be reached")
			}
			return got, false
		}
		time.Sleep(pause)
		pause *= 2
	}
}

func (g *gateway) put(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !idPattern.MatchString(id) {
		failure(w, 400, "an id has letters, digits, '-' and '_', 64 at most")
		return
	}
	command := []string{"SET", "item:" + id, "", "GET"}
	if r.URL.Query().Has("ttl") {
		ttl, err := strconv.Atoi(r.URL.Query().Get("ttl"))
		if err != nil || ttl < 1 || ttl > 31536000 {
			failure(w, 422, "ttl is a number of seconds from 1 to 31536000")
			return
		}
		command = append(command, "EX", strconv.Itoa(ttl))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64*1024))
	if err != nil {
		failure(w, 413, "the body is too large")
		return
	}
	if !json.Valid(body) {
		failure(w, 400, "the body is not JSON")
		return
	}
	it := item{id, fields{Price: -1}}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&it.fields) != nil || !it.valid() {
		failure(w, 422, "not an item")
		return
	}
	text, _ := json.Marshal(it)
	command[2] = string(text)
	if old, ok := g.ask(w, r, command...); ok {
		w.Header().Set("Content-Type", "application/json")
		if old.null {
			w.WriteHeader(201)
		}
		w.Write(text)
	}
}

func (g *gateway) get(w http.ResponseWriter, r *http.Request) {
	found, ok := g.ask(w, r, "GET", "item:"+r.PathValue("id"))
	if ok && found.null {
		failure(w, 404, "no such item")
	} else if ok {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, found.text)
	}
}

func (g *gateway) remove(w http.ResponseWriter, r *http.Request) {
	n, ok := g.ask(w, r, "DEL", "item:"+r.PathValue("id"))
	if ok && n.number == 0 {
		failure(w, 404, "no such item")
	} else if ok {
		w.WriteHeader(204)
	}
}

func (g *gateway) health(w http.ResponseWriter, r *http.Request) {
	if _, ok := g.ask(w, r, "PING"); ok {
		answer(w, 200, map[string]any{"status": "ok", "idle_connections": len(g.cache.idle)})
	}
}

func (g *gateway) allowed() bool {
	if g.rate <= 0 {
		return true
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	now := time.Now()
	g.tokens = min(g.rate, g.tokens+now.Sub(g.filled).Seconds()*g.rate)
	g.filled = now
	if g.tokens < 1 {
		return false
	}
	g.tokens--
	return true
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request, next http.Handler) {
	began := time.Now()
	id := r.Header.Get("X-Request-Id")
	if n := g.requests.Add(1); id == "" {
		id = strconv.FormatUint(n, 10)
	}
	w.Header().Set("X-Request-Id", id)
	seen := &recorder{w, 200}
	if strings.HasPrefix(r.URL.Path, "/items/") && !g.allowed() {
		seen.Header().Set("Retry-After", "1")
		failure(seen, 429, "too many requests")
	} else {
		next.ServeHTTP(seen, r)
	}
	if !g.quiet {
		slog.Info("request", "id", id, "method", r.Method, "target", r.RequestURI, "status", seen.status,
			"ms", float64(time.Since(began).Microseconds())/1000)
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "host:port to listen on")
	cache := flag.String("cache", "127.0.0.1:6379", "host:port of the cache")
	connections := flag.Int("connections", 64, "to the cache, at most")
	rate := flag.Float64("rate", 0, "requests a second for /items; 0: no limit")
	quiet := flag.Bool("quiet", false, "no line for each request")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	g := &gateway{cache: newPool(*cache, *connections), quiet: *quiet, rate: *rate, tokens: *rate, filled: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /items/{id}", g.put)
	mux.HandleFunc("GET /items/{id}", g.get)
	mux.HandleFunc("DELETE /items/{id}", g.remove)
	mux.HandleFunc("GET /health", g.health)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.ServeHTTP(w, r, mux) })))
}
