// weft::mutex and guarded: exclusion between tasks and threads, hand-over, misuse, life.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_workers;
using namespace std::chrono_literals;

TEST_CASE("tasks and plain threads that lock one mutex never hold it together") {
  with_workers([] {
    constexpr int rounds = 10'000, tasks = 6, threads = 2;
    weft::mutex mutex;
    long sum = 0;  // guarded by mutex; plain, so that a sanitizer sees what the test may not
    std::atomic<int> inside{0}, together{0};
    auto work = [&](bool yields) {
      for (int i = 0; i < rounds; ++i) {
        std::lock_guard lock(mutex);
        if (inside.fetch_add(1) != 0) together.fetch_add(1);
        ++sum;
        if (yields && i % 16 == 0) weft::yield();
        inside.fetch_sub(1);
      }
    };
    std::vector<std::thread> outside;
    for (int i = 0; i < threads; ++i) outside.emplace_back(work, false);
    std::vector<weft::join_handle<void>> inner;
    for (int i = 0; i < tasks; ++i) inner.push_back(weft::spawn(work, i % 2 == 0));
    for (auto& h : inner) h.join();
    for (auto& t : outside) t.join();
    CHECK(together.load() == 0);
    CHECK(sum == long{rounds} * (tasks + threads));
  });
}

TEST_CASE("try_lock fails while the mutex is held and succeeds when it is free") {
  with_workers([] {
    weft::mutex mutex;
    bool const free = mutex.try_lock();
    CHECK(free);
    CHECK(weft::spawn([&] { return mutex.try_lock(); }).join() == false);
    if (free) mutex.unlock();
    CHECK(weft::spawn([&] {
            if (!mutex.try_lock()) return false;
            mutex.unlock();
            return true;
          }).join());
  });
}

TEST_CASE("a mutex works with scoped_lock, unique_lock, and an unlock in another task") {
  with_workers([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {  // it knows one owner
    weft::mutex a, b;
    int sum = 0;
    auto one = weft::spawn([&] {
      for (int i = 0; i < 500; ++i) {
        std::scoped_lock both(a, b);
        ++sum;
      }
    });
    for (int i = 0; i < 500; ++i) {
      std::scoped_lock both(b, a);
      ++sum;
    }
    one.join();
    CHECK(sum == 1000);
    a.lock();
    weft::spawn([&]() WEFT_NO_THREAD_SAFETY_ANALYSIS { a.unlock(); }).join();
    std::unique_lock again(a);
    CHECK(again.owns_lock());
  });
}

TEST_CASE("a waiter gets the mutex although another task takes it again at once each time") {
  with_workers([] {
    weft::mutex mutex;
    std::atomic<int> still_waiting{3};
    mutex.lock();
    std::vector<weft::join_handle<void>> modest;
    for (int i = 0; i < 3; ++i) {
      modest.push_back(weft::spawn([&] {
        for (int round = 0; round < 3; ++round) std::lock_guard lock(mutex);
        still_waiting.fetch_sub(1);
      }));
    }
    while (still_waiting.load() != 0) {  // without hand-over this greedy task would rarely lose the mutex, if ever
      weft::yield();
      mutex.unlock();
      mutex.lock();
    }
    mutex.unlock();
    for (auto& h : modest) h.join();
    CHECK(still_waiting.load() == 0);
  });
}

TEST_CASE("a plain thread gets the mutex although another thread takes it again at once each time") {
  weft::mutex mutex;
  std::atomic<bool> served{false};
  mutex.lock();
  std::thread modest([&] {
    std::lock_guard lock(mutex);
    served.store(true);
  });
  long greed = 0;
  while (!served.load()) {
    weft::test::compute_for(50us);
    mutex.unlock();
    mutex.lock();
    ++greed;
  }
  mutex.unlock();
  modest.join();
  INFO("the greedy thread took it " << greed << " times meanwhile");
  CHECK(served.load());
}

/// Until it is biased to the thread that runs the caller: see <weft/detail/biased_hold.hpp>.
void use_alone(weft::mutex& mutex) {
  for (int i = 0; i < 3000; ++i) std::lock_guard const hold(mutex);
}

TEST_CASE("a mutex that one worker has used alone is taken by tasks and threads while that one goes on") {
  with_workers([] {
    for (int round = 0; round < 20; ++round) {
      constexpr int times = 300;
      weft::mutex mutex;
      long sum = 0;  // guarded by mutex
      use_alone(mutex);
      auto work = [&](bool yields) {
        for (int i = 0; i < times; ++i) {
          std::lock_guard const hold(mutex);
          ++sum;
          if (yields && i % 64 == 0) weft::yield();
        }
      };
      std::thread outside(work, false);
      auto first = weft::spawn(work, false);
      auto second = weft::spawn(work, true);
      work(false);
      first.join();
      second.join();
      outside.join();
      CHECK(sum == 4 * times);
    }
  });
}

TEST_CASE("a mutex that one worker has used alone is let go by a thread that has not taken it") {
  with_workers([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    for (int round = 0; round < 20; ++round) {
      weft::mutex mutex;
      int value = 0;  // guarded by mutex
      use_alone(mutex);
      mutex.lock();
      ++value;
      std::thread([&]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
        ++value;
        mutex.unlock();
      }).join();
      std::lock_guard const again(mutex);
      CHECK(value == 2);
    }
  });
}

