package main

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lateness is what the other languages count too: percentiles in microseconds, under the names of ../../measure.hpp.
func lateness(what string, us []float64) map[string]float64 {
	slices.Sort(us)
	at := func(share float64) float64 { return us[min(len(us)-1, int(float64(len(us))*share))] }
	return map[string]float64{what + "_p50_us": at(0.5), what + "_p99_us": at(0.99), what + "_max_us": us[len(us)-1]}
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

func ticks(n int) []float64 {
	late := make([]float64, n)
	for i := range late {
		due := time.Now().Add(time.Millisecond)
		time.Sleep(time.Until(due))
		late[i] = micros(time.Since(due))
	}
	return late
}

func tickIdle(workers int) result {
	const n = 500
	r := timed("tick_idle", workers, n, func() { extraOf = lateness("late", ticks(n)) })
	return r
}

func tickBesideSpinning(workers int) result {
	const n = 1000
	return timed("tick_beside_spinning_tasks", workers, n, func() {
		var stop atomic.Bool
		var spinning sync.WaitGroup
		for range workers {
			spinning.Go(func() {
				for !stop.Load() {
				}
			})
		}
		extraOf = lateness("late", ticks(n))
		stop.Store(true)
		spinning.Wait()
	})
}

func idle(workers int) result {
	time.Sleep(50 * time.Millisecond)
	r := timed("idle_1s", workers, 1, func() { time.Sleep(time.Second) })
	r.Extra = map[string]float64{"cpu_ms": r.CPUNsPerOp / 1e6}
	return r
}

// cancelParked cancels one context that tasks goroutines wait for beside a channel: the time until the last has seen it.
func cancelParked(name string, workers, tasks, rounds int) result {
	never := make(chan int)
	var all []float64
	var last, inCall float64
	var used time.Duration
	for range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		times := make([]float64, tasks)
		var met sync.WaitGroup
		var begun atomic.Int64
		var begin time.Time // written before cancel(), read by goroutines that this wakes
		for i := range tasks {
			met.Go(func() {
				begun.Add(1)
				select {
				case <-never:
				case <-ctx.Done():
					times[i] = micros(time.Since(begin))
				}
			})
		}
		for begun.Load() != int64(tasks) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond) // the last has begun: let it park
		cpu := cpuTime()
		begin = time.Now()
		cancel()
		inCall += micros(time.Since(begin))
		met.Wait()
		used += cpuTime() - cpu
		all = append(all, times...)
		last += slices.Max(times)
	}
	ops := float64(rounds) * float64(tasks)
	r := result{Name: name, Workers: workers, NsPerOp: last * 1e3 / ops, CPUNsPerOp: float64(used) / ops}
	r.Extra = lateness("met", all)
	r.Extra["call_us"] = inCall / float64(rounds)
	return r
}

func blocked64x10ms(n int) {
	for ; n > 0; n-- {
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for range 10 {
					left := syscall.Timespec{Nsec: 10_000_000}
					for syscall.Nanosleep(&left, &left) != nil {
					}
				}
			})
		}
		all.Wait()
	}
}

// sleepers starts a million goroutines that sleep up to a second each. Only the first call in a process says what they cost.
func sleepers(workers int) result {
	const tasks = 1_000_000
	x := uint32(1)
	r := timed("sleepers_1m", workers, tasks, func() {
		var all sync.WaitGroup
		for range tasks {
			x = x*1664525 + 1013904223
			d := time.Duration(float64(x) / math.MaxUint32 * 1e9)
			all.Go(func() { time.Sleep(d) })
		}
		all.Wait()
	})
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	r.Extra = map[string]float64{"cpu_ms": r.CPUNsPerOp * tasks / 1e6, "peak_mb": float64(u.Maxrss) / 1024}
	return r
}
