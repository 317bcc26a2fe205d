// Runs one goroutine and ends: bench_start_exit measures it, WEFT_BENCH_START names it.
package main

func main() {
	done := make(chan struct{})
	go close(done)
	<-done
}
