// The same cost with a hundred tasks to a million: it should not grow by more than the caches explain.
//
//   spawn_tasks_N  N empty tasks are spawned and waited for; an operation is one task
//   yield_tasks_N  N tasks let each other run; an operation is one yield
#include <algorithm>
#include <cstdint>
#include <string>

#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

template <class Task>
void together(benchmark::State& state, std::int64_t tasks, std::int64_t ops, Task task) {
  bench::run(state, ops, [&state, tasks, task] {
    auto const round = [tasks, task] {
      weft::wait_group all;
      for (std::int64_t i = 0; i < tasks; ++i) all.go(task);
      all.wait();
    };
    round();  // memory that is touched for the first time is not the cost that is looked for
    for (auto _ : state) round();
  });
}

bool const added = [] {
  for (std::int64_t n = 100; n <= 1'000'000; n *= 10) {
    auto const spawn = [n](auto& state) { together(state, n, n, [] {}); };
    bench::workers_as_asked(benchmark::RegisterBenchmark(("spawn_tasks_" + std::to_string(n)).c_str(), spawn));
    std::int64_t const yields = std::max<std::int64_t>(1, 1'000'000 / n);
    auto const yield = [n, yields](auto& state) {
      together(state, n, n * yields, [yields] {
        for (std::int64_t i = 0; i < yields; ++i) weft::yield();
      });
    };
    bench::workers_as_asked(benchmark::RegisterBenchmark(("yield_tasks_" + std::to_string(n)).c_str(), yield));
  }
  return true;
}();

}  // namespace

BENCHMARK_MAIN();