TEST_CASE("try_lock fails while a mutex that one worker has used alone is held, and succeeds when it is free") {
  with_workers([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {  // it knows no lock that another task lets go
    auto tried = [](weft::mutex& mutex) WEFT_NO_THREAD_SAFETY_ANALYSIS {
      if (!mutex.try_lock()) return false;
      mutex.unlock();
      return true;
    };
    weft::mutex by_task, by_thread;
    for (weft::mutex* m : {&by_task, &by_thread}) {
      use_alone(*m);
      CHECK(tried(*m));
      m->lock();
    }
    bool seen = true;
    std::thread([&] { seen = tried(by_thread); }).join();
    CHECK_FALSE(seen);
    CHECK_FALSE(weft::spawn(tried, std::ref(by_task)).join());
    for (weft::mutex* m : {&by_task, &by_thread}) {
      m->unlock();
      CHECK(tried(*m));
      CHECK(weft::spawn(tried, std::ref(*m)).join());
    }
  });
}

TEST_CASE("a mutex that one worker has used alone may be held across a wait, and its waiters get it") {
  with_workers([] {
    weft::mutex mutex;
    int value = 0;  // guarded by mutex
    use_alone(mutex);
    std::vector<weft::join_handle<void>> waiters;
    {
      std::lock_guard const hold(mutex);
      for (int i = 0; i < 8; ++i)
        waiters.push_back(weft::spawn([&] {
          std::lock_guard const mine(mutex);
          ++value;
        }));
      for (int i = 0; i < 100; ++i) weft::yield();
      CHECK(value == 0);
    }
    for (auto& w : waiters) w.join();
    std::lock_guard const hold(mutex);
    CHECK(value == 8);
  });
}

TEST_CASE("a cancelled task still waits for a mutex and gets it") {
  with_workers([] {
    weft::mutex mutex;
    mutex.lock();
    std::atomic<bool> begun{false}, locked{false};
    auto task = weft::spawn([&] {
      begun.store(true);
      mutex.lock();
      locked.store(true);
      mutex.unlock();
    });
    while (!begun.load()) weft::yield();
    task.cancel();
    for (int i = 0; i < 100; ++i) weft::yield();
    CHECK_FALSE(locked.load());
    mutex.unlock();
    task.join();
    CHECK(locked.load());
  });
}

TEST_CASE("a mutex may be destroyed by the next holder while the unlock that let it in has yet to return") {
  with_workers([] {
    struct shared {
      weft::mutex mutex;
      bool first_done = false;  // guarded by mutex
    };
    for (int round = 0; round < 5000; ++round) {
      auto* object = new shared;
      if (round % 8 == 0) use_alone(object->mutex);
      auto use = [object] {  // whoever comes second destroys
        object->mutex.lock();
        bool const second = object->first_done;
        object->first_done = true;
        object->mutex.unlock();
        if (second) delete object;
      };
      auto other = weft::spawn(use);
      use();
      other.join();
    }
  });
}

TEST_CASE("unlock of a mutex that is not held ends the process and names the call") {
  auto const end = weft::test::run_in_child([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    weft::mutex mutex;
    mutex.unlock();
  });
  CHECK(end.aborted);
  CHECK(end.said.find("mutex::unlock: unlock of a mutex that is not held") != std::string::npos);
}

TEST_CASE("so does unlock of a mutex that one worker has used alone, if it is not held") {
  auto const end = weft::test::run_in_child([] {
    weft::run([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
      weft::mutex mutex;
      use_alone(mutex);
      mutex.unlock();
    });
  });
  CHECK(end.aborted);
  CHECK(end.said.find("mutex::unlock: unlock of a mutex that is not held") != std::string::npos);
}

TEST_CASE("a guarded value is reached by one task at a time, by pointer or by function") {
  with_workers([] {
    weft::guarded<std::vector<int>> list(3u, 7);
    CHECK(list.lock()->size() == 3);
    std::vector<weft::join_handle<void>> tasks;
    for (int t = 0; t < 4; ++t) {
      tasks.push_back(weft::spawn([&] {
        for (int i = 0; i < 250; ++i) {
          if (i % 2 == 0) {
            list.with([&](std::vector<int>& v) { v.push_back(i); });
          } else {
            auto held = list.lock();
            held->push_back(i);
            (*held).back() = 0;
          }
        }
      }));
    }
    for (auto& h : tasks) h.join();
    CHECK(list.with([](auto& v) { return v.size(); }) == 1003);
    auto early = list.lock();
    early.unlock();
    CHECK(list.lock()->size() == 1003);  // though `early` is still there
    CHECK_THROWS_AS(list.with([](auto&) -> int { throw 1; }), int);
    CHECK(list.lock()->front() == 7);  // the exception has unlocked it
    int& inside = list.with([](auto& v) -> int& { return v.front(); });
    CHECK(inside == 7);
  });
}

}  // namespace
