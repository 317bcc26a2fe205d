// What cancellation costs.
//
//   cancel_parked_N  one context is cancelled under which N tasks are parked on a channel. The time is that from the call of cancel until
//                    the last of them has met it; counters: the median and the 99th percentile of the tasks' own times from that call,
//                    and how long the call itself took, in microseconds
//   park_under_root  a value goes to a task and comes back, as in ping_pong, both sides waiting under the runtime's root; against
//   park_under_own   the same under a context of their own, which somebody may cancel at any moment: registering with it is paid once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "child.hpp"

namespace {

using clock_type = std::chrono::steady_clock;

double us(clock_type::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

void cancel_parked(benchmark::State& state, std::size_t tasks) {
  bench::runtime_with(static_cast<unsigned>(state.range(0))).run([&] {
    auto const never = weft::make_chan<int>();
    std::vector<double> times(tasks), all;
    double in_call = 0, cpu = 0;
    for (auto _ : state) {
      auto [ctx, cancel] = weft::with_cancel();
      weft::wait_group met;
      clock_type::time_point begin;  // written before cancel(), read by tasks that this wakes
      std::atomic<std::size_t> begun = 0;
      {
        weft::scoped_context const under(ctx);
        for (std::size_t i = 0; i < tasks; ++i)
          met.go([&, i] {
            ++begun;
            try {
              (void)never.recv();
            } catch (weft::cancelled const&) {
              times[i] = us(clock_type::now() - begin);
            }
          });
      }
      // Not by the runtime's metrics: these look at every task, and what is measured would begin with cold caches.
      do weft::sleep_for(std::chrono::milliseconds(1));
      while (begun != tasks);
      double const cpu_before = bench::seconds(CLOCK_PROCESS_CPUTIME_ID);
      begin = clock_type::now();
      cancel();
      in_call += us(clock_type::now() - begin);
      met.wait();
      cpu += bench::seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
      state.SetIterationTime(*std::max_element(times.begin(), times.end()) * 1e-6);
      all.insert(all.end(), times.begin(), times.end());
    }
    bench::count_lateness(state, "met", all);
    state.counters["cpu_ns_per_op"] = cpu * 1e9 / static_cast<double>(all.size());
    state.counters["call_us"] = in_call / static_cast<double>(state.iterations());
  });
  state.counters["ops"] = static_cast<double>(tasks);
  state.counters["per_op"] = benchmark::Counter(
      static_cast<double>(tasks), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// A fixed number of rounds: what is measured is a small part of one, most of which is parking the tasks.
template <int Rounds>
inline constexpr auto rounds = [](auto* b) {
  b->ArgName("workers")->Iterations(Rounds)->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (std::int64_t const w : bench::worker_counts()) b->Arg(w);
};

void cancel_parked_1(benchmark::State& state) { cancel_parked(state, 1); }
BENCHMARK(cancel_parked_1)->Apply(rounds<1000>);
void cancel_parked_1000(benchmark::State& state) { cancel_parked(state, 1'000); }
BENCHMARK(cancel_parked_1000)->Apply(rounds<100>);
void cancel_parked_100000(benchmark::State& state) { cancel_parked(state, 100'000); }
BENCHMARK(cancel_parked_100000)->Apply(rounds<5>);

void ping_pong_under(benchmark::State& state, bool own) {
  bench::run(state, 1, [&state, own] {
    auto const under = own ? weft::with_cancel().first : weft::context::background();
    weft::scoped_context const in(under);
    auto ping = weft::make_chan<int>(), pong = weft::make_chan<int>();
    weft::wait_group ended;
    ended.go([ping, pong] {
      while (auto ball = ping.recv()) pong.send(*ball);
    });
    for (auto _ : state) {
      ping.send(1);
      benchmark::DoNotOptimize(pong.recv());
    }
    ping.close();
    ended.wait();
  });
}
void park_under_root(benchmark::State& state) { ping_pong_under(state, false); }
BENCHMARK(park_under_root)->Apply(bench::workers_as_asked);
void park_under_own(benchmark::State& state) { ping_pong_under(state, true); }
BENCHMARK(park_under_own)->Apply(bench::workers_as_asked);

}  // namespace

BENCHMARK_MAIN();
