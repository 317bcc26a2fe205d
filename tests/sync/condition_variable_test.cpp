// weft::condition_variable: who is woken, what a timeout and a cancellation leave behind.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_workers;
using namespace std::chrono_literals;

// Waits until `n` have said, under the mutex, that they are about to wait: with the mutex held they do wait.
void await_waiters(weft::mutex& mutex, int const& waiting, int n) {
  for (;;) {
    {
      std::lock_guard lock(mutex);
      if (waiting == n) return;
    }
    weft::yield();
  }
}

TEST_CASE("notify_one wakes one waiter, in the order of their coming, and notify_all the rest") {
  with_workers([] {
    weft::mutex mutex;
    weft::condition_variable changed;
    int waiting = 0;
    std::vector<int> woken;
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(weft::spawn([&, i] {
        std::unique_lock lock(mutex);
        ++waiting;
        changed.wait(lock);
        woken.push_back(i);
      }));
      await_waiters(mutex, waiting, i + 1);
    }
    changed.notify_one();
    tasks[0].join();
    {
      std::lock_guard lock(mutex);
      CHECK(woken == std::vector{0});
    }
    changed.notify_one();
    tasks[1].join();
    changed.notify_all();
    tasks[2].join();
    tasks[3].join();
    CHECK(woken.size() == 4);
    CHECK(woken[1] == 1);
    changed.notify_one();  // nobody there: no effect
  });
}

TEST_CASE("values pass from tasks to threads and back under a condition variable, none lost") {
  with_workers([] {
    constexpr int each = 1500, producers = 3;
    weft::mutex mutex;
    weft::condition_variable not_empty, not_full;
    std::deque<int> queue;  // guarded by mutex, at most 4
    long received = 0, sum = 0;
    auto produce = [&] {
      for (int i = 1; i <= each; ++i) {
        std::unique_lock lock(mutex);
        not_full.wait(lock, [&] { return queue.size() < 4; });
        queue.push_back(i);
        not_empty.notify_one();
      }
    };
    auto consume = [&](bool timed) {
      for (;;) {
        std::unique_lock lock(mutex);
        auto ready = [&] { return !queue.empty() || received == long{each} * producers; };
        if (timed) {
          if (!not_empty.wait_for(lock, 20us, ready)) continue;
        } else {
          not_empty.wait(lock, ready);
        }
        if (queue.empty()) return;
        sum += queue.front();
        queue.pop_front();
        if (++received == long{each} * producers) not_empty.notify_all();
        not_full.notify_one();
      }
    };
    std::thread outside_producer(produce), outside_consumer(consume, false);
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 1; i < producers; ++i) tasks.push_back(weft::spawn(produce));
    for (int i = 0; i < 3; ++i) tasks.push_back(weft::spawn(consume, i == 0));
    for (auto& h : tasks) h.join();
    outside_producer.join();
    outside_consumer.join();
    CHECK(sum == long{producers} * each * (each + 1) / 2);
  });
}

TEST_CASE("a wait with a duration ends with timeout, or with what the predicate says") {
  with_workers([] {
    weft::mutex mutex;
    weft::condition_variable changed;
    std::unique_lock lock(mutex);
    auto const before = std::chrono::steady_clock::now();
    CHECK(changed.wait_for(lock, 2ms) == std::cv_status::timeout);
    CHECK(std::chrono::steady_clock::now() - before >= 2ms);
    CHECK(lock.owns_lock());
    CHECK(changed.wait_for(lock, -1s) == std::cv_status::timeout);
    CHECK_FALSE(changed.wait_for(lock, 1ms, [] { return false; }));
    CHECK(changed.wait_for(lock, 0s, [] { return true; }));
    CHECK(changed.wait_until(lock, std::chrono::system_clock::now() + 1ms) == std::cv_status::timeout);
    bool there = false;
    auto setter = weft::spawn([&] {
      std::lock_guard inner(mutex);
      there = true;
      changed.notify_all();
    });
    CHECK(changed.wait_until(lock, std::chrono::steady_clock::time_point::max(), [&] { return there; }));
    lock.unlock();
    setter.join();
  });
}

