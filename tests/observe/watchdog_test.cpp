#include <weft/weft.hpp>

#include <atomic>
#include <csignal>
#include <string>

#include <time.h>
#include <unistd.h>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

/// How often `part` stands in `text`.
int times(std::string const& text, std::string const& part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

weft::options watched(unsigned workers, std::chrono::nanoseconds after = 20ms) {
  weft::options o;
  o.workers = workers;
  o.watchdog = after;
  return o;
}

std::int64_t cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::atomic<unsigned long> sink{0};

__attribute__((noinline)) void count_the_stars(std::chrono::nanoseconds cpu) {
  std::int64_t const end = cpu_ns() + cpu.count();
  do {
    for (unsigned long i = 0; i < 100'000; ++i) sink.fetch_add(i, std::memory_order_relaxed);
  } while (cpu_ns() < end);
  __asm__ volatile("");
}

__attribute__((noinline)) void sleep_in_the_kernel(std::chrono::milliseconds d) {
  timespec left{d.count() / 1000, (d.count() % 1000) * 1'000'000};
  while (::nanosleep(&left, &left) != 0) {
  }
}

template <class F>
std::string errors_of(weft::options const& o, F f) {
  child_end const end = run_child([&] {
    weft::run(o, f);
    return 0;
  });
  CHECK(end.signal == 0);
  CHECK(end.exit_code == 0);
  return end.errors;
}

}  // namespace

TEST_CASE(
    "a task that computes for longer than the watchdog allows is named once, with its place of spawn and its calls",
    "[observe][watchdog]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    std::string text;
    // The thread is asked for its calls, and has ten milliseconds for the answer: the system may let it run too late for that, not each time.
    for (int left = 10; left != 0 && !contains(text, "count_the_stars("); --left) {
      text = errors_of(watched(workers), [] {
        auto slow = weft::spawn(weft::task_options{.name = "stars"}, [] { count_the_stars(200ms); });
        auto other = weft::spawn([] { weft::sleep_for(1ms); });
        slow.join();
        other.join();
      });
      INFO(text);
      CHECK(times(text, "watchdog: task ") == 1);
      CHECK(contains(text, "\"stars\", spawned at "));
      CHECK(contains(text, "watchdog_test.cpp:"));
      CHECK(contains(text, " has kept its thread for "));
      CHECK(contains(text, " ms, computing\n"));
      if (weft::rt::tsan) break;  // there signals wait for the next call of the C library
    }
    if (!weft::rt::tsan) CHECK(contains(text, "count_the_stars("));
  }
}

TEST_CASE("the only task of a runtime is watched too", "[observe][watchdog]") {
  std::string const text = errors_of(watched(1), [] { count_the_stars(100ms); });
  INFO(text);
  CHECK(times(text, "watchdog: task ") == 1);
}

TEST_CASE("a task that sleeps in a system call is named, and its sleep is not cut short", "[observe][watchdog]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    std::string const text = errors_of(watched(workers), [] {
      auto slow = weft::spawn(weft::task_options{.name = "sleeper"}, [] {
        timespec const d{0, 150'000'000};
        return ::nanosleep(&d, nullptr);
      });
      weft::sleep_for(1ms);
      if (slow.join() != 0) ::_exit(3);
    });
    INFO(text);
    CHECK(times(text, "watchdog: task ") == 1);
    CHECK(contains(text, "\"sleeper\""));
    CHECK(contains(text, " ms, in a system call\n"));
  }
}

TEST_CASE("tasks that yield, wait, or say that they block are not named", "[observe][watchdog]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    // Far more than a slice of time on a machine with much to do.
    std::string const text = errors_of(watched(workers, 1s), [] {
      weft::task_group group;
      group.spawn([] {
        for (int i = 0; i < 150; ++i) {
          count_the_stars(5ms);
          weft::yield();
        }
      });
      group.spawn([] {
        for (int i = 0; i < 150; ++i) {
          count_the_stars(5ms);
          weft::sleep_for(1ms);
        }
      });
      group.spawn([] { weft::blocking([] { sleep_in_the_kernel(1500ms); }); });
      group.wait();
    });
    INFO(text);
    CHECK(times(text, "watchdog: ") == 0);
  }
}

TEST_CASE("a program's own handler for SIGURG stays, and the watchdog does without calls", "[observe][watchdog]") {
  static std::atomic<int> signals;
  signals = 0;
  std::string const text = errors_of(watched(2), [] {
    std::signal(SIGURG, [](int) { signals.fetch_add(1); });
    auto slow = weft::spawn([] { count_the_stars(100ms); });
    slow.join();
    std::raise(SIGURG);
    if (signals != 1) ::_exit(3);
  });
  INFO(text);
  CHECK(times(text, "watchdog: task ") == 1);
  CHECK_FALSE(contains(text, "count_the_stars("));
}

TEST_CASE("many tasks that keep their threads are told of once a second, and counted", "[observe][watchdog]") {
  auto const began = std::chrono::steady_clock::now();
  std::string const text = errors_of(watched(2), [] {
    for (int i = 0; i < 6; ++i) {
      auto slow = weft::spawn([] { sleep_in_the_kernel(250ms); });
      slow.join();
    }
  });
  INFO(text);
  auto const told = times(text, "watchdog: task ");
  CHECK(told >= 2);
  CHECK(told <= 1 + (std::chrono::steady_clock::now() - began) / 1s);
  CHECK(contains(text, " more such times were not told of"));
}
