// A million tasks that sleep, and a million that nobody has run yet; each measurement in a process of its own.
//
//   sleepers_1m  each sleeps a random time of up to 1 s; cpu_ms and peak_mb are the figures to look at, since the wall time is mostly
//                the second of the last sleeper
//   queued_1m    bytes a task that is spawned and has not begun. One worker, the spawner does not let go of it, and the monitor may
//                not take its processor away (hog_after 0), so that none can begin
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <random>

#include <weft/run.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "child.hpp"

namespace {

constexpr std::size_t tasks = 1'000'000;

bench::figures sleep_all() {
  bench::meter const since;
  std::minstd_rand random(1);
  std::uniform_int_distribution<int> up_to_a_second(0, 999'999);
  weft::wait_group all;
  for (std::size_t i = 0; i < tasks; ++i)
    all.go([us = up_to_a_second(random)] { weft::sleep_for(std::chrono::microseconds(us)); });
  all.wait();
  return since.read();
}

void sleepers_1m(benchmark::State& state) {
  auto const workers = static_cast<unsigned>(state.range(0));
  bench::in_child(state, tasks, [=] { return weft::run({.workers = workers}, sleep_all); });
  state.counters["cpu_ms"] = state.counters["cpu_ns_per_op"] * static_cast<double>(tasks) * 1e-6;
}
BENCHMARK(sleepers_1m)->Apply(bench::once_in_child);

bench::figures queue_all() {
  std::size_t begun = 0;  // one worker: the tasks run one after the other
  bench::figures out;
  weft::wait_group all;
  bench::meter const since;
  for (std::size_t i = 0; i < tasks; ++i) all.go([&begun] { ++begun; });
  if (begun == 0) out = since.read();
  all.wait();
  if (out.bytes == 0) std::abort();  // some had begun: the figure would be too small
  return out;
}

void queued_1m(benchmark::State& state) {
  bench::in_child(state, tasks,
                  [] { return weft::run({.workers = 1, .hog_after = std::chrono::nanoseconds(0)}, queue_all); });
}
BENCHMARK(queued_1m)->ArgName("workers")->Arg(1)->UseManualTime()->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
