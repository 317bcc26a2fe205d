// What it costs to let the next ready task run: a switch of stacks and a turn of the run queue, with two tasks (all in
// the cache) and with a thousand. An operation is one task's yield.
#include <cstdint>

#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

void yield_among(benchmark::State& state, int tasks, int yields) {
  bench::run(state, std::int64_t{tasks} * yields, [&state, tasks, yields] {
    auto const round = [tasks, yields] {
      weft::wait_group all;
      for (int t = 0; t < tasks; ++t) {
        all.go([yields] {
          for (int i = 0; i < yields; ++i) weft::yield();
        });
      }
      all.wait();
    };
    round();  // memory that is touched for the first time is not the cost that is looked for
    for (auto _ : state) round();
  });
}

void yield_2(benchmark::State& state) { yield_among(state, 2, 500'000); }
BENCHMARK(yield_2)->Apply(bench::workers_as_asked);

void yield_1000(benchmark::State& state) { yield_among(state, 1000, 1000); }
BENCHMARK(yield_1000)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
