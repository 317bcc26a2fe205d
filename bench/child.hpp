// Benchmarks that need a process of their own: memory that a runtime has touched once stays with it, so that a second measurement in
// the same process would find it there and report nothing. Each iteration forks, measures in the child, and gets the figures by a pipe.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "measure.hpp"

namespace bench {

struct figures {
  double bytes = 0, wall_s = 0, cpu_s = 0, peak_mb = 0;  // of all the tasks together
};

inline double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

inline double resident_bytes() {
  long all = 0, resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  if (f == nullptr || std::fscanf(f, "%ld %ld", &all, &resident) != 2) std::abort();
  std::fclose(f);
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// What this process has used since the meter was made.
class meter {
 public:
  [[nodiscard]] figures read() const {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return {.bytes = resident_bytes() - bytes_,
            .wall_s = seconds(CLOCK_MONOTONIC) - wall_,
            .cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_,
            .peak_mb = static_cast<double>(used.ru_maxrss) / 1024};
  }

 private:
  double bytes_ = resident_bytes(), wall_ = seconds(CLOCK_MONOTONIC), cpu_ = seconds(CLOCK_PROCESS_CPUTIME_ID);
};

/// Runs `measured` in a child; its figures become those of the row, per one of `ops`.
template <class F>
void in_child(benchmark::State& state, std::size_t ops, F measured) {
  figures sum;
  for (auto _ : state) {
    int ends[2];
    if (pipe(ends) != 0) return state.SkipWithError("pipe");
    pid_t const child = fork();
    if (child == 0) {
      figures const f = measured();
      _exit(write(ends[1], &f, sizeof f) == sizeof f ? 0 : 1);
    }
    close(ends[1]);
    figures f;
    bool const got = child > 0 && read(ends[0], &f, sizeof f) == sizeof f;
    close(ends[0]);
    int status = 0;
    if (child > 0) waitpid(child, &status, 0);
    if (!got || status != 0) return state.SkipWithError("the child failed");
    state.SetIterationTime(f.wall_s);
    sum.bytes += f.bytes;
    sum.cpu_s += f.cpu_s;
    sum.peak_mb += f.peak_mb;
  }
  auto const rounds = static_cast<double>(state.iterations()), n = static_cast<double>(ops);
  state.counters["ops"] = n;
  state.counters["bytes"] = sum.bytes / rounds / n;
  state.counters["cpu_ns_per_op"] = sum.cpu_s * 1e9 / rounds / n;
  state.counters["peak_mb"] = sum.peak_mb / rounds;
}

inline constexpr auto once_in_child = [](auto* b) {
  b->ArgName("workers")->UseManualTime()->Iterations(1);
  for (std::int64_t const w : worker_counts()) b->Arg(w);
};

}  // namespace bench
