// What it costs to start a task and to wait for its end.
//
//   spawn_join      one task spawns a million empty ones and waits for all of them by a wait_group
//   group_join      the same with a task_group, whose tasks may fail and can be cancelled together
//   spawn_one_join  one task spawns one and joins it by its handle, again and again
#include <cstdint>

#include <weft/task.hpp>
#include <weft/task_group.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

constexpr std::int64_t tasks = 1'000'000;

/// Rounds of `tasks` tasks each.
template <class Round>
void run_rounds(benchmark::State& state, Round round) {
  bench::run(state, tasks, [&state, round] {
    round();  // memory that is touched for the first time is not the cost that is looked for
    for (auto _ : state) round();
  });
}

void spawn_join(benchmark::State& state) {
  run_rounds(state, [] {
    weft::wait_group all;
    for (std::int64_t i = 0; i < tasks; ++i) all.go([] {});
    all.wait();
  });
}
BENCHMARK(spawn_join)->Apply(bench::workers_as_asked);

void group_join(benchmark::State& state) {
  run_rounds(state, [] {
    weft::task_group all;
    for (std::int64_t i = 0; i < tasks; ++i) all.spawn([] {});
    all.wait();
  });
}
BENCHMARK(group_join)->Apply(bench::workers_as_asked);

void spawn_one_join(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    for (auto _ : state) weft::spawn([] {}).join();
  });
}
BENCHMARK(spawn_one_join)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
