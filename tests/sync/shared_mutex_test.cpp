// weft::shared_mutex: readers together, writers alone, nobody starves.
#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_workers;

TEST_CASE("readers hold a shared_mutex together") {
  with_workers([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    weft::shared_mutex mutex;
    weft::latch all_inside(5);
    std::vector<weft::join_handle<void>> readers;
    for (int i = 0; i < 4; ++i) {
      readers.push_back(weft::spawn([&] {
        std::shared_lock lock(mutex);
        all_inside.arrive_and_wait();  // returns only if all are in at once
      }));
    }
    {
      std::shared_lock lock(mutex);
      CHECK_FALSE(mutex.try_lock());
      all_inside.arrive_and_wait();
    }
    for (auto& h : readers) h.join();
    bool const free = mutex.try_lock();
    CHECK(free);
    CHECK_FALSE(weft::spawn([&]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
                  return mutex.try_lock() || mutex.try_lock_shared();
                }).join());
    if (free) mutex.unlock();
  });
}

TEST_CASE("writers are alone, and readers never see half of what a writer does, in tasks and threads") {
  with_workers([] {
    weft::shared_mutex mutex;
    long a = 0, b = 0;  // guarded by mutex
    std::atomic<int> torn{0};
    auto write = [&](int n, bool yields) {
      for (int i = 0; i < n; ++i) {
        std::unique_lock lock(mutex);
        ++a;
        if (yields) weft::yield();
        ++b;
      }
    };
    auto read = [&](int n, bool yields) {
      for (int i = 0; i < n; ++i) {
        std::shared_lock lock(mutex);
        long const before = a;
        if (yields) weft::yield();
        if (before != b) torn.fetch_add(1);
      }
    };
    std::thread outside_writer(write, 500, false), outside_reader(read, 1000, false);
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(weft::spawn(write, 500, i == 0));
    for (int i = 0; i < 3; ++i) tasks.push_back(weft::spawn(read, 1000, i == 0));
    for (auto& h : tasks) h.join();
    outside_writer.join();
    outside_reader.join();
    CHECK(torn.load() == 0);
    CHECK(a == 2000);
    CHECK(b == 2000);
  });
}

TEST_CASE("a writer gets in although readers follow one another without a gap") {
  with_workers([] {
    weft::shared_mutex mutex;
    std::atomic<bool> written{false};
    std::atomic<int> readers{0};
    auto stream = [&] {  // several at different points of their hold: it is never free of readers
      while (!written.load()) {
        std::shared_lock lock(mutex);
        readers.fetch_add(1);
        for (int i = 0; i < 10; ++i) weft::yield();
        readers.fetch_sub(1);
      }
    };
    auto one = weft::spawn(stream), two = weft::spawn(stream), three = weft::spawn(stream);
    while (readers.load() == 0) weft::yield();
    {
      std::unique_lock lock(mutex);
      CHECK(readers.load() == 0);
      written.store(true);
    }
    one.join();
    two.join();
    three.join();
  });
}

TEST_CASE("unlocking a shared_mutex that is not held that way ends the process and names the call") {
  auto const write = weft::test::run_in_child([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    weft::shared_mutex mutex;
    mutex.lock_shared();
    mutex.unlock();
  });
  CHECK(write.aborted);
  CHECK(write.said.find("shared_mutex::unlock:") != std::string::npos);
  auto const read = weft::test::run_in_child([]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    weft::shared_mutex mutex;
    mutex.unlock_shared();
  });
  CHECK(read.aborted);
  CHECK(read.said.find("shared_mutex::unlock_shared:") != std::string::npos);
}

TEST_CASE("a shared_mutex may be destroyed by the next holder while the unlock that let it in has yet to return") {
  with_workers([] {
    for (int round = 0; round < 2000; ++round) {
      auto mutex = std::make_unique<weft::shared_mutex>();
      bool const reads = round % 2 == 0;
      std::shared_lock reader(*mutex, std::defer_lock);
      std::unique_lock writer(*mutex, std::defer_lock);
      if (reads) reader.lock();
      else writer.lock();
      auto other = weft::spawn([&mutex] {
        mutex->lock();
        mutex->unlock();
        mutex.reset();
      });
      for (int turn = 0; turn < round % 3; ++turn) weft::yield();
      if (reads) reader.unlock();
      else writer.unlock();
      other.join();
    }
  });
}

TEST_CASE("a cancelled task still waits for a shared_mutex, either way, and gets it") {
  with_workers([] {
    weft::shared_mutex mutex;
    mutex.lock();
    std::atomic<int> got{0};
    auto reader = weft::spawn([&] {
      std::shared_lock hold(mutex);
      got.fetch_add(1);
    });
    auto writer = weft::spawn([&] {
      std::unique_lock hold(mutex);
      got.fetch_add(1);
    });
    for (int turn = 0; turn < 5; ++turn) weft::yield();
    reader.cancel();
    writer.cancel();
    for (int turn = 0; turn < 5; ++turn) weft::yield();
    CHECK(got.load() == 0);
    mutex.unlock();
    reader.join();
    writer.join();
    CHECK(got.load() == 2);
  });
}

}  // namespace