TEST_CASE("a notify that meets a waiter at the moment of its timeout goes to the next one") {
  with_workers([] {
    for (int round = 0; round < 1000; ++round) {
      weft::mutex mutex;
      weft::condition_variable changed;
      int waiting = 0;
      bool hurried_was_notified = false;
      auto hurried = weft::spawn([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        hurried_was_notified =
            changed.wait_for(lock, std::chrono::microseconds(5 * (round % 20))) == std::cv_status::no_timeout;
      });
      await_waiters(mutex, waiting, 1);
      auto patient = weft::spawn([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        changed.wait(lock);
      });
      await_waiters(mutex, waiting, 2);
      changed.notify_one();
      hurried.join();
      if (hurried_was_notified) changed.notify_one();
      patient.join();  // does not return if the notify was lost
    }
  });
}

TEST_CASE("a cancelled wait throws with the mutex held, and its notify goes to another waiter") {
  with_workers([] {
    for (int round = 0; round < 1000; ++round) {
      weft::mutex mutex;
      weft::condition_variable changed;
      int waiting = 0;
      bool notified = false, owned = true;
      auto doomed = weft::spawn([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        try {
          changed.wait(lock);
          notified = true;
        } catch (weft::cancelled const&) {
          owned = lock.owns_lock();
        }
      });
      await_waiters(mutex, waiting, 1);
      auto patient = weft::spawn([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        changed.wait(lock);
      });
      await_waiters(mutex, waiting, 2);
      auto notifier = weft::spawn([&] { changed.notify_one(); });
      doomed.cancel();
      notifier.join();
      doomed.join();
      if (notified) changed.notify_one();
      patient.join();
      CHECK(owned);
    }
  });
}

TEST_CASE("a wait throws at once in a cancelled task, even if its predicate holds") {
  with_workers([] {
    weft::mutex mutex;
    weft::condition_variable changed;
    std::atomic<bool> cancelled{false};
    auto task = weft::spawn([&] {
      while (!cancelled.load()) weft::yield();
      std::unique_lock lock(mutex);
      try {
        changed.wait(lock, [] { return true; });
      } catch (weft::cancelled const&) {
        return lock.owns_lock();
      }
      return false;
    });
    task.cancel();
    cancelled.store(true);
    CHECK(task.join());
  });
}

TEST_CASE("waiting with a lock that does not own its mutex ends the process and names the call") {
  using lock = std::unique_lock<weft::mutex>;
  using wait = void (*)(weft::condition_variable&, lock&);
  static constexpr auto ready = [] { return true; };
  wait const waits[] = {[](auto& changed, lock& l) { changed.wait(l); },
                        [](auto& changed, lock& l) { (void)changed.wait_for(l, std::chrono::hours(1)); },
                        [](auto& changed, lock& l) { changed.wait(l, ready); },
                        [](auto& changed, lock& l) { (void)changed.wait_for(l, std::chrono::hours(1), ready); },
                        [](auto& changed, lock& l) { (void)changed.wait_until(l, weft::time_point::max(), ready); }};
  for (wait const w : waits) {
    auto const end = weft::test::run_in_child([w] {
      weft::mutex m;
      weft::condition_variable changed;
      lock l(m, std::defer_lock);
      w(changed, l);
    });
    CHECK(end.aborted);
    CHECK(end.said.find("condition_variable::wait: the lock does not own its mutex") != std::string::npos);
  }
}

TEST_CASE("a condition_variable may be destroyed once its waiters have been notified, before they have returned") {
  with_workers([] {
    for (int round = 0; round < 1000; ++round) {
      weft::mutex m;
      auto changed = std::make_unique<weft::condition_variable>();
      int waiting = 0;
      std::vector<weft::join_handle<void>> tasks;
      for (int i = 0; i < 3; ++i) {
        tasks.push_back(weft::spawn([&, &on = *changed] {
          std::unique_lock<weft::mutex> lock(m);
          ++waiting;
          on.wait(lock);
        }));
      }
      for (std::unique_lock<weft::mutex> lock(m);; lock.lock()) {
        if (waiting == 3) {
          changed->notify_all();
          changed.reset();  // they have yet to take the mutex
          break;
        }
        lock.unlock();
        weft::yield();
      }
      for (auto& h : tasks) h.join();
    }
  });
}

}  // namespace
