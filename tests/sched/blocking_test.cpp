// weft::blocking: what it promises to the caller, and that the other tasks go on at once.

#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sched/scheduler.hpp"
#include "tests/sched/adrift.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::block_for_ms;
using weft::test::with_workers;
using namespace std::chrono_literals;

namespace {

/// With a monitor that takes nothing: what goes on does so because of blocking() alone.
template <class F>
void without_taking(F f) {
  for (unsigned workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::test::undisturbed(workers, f);
  }
}

unsigned calls_in_progress() { return weft::rt::current_worker()->sched->blocking_calls(); }

}  // namespace

TEST_CASE("blocking returns what the function returns") {
  with_workers([] {
    CHECK(weft::blocking([] { return 42; }) == 42);
    CHECK(weft::blocking([](int a, std::string const& b) { return b + std::to_string(a); }, 7, "x") == "x7");
    CHECK(*weft::blocking([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(3)) == 3);
    int target = 0;
    CHECK(&weft::blocking([&]() -> int& { return target; }) == &target);
    weft::blocking([&] { target = 1; });
    CHECK(target == 1);
    struct immovable {
      explicit immovable(int v) : value(v) {}
      immovable(immovable const&) = delete;
      int value;
    };
    CHECK(weft::blocking([] { return immovable(9); }).value == 9);
  });
}

TEST_CASE("blocking rethrows what the function throws, with other tasks' exceptions about") {
  with_workers([] {
    std::vector<weft::join_handle<bool>> tasks;
    for (int i = 0; i < 20; ++i)
      tasks.push_back(weft::spawn([i] {
        try {
          throw i;
        } catch (int) {
          bool inner = false;
          try {
            weft::blocking([i] {
              block_for_ms(1);
              throw std::runtime_error(std::to_string(i));
            });
          } catch (std::runtime_error const& e) {
            inner = e.what() == std::to_string(i) && std::uncaught_exceptions() == 0;
          }
          try {
            throw;
          } catch (int again) {
            return inner && again == i;
          }
        }
      }));
    for (auto& t : tasks) CHECK(t.join());
    CHECK(calls_in_progress() == 0);
  });
}

TEST_CASE("on a plain thread blocking just calls the function") {
  CHECK(weft::blocking([] { return std::this_thread::get_id(); }) == std::this_thread::get_id());
  CHECK_THROWS_AS(weft::blocking([] { throw 1; }), int);
}

TEST_CASE("the function runs on the thread of the call") {
  with_workers([] {
    auto const here = std::this_thread::get_id();
    CHECK(weft::blocking([] { return std::this_thread::get_id(); }) == here);
  });
}

TEST_CASE("other tasks go on at once while calls block, with any number of workers") {
  without_taking([] {
    // Each of the calls ends only when a task has run that was behind it in the queue.
    constexpr int calls = 20;
    std::atomic<int> ran = 0;
    std::vector<weft::join_handle<void>> blocked;
    for (int i = 0; i < calls; ++i) {
      blocked.push_back(weft::spawn([&] {
        weft::blocking([&] {
          while (ran < calls) block_for_ms(1);
        });
      }));
      weft::go([&] { ++ran; });
    }
    for (auto& b : blocked) b.join();
    CHECK(ran == calls);
    CHECK(calls_in_progress() == 0);
  });
}

TEST_CASE("timers are attended to while the only other task is in a blocking call") {
  without_taking([] {
    // A machine under load may let the sleep pass unseen: then anew, until the call has begun beside it.
    for (bool beside = false; !beside;) {
      std::atomic<bool> woken = false;
      auto sleeper = weft::spawn([&] {
        weft::sleep_for(5ms);
        woken = true;
      });
      while (!woken && weft::current_metrics().parked == 0) weft::yield();
      weft::blocking([&] {
        beside = !woken;
        while (!woken) block_for_ms(1);
      });
      sleeper.join();
    }
    SUCCEED();
  });
}

TEST_CASE("blocking is a cancellation point when it is entered and not after") {
  with_workers([] {
    std::atomic<int> began = 0, ended = 0;
    std::atomic<bool> release = false;
    auto t = weft::spawn([&] {
      weft::blocking([&] {
        ++began;
        while (!release) block_for_ms(1);
        ++ended;
      });
      weft::blocking([&] { ++began; });
    });
    while (began == 0) weft::yield();
    t.cancel();
    release = true;
    CHECK_THROWS_AS(t.join(), weft::cancelled);
    CHECK(began == 1);
    CHECK(ended == 1);
    CHECK(calls_in_progress() == 0);
  });
}

TEST_CASE("calls in progress are counted") {
  with_workers([] {
    std::atomic<bool> release = false;
    std::vector<weft::join_handle<void>> blocked;
    for (int i = 0; i < 3; ++i)
      blocked.push_back(weft::spawn([&] {
        weft::blocking([&] {
          while (!release) block_for_ms(1);
        });
      }));
    while (calls_in_progress() < 3) weft::yield();
    CHECK(calls_in_progress() == 3);
    release = true;
    for (auto& b : blocked) b.join();
    CHECK(calls_in_progress() == 0);
  });
}

TEST_CASE("a blocking call may wait on a channel and hold another blocking call") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    auto t = weft::spawn([&] {
      return weft::blocking([&] {
        int const got = c.recv().value_or(0);
        return weft::blocking([&] { return got + 1; });
      });
    });
    c.send(4);
    CHECK(t.join() == 5);
    CHECK(calls_in_progress() == 0);
  });
}

TEST_CASE("many blocking calls end although there are few threads") {
  for (unsigned workers : weft::test::worker_counts) {
    weft::run(weft::options{.workers = workers, .max_threads = 8}, [] {
      std::atomic<int> ended = 0;
      weft::wait_group all;
      for (int i = 0; i < 200; ++i)
        all.go([&] {
          weft::blocking([] { block_for_ms(1); });
          ++ended;
        });
      all.wait();
      CHECK(ended == 200);
      CHECK(weft::current_metrics().threads <= 7);
    });
  }
}

TEST_CASE("calls from many tasks at once return to at most as many running tasks as there are workers") {
  without_taking([] {
    int const workers = static_cast<int>(weft::current_metrics().workers);
    std::atomic<int> running = 0, most = 0;
    weft::wait_group all;
    for (int i = 0; i < 32; ++i)
      all.go([&] {
        for (int k = 0; k < 5; ++k) {
          weft::blocking([] { block_for_ms(2); });
          int const now = ++running;
          for (int before = most; now > before && !most.compare_exchange_weak(before, now);) {
          }
          --running;
        }
      });
    all.wait();
    CHECK(most <= workers);
  });
}
