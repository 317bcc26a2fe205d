// The benchmarks of ../.. as a Go programmer would write them, for scripts/bench to set beside weft's.
//
// Each benchmark is a function that does its work n times and returns; how many operations one time is stands in the
// table. The harness raises n until a run takes long enough, as Go's own testing package and Google Benchmark do, and
// prints one line of JSON for each benchmark and number of workers.
//
// usage: go-bench [-only PATTERN] [-workers LIST] [-min-time SECONDS] [-background N] [-list]
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
	{"group_join", 1_000_000, groupJoin},
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
	{"fib_27", 1, fib27},
	{"prime_sieve", 1, primeSieve},
	{"mutex_8_tasks", 800_000, mutex8},
	{"parallel_for", indices / chunk, parallelFor},
	{"chunks_alone", indices / chunk, chunksAlone},
	{"pipeline_4x2us", 10_000, pipeline},
	{"blocked_64x10ms", 640, blocked64x10ms},
}

// once are the rows that say themselves how often they repeat: latencies, and memory, which only the first call in a process tells.
// queued_1m is not among them: Go takes the processor from a goroutine after 10 ms and runs what it spawned, and offers no way to forbid it.
var once = []struct {
	name string
	run  func(workers int) result
}{
	{"tick_idle", tickIdle},
	{"tick_beside_spinning_tasks", tickBesideSpinning},
	{"idle_1s", idle},
	{"cancel_parked_1", func(w int) result { return cancelParked("cancel_parked_1", w, 1, 200) }},
	{"cancel_parked_1000", func(w int) result { return cancelParked("cancel_parked_1000", w, 1000, 100) }},
	{"cancel_parked_100000", func(w int) result { return cancelParked("cancel_parked_100000", w, 100_000, 5) }},
	{"sleepers_1m", sleepers},
	{"parked_one_channel", func(w int) result { return parked("parked_one_channel", w, 1_000_000) }},
	{"parked_own_channel", func(w int) result { return parked("parked_own_channel", w, 1_000_000) }},
}

func init() {
	for tasks := 100; tasks <= 1_000_000; tasks *= 10 {
		yields := max(1, 1_000_000/tasks)
		name := fmt.Sprint("parked_tasks_", tasks)
		benchmarks = append(benchmarks,
			benchmark{fmt.Sprint("spawn_tasks_", tasks), tasks, func(n int) { spawnTasks(n, tasks) }},
			benchmark{fmt.Sprint("yield_tasks_", tasks), tasks * yields, func(n int) { yieldAmong(n, tasks, yields) }})
		once = append(once, struct {
			name string
			run  func(workers int) result
		}{name, func(w int) result { return parked(name, w, tasks) }})
	}
}

// extraOf is what the function under timed leaves for its result.
var extraOf map[string]float64

// timed runs f, which is ops operations, once.
func timed(name string, workers, ops int, f func()) result {
	extraOf = nil
	cpu, start := cpuTime(), time.Now()
	f()
	took, used := time.Since(start), cpuTime()-cpu
	return result{Name: name, Workers: workers, NsPerOp: float64(took) / float64(ops), CPUNsPerOp: float64(used) / float64(ops), Extra: extraOf}
}

// startBackground parks n goroutines and starts n timers, for as long as the process lives.
func startBackground(n int) {
	never := make(chan struct{})
	for i := range n {
		go func() { <-never }()
		background = append(background, time.NewTimer(time.Hour+time.Duration(i)*time.Millisecond))
	}
}

var background []*time.Timer

type result struct {
	Name       string             `json:"name"`
	Workers    int                `json:"workers"`
	NsPerOp    float64            `json:"ns_per_op"`
	CPUNsPerOp float64            `json:"cpu_ns_per_op"`
	Bytes      *float64           `json:"bytes,omitempty"` // resident, a task
	Extra      map[string]float64 `json:"extra,omitempty"`
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
	waiting := flag.Int("background", 0, "goroutines parked and timers pending meanwhile")
	flag.Parse()
	startBackground(*waiting)

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
		for _, b := range once {
			if !pattern.MatchString(b.name) {
				continue
			}
			if *list {
				fmt.Println(b.name)
			} else if err := out.Encode(b.run(w)); err != nil {
				panic(err)
			}
		}
	}
}
