// What a million parked tasks cost: time to make them, and resident memory each, stack included.
//
//   parked_one_channel  all of them wait on the same channel
//   parked_own_channel  each waits on a channel of its own, which counts too
//   parked_tasks_N      the same with N of them, from a hundred to a million
//
// Each measurement happens in a child process, because memory that a runtime has touched once stays with it: a second
// one in the same process would find it there and report nothing. The time is that from the first spawn until the last
// task has begun to wait; the tasks are woken and end before the child does.
#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include <weft/chan.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "child.hpp"

namespace {

bench::figures park_many(std::size_t tasks, bool own_channel) {
  std::vector<weft::chan<weft::unit>> channels(own_channel ? tasks : 1);  // made outside of what is measured
  weft::wait_group ended;
  std::atomic<std::size_t> begun = 0;
  bench::meter const since;
  if (!own_channel) channels[0] = weft::make_chan<weft::unit>();
  for (std::size_t i = 0; i < tasks; ++i) {
    auto& c = channels[own_channel ? i : 0];
    if (own_channel) c = weft::make_chan<weft::unit>();
    ended.go([&c, &begun] {
      begun.fetch_add(1, std::memory_order_relaxed);
      (void)c.recv();
    });
    // As a server does: tasks begin while others are made, so that there is no queue of a million.
    if (i % 64 == 63) weft::yield();
  }
  while (begun.load(std::memory_order_relaxed) != tasks) weft::yield();
  bench::figures const out = since.read();
  for (auto& c : channels) c.close();
  ended.wait();
  return out;
}

void park(benchmark::State& state, std::size_t tasks, bool own_channel) {
  auto const workers = static_cast<unsigned>(state.range(0));
  bench::in_child(state, tasks, [=] { return weft::run({.workers = workers}, park_many, tasks, own_channel); });
}

void add(std::string const& name, std::size_t tasks, bool own_channel) {
  auto* const b = benchmark::RegisterBenchmark(name.c_str(), [=](auto& state) { park(state, tasks, own_channel); });
  bench::once_in_child(b);
}

bool const added = [] {
  add("parked_one_channel", 1'000'000, false);
  add("parked_own_channel", 1'000'000, true);
  for (std::size_t n = 100; n <= 1'000'000; n *= 10) add("parked_tasks_" + std::to_string(n), n, true);
  return true;
}();

}  // namespace

BENCHMARK_MAIN();
