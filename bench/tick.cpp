// A runtime with next to nothing to do.
//
//   tick_idle  a task that wants to run every millisecond and has the runtime to itself: how late it is
//   idle_1s    a runtime whose only task waits for a second: the CPU time that the process uses meanwhile, as cpu_ms
#include <chrono>
#include <vector>

#include <weft/task.hpp>
#include <weft/time.hpp>

#include "child.hpp"

namespace {

using namespace std::chrono_literals;

void tick_idle(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    std::vector<double> late;
    for (auto _ : state) {
      auto const due = weft::now() + 1ms;
      weft::sleep_until(due);
      late.push_back(std::chrono::duration<double, std::micro>(weft::now() - due).count());
    }
    bench::count_lateness(state, "late", late);
  });
}
BENCHMARK(tick_idle)->Apply(bench::workers_as_asked)->Iterations(500);

void idle_1s(benchmark::State& state) {
  double cpu = 0;
  bench::run(state, 1, [&state, &cpu] {
    weft::sleep_for(50ms);  // what was started or wound up before this has come to rest
    for (auto _ : state) {
      double const before = bench::seconds(CLOCK_PROCESS_CPUTIME_ID);
      weft::sleep_for(1s);
      cpu += bench::seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
    }
  });
  state.counters["cpu_ms"] = cpu * 1e3 / static_cast<double>(state.iterations());
}
BENCHMARK(idle_1s)->Apply(bench::workers_as_asked)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
