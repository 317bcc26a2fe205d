// What a broadcast's send costs with 1, 10 and 100 subscribers that read nothing: each channel is full, and gives up its oldest value.
// An operation is one send; of an integer, and of a string that a copy must allocate.
#include <cstdint>
#include <string>
#include <vector>

#include <weft/broadcast.hpp>

#include "measure.hpp"

namespace {

template <class T>
void send_to_full(benchmark::State& state, T const& value) {
  constexpr std::int64_t sends = 1000;
  bench::run(state, sends, [&] {
    weft::broadcast<T> all(64);
    std::vector<typename weft::broadcast<T>::subscriber> subscribers;
    for (std::int64_t i = 0; i < state.range(1); ++i) subscribers.push_back(all.subscribe());
    for (auto _ : state)
      for (std::int64_t i = 0; i < sends; ++i) all.send(value);
    if (!subscribers.empty() && subscribers[0].missed() == 0) state.SkipWithError("nothing was lost");
  });
}

void broadcast_integer(benchmark::State& state) { send_to_full<std::int64_t>(state, 1); }
BENCHMARK(broadcast_integer)
    ->ArgNames({"workers", "subscribers"})
    ->Args({1, 1})
    ->Args({1, 10})
    ->Args({1, 100})
    ->UseRealTime();

void broadcast_string(benchmark::State& state) { send_to_full<std::string>(state, std::string(100, 'x')); }
BENCHMARK(broadcast_string)
    ->ArgNames({"workers", "subscribers"})
    ->Args({1, 1})
    ->Args({1, 10})
    ->Args({1, 100})
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
