#include "runtime/base/lock.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using namespace weft::rt;

TEST_CASE("a lock lets one thread in at a time under contention") {
  object_lock lock;
  long counter = 0;
  constexpr int threads = 4, rounds = 50000;
  std::vector<std::thread> crowd;
  for (int t = 0; t < threads; ++t)
    crowd.emplace_back([&] {
      for (int i = 0; i < rounds; ++i) {
        guard const held(lock);
        ++counter;
      }
    });
  for (auto& each : crowd) each.join();
  CHECK(counter == long{threads} * rounds);
  CHECK_FALSE(lock.is_locked());
}

TEST_CASE("a thread that sleeps on a held lock is woken by its release") {
  object_lock lock;
  std::atomic<int> inside{0};
  std::unique_lock held(lock);
  std::vector<std::thread> crowd;
  for (int t = 0; t < 3; ++t)
    crowd.emplace_back([&] {
      lock.lock();
      inside.fetch_add(1);
      lock.unlock();
    });
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // some of them sleep by now, or not: both must work
  CHECK(inside.load() == 0);
  held.unlock();
  for (auto& each : crowd) each.join();
  CHECK(inside.load() == 3);
}

TEST_CASE("try_lock fails on a held lock and takes a free one") {
  object_lock lock;
  std::unique_lock first(lock, std::try_to_lock);
  CHECK(first.owns_lock());
  std::unique_lock second(lock, std::try_to_lock);
  CHECK_FALSE(second.owns_lock());
  first.unlock();
  CHECK(second.try_lock());
}

TEST_CASE("a lock of weft's is small") {
  STATIC_REQUIRE(sizeof(object_lock) == 4);
  STATIC_REQUIRE(sizeof(ranked_lock) == 8);
}

TEST_CASE("ranked locks taken in their order pass, and try_lock may go against it") {
  ranked_lock scheduler(lock_rank::scheduler);
  struct pair {
    ranked_lock first{lock_rank::object};
    ranked_lock second{lock_rank::object};
  } objects;
  ranked_lock heap(lock_rank::timer_heap);
  scheduler.lock();
  objects.first.lock();
  objects.second.lock();  // by rising address
  heap.lock();
  objects.first.unlock();  // in any order
  heap.unlock();
  bool const taken_back = objects.first.try_lock();
  if (taken_back) objects.first.unlock();
  objects.second.unlock();
  scheduler.unlock();
  CHECK(taken_back);
  CHECK(locks_held_here() == 0);
}

#ifndef NDEBUG

TEST_CASE("a lock taken against the order of ranks ends the process with both names") {
  auto const end = run_child([] {
    ranked_lock heap(lock_rank::timer_heap), node(lock_rank::context_node);
    heap.lock();
    node.lock();
    node.unlock();
    heap.unlock();
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("'timer_heap'") != end.errors.npos);
  CHECK(end.errors.find("'context_node'") != end.errors.npos);
}

TEST_CASE("two object locks taken by falling address end the process") {
  auto const end = run_child([] {
    struct pair {
      ranked_lock first{lock_rank::object};
      ranked_lock second{lock_rank::object};
    } objects;
    objects.second.lock();
    objects.first.lock();
    objects.first.unlock();
    objects.second.unlock();
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("lock order") != end.errors.npos);
}

TEST_CASE("locking a lock twice on one thread ends the process") {
  auto const end = run_child([] {
    ranked_lock lock(lock_rank::object);
    std::unique_lock const held(lock);
    std::unique_lock const again(lock);
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("that it holds") != end.errors.npos);
}

TEST_CASE("more locks than the checker tracks are taken and released all the same") {
  struct ranked {
    ranked_lock lock{lock_rank::object};
  };
  auto const all = std::make_unique<ranked[]>(300);
  std::vector<std::unique_lock<ranked_lock>> held;
  for (int i = 0; i < 300; ++i) held.emplace_back(all[i].lock, std::try_to_lock);
  CHECK(locks_held_here() == 300);
  held.clear();
  CHECK(locks_held_here() == 0);
}

#endif
