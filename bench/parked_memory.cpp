// What a million parked tasks cost: time to make them, and resident memory each, stack included.
//
//   parked_one_channel  all of them wait on the same channel
//   parked_own_channel  each waits on a channel of its own, which counts too
//
// Each measurement happens in a child process, because memory that a runtime has touched once stays with it: a second
// one in the same process would find it there and report nothing. The time is that from the first spawn until the last
// task has begun to wait; the tasks are woken and end before the child does.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include <weft/chan.hpp>
#include <weft/run.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include <benchmark/benchmark.h>

namespace {

constexpr std::size_t tasks = 1'000'000;

struct figures {
  double bytes, wall_ns, cpu_ns;  // a task
};

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double resident_bytes() {
  long all = 0, resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  if (f == nullptr || std::fscanf(f, "%ld %ld", &all, &resident) != 2) std::abort();
  std::fclose(f);
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

figures park_a_million(bool own_channel) {
  std::vector<weft::chan<weft::unit>> channels(own_channel ? tasks : 1);  // made outside of what is measured
  weft::wait_group ended;
  std::atomic<std::size_t> begun = 0;
  double const bytes = resident_bytes(), wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
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
  figures const out{(resident_bytes() - bytes) / tasks, (seconds(CLOCK_MONOTONIC) - wall) * 1e9 / tasks,
                    (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e9 / tasks};
  for (auto& c : channels) c.close();
  ended.wait();
  return out;
}

void in_child(benchmark::State& state, bool own_channel) {
  double bytes = 0, cpu = 0;
  for (auto _ : state) {
    int ends[2];
    if (pipe(ends) != 0) return state.SkipWithError("pipe");
    pid_t const child = fork();
    if (child == 0) {
      weft::options const o{.workers = static_cast<unsigned>(state.range(0))};
      figures const f = weft::run(o, park_a_million, own_channel);
      _exit(write(ends[1], &f, sizeof f) == sizeof f ? 0 : 1);
    }
    close(ends[1]);
    figures f{};
    bool const got = child > 0 && read(ends[0], &f, sizeof f) == sizeof f;
    close(ends[0]);
    int status = 0;
    if (child > 0) waitpid(child, &status, 0);
    if (!got || status != 0) return state.SkipWithError("the child failed");
    state.SetIterationTime(f.wall_ns * 1e-9 * tasks);
    bytes += f.bytes;
    cpu += f.cpu_ns;
  }
  auto const n = static_cast<double>(state.iterations());
  state.counters["ops"] = tasks;
  state.counters["bytes"] = bytes / n;
  state.counters["cpu_ns_per_op"] = cpu / n;
}

void parked_one_channel(benchmark::State& state) { in_child(state, false); }
BENCHMARK(parked_one_channel)->ArgName("workers")->Arg(1)->Arg(2)->UseManualTime()->Iterations(1);

void parked_own_channel(benchmark::State& state) { in_child(state, true); }
BENCHMARK(parked_own_channel)->ArgName("workers")->Arg(1)->Arg(2)->UseManualTime()->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
