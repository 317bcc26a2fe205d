package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

func spawnJoin(n int) {
	for ; n > 0; n-- {
		var all sync.WaitGroup
		for range 1_000_000 {
			all.Add(1)
			go all.Done()
		}
		all.Wait()
	}
}

func groupJoin(n int) {
	for ; n > 0; n-- {
		all, _ := errgroup.WithContext(context.Background())
		for range 1_000_000 {
			all.Go(func() error { return nil })
		}
		if err := all.Wait(); err != nil {
			panic(err)
		}
	}
}

func spawnOneJoin(n int) {
	var one sync.WaitGroup
	for ; n > 0; n-- {
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

func yieldAmong(n, tasks, yields int) {
	for ; n > 0; n-- {
		var all sync.WaitGroup
		for range tasks {
			all.Go(func() {
				for range yields {
					runtime.Gosched()
				}
			})
		}
		all.Wait()
	}
}

func node(parent chan<- int64, first, leaves int64) {
	if leaves == 1 {
		parent <- first
		return
	}
	results := make(chan int64)
	for i := range int64(10) {
		go node(results, first+i*(leaves/10), leaves/10)
	}
	var sum int64
	for range 10 {
		sum += <-results
	}
	parent <- sum
}

func skynet(n int) {
	const leaves = 1_000_000
	for ; n > 0; n-- {
		result := make(chan int64)
		go node(result, 0, leaves)
		if <-result != leaves*(leaves-1)/2 {
			panic("a wrong sum")
		}
	}
}

func residentBytes() float64 {
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	var all, resident int64
	if _, err := fmt.Fscan(f, &all, &resident); err != nil {
		panic(err)
	}
	return float64(resident) * float64(os.Getpagesize())
}

// parked makes many goroutines that wait, on one channel or on one each. Memory that was touched once stays with
// the process: only the first call in a process says what they cost.
func parked(name string, workers, tasks int) result {
	own := name != "parked_one_channel"
	channels := make([]chan struct{}, tasks)
	clear(channels) // its own pages are touched before the look
	var ended sync.WaitGroup
	var begun atomic.Int64
	bytes, cpu, start := residentBytes(), cpuTime(), time.Now()
	if !own {
		channels[0] = make(chan struct{})
	}
	for i := range tasks {
		c := channels[0]
		if own {
			c = make(chan struct{})
			channels[i] = c
		}
		ended.Add(1)
		go func() {
			begun.Add(1)
			<-c
			ended.Done()
		}()
		if i%64 == 63 {
			runtime.Gosched()
		}
	}
	for begun.Load() != int64(tasks) {
		runtime.Gosched()
	}
	took, used := time.Since(start), cpuTime()-cpu
	each := (residentBytes() - bytes) / float64(tasks)
	for _, c := range channels {
		if c != nil {
			close(c)
		}
	}
	ended.Wait()
	return result{Name: name, Workers: workers, NsPerOp: float64(took) / float64(tasks), CPUNsPerOp: float64(used) / float64(tasks), Bytes: &each}
}
