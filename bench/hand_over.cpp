// What tasks that block or compute cost the others. 64 tasks sleep ten times 10 ms in the system: 100 ms if they sleep side by side,
// 6,400 ms one after the other. A task that wants to run every millisecond, beside as many spinning tasks as workers: how late it is.
// What blocking() itself costs when its function returns at once; and what all of this costs a task that does none of it: a section
// entered and left, as at each spawn, wait and turn, with no way for the monitor to notice more than that.
#include <atomic>
#include <chrono>
#include <ctime>
#include <vector>

#include <weft/blocking.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"
#include "runtime/sched/worker.hpp"

namespace {

using namespace std::chrono_literals;

void sleep_in_the_system() {
  timespec left{0, 10'000'000};
  while (::nanosleep(&left, &left) != 0) {
  }
}

template <class Sleep>
void sleepers(benchmark::State& state, Sleep sleep) {
  bench::run(state, 64 * 10, [&state, sleep] {
    for (auto _ : state) {
      weft::wait_group all;
      for (int t = 0; t < 64; ++t)
        all.go([sleep] {
          for (int i = 0; i < 10; ++i) sleep();
        });
      all.wait();
    }
    state.counters["threads"] = static_cast<double>(weft::current_metrics().threads);
  });
}

void blocked_64x10ms(benchmark::State& state) { sleepers(state, sleep_in_the_system); }
BENCHMARK(blocked_64x10ms)->Apply(bench::workers_as_asked)->Unit(benchmark::kMillisecond);

void blocking_64x10ms(benchmark::State& state) {
  sleepers(state, [] { weft::blocking(sleep_in_the_system); });
}
BENCHMARK(blocking_64x10ms)->Apply(bench::workers_as_asked)->Unit(benchmark::kMillisecond);

void tick_beside_spinning_tasks(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    std::atomic<bool> stop = false;
    weft::wait_group spinning;
    for (unsigned i = 0; i < weft::current_metrics().workers; ++i)
      spinning.go([&] {
        while (!stop) {
        }
      });
    std::vector<double> late;
    for (auto _ : state) {
      auto const due = weft::now() + 1ms;
      weft::sleep_until(due);
      late.push_back(std::chrono::duration<double, std::micro>(weft::now() - due).count());
    }
    stop = true;
    spinning.wait();
    bench::count_lateness(state, "late", late);
  });
}
BENCHMARK(tick_beside_spinning_tasks)->Apply(bench::workers_as_asked)->Iterations(1000)->Unit(benchmark::kMillisecond);

void blocking_nothing(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    for (auto _ : state) weft::blocking([] {});
  });
}
BENCHMARK(blocking_nothing)->Apply(bench::workers_as_asked);

void enter_and_leave(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    weft::rt::worker& here = *weft::rt::current_worker();
    for (auto _ : state) {
      benchmark::DoNotOptimize(here.enter());
      here.leave();
    }
  });
}
BENCHMARK(enter_and_leave)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
