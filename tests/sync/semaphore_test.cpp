// weft::counting_semaphore and permit: order, and that permits are conserved whatever ends a wait.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_worker_count;
using weft::test::with_workers;
using namespace std::chrono_literals;

template <std::ptrdiff_t M>
int drain(weft::counting_semaphore<M>& semaphore) {
  int permits = 0;
  while (semaphore.try_acquire()) ++permits;
  return permits;
}

TEST_CASE("at most as many hold a permit as there are permits, in tasks and threads") {
  with_workers([] {
    weft::counting_semaphore<> slots(3);
    std::atomic<int> inside{0}, most{0};
    auto work = [&] {
      for (int i = 0; i < 500; ++i) {
        weft::permit permit(slots);
        int const now = inside.fetch_add(1) + 1;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        weft::yield();
        inside.fetch_sub(1);
      }
    };
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 8; ++i) tasks.push_back(weft::spawn(work));
    std::thread outside([&] {
      for (int i = 0; i < 500; ++i) weft::permit permit(slots);
    });
    for (auto& h : tasks) h.join();
    outside.join();
    CHECK(most.load() <= 3);
    CHECK(drain(slots) == 3);
  });
}

TEST_CASE("release serves the waiters first come, first served, and a newcomer overtakes none") {
  with_worker_count(1, [] {  // one worker: after a yield every other task has parked
    weft::counting_semaphore<> semaphore(0);
    std::atomic<int> served{0};
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(weft::spawn([&] {
        semaphore.acquire();
        served.fetch_add(1);
      }));
      for (int turn = 0; turn < 10; ++turn) weft::yield();
    }
    semaphore.release(2);
    CHECK_FALSE(semaphore.try_acquire());  // both permits have an owner already
    tasks[0].join();
    tasks[1].join();
    CHECK(served.load() == 2);
    semaphore.release(4);
    CHECK(semaphore.try_acquire());
    CHECK_FALSE(semaphore.try_acquire());
    for (int i = 2; i < 5; ++i) tasks[static_cast<std::size_t>(i)].join();
    CHECK(served.load() == 5);
  });
}

TEST_CASE("a timed acquire gets a permit or times out, and takes nothing in the second case") {
  with_workers([] {
    weft::binary_semaphore semaphore(1);
    CHECK(semaphore.try_acquire_for(0s));
    CHECK_FALSE(semaphore.try_acquire_for(1ms));
    CHECK_FALSE(semaphore.try_acquire_for(-1h));
    CHECK_FALSE(semaphore.try_acquire_until(std::chrono::steady_clock::now() + 1ms));
    CHECK_FALSE(semaphore.try_acquire_until(std::chrono::system_clock::now()));
    auto other = weft::spawn([&] { return semaphore.try_acquire_for(std::chrono::hours::max()); });
    semaphore.release();
    CHECK(other.join());
    CHECK(drain(semaphore) == 0);
  });
}

TEST_CASE("permits are conserved when waits time out and tasks are cancelled at any moment") {
  with_workers([] {
    constexpr int permits = 2;
    weft::counting_semaphore<> semaphore(permits);
    std::atomic<int> inside{0}, broken{0};
    std::atomic<bool> stop{false};
    auto use = [&](std::chrono::microseconds patience) {
      while (!stop.load()) {
        if (!semaphore.try_acquire_for(patience)) {
          weft::yield();  // without patience the call has not parked
          continue;
        }
        if (inside.fetch_add(1) >= permits) broken.fetch_add(1);
        weft::yield();
        inside.fetch_sub(1);
        semaphore.release();
      }
    };
    std::vector<weft::join_handle<void>> timed;
    for (int i = 0; i < 4; ++i) timed.push_back(weft::spawn(use, std::chrono::microseconds(10 * i)));
    std::thread outside(use, 15us);
    for (int round = 0; round < 1000; ++round) {
      auto doomed = weft::spawn([&] {
        for (;;) {
          weft::permit permit(semaphore);
          weft::yield();
        }
      });
      for (int i = 0; i < round % 7; ++i) weft::yield();
      doomed.cancel();
      try {
        doomed.join();
      } catch (weft::cancelled const&) {
      }
    }
    stop.store(true);
    for (auto& h : timed) h.join();
    outside.join();
    CHECK(broken.load() == 0);
    CHECK(drain(semaphore) == permits);
  });
}

TEST_CASE("acquire throws in a cancelled task even if there is a permit, and leaves it there") {
  with_workers([] {
    weft::binary_semaphore semaphore(1);
    std::atomic<bool> cancelled{false};
    auto task = weft::spawn([&] {
      while (!cancelled.load()) weft::yield();
      try {
        semaphore.acquire();
      } catch (weft::cancelled const&) {
        return true;
      }
      return false;
    });
    task.cancel();
    cancelled.store(true);
    CHECK(task.join());
    CHECK(drain(semaphore) == 1);
  });
}

TEST_CASE("a semaphore may be destroyed by who acquired while the release that let it go has yet to return") {
  with_workers([] {
    for (int round = 0; round < 5000; ++round) {
      auto semaphore = std::make_unique<weft::binary_semaphore>(0);
      auto releaser = weft::spawn([&other = *semaphore] { other.release(); });
      semaphore->acquire();
      semaphore.reset();
      releaser.join();
    }
  });
}

TEST_CASE("more permits than the maximum end the process and name the call") {
  auto const end = weft::test::run_in_child([] {
    weft::binary_semaphore semaphore(1);
    semaphore.release();
  });
  CHECK(end.aborted);
  CHECK(end.said.find("counting_semaphore::release") != std::string::npos);
}

TEST_CASE("a semaphore, latch or barrier that cannot be ends the process and says which") {
  auto const negative = weft::test::run_in_child([] { weft::counting_semaphore<> semaphore(-1); });
  CHECK(negative.aborted);
  CHECK(negative.said.find("counting_semaphore: ") != std::string::npos);
  auto const many = weft::test::run_in_child([] { weft::binary_semaphore semaphore(2); });
  CHECK(many.aborted);
  auto const latch = weft::test::run_in_child([] { weft::latch start(-1); });
  CHECK(latch.aborted);
  CHECK(latch.said.find("latch: negative counter") != std::string::npos);
  auto const barrier = weft::test::run_in_child([] { weft::barrier<> meet(-1); });
  CHECK(barrier.aborted);
  CHECK(barrier.said.find("barrier: negative counter") != std::string::npos);
}

TEST_CASE("a permit goes back when an exception leaves its block, and a cancelled permit takes none") {
  with_workers([] {
    weft::counting_semaphore<4> semaphore(1);
    try {
      weft::permit permit(semaphore);
      CHECK_FALSE(semaphore.try_acquire());
      throw 1;
    } catch (int) {
    }
    weft::permit kept(semaphore);
    auto doomed = weft::spawn([&] { weft::permit permit(semaphore); });
    for (int turn = 0; turn < 5; ++turn) weft::yield();
    doomed.stop();
    CHECK(drain(semaphore) == 0);
  });
}

}  // namespace
