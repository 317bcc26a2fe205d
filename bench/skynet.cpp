// A tree of tasks with a million leaves, ten children a node, results over channels. An operation is one leaf.
#include <cstdint>
#include <utility>

#include <weft/chan.hpp>
#include <weft/task.hpp>

#include "measure.hpp"

namespace {

constexpr std::int64_t leaves_in_all = 1'000'000;

void node(weft::sender<std::int64_t> parent, std::int64_t first, std::int64_t leaves) {
  if (leaves == 1) {
    parent.send(first);
    return;
  }
  auto [tx, rx] = weft::make_ends<std::int64_t>();
  for (std::int64_t i = 0; i < 10; ++i) weft::go(node, tx, first + i * (leaves / 10), leaves / 10);
  std::int64_t sum = 0;
  for (int i = 0; i < 10; ++i) sum += *rx.recv();
  parent.send(sum);
}

void skynet(benchmark::State& state) {
  bench::run(state, leaves_in_all, [&state] {
    auto const round = [] {
      auto [tx, rx] = weft::make_ends<std::int64_t>();
      weft::go(node, std::move(tx), 0, leaves_in_all);
      return *rx.recv() == leaves_in_all * (leaves_in_all - 1) / 2;
    };
    bool right = round();  // memory that is touched for the first time is not the cost that is looked for
    for (auto _ : state) right = round() && right;
    if (!right) state.SkipWithError("a wrong sum");
  });
}
BENCHMARK(skynet)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
