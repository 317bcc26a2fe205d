// What the benchmarks share: a runtime that is started once and stays warm, and what one operation costs.
//
// A benchmark runs its timed loop in a task of a runtime with as many workers as its argument says. The runtime is
// started before the loop and kept from run to run; only one is alive at a time. CPU time is the whole process's, so
// that workers which spin show.
//
// An iteration of the loop may be many operations (a million spawns, say): the counter `ops` says how many, `per_op` is
// the wall time of one. scripts/bench reads both.
#pragma once

#include <cstdint>
#include <memory>

#include <benchmark/benchmark.h>

#include <weft/run.hpp>

namespace bench {

inline weft::runtime& runtime_with(unsigned workers) {
  static std::unique_ptr<weft::runtime> current;
  static unsigned current_workers = 0;
  if (current_workers != workers) {
    current.reset();
    current = std::make_unique<weft::runtime>(weft::options{.workers = workers});
    current_workers = workers;
  }
  return *current;
}

/// Runs `body`, which holds the timed loop, as a task; an iteration of the loop counts as `ops` operations.
template <class Body>
void run(benchmark::State& state, std::int64_t ops, Body body) {
  runtime_with(static_cast<unsigned>(state.range(0))).run(body);
  state.counters["ops"] = static_cast<double>(ops);
  state.counters["per_op"] = benchmark::Counter(
      static_cast<double>(ops), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

inline constexpr auto workers_1_and_2 = [](auto* b) {
  b->ArgName("workers")->Arg(1)->Arg(2)->MeasureProcessCPUTime()->UseRealTime();
};

}  // namespace bench
