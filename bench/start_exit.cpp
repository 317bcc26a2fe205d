// A process that starts a runtime, runs one task and ends, from posix_spawn to its end; rss_mb is the most memory it had, stripped_kb
// the size of its program without symbols. It is bench/start/main.cpp, or what WEFT_BENCH_START names: the peers' programs of the same kind are
// measured by this one too.
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

#include "measure.hpp"

extern char** environ;

namespace {

std::string program() {
  char const* const other = std::getenv("WEFT_BENCH_START");
  return other != nullptr ? other : WEFT_BENCH_START_PROGRAM;
}

/// Runs it to its end and says what it used. False: it could not be started, or did not end with status 0.
bool run_once(std::string const& file, rusage& used) {
  char* const argv[] = {const_cast<char*>(file.c_str()), nullptr};
  pid_t child = 0;
  int status = 0;
  return posix_spawn(&child, file.c_str(), nullptr, nullptr, argv, environ) == 0 &&
         wait4(child, &status, 0, &used) == child && status == 0;
}

/// The most memory it had, in MB; 0 if that cannot be learnt. Read when it is about to end, under ptrace: what wait4 reports is at least the size
/// of the process that started it.
double peak_mb(std::string const& file) {
  pid_t const child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    execl(file.c_str(), file.c_str(), nullptr);
    _exit(127);
  }
  double kb = 0;
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    long signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXIT << 8))) {
      std::ifstream in("/proc/" + std::to_string(child) + "/status");
      for (std::string line; std::getline(in, line);)
        if (line.starts_with("VmHWM:")) kb = std::atof(line.c_str() + 6);
    } else if (signal == 0) {
      ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACEEXIT);
    }
    ptrace(PTRACE_CONT, child, nullptr, signal);
  }
  return kb / 1024;
}

double stripped_kb(std::string const& file) {
  std::string copy = "/tmp/weft-bench-XXXXXX";
  int const fd = mkstemp(copy.data());
  if (fd < 0) return 0;
  close(fd);
  rusage used{};
  struct stat size{};
  char const* const argv[] = {"strip", "-o", copy.c_str(), file.c_str(), nullptr};
  pid_t child = 0;
  int status = 1;
  if (posix_spawnp(&child, "strip", nullptr, nullptr, const_cast<char* const*>(argv), environ) == 0)
    wait4(child, &status, 0, &used);
  bool const known = status == 0 && stat(copy.c_str(), &size) == 0;
  unlink(copy.c_str());
  return known ? static_cast<double>(size.st_size) / 1024 : 0;
}

void start_exit(benchmark::State& state) {
  std::string const file = program(), workers = std::to_string(state.range(0));
  setenv("WEFT_WORKERS", workers.c_str(), 1);
  setenv("GOMAXPROCS", workers.c_str(), 1);
  setenv("TOKIO_WORKER_THREADS", workers.c_str(), 1);
  double cpu = 0;
  for (auto _ : state) {
    rusage used{};
    if (!run_once(file, used)) return state.SkipWithError("the program could not be run");
    cpu += static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 +
           static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
  }
  state.counters["ops"] = 1;
  state.counters["cpu_ns_per_op"] = cpu / static_cast<double>(state.iterations());
  if (double const mb = peak_mb(file); mb > 0) state.counters["rss_mb"] = mb;
  if (double const kb = stripped_kb(file); kb > 0) state.counters["stripped_kb"] = kb;
}
BENCHMARK(start_exit)->Apply(bench::workers_as_asked)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
