// A value goes to another task and comes back over two unbuffered channels. An operation is one round trip: two sends,
// two receives, and at least two switches.
#include <weft/chan.hpp>
#include <weft/task.hpp>

#include "measure.hpp"

namespace {

void ping_pong(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    auto ping = weft::make_chan<int>();
    auto pong = weft::make_chan<int>();
    auto partner = weft::spawn([ping, pong] {
      while (auto ball = ping.recv()) pong.send(*ball);
    });
    for (auto _ : state) {
      ping.send(1);
      benchmark::DoNotOptimize(pong.recv());
    }
    ping.close();
    partner.join();
  });
}
BENCHMARK(ping_pong)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
