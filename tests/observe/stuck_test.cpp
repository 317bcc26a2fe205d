#include <weft/weft.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include <unistd.h>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

using namespace std::chrono_literals;

namespace {

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

weft::options impatient(unsigned workers, weft::stuck what = weft::stuck::exit) {
  weft::options o;
  o.workers = workers;
  o.shutdown_grace = 300ms;
  o.on_stuck = what;
  return o;
}

__attribute__((noinline)) void ignore_the_end() {
  weft::uncancellable const shield;
  weft::sleep_for(1h);
  __asm__ volatile("");  // no tail call
}

/// Runs `body` in a child with 1, 2 and 4 workers; it must end with status 70 and the report.
template <class Body, class Look>
void is_reported(Body body, Look look) {
  for (unsigned const workers : {1u, 2u, 4u}) {
    INFO("with " << workers << " workers");
    child_end const end = run_child([&] {
      body(workers);
      return 0;
    });
    INFO(end.errors);
    CHECK(end.exit_code == 70);
    CHECK(contains(end.errors, "did not end within the grace"));
    look(end.errors);
  }
}

}  // namespace

TEST_CASE("while the process is stopped the grace does not run", "[observe][stuck]") {
  struct stop {
    unsigned workers;
    std::chrono::milliseconds grace, lasts, cleaning_up;
  };
  // The last is over before half of the grace is.
  for (stop const how :
       {stop{1, 1s, 2s, 200ms}, stop{2, 1s, 2s, 200ms}, stop{4, 1s, 2s, 200ms}, stop{2, 2s, 900ms, 1400ms}}) {
    INFO("with " << how.workers << " workers, stopped for " << how.lasts.count() << " ms");
    child_end const end = run_child([&] {
      int ends[2];
      if (::pipe(ends) != 0) return 1;
      pid_t const debugged = ::getpid();
      if (::fork() == 0) {
        char cancelled = 0;
        if (::read(ends[0], &cancelled, 1) != 1) ::_exit(1);
        std::this_thread::sleep_for(50ms);  // by now the shutdown waits
        ::kill(debugged, SIGSTOP);
        std::this_thread::sleep_for(how.lasts);
        ::kill(debugged, SIGCONT);
        ::_exit(0);
      }
      weft::options o = impatient(how.workers);
      o.shutdown_grace = how.grace;
      weft::run(o, [&] {
        weft::go([&] {
          weft::defer const clean_up([&] {
            [[maybe_unused]] ssize_t const told = ::write(ends[1], "c", 1);
            for (auto left = how.cleaning_up; left > 0ms; left -= 20ms) weft::sleep_for(20ms);
          });
          weft::sleep_for(1h);
        });
        weft::sleep_for(1ms);
      });
      return 0;
    });
    INFO(end.errors);
    CHECK(end.exit_code == 0);
  }
}

TEST_CASE("a task that outlives the grace is named with its place of spawn and its stack", "[observe][stuck]") {
  is_reported(
      [](unsigned workers) {
        weft::run(impatient(workers), [] {
          auto begun = weft::make_chan<int>();
          weft::go([begun] {
            weft::this_task::set_name("stubborn");
            begun.send(1);
            ignore_the_end();
          });
          begun.recv();
        });
      },
      [](std::string const& errors) {
        CHECK(contains(errors, "\"stubborn\", spawned at "));
        CHECK(contains(errors, "stuck_test.cpp:"));
        CHECK(contains(errors, "waits on sleep"));
        CHECK(contains(errors, "ignore_the_end()"));
      });
}

TEST_CASE("a ~join_handle that waits beyond the grace of a shutdown is named beside the task it waits for",
          "[observe][stuck]") {
  is_reported(
      [](unsigned workers) {
        weft::run(impatient(workers), [] {
          auto begun = weft::make_chan<int>();
          weft::go([begun] {
            auto const child = weft::spawn(weft::task_options{.name = "child"}, [begun] {
              begun.send(1);
              ignore_the_end();
            });
            weft::make_chan<int>().recv();
          });
          begun.recv();
        });
      },
      [](std::string const& errors) {
        CHECK(contains(errors, "2 tasks: 2 parked"));
        CHECK(contains(errors, "waits on join of task "));
        CHECK(contains(errors, "task_stop("));
        CHECK(contains(errors, "\"child\", spawned at "));
      });
}

