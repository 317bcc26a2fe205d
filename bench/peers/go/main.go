// The benchmarks of ../.. as a Go programmer would write them, for scripts/bench to set beside weft's.
//
// Each benchmark is a function that does its work n times and returns; how many operations one time is stands in the
// table. The harness raises n until a run takes long enough, as Go's own testing package and Google Benchmark do, and
// prints one line of JSON for each benchmark and number of workers.
//
// usage: go-bench [-only PATTERN] [-workers LIST] [-min-time SECONDS] [-list]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type benchmark struct {
	name string
	ops  int // operations in one iteration
	run  func(n int)
}

var benchmarks = []benchmark{
	{"spawn_join", 1_000_000, spawnJoin},
	{"spawn_one_join", 1, spawnOneJoin},
	{"yield_2", 1_000_000, func(n int) { yieldAmong(n, 2, 500_000) }},
	{"yield_1000", 1_000_000, func(n int) { yieldAmong(n, 1000, 1000) }},
	{"ping_pong", 1, pingPong},
	{"buffered_1p1c", 1_000_000, func(n int) { stream(n, 1, 1) }},
	{"buffered_4p4c", 1_000_000, func(n int) { stream(n, 4, 4) }},
	{"select_2", selectValues, select2},
	{"select_8", selectValues, select8},
	{"select_otherwise_1", 1, selectOtherwise1},
	{"select_otherwise_2", 1, selectOtherwise2},
	{"skynet", 1_000_000, skynet},
}

type result struct {
	Name       string   `json:"name"`
	Workers    int      `json:"workers"`
	NsPerOp    float64  `json:"ns_per_op"`
	CPUNsPerOp float64  `json:"cpu_ns_per_op"`
	Bytes      *float64 `json:"bytes,omitempty"` // resident, a parked task
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(b benchmark, workers int, minTime time.Duration) result {
	b.run(1) // memory that is touched for the first time is not the cost that is looked for
	for n := 1; ; {
		cpu, start := cpuTime(), time.Now()
		b.run(n)
		took, used := time.Since(start), cpuTime()-cpu
		if took >= minTime || n >= 1_000_000_000 {
			ops := float64(n) * float64(b.ops)
			return result{Name: b.name, Workers: workers, NsPerOp: float64(took) / ops, CPUNsPerOp: float64(used) / ops}
		}
		// Towards 1.4 times what is wanted, at most ten times as many as before.
		next := int(1.4 * float64(n) * float64(minTime) / float64(took+1))
		n = max(n+1, min(next, 10*n))
	}
}

func main() {
	only := flag.String("only", "", "run the benchmarks whose name matches this pattern")
	workers := flag.String("workers", "1,2", "values of GOMAXPROCS")
	minTime := flag.Float64("min-time", 0.5, "seconds a benchmark runs at least")
	list := flag.Bool("list", false, "print the names and stop")
	flag.Parse()

	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-bench:", err)
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	for _, word := range strings.Split(*workers, ",") {
		w, err := strconv.Atoi(word)
		if err != nil || w < 1 {
			fmt.Fprintf(os.Stderr, "go-bench: not a number of workers: %q\n", word)
			os.Exit(2)
		}
		runtime.GOMAXPROCS(w)
		for _, b := range benchmarks {
			if !pattern.MatchString(b.name) {
				continue
			}
			if *list {
				fmt.Println(b.name)
			} else if err := out.Encode(measure(b, w, time.Duration(*minTime*1e9))); err != nil {
				panic(err)
			}
		}
		for _, name := range []string{"parked_one_channel", "parked_own_channel"} {
			if !pattern.MatchString(name) {
				continue
			}
			if *list {
				fmt.Println(name)
			} else if err := out.Encode(parked(name, w)); err != nil {
				panic(err)
			}
		}
	}
}
