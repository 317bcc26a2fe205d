// What select costs: a task waits on 2 or 8 unbuffered channels while another sends to them in turn (an operation is one
// value), and a select with an `otherwise` that finds nothing ready, with 1 and with 2 channels (one select).
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <weft/chan.hpp>
#include <weft/select.hpp>
#include <weft/task.hpp>

#include "measure.hpp"

namespace {

template <std::size_t N>
void select_among(benchmark::State& state) {
  constexpr int values = 200'000;
  bench::run(state, values, [&state] {
    std::array<weft::chan<int>, N> channels;
    for (auto& c : channels) c = weft::make_chan<int>();
    for (auto _ : state) {
      auto producer = weft::spawn([&channels] {
        for (std::size_t i = 0; i < values; ++i) channels[i % N].send(1);
      });
      int sum = 0;
      auto const add = [&sum](int v) { sum += v; };
      while (sum < values) {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
          weft::select(weft::on_recv(channels[I], add)...);
        }(std::make_index_sequence<N>());
      }
      producer.join();
    }
  });
}

void select_2(benchmark::State& state) { select_among<2>(state); }
BENCHMARK(select_2)->Apply(bench::workers_as_asked);

void select_8(benchmark::State& state) { select_among<8>(state); }
BENCHMARK(select_8)->Apply(bench::workers_as_asked);

void select_otherwise_1(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    auto a = weft::make_chan<int>();
    for (auto _ : state) {
      // Each time any channel, or what the handle is would be looked at once for all rounds.
      benchmark::DoNotOptimize(a);
      weft::select(weft::on_recv(a, [](int) {}), weft::otherwise());
    }
  });
}
BENCHMARK(select_otherwise_1)->Apply(bench::workers_as_asked);

void select_otherwise_2(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    auto a = weft::make_chan<int>();
    auto b = weft::make_chan<int>();
    for (auto _ : state) {
      benchmark::DoNotOptimize(a);
      benchmark::DoNotOptimize(b);
      weft::select(weft::on_recv(a, [](int) {}), weft::on_recv(b, [](int) {}), weft::otherwise());
    }
  });
}
BENCHMARK(select_otherwise_2)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
