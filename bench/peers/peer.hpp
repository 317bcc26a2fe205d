// What the C++ peers share: options, measuring, and the line of JSON that scripts/bench reads, as bench/peers/go/main.go has them.
//
// usage: PEER [-only PART or ^NAME$] [-workers LIST] [-min-time SECONDS] [-background N] [-list] [-version]
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace peer {

using clock = std::chrono::steady_clock;

struct result {
  double ns_per_op = 0, cpu_ns_per_op = 0, bytes = -1;  // bytes: below zero means not measured
  std::map<std::string, double> extra;
};

/// A row. Either `run` does its work n times, ops operations each time; or `once` measures itself.
struct row {
  std::string name;
  double ops = 1;
  std::function<void(long n)> run;
  std::function<result(unsigned workers)> once;
};

inline void require(bool right, char const* what) {
  if (right) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

inline rusage used() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u;
}

inline double cpu_ns() {
  rusage const u = used();
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

inline double resident_bytes() {
  long all = 0, resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  require(f != nullptr && std::fscanf(f, "%ld %ld", &all, &resident) == 2, "/proc/self/statm cannot be read");
  std::fclose(f);
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

template <class F>
result timed(double ops, F f) {
  double const cpu = cpu_ns();
  auto const start = clock::now();
  f();
  double const took = std::chrono::duration<double, std::nano>(clock::now() - start).count();
  return {.ns_per_op = took / ops, .cpu_ns_per_op = (cpu_ns() - cpu) / ops, .extra = {}};
}

inline void count_lateness(result& r, std::string const& what, std::vector<double> us) {
  std::sort(us.begin(), us.end());
  auto const at = [&](double share) {
    return us[std::min(us.size() - 1, static_cast<std::size_t>(static_cast<double>(us.size()) * share))];
  };
  r.extra[what + "_p50_us"] = at(0.5);
  r.extra[what + "_p99_us"] = at(0.99);
  r.extra[what + "_max_us"] = us.back();
}

/// Raises the number of rounds until they take long enough.
inline result measure(row const& b, double min_time) {
  b.run(1);  // memory that is touched for the first time is not the cost that is looked for
  for (long n = 1;;) {
    double const ops = static_cast<double>(n) * b.ops;
    result const r = timed(ops, [&] { b.run(n); });
    double const took = r.ns_per_op * ops * 1e-9;
    if (took >= min_time || n >= 1'000'000'000) return r;
    auto const next = static_cast<long>(1.4 * static_cast<double>(n) * min_time / (took + 1e-9));
    n = std::max(n + 1, std::min(next, 10 * n));
  }
}

inline void print(row const& b, unsigned workers, result const& r) {
  std::printf("{\"name\":\"%s\",\"workers\":%u,\"ns_per_op\":%.9g,\"cpu_ns_per_op\":%.9g", b.name.c_str(), workers,
              r.ns_per_op, r.cpu_ns_per_op);
  if (r.bytes >= 0) std::printf(",\"bytes\":%.9g", r.bytes);
  char const* before = ",\"extra\":{";
  for (auto const& [key, value] : r.extra) {
    std::printf("%s\"%s\":%.9g", before, key.c_str(), value);
    before = ",";
  }
  std::printf(r.extra.empty() ? "}\n" : "}}\n");
  std::fflush(stdout);
}

/// Calls with_workers(workers, background, f) for each number of workers: it starts the peer's runtime, runs f in it, and stops it.
template <class WithWorkers>
int run(int argc, char** argv, char const* version, std::vector<row> const& rows, WithWorkers with_workers) {
  std::string only, workers = "1,2";
  double min_time = 0.5;
  long background = 0;
  bool list = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view const arg = argv[i];
    auto const value = [&] {
      require(i + 1 < argc, "the last argument wants a value");
      return argv[++i];
    };
    if (arg == "-only") only = value();
    else if (arg == "-workers") workers = value();
    else if (arg == "-min-time") min_time = std::atof(value());
    else if (arg == "-background") background = std::atol(value());
    else if (arg == "-list") list = true;
    else if (arg == "-version") return std::puts(version) < 0 ? 1 : 0;
    else require(false, "unknown argument");
  }
  auto const wanted = [&](std::string const& name) {
    if (only.size() > 1 && only.front() == '^' && only.back() == '$') return name == only.substr(1, only.size() - 2);
    return name.find(only) != std::string::npos;
  };
  std::istringstream words(workers);
  for (std::string word; std::getline(words, word, ',');) {
    int const w = std::atoi(word.c_str());
    require(w > 0, "not a number of workers");
    for (row const& b : rows) {
      if (!wanted(b.name)) continue;
      if (list) {
        std::puts(b.name.c_str());
        continue;
      }
      auto const n = static_cast<unsigned>(w);
      with_workers(n, background, [&] { print(b, n, b.run ? measure(b, min_time) : b.once(n)); });
    }
  }
  return 0;
}

}  // namespace peer
