// Work that is split into tasks and joined again.
//
//   fib_27        fib(27) by one task for each call, without a cut-off: 832,039 tasks, so that hardly anything but tasks is measured
//   parallel_for  a million indices in chunks of 1000, each chunk an element of weft::parallel_for; an operation is one chunk
//   chunks_alone  the same chunks one after the other without tasks: what of parallel_for is its body
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <vector>

#include <weft/parallel.hpp>
#include <weft/task.hpp>

#include "measure.hpp"

namespace {

int fib(int n) {
  if (n < 2) return n;
  auto left = weft::spawn([n] { return fib(n - 1); });
  int const right = fib(n - 2);
  return left.join() + right;
}

void fib_27(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    bool right = fib(27) == 196'418;
    for (auto _ : state) right = fib(27) == 196'418 && right;
    if (!right) state.SkipWithError("a wrong number");
  });
}
BENCHMARK(fib_27)->Apply(bench::workers_as_asked)->Unit(benchmark::kMillisecond);

constexpr std::size_t indices = 1'000'000, chunk = 1000;

struct squares {
  std::vector<std::uint32_t> in = std::vector<std::uint32_t>(indices, 3), out = std::vector<std::uint32_t>(indices);

  [[gnu::noinline]] void of_chunk(std::size_t which) {  // the same code with and without tasks
    for (std::size_t i = which * chunk; i < (which + 1) * chunk; ++i) out[i] = in[i] * in[i] + 1;
  }
};

template <class Each>
void over_chunks(benchmark::State& state, Each each) {
  bench::run(state, indices / chunk, [&state, each] {
    squares work;
    for (auto _ : state) {
      each(work);
      benchmark::ClobberMemory();
    }
    if (work.out.front() != 10 || work.out.back() != 10) state.SkipWithError("an index was left out");
  });
}

void parallel_for(benchmark::State& state) {
  over_chunks(state, [](squares& work) {
    weft::parallel_for(std::views::iota(std::size_t{0}, indices / chunk), [&work](std::size_t c) { work.of_chunk(c); });
  });
}
BENCHMARK(parallel_for)->Apply(bench::workers_as_asked);

void chunks_alone(benchmark::State& state) {
  over_chunks(state, [](squares& work) {
    for (std::size_t c = 0; c < indices / chunk; ++c) work.of_chunk(c);
  });
}
BENCHMARK(chunks_alone)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
