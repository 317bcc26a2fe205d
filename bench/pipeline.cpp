// Messages go through four stages, a task each, by channels with a buffer of 16; a stage works about 2 µs on each: 1400 rounds of
// xorshift, the same in every language. An operation is one message. It cannot all stay on one worker: with two it should take
// half the time, and scripts/bench prints how many times faster it is.
#include <cstdint>
#include <utility>

#include <weft/chan.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

std::uint64_t work(std::uint64_t x) {
  for (int i = 0; i < 1400; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

void pipeline_4x2us(benchmark::State& state) {
  constexpr std::int64_t messages = 10'000, stages = 4;
  bench::run(state, messages, [&state] {
    for (auto _ : state) {
      weft::wait_group all;
      auto [first, in] = weft::make_ends<std::uint64_t>(16);
      for (int s = 0; s < stages; ++s) {
        auto [tx, rx] = weft::make_ends<std::uint64_t>(16);
        all.go([from = std::move(in), to = std::move(tx)] {
          while (auto const m = from.recv()) to.send(work(*m));
        });
        in = std::move(rx);
      }
      all.go([to = std::move(first)] {
        for (std::uint64_t m = 1; m <= messages; ++m) to.send(m);
      });
      std::int64_t out = 0;
      while (auto const m = in.recv()) {
        benchmark::DoNotOptimize(*m);
        ++out;
      }
      all.wait();
      if (out != messages) state.SkipWithError("messages were lost");
    }
  });
}
BENCHMARK(pipeline_4x2us)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
