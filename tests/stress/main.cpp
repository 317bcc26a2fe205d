// weft_stress: scenarios by chance, one after the other, for as long as it is told.
//
// A round's chance comes from the seed alone: round r of seed S is the first of seed S + r. What the machine makes of it is another matter; a
// failure may take several runs of its seed to come back.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <mutex>
#include <random>

#include "support/command_line.hpp"
#include "tests/stress/stress.hpp"

// Of AddressSanitizer and ThreadSanitizer, where the program has one of them.
extern "C" [[gnu::weak]] void __sanitizer_set_death_callback(void (*)());

namespace weft::stress {
namespace {

using clock = std::chrono::steady_clock;

constexpr scenario scenarios[] = {{"channels", channels}, {"select", selects},        {"trees", trees},  {"sync", sync},
                                  {"sockets", sockets},   {"processors", processors}, {"timers", timers}};
constexpr auto report_every = 5s;

std::sig_atomic_t volatile interrupted = 0;
char place[256] = "before the first round";  // for messages of any thread and of a signal handler
std::size_t place_length = 22;

void say_where() {
  [[maybe_unused]] auto const a = ::write(2, "weft_stress: aborted ", 21);
  [[maybe_unused]] auto const b = ::write(2, place, place_length);
  [[maybe_unused]] auto const c = ::write(2, "\n", 1);
}
void say_where_and_abort(int) {
  say_where();
  std::signal(SIGABRT, SIG_DFL);
  std::raise(SIGABRT);
}

std::size_t entries(char const* folder) {
  DIR* const d = ::opendir(folder);
  if (d == nullptr) return 0;
  std::size_t n = 0;
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

/// A thread that has been joined is to be seen in /proc for a little longer.
void check_entries(char const* folder, std::size_t before, char const* what) {
  auto const until = clock::now() + 5s;
  std::size_t now = entries(folder);
  for (; now > before && clock::now() < until; now = entries(folder)) std::this_thread::sleep_for(1ms);
  if (now > before) check_equal(now, before, what);
}

/// Reports how far it is, and ends the process if a round does not end.
class observer {
 public:
  observer(clock::time_point end, clock::duration hang_after)
      : end_(end), hang_after_(hang_after), thread_([this] { watch(); }) {}
  ~observer() {
    {
      std::lock_guard const lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void enter(std::uint64_t number, char const* name) {
    std::lock_guard const lock(mutex_);
    number_ = number;
    name_ = name;
    since_ = clock::now();
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    for (auto next = clock::now() + report_every; !over_;) {
      changed_.wait_for(lock, 1s);
      auto const now = clock::now();
      if (now - since_ > hang_after_) {
        std::cerr << "weft_stress: hangs " << place << '\n';
        weft::dump(std::cerr);
        std::abort();
      }
      if (now < next || over_) continue;
      next = now + report_every;
      std::cerr << "weft_stress: round " << number_ << ", " << name_ << "; " << operations.load() << " operations; "
                << std::chrono::duration_cast<std::chrono::seconds>(std::max(end_ - now, clock::duration(0))).count()
                << " s left\n";
    }
  }

  clock::time_point const end_;
  clock::duration const hang_after_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::uint64_t number_ = 0;
  char const* name_ = "start";
  clock::time_point since_ = clock::now();
  std::thread thread_;
};

struct tally {
  std::uint64_t rounds = 0, operations = 0;
  clock::duration took{0}, longest{0};
};

clock::duration of_seconds(double n) {
  return std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(n));
}

void run(double seconds, double hang_after, std::uint64_t seed, std::vector<unsigned> const& workers,
         std::string const& only) {
  auto const start = clock::now(), end = start + of_seconds(seconds);
  observer watching(end, of_seconds(hang_after));
  std::map<std::string, tally> done;
  auto const one_round = [&](std::uint64_t number) {
    round now{random(seed + number), workers[(seed + number) % workers.size()],
              __sanitizer_set_death_callback != nullptr};
    scenario which = scenarios[now.chance.below(std::size(scenarios))];
    for (auto const& s : scenarios)
      if (s.name == only) which = s;
    place_length = 0;  // nothing rather than a half
    auto const length =
        std::snprintf(place, sizeof place, "in %s, round %llu, %u workers; again: --seed %llu --only %s --workers %u",
                      which.name, static_cast<unsigned long long>(number), now.workers,
                      static_cast<unsigned long long>(seed + number), which.name, now.workers);
    place_length = static_cast<std::size_t>(length);
    watching.enter(number, which.name);
    auto const began = clock::now();
    auto const before = operations.load();
    which.run(now);
    tally& t = done[which.name];
    ++t.rounds;
    t.operations += operations.load() - before;
    t.took += clock::now() - began;
    t.longest = std::max(t.longest, clock::now() - began);
  };
  runtime(options_for(1)).run([] {});  // what the first runtime of a process opens for all that come after it
  std::size_t const descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  std::uint64_t number = 0;
  do {
    one_round(number++);
    check_entries("/proc/self/fd", descriptors, "descriptors after the round");
    check_entries("/proc/self/task", threads, "threads after the round");
  } while (clock::now() < end && interrupted == 0);
  place_length = static_cast<std::size_t>(std::snprintf(place, sizeof place, "after the last round"));
  for (auto const& [name, t] : done) {
    std::chrono::duration<double> const took = t.took;
    std::chrono::duration<double, std::milli> const longest = t.longest;
    std::cout << name << ": " << t.rounds << " rounds, " << t.operations << " operations, " << took.count()
              << " s, the longest " << longest.count() << " ms\n";
  }
  std::cout << (interrupted != 0 ? "interrupted: " : "") << number << " rounds in "
            << std::chrono::duration<double>(clock::now() - start).count() << " s, all well\n";
}

}  // namespace

void fail(std::string const& what, std::source_location at) noexcept {
  static std::mutex first;  // of several at once
  first.lock();
  std::cerr << "weft_stress: FAILED " << place << "\nweft_stress: " << what << " (" << at.file_name() << ':'
            << at.line() << ")\n";
  weft::dump(std::cerr);
  std::cerr << std::flush;
  std::_Exit(1);
}

void fail_with(std::exception_ptr e, char const* where) noexcept {
  try {
    std::rethrow_exception(std::move(e));
  } catch (std::exception const& failure) {
    fail(std::string("an exception out of ") + where + ": " + failure.what());
  } catch (cancelled const& c) {
    fail(std::string("an exception out of ") + where + ": " + c.what());
  } catch (...) {
    fail(std::string("an exception of no known type out of ") + where);
  }
}

}  // namespace weft::stress

int main(int argc, char** argv) {
  using namespace weft::stress;
  double seconds = 10, hang_after = 180;
  unsigned long seed = (static_cast<unsigned long>(std::random_device{}()) << 16) ^ std::random_device{}();
  std::string list = "1,2,4", only;
  std::vector<std::string> names;
  for (auto const& s : scenarios) names.emplace_back(s.name);
  examples::command_line line("weft_stress", "Scenarios by chance, with invariants that must hold whatever was drawn.");
  line.duration("--seconds", seconds, "how long to begin new rounds")
      .duration("--hang-after", hang_after, "a round that takes longer ends in a list of all tasks, and abort")
      .number("--seed", seed, "of the first round; the next round's is one more")
      .text("--workers", list, "numbers of workers, taken in turns")
      .one_of("--only", only, "one scenario alone", names);
  if (auto const status = line.parse(argc, argv)) return *status;
  std::vector<unsigned> workers;
  for (char const *at = list.data(), *end = at + list.size(); at < end;) {
    unsigned n = 0;
    auto const [stop, error] = std::from_chars(at, end, n);
    if (error != std::errc() || n == 0 || n > 256 || (stop != end && *stop != ',') || stop + 1 == end)
      return line.refuse("--workers", "must be numbers from 1 to 256 with commas between them");
    workers.push_back(n);
    at = stop + 1;
  }
  if (workers.empty()) return line.refuse("--workers", "must name a number");
  std::cerr << "weft_stress: --seed " << seed << '\n';
  std::signal(SIGABRT, say_where_and_abort);
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(say_where);
  struct sigaction on_interrupt{};
  on_interrupt.sa_handler = [](int) { interrupted = 1; };
  on_interrupt.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // a second Ctrl-C ends it at once
  sigaction(SIGINT, &on_interrupt, nullptr);
  sigaction(SIGTERM, &on_interrupt, nullptr);
  try {
    run(seconds, hang_after, seed, workers, only);
  } catch (...) {
    fail_with(std::current_exception(), "a scenario");
  }
  return 0;
}
