// GET /hello, GET /hello/{name} and POST /echo from Go's net/http, for scripts/bench http to set beside examples/http_echo.
//
// usage: go-hello [-listen HOST:PORT]   (port 0: a free one)
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
)

type greeting struct {
	Message string `json:"message"`
}

func greet(w http.ResponseWriter, message string) {
	body, err := json.Marshal(greeting{message})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// wholeBody is io.ReadAll where the length is not known: that grows its buffer twenty times for 64 KB.
func wholeBody(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > 8<<20 {
		return io.ReadAll(r.Body)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "host:port to listen on")
	flag.Parse()
	http.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		greet(w, "hello world")
	})
	http.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		greet(w, "hello "+r.PathValue("name"))
	})
	http.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := wholeBody(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body))) // else more than 2 KB go out in chunks
		w.Write(body)
	})
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
