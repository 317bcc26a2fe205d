// Workers that do little but wait for each other's locks: runtime/sched/lock_waits.hpp, stand_aside.cpp.

#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "runtime/base/lock.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/worker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::rt::lock_waits;
using weft::test::with_worker_count;
using namespace std::chrono_literals;

namespace {

using share = lock_waits::share;
constexpr std::int64_t window = lock_waits::window_ns;

weft::rt::scheduler& scheduler_here() { return *weft::rt::current_worker()->sched; }

void spin_for_ns(std::int64_t ns) {
  for (std::int64_t const until = weft::rt::monotonic_ns() + ns; weft::rt::monotonic_ns() < until;)
    weft::rt::cpu_relax();
}

void take_and_release(weft::rt::object_lock& lock, int times) {
  for (int i = 0; i < times; ++i) {
    lock.lock();
    lock.unlock();
  }
}

/// A plain thread that has the lock three quarters of the time.
class lock_hog {
 public:
  explicit lock_hog(weft::rt::object_lock& lock)
      : thread_([this, &lock] {
          while (!over_.load()) {
            lock.lock();
            spin_for_ns(3'000);
            lock.unlock();
            spin_for_ns(1'000);
          }
        }) {}
  ~lock_hog() {
    over_.store(true);
    thread_.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("a worker stands aside if a third of its time or more went into waiting for locks") {
  lock_waits w;
  w.rest(1000, 70);
  CHECK(w.look(1000 + window - 1, 70 + window - 1) == share::unknown);
  CHECK(w.look(1000 + window, 70 + window / 2) == share::much);
  CHECK(w.look(1000 + 2 * window, 70 + window / 2 + window / 3 - 1) == share::some);
  w.rest(10 * window, 9 * window);  // what went before a rest does not count
  CHECK(w.look(11 * window, 9 * window) == share::little);
}

TEST_CASE(
    "the times that a worker stands aside double, up to a limit, until it waits for little or stands aside in vain") {
  lock_waits w;
  std::int64_t now = 0, waited = 0;
  auto const window_with = [&](std::int64_t wait) {
    now += window;
    waited += wait;
    return w.look(now, waited);
  };
  for (std::int64_t const ms : {1, 2, 4, 4}) {
    CHECK(window_with(window) == share::much);
    CHECK(w.pause(now) == ms * 1'000'000);
    w.stood(now, true);
  }
  CHECK(window_with(window / 5) == share::some);
  CHECK(w.pause(now) == 4'000'000);
  CHECK(window_with(window / 10) == share::little);
  CHECK(w.pause(now) == 1'000'000);
  w.stood(now, true);
  w.stood(now, false);
  CHECK(w.pause(now) == 0);
  CHECK(w.pause(now + lock_waits::in_vain_ns - 1) == 0);
  CHECK(w.pause(now + lock_waits::in_vain_ns) == 1'000'000);
}

TEST_CASE("time that is waited for a lock is counted for the thread that waits") {
  weft::rt::object_lock lock;
  std::int64_t const mine = weft::rt::lock_waited_ns(), begin = weft::rt::monotonic_ns();
  std::int64_t waited = 0;
  {
    lock_hog const other(lock);
    std::thread([&] {
      std::int64_t const before = weft::rt::lock_waited_ns();
      while (waited == 0 && weft::rt::monotonic_ns() < begin + 20'000'000'000) {
        take_and_release(lock, 1);
        waited = weft::rt::lock_waited_ns() - before;
      }
    }).join();
  }
  CHECK(waited > 0);
  CHECK(waited <= weft::rt::monotonic_ns() - begin);
  CHECK(weft::rt::lock_waited_ns() == mine);
}

TEST_CASE("of two workers that wait for locks most of the time one stands aside, and comes back") {
  if (std::thread::hardware_concurrency() < 2) return;
  // Under ThreadSanitizer a worker that waits sleeps more than it spins.
  std::int64_t const usual = lock_waits::much_is_one_in.exchange(100);
  with_worker_count(2, [] {
    weft::rt::scheduler& s = scheduler_here();
    weft::rt::object_lock lock;
    std::atomic<bool> over{false};
    std::atomic<std::int64_t> rounds{0};
    weft::wait_group all;
    std::uint64_t times = 0;
    {
      lock_hog const other(lock);
      for (int i = 0; i < 8; ++i) {
        all.go([&] {
          while (!over.load()) {
            take_and_release(lock, 32);
            rounds.fetch_add(1);
            weft::yield();
          }
        });
      }
      auto const deadline = std::chrono::steady_clock::now() + 20s;
      while (s.stood_aside() < 3 && std::chrono::steady_clock::now() < deadline) weft::sleep_for(1ms);
      times = s.stood_aside();
    }
    CHECK(times >= 3);
    std::int64_t const before = rounds.load();
    while (rounds.load() < before + 1000)
      weft::sleep_for(1ms);  // whoever stands aside still keeps nobody from going on
    over.store(true);
    all.wait();
  });
  lock_waits::much_is_one_in = usual;
}

TEST_CASE("a worker that sleeps for one of weft's own locks keeps its processor") {
  // Another thread would run the next task into the same lock. A round is longer than hog_after, but takes little CPU time. Under ThreadSanitizer it sleeps
  // for that one's locks, too, whose holders the system may not run.
  if (weft::rt::tsan) return;
  with_worker_count(1, [] {
    weft::rt::object_lock lock;
    std::atomic<int> held{0}, waited{0};
    constexpr int rounds = 5;
    std::atomic<bool> over{false};
    weft::wait_group beside;  // what another thread could run
    beside.go([&] {
      while (!over.load()) weft::yield();
    });
    std::thread other([&] {
      for (int i = 0; i < rounds; ++i) {
        while (waited.load() != i) std::this_thread::yield();
        lock.lock();
        held.store(i + 1);
        std::this_thread::sleep_for(30ms);
        lock.unlock();
      }
    });
    int lost = 0;
    for (int i = 0; i < rounds; ++i) {
      while (held.load() != i + 1) weft::yield();
      take_and_release(lock, 1);
      lost += weft::rt::current_worker()->held() == nullptr ? 1 : 0;
      waited.store(i + 1);
    }
    other.join();
    over.store(true);
    beside.wait();
    CHECK(lost == 0);
  });
}

TEST_CASE("a worker alone does not stand aside, however long it waits for locks") {
  with_worker_count(1, [] {
    weft::rt::object_lock lock;
    lock_hog const other(lock);
    std::int64_t const until = weft::rt::monotonic_ns() + 100'000'000;
    weft::wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&] {
        while (weft::rt::monotonic_ns() < until) {
          take_and_release(lock, 32);
          weft::yield();
        }
      });
    }
    all.wait();
    CHECK(scheduler_here().stood_aside() == 0);
  });
}
