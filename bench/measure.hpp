// What the benchmarks share: a runtime that is started once and stays warm, and what one operation costs.
//
// A benchmark runs its timed loop in a task of a runtime with as many workers as its argument says. The runtime is
// started before the loop and kept from run to run; only one is alive at a time. CPU time is the whole process's, so
// that workers which spin show.
//
// An iteration of the loop may be many operations (a million spawns, say): the counter `ops` says how many, `per_op` is
// the wall time of one. scripts/bench reads both.
#pragma once

#include <cstdint>
#include <memory>

#include <benchmark/benchmark.h>

#include <weft/chan.hpp>
#include <weft/run.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

namespace bench {

/// The numbers of workers to measure with. Ends the program if they are not numbers.
inline std::vector<std::int64_t> worker_counts() {
  char const* const asked = std::getenv("WEFT_BENCH_WORKERS");
  std::istringstream words(asked != nullptr ? asked : "1,2");
  std::vector<std::int64_t> out;
  for (std::string word; std::getline(words, word, ',');) {
    std::int64_t const n = std::atoll(word.c_str());
    if (n < 1) {
      std::fprintf(stderr, "WEFT_BENCH_WORKERS: not a number of workers: \"%s\"\n", word.c_str());
      std::exit(2);
    }
    out.push_back(n);
  }
  return out;
}

/// Parks $WEFT_BENCH_BACKGROUND tasks and starts as many timers, which last until the runtime's end. Returns once all of that is there.
/// From within a task.
inline void start_background() {
  char const* const asked = std::getenv("WEFT_BENCH_BACKGROUND");
  std::int64_t const n = asked != nullptr ? std::atoll(asked) : 0;
  if (n == 0) return;
  auto const never = weft::make_chan<weft::unit>();
  weft::wait_group begun;
  begun.add(n + 1);
  for (std::int64_t i = 0; i < n; ++i)
    weft::go([never, &begun] {
      begun.done();
      (void)never.recv();
    });
  weft::go([never, n, &begun] {
    std::vector<weft::timer> pending;
    pending.reserve(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) pending.emplace_back(std::chrono::hours(1) + std::chrono::milliseconds(i));
    begun.done();
    (void)never.recv();
  });
  begun.wait();
}

inline weft::runtime& runtime_with(unsigned workers) {
  static std::unique_ptr<weft::runtime> current;
  static unsigned current_workers = 0;
  if (current_workers != workers) {
    current.reset();
    current = std::make_unique<weft::runtime>(weft::options{.workers = workers});
    current_workers = workers;
    current->run(start_background);
  }
  return *current;
}

/// Runs `body`, which holds the timed loop, as a task; an iteration of the loop counts as `ops` operations.
template <class Body>
void run(benchmark::State& state, std::int64_t ops, Body body) {
  runtime_with(static_cast<unsigned>(state.range(0))).run(body);
  state.counters["ops"] = static_cast<double>(ops);
  state.counters["per_op"] = benchmark::Counter(
      static_cast<double>(ops), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

/// The value below which `share` of them lie. Sorts them.
inline double percentile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(static_cast<double>(values.size()) * share))];
}

/// How late something came, in microseconds, as the counters <what>_p50_us, _p99_us and _max_us.
inline void count_lateness(benchmark::State& state, std::string const& what, std::vector<double>& us) {
  state.counters[what + "_p50_us"] = percentile(us, 0.5);
  state.counters[what + "_p99_us"] = percentile(us, 0.99);
  state.counters[what + "_max_us"] = us.back();
}

inline constexpr auto workers_as_asked = [](auto* b) {
  b->ArgName("workers")->MeasureProcessCPUTime()->UseRealTime();
  for (std::int64_t const w : worker_counts()) b->Arg(w);
};

}  // namespace bench