TEST_CASE("a ~task_group that waits beyond the grace of a shutdown is named beside its tasks", "[observe][stuck]") {
  is_reported(
      [](unsigned workers) {
        weft::run(impatient(workers), [] {
          auto begun = weft::make_chan<int>();
          weft::go([begun] {
            weft::task_group all;
            all.spawn([begun] {
              begun.send(1);
              ignore_the_end();
            });
            weft::make_chan<int>().recv();
          });
          begun.recv();
        });
      },
      [](std::string const& errors) {
        CHECK(contains(errors, "waits on task_group"));
        CHECK(contains(errors, "~task_group()"));
        CHECK(contains(errors, "ignore_the_end()"));
      });
}

TEST_CASE("a ~runtime that waits beyond the grace names the tasks, running ones too", "[observe][stuck]") {
  is_reported(
      [](unsigned workers) {
        weft::runtime r(impatient(workers));
        std::atomic<bool> begun{false};
        r.go([&] {
          begun = true;
          for (bool volatile stop = false; !stop;) {
          }
        });
        while (!begun) {
        }
      },
      [](std::string const& errors) {
        CHECK(contains(errors, "1 task: 1 running"));
        CHECK(contains(errors, "stuck_test.cpp:"));
      });
}

namespace {
__attribute__((noinline)) void compute_for_ever(std::atomic<bool>& begun) {
  begun = true;
  for (bool volatile stop = false; !stop;) {
  }
  __asm__ volatile("");  // no tail call
}
__attribute__((noinline)) void sit_in_a_call(std::atomic<bool>& begun) {
  begun = true;
  for (;;) ::pause();
}
}  // namespace

TEST_CASE("a task that computes, or sits in a system call, beyond the grace is named with its calls",
          "[observe][stuck]") {
  for (auto* const stuck : {compute_for_ever, sit_in_a_call})
    is_reported(
        [stuck](unsigned workers) {
          weft::runtime r(impatient(workers));
          std::atomic<bool> begun{false};
          r.go([&] { stuck(begun); });
          while (!begun) {
          }
        },
        [stuck](std::string const& errors) {
          if (weft::rt::tsan) return;  // it keeps the signal back until the thread comes to a call that it knows
          CHECK(contains(errors, stuck == compute_for_ever ? "compute_for_ever(" : "sit_in_a_call("));
        });
}

namespace {
/// What a program prints to a pipe.
std::FILE* buffered_errors() { return ::fdopen(::dup(STDERR_FILENO), "w"); }
}  // namespace

TEST_CASE("what was printed to a stream is written before the process ends for a stuck task", "[observe][stuck]") {
  is_reported(
      [](unsigned workers) {
        std::fputs("said before", buffered_errors());
        weft::run(impatient(workers), [] {
          auto begun = weft::make_chan<int>();
          weft::go([begun] {
            begun.send(1);
            ignore_the_end();
          });
          begun.recv();
        });
      },
      [](std::string const& errors) { CHECK(contains(errors, "said before")); });
}

TEST_CASE("what was printed to a stream is written before the process ends for an uncancellable deadlock",
          "[observe][stuck]") {
  child_end const end = run_child([] {
    std::fputs("said before", buffered_errors());
    weft::run([] {
      weft::uncancellable const shield;
      weft::make_chan<int>().recv();
    });
    return 0;
  });
  INFO(end.errors);
  CHECK(end.exit_code == 70);
  CHECK(contains(end.errors, "wait uncancellably"));
  CHECK(contains(end.errors, "said before"));
}

TEST_CASE("a stuck task that holds a stream's lock does not keep the process", "[observe][stuck]") {
  child_end const end = run_child([] {
    weft::run(impatient(2), [] {
      auto begun = weft::make_chan<int>();
      weft::go([begun] {
        ::flockfile(buffered_errors());
        begun.send(1);
        ignore_the_end();
      });
      begun.recv();
    });
    return 0;
  });
  CHECK(end.exit_code == 70);
  CHECK(contains(end.errors, "ignore_the_end()"));
}

TEST_CASE("with stuck::abort the process aborts after the report", "[observe][stuck]") {
  child_end const end = run_child([] {
    weft::run(impatient(2, weft::stuck::abort), [] {
      auto begun = weft::make_chan<int>();
      weft::go([begun] {
        begun.send(1);
        ignore_the_end();
      });
      begun.recv();
    });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(contains(end.errors, "ignore_the_end()"));
}
