// A stream of values through one channel with a buffer of 128: one producer and one consumer, and four of each. An
// operation is one value sent and received.
#include <atomic>
#include <cstdint>

#include <weft/chan.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

void stream(benchmark::State& state, int producers, int consumers) {
  constexpr std::int64_t values = 1'000'000;
  bench::run(state, values, [&state, producers, consumers] {
    for (auto _ : state) {
      auto c = weft::make_chan<std::int64_t>(128);
      std::atomic<std::int64_t> sum = 0;
      weft::wait_group sending, receiving;
      for (int i = 0; i < consumers; ++i) {
        receiving.go([&c, &sum] {
          std::int64_t mine = 0;
          while (auto v = c.recv()) mine += *v;
          sum += mine;
        });
      }
      for (int i = 0; i < producers; ++i) {
        sending.go([&c, producers] {
          for (std::int64_t v = 0; v < values / producers; ++v) c.send(1);
        });
      }
      sending.wait();
      c.close();
      receiving.wait();
      if (sum != values) state.SkipWithError("values were lost or doubled");
    }
  });
}

void buffered_1p1c(benchmark::State& state) { stream(state, 1, 1); }
BENCHMARK(buffered_1p1c)->Apply(bench::workers_as_asked);

void buffered_4p4c(benchmark::State& state) { stream(state, 4, 4); }
BENCHMARK(buffered_4p4c)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
