// weft::wait_group and latch: counts to zero, with their end of life.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_workers;

TEST_CASE("wait returns when every task of the group has ended, with what they did visible") {
  with_workers([] {
    weft::wait_group group;
    for (int round = 0; round < 20; ++round) {  // used again and again
      std::vector<int> results(50);
      for (int i = 0; i < 50; ++i) group.go([&results, i] { results[static_cast<std::size_t>(i)] = i + 1; });
      group.wait();
      int sum = 0;
      for (int r : results) sum += r;
      CHECK(sum == 50 * 51 / 2);
    }
    group.wait();  // nothing to wait for
  });
}

TEST_CASE("a member may take arguments, own what cannot be copied, take a stop token, and add members") {
  with_workers([] {
    weft::wait_group group;
    std::atomic<int> sum{0};
    group.go([&](int a, std::unique_ptr<int> b) { sum += a + *b; }, 1, std::make_unique<int>(2));
    group.go([&, own = std::make_unique<int>(4)] { sum += *own; });
    group.go([&](std::stop_token token, int n) { sum += token.stop_requested() ? 0 : n; }, 8);
    group.go([&] { group.go([&] { group.go([&] { sum += 16; }); }); });
    group.wait();
    CHECK(sum.load() == 31);
  });
}

TEST_CASE("what a member's closure owns is gone when wait returns") {
  with_workers([] {
    for (int round = 0; round < 50; ++round) {
      auto owned = std::make_shared<int>(1);
      weft::wait_group group;
      for (int i = 0; i < 4; ++i) group.go([owned](std::shared_ptr<int> const&) {}, owned);
      group.wait();
      CHECK(owned.use_count() == 1);
    }
  });
}

TEST_CASE("tasks and plain threads wait for one group together") {
  with_workers([] {
    weft::wait_group group;
    group.add(2);
    std::atomic<int> waited{0};
    auto wait = [&] {
      group.wait();
      waited.fetch_add(1);
    };
    std::thread one(wait), two(wait);
    auto three = weft::spawn(wait);
    CHECK(waited.load() == 0);
    group.done();
    group.add(-1);
    one.join();
    two.join();
    three.join();
    CHECK(waited.load() == 3);
  });
}

TEST_CASE("a wait_group may be destroyed when wait has returned, while the last done has yet to return") {
  with_workers([] {
    for (int round = 0; round < 5000; ++round) {
      auto group = std::make_unique<weft::wait_group>();
      for (int i = 0; i < 3; ++i) group->go([] {});
      group->wait();
      group.reset();
    }
    for (int round = 0; round < 100; ++round) {
      auto group = std::make_unique<weft::wait_group>();
      group->add();
      std::thread outside([&other = *group] { other.done(); });
      group->wait();
      group.reset();
      outside.join();
    }
  });
}

TEST_CASE("a wait that a group at rest is used beside anew ends with the tasks that it found") {
  weft::sim::result const found = weft::sim::explore(300, [] {
    weft::wait_group group;
    group.go([] {});
    group.wait();
    auto waiting = weft::spawn([&] { group.wait(); });
    auto another = weft::spawn([&] { group.wait(); });
    group.go([] {});
    waiting.join();
    another.join();
    group.wait();
  });
  INFO(found.what);
  CHECK_FALSE(found.failed);
  // The same without a simulation: both begin at one moment.
  with_workers([] {
    for (int round = 0; round < 500; ++round) {
      weft::wait_group group;
      group.go([] {});
      group.wait();
      std::atomic<int> here{0};
      auto const meet = [&here] {
        here.fetch_add(1);
        while (here.load() != 2) weft::yield();
      };
      auto waiting = weft::spawn([&] {
        meet();
        group.wait();
      });
      auto beginning = weft::spawn([&] {
        meet();
        group.go([] {});
      });
      beginning.join();
      waiting.join();
      group.wait();
    }
  });
}

TEST_CASE("a cancelled wait throws and leaves the group as it was") {
  with_workers([] {
    weft::wait_group group;
    group.add();
    std::atomic<bool> begun{false};
    auto doomed = weft::spawn([&] {
      begun.store(true);
      try {
        group.wait();
      } catch (weft::cancelled const&) {
        return true;
      }
      return false;
    });
    while (!begun.load()) weft::yield();
    doomed.cancel();
    CHECK(doomed.join());
    auto patient = weft::spawn([&] { group.wait(); });
    group.done();
    patient.join();
  });
}

TEST_CASE("a counter below zero ends the process and names the call") {
  auto const done = weft::test::run_in_child([] {
    weft::wait_group group;
    group.done();
  });
  CHECK(done.aborted);
  CHECK(done.said.find("wait_group::done: negative counter") != std::string::npos);
  auto const add = weft::test::run_in_child([] {
    weft::wait_group group;
    group.add(2);
    group.add(-3);
  });
  CHECK(add.aborted);
  CHECK(add.said.find("wait_group::add: negative counter") != std::string::npos);
  auto const least = weft::test::run_in_child([] {
    weft::wait_group group;
    group.add(PTRDIFF_MAX);
    group.add(PTRDIFF_MIN);
  });
  CHECK(least.aborted);
  CHECK(least.said.find("wait_group::add: negative counter") != std::string::npos);
  auto const negative = weft::test::run_in_child([] {
    weft::latch start(1);
    start.count_down(-1);
  });
  CHECK(negative.aborted);
  auto const latch = weft::test::run_in_child([] {
    weft::latch start(1);
    start.count_down(2);
  });
  CHECK(latch.aborted);
  CHECK(latch.said.find("latch::count_down: negative counter") != std::string::npos);
}

TEST_CASE("a latch lets all waiters go at zero, and stays open") {
  with_workers([] {
    weft::latch latch(3);
    int before = 0;
    std::vector<weft::join_handle<int>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(weft::spawn([&] {
        latch.wait();
        return before;
      }));
    }
    CHECK_FALSE(latch.try_wait());
    latch.count_down();
    std::thread outside([&] { latch.arrive_and_wait(); });
    before = 5;
    latch.count_down();
    for (auto& h : tasks) CHECK(h.join() == 5);
    outside.join();
    CHECK(latch.try_wait());
    latch.wait();
  });
}

TEST_CASE("a latch may be destroyed by whoever saw it open") {
  with_workers([] {
    for (int round = 0; round < 5000; ++round) {
      auto latch = std::make_unique<weft::latch>(2);
      auto one = weft::spawn([&other = *latch] { other.count_down(); });
      auto two = weft::spawn([&other = *latch] { other.count_down(); });
      if (round % 2 == 0) {
        latch->wait();
      } else {
        while (!latch->try_wait()) weft::yield();
      }
      latch.reset();
      one.join();
      two.join();
    }
  });
}

}  // namespace
