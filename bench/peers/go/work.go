package main

import (
	"runtime"
	"sync"
	"sync/atomic"
)

func fib(n int) int {
	if n < 2 {
		return n
	}
	left := make(chan int, 1)
	go func() { left <- fib(n - 1) }()
	right := fib(n - 2)
	return <-left + right
}

func fib27(n int) {
	for ; n > 0; n-- {
		if fib(27) != 196_418 {
			panic("a wrong number")
		}
	}
}

func generate(out chan<- int, stop <-chan struct{}) {
	for i := 2; ; i++ {
		select {
		case out <- i:
		case <-stop:
			close(out)
			return
		}
	}
}

func filter(in <-chan int, out chan<- int, prime int) {
	for i := range in {
		if i%prime != 0 {
			out <- i
		}
	}
	close(out)
}

func primeSieve(n int) {
	for ; n > 0; n-- {
		stop := make(chan struct{})
		in := make(chan int)
		go generate(in, stop)
		prime := 0
		for range 2000 {
			prime = <-in
			out := make(chan int)
			go filter(in, out, prime)
			in = out
		}
		if prime != 17_389 {
			panic("not the 2000th prime")
		}
		close(stop)
		for range in { // what is under way, until the filters have ended
		}
	}
}

func mutex8(n int) {
	const locks = 100_000
	var lock sync.Mutex
	count, expected := 0, 0
	for ; n > 0; n-- {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range locks {
					lock.Lock()
					count++
					lock.Unlock()
				}
			})
		}
		all.Wait()
		expected += 8 * locks
	}
	if count != expected {
		panic("two goroutines held the mutex at once")
	}
}

const indices, chunk = 1_000_000, 1000

var squaresIn, squaresOut = func() ([]uint32, []uint32) {
	in := make([]uint32, indices)
	for i := range in {
		in[i] = 3
	}
	return in, make([]uint32, indices)
}()

func squaresOfChunk(c int) {
	in := squaresIn[c*chunk : (c+1)*chunk]
	out := squaresOut[c*chunk : (c+1)*chunk]
	for i, v := range in {
		out[i] = v*v + 1
	}
}

// parallelFor shares the chunks among as many goroutines as run at once, which take much less time than a goroutine a chunk.
func parallelFor(n int) {
	for ; n > 0; n-- {
		var all sync.WaitGroup
		var taken atomic.Int64
		for range runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for c := taken.Add(1); c <= indices/chunk; c = taken.Add(1) {
					squaresOfChunk(int(c - 1))
				}
			})
		}
		all.Wait()
	}
}

func chunksAlone(n int) {
	for ; n > 0; n-- {
		for c := range indices / chunk {
			squaresOfChunk(c)
		}
	}
}

func work(x uint64) uint64 {
	for range 1400 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func pipeline(n int) {
	const messages = 10_000
	for ; n > 0; n-- {
		in := make(chan uint64, 16)
		first := in
		for range 4 {
			from, to := in, make(chan uint64, 16)
			go func() {
				for m := range from {
					to <- work(m)
				}
				close(to)
			}()
			in = to
		}
		go func() {
			for m := uint64(1); m <= messages; m++ {
				first <- m
			}
			close(first)
		}()
		out := 0
		for range in {
			out++
		}
		if out != messages {
			panic("messages were lost")
		}
	}
}

func spawnTasks(n, tasks int) {
	for ; n > 0; n-- {
		var all sync.WaitGroup
		for range tasks {
			all.Add(1)
			go all.Done()
		}
		all.Wait()
	}
}
