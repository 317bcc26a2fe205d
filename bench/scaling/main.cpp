// An experiment of your own: a number of tasks, each with a channel of its own, to each of which a message is sent in turn, that work
// on it and answer on a channel that all share. Every option is one value, several (1,2,4), or a range in which each value is ten times
// the one before (100..1000000) or, for workers, one more (1..4). All combinations are measured; each prints one line of CSV:
//
//   tasks,work,work_ns,capacity,workers,messages,ns_per_message,cpu_ns_per_message,bytes_per_task
//
//   scaling --tasks 100..100000 --workers 1..2 --work-ns 0,2000 > out.csv && scripts/bench plot out.csv
//
// Work is CPU (rounds of xorshift, calibrated at the start) or sleep. bytes_per_task is what the process's resident memory grew by while the
// tasks were made: memory that an earlier combination left behind is used again, so that it is of use for the first of a run only. CPU time is the process's.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <weft/chan.hpp>
#include <weft/run.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

namespace {

using clock_type = std::chrono::steady_clock;

std::uint64_t number(std::string const& text) {
  std::size_t used = 0;
  std::uint64_t n = 0;
  try {
    if (!text.empty() && text[0] >= '0' && text[0] <= '9') n = std::stoull(text, &used);
  } catch (std::out_of_range const&) {
    used = 0;
  }
  if (used == 0 || used != text.size()) throw std::invalid_argument("\"" + text + "\" is not a number");
  return n;
}

constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max(), most_work = 1'000'000'000'000,
                        most_workers = 1024;

/// "7", "1,2,4", "100..100000" (times ten) or, with plus_one, "1..4". What is none of these is std::invalid_argument.
std::vector<std::uint64_t> values(std::string const& text, bool plus_one, std::uint64_t least, std::uint64_t most) {
  std::vector<std::uint64_t> out;
  auto const too_many = [&] { return std::invalid_argument("\"" + text + "\": at most " + std::to_string(most)); };
  if (std::size_t const dots = text.find(".."); dots != std::string::npos) {
    std::uint64_t const first = number(text.substr(0, dots)), last = number(text.substr(dots + 2));
    if (first > last || (first == 0 && !plus_one)) throw std::invalid_argument("\"" + text + "\" is not a range");
    if (last > most) throw too_many();  // before they are counted up
    for (std::uint64_t n = first; n < last; n = plus_one ? n + 1 : n > last / 10 ? last : n * 10) out.push_back(n);
    out.push_back(last);
  } else {
    for (std::string const& word : CLI::detail::split(text, ',')) out.push_back(number(word));
  }
  if (out.empty() || *std::min_element(out.begin(), out.end()) < least)
    throw std::invalid_argument("\"" + text + "\": at least " + std::to_string(least));
  if (*std::max_element(out.begin(), out.end()) > most) throw too_many();
  return out;
}

std::uint64_t spin(std::uint64_t rounds, std::uint64_t x) {
  for (; rounds > 0; --rounds) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

/// Rounds of spin that take a nanosecond: the best of some tries, because an interrupted one seems slower.
double rounds_per_ns() {
  constexpr std::uint64_t rounds = 1'000'000;
  double best = 0;
  for (std::uint64_t i = 1; i <= 5; ++i) {
    auto const start = clock_type::now();
    std::uint64_t volatile sink = spin(rounds, i);
    (void)sink;
    best = std::max(best, static_cast<double>(rounds) /
                              std::chrono::duration<double, std::nano>(clock_type::now() - start).count());
  }
  return best;
}

double cpu_ns() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

double resident_bytes() {
  std::ifstream in("/proc/self/statm");
  double all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

struct experiment {
  std::uint64_t tasks, work_ns, capacity, workers, messages;
  bool sleeps;
  double rounds_per_ns;
};

void measure(experiment const& e) {
  auto const rounds = static_cast<std::uint64_t>(static_cast<double>(e.work_ns) * e.rounds_per_ns);
  auto const answers = weft::make_chan<std::uint64_t>(e.capacity);
  std::vector<weft::sender<std::uint64_t>> inboxes;
  inboxes.reserve(e.tasks);
  weft::wait_group all;
  double const before = resident_bytes();
  for (std::uint64_t t = 0; t < e.tasks; ++t) {
    auto [tx, rx] = weft::make_ends<std::uint64_t>(e.capacity);
    inboxes.push_back(std::move(tx));
    all.go([in = std::move(rx), answers, &e, rounds] {
      while (auto const m = in.recv()) {
        if (e.sleeps) weft::sleep_for(std::chrono::nanoseconds(e.work_ns));
        answers.send(e.sleeps ? *m : spin(rounds, *m));
      }
    });
    if (t % 64 == 63) weft::yield();  // so that they park while others are made, as in a server
  }
  double const bytes = (resident_bytes() - before) / static_cast<double>(e.tasks), cpu = cpu_ns();
  auto const start = clock_type::now();
  all.go([&] {
    for (std::uint64_t m = 0; m < e.messages; ++m) inboxes[m % e.tasks].send(m + 1);
    inboxes.clear();
  });
  for (std::uint64_t m = 0; m < e.messages; ++m)
    if (!answers.recv()) throw std::runtime_error("an answer was lost");
  double const took = std::chrono::duration<double, std::nano>(clock_type::now() - start).count(),
               used = cpu_ns() - cpu;
  all.wait();
  auto const n = static_cast<double>(e.messages);
  std::printf("%ju,%s,%ju,%ju,%ju,%ju,%.1f,%.1f,%.0f\n", std::uintmax_t{e.tasks}, e.sleeps ? "sleep" : "cpu",
              std::uintmax_t{e.work_ns}, std::uintmax_t{e.capacity}, std::uintmax_t{e.workers},
              std::uintmax_t{e.messages}, took / n, used / n, bytes);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures tasks that answer messages, for every combination of the values given; prints CSV.");
  std::string tasks = "1000", work_ns = "0", capacity = "0", workers = "1..2", kind = "cpu", messages = "0";
  app.add_option("--tasks", tasks, "how many: 1000, 100,5000 or 100..1000000 (times ten)")->capture_default_str();
  app.add_option("--work-ns", work_ns, "nanoseconds of work a message, likewise")->capture_default_str();
  app.add_option("--work", kind, "what the work is")->check(CLI::IsMember({"cpu", "sleep"}))->capture_default_str();
  app.add_option("--capacity", capacity, "of the channels, likewise")->capture_default_str();
  app.add_option("--workers", workers, "how many: 2, 1,4 or 1..4 (one more)")->capture_default_str();
  app.add_option("--messages", messages, "in all; 0: one for each task, at least 100,000")->capture_default_str();
  try {
    app.parse(argc, argv);
    auto const of = [](char const* option, auto const& read) {
      try {
        return read();
      } catch (std::invalid_argument const& e) {
        throw CLI::ValidationError(option, e.what());
      }
    };
    auto const all_tasks = of("--tasks", [&] { return values(tasks, false, 1, any); });
    auto const all_work = of("--work-ns", [&] { return values(work_ns, false, 0, most_work); });
    auto const all_capacities = of("--capacity", [&] { return values(capacity, false, 0, any); });
    auto const all_workers = of("--workers", [&] { return values(workers, true, 1, most_workers); });
    std::uint64_t const in_all = of("--messages", [&] { return number(messages); });
    double const calibrated = rounds_per_ns();
    std::puts("tasks,work,work_ns,capacity,workers,messages,ns_per_message,cpu_ns_per_message,bytes_per_task");
    for (auto const w : all_workers)
      for (auto const t : all_tasks)
        for (auto const ns : all_work)
          for (auto const c : all_capacities) {
            std::uint64_t const n = in_all != 0 ? in_all : std::max<std::uint64_t>(t, 100'000);
            experiment const e{t, ns, c, w, n, kind == "sleep", calibrated};
            weft::run({.workers = static_cast<unsigned>(w)}, measure, e);
          }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw std::runtime_error("cannot write to standard output");
  } catch (CLI::Error const& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help
    std::fprintf(stderr, "scaling: %s\n", e.what());
    return 2;
  } catch (std::bad_alloc const&) {
    std::fputs("scaling: there is no memory for so many tasks, or for so much in their channels\n", stderr);
    return 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "scaling: %s\n", e.what());
    return 1;
  }
  return 0;
}
