// GET /hello from Go's net/http, for scripts/bench http to set beside examples/http_echo.
//
// usage: go-hello [-listen HOST:PORT]   (port 0: a free one)
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "host:port to listen on")
	flag.Parse()
	http.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		body, err := json.Marshal(map[string]string{"message": "hello world"})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
