// Eight tasks take turns at one mutex, each for as long as an increment takes. An operation is one lock and unlock.
#include <cstdint>
#include <mutex>

#include <weft/mutex.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

void mutex_8_tasks(benchmark::State& state) {
  constexpr std::int64_t tasks = 8, locks = 100'000;
  bench::run(state, tasks * locks, [&state] {
    weft::mutex lock;
    std::int64_t count = 0, expected = 0;
    for (auto _ : state) {
      weft::wait_group all;
      for (std::int64_t t = 0; t < tasks; ++t)
        all.go([&] {
          for (std::int64_t i = 0; i < locks; ++i) {
            std::scoped_lock const held(lock);
            benchmark::DoNotOptimize(++count);
          }
        });
      all.wait();
      expected += tasks * locks;
    }
    if (count != expected) state.SkipWithError("two tasks held the mutex at once");
  });
}
BENCHMARK(mutex_8_tasks)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
