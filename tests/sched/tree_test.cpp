// Trees of tasks: what a task that waits has spawned goes before all else in its queue, and others have their turns all the same.

#include <weft/weft.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::with_worker_count;
using weft::test::with_workers;
using namespace std::chrono_literals;

namespace {

/// What the tasks of a tree note.
struct notes {
  weft::mutex lock;
  std::vector<int> begun;

  void add(int who) {
    std::lock_guard const hold(lock);
    begun.push_back(who);
  }
};

/// Nodes that have begun and not ended, and the most of them at once.
struct crowd {
  std::atomic<int> now{0}, most{0};

  struct member {
    crowd& in;
    explicit member(crowd& c) : in(c) {
      int const n = in.now.fetch_add(1, std::memory_order_relaxed) + 1;
      int seen = in.most.load(std::memory_order_relaxed);
      while (seen < n && !in.most.compare_exchange_weak(seen, n, std::memory_order_relaxed)) {
      }
    }
    ~member() { in.now.fetch_sub(1, std::memory_order_relaxed); }
  };
};

constexpr int children = 4;

/// How a node waits for its children.
enum class by { channel, wait_group, task_group, join };
constexpr by ways[] = {by::channel, by::wait_group, by::task_group, by::join};

/// Returns how many leaves there are below.
std::int64_t node(crowd& nodes, int depth, by way) {
  if (depth == 0) return 1;
  crowd::member const me(nodes);
  std::int64_t sum = 0;
  switch (way) {
    case by::channel: {
      auto [tx, rx] = weft::make_ends<std::int64_t>();
      for (int i = 0; i < children; ++i)
        weft::go([&nodes, depth, way, to = tx] { to.send(node(nodes, depth - 1, way)); });
      for (int i = 0; i < children; ++i) sum += *rx.recv();
      break;
    }
    case by::wait_group: {
      std::atomic<std::int64_t> all{0};
      weft::wait_group group;
      for (int i = 0; i < children; ++i) group.go([&] { all += node(nodes, depth - 1, way); });
      group.wait();
      sum = all;
      break;
    }
    case by::task_group: {
      std::atomic<std::int64_t> all{0};
      weft::task_group group;
      for (int i = 0; i < children; ++i) group.spawn([&] { all += node(nodes, depth - 1, way); });
      group.wait();
      sum = all;
      break;
    }
    case by::join: {
      std::vector<weft::join_handle<std::int64_t>> all;
      for (int i = 0; i < children; ++i) all.push_back(weft::spawn([&] { return node(nodes, depth - 1, way); }));
      for (auto& each : all) sum += each.join();
      break;
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("what a waiting task has spawned begins in the order of the spawns, and what that spawns before the rest") {
  with_worker_count(1, [] {
    notes tree;
    weft::latch end(1 + 3 + 9);
    weft::go([&] { tree.add(9), end.count_down(); });
    auto const root = weft::spawn([&] {
      weft::wait_group all;
      for (int i = 1; i <= 3; ++i)
        all.go([&tree, &end, i] {
          tree.add(i);
          weft::wait_group mine;
          for (int j = 1; j <= 3; ++j) mine.go([&tree, &end, i, j] { tree.add(10 * i + j), end.count_down(); });
          mine.wait();
          end.count_down();
        });
      all.wait();
    });
    end.wait();
    CHECK(tree.begun == std::vector<int>{9, 1, 11, 12, 13, 2, 21, 22, 23, 3, 31, 32, 33});
  });
}

TEST_CASE("a task that yields in a tree lets the rest of it go on in the same order") {
  with_worker_count(1, [] {
    notes tree;
    weft::wait_group all;
    for (int i = 1; i <= 4; ++i)
      all.go([&tree, i] {
        tree.add(i);
        weft::yield();
        tree.add(10 * i);
      });
    all.wait();
    CHECK(tree.begun == std::vector<int>{1, 2, 3, 4, 10, 20, 30, 40});
  });
}

TEST_CASE("of a tree of tasks few nodes have begun at any time") {
  static constexpr int depth = 8;  // 21,845 nodes, 16,384 of them on the last level but one
  for (by const way : ways) {
    with_worker_count(1, [way] {
      crowd nodes;
      CHECK(node(nodes, depth, way) == 65'536);
      CHECK(nodes.most >= depth);  // one path
      CHECK(nodes.most <
            50 * depth);  // what joins without end parks now and then; a level at a time would be half of them
    });
  }
}

TEST_CASE("a tree of tasks is whole however many workers share it") {
  for (by const way : ways) {
    with_workers([way] {
      crowd nodes;
      CHECK(node(nodes, 6, way) == 4096);
      CHECK(nodes.now == 0);
    });
  }
}

TEST_CASE("each eighth turn is the oldest's while a tree of tasks goes first") {
  with_worker_count(1, [] {
    constexpr std::size_t others = 20;
    std::atomic<int> leaves{0};
    std::array<std::atomic<int>, others> leaves_before{};
    weft::wait_group tree, rest;
    tree.go([&] {
      weft::wait_group mine;
      for (int i = 0; i < 900; ++i) mine.go([&] { ++leaves; });
      mine.wait();
    });
    for (auto& each : leaves_before) rest.go([&] { each = leaves.load(); });
    weft::yield();  // behind what it has spawned, which so stays as it is queued
    tree.wait();
    rest.wait();
    CHECK(leaves == 900);
    int last = 0;
    for (std::size_t i = 0; i < others; ++i) {
      INFO("the " << i << "th");
      CHECK((leaves_before[i] > last || i == 0));
      CHECK(leaves_before[i] <= last + 8);
      last = leaves_before[i];
    }
  });
}

TEST_CASE("tasks that yield and such as wake each other have their turns beside a tree of tasks") {
  with_workers([] {
    std::atomic<bool> over{false};
    std::atomic<int> turns{0};
    auto there = weft::make_chan<int>(), back = weft::make_chan<int>();
    auto const yields = weft::spawn([&] {
      while (!over) weft::yield(), ++turns;
    });
    auto const answers = weft::spawn([&] {
      for (auto v : there) back.send(v);
    });
    auto player = weft::spawn([&] {
      int rounds = 0;
      for (; !over; ++rounds) there.send(1), back.recv();
      there.close();
      return rounds;
    });
    crowd nodes;
    CHECK(node(nodes, 8, by::channel) == 65'536);
    over = true;
    CHECK(turns > 2);
    CHECK(player.join() > 10);
  });
}

TEST_CASE(
    "the order of spawns is kept behind a tree that has gone, and in a tree whose nodes sleep, yield or wake many") {
  with_worker_count(1, [] {
    notes after;
    weft::wait_group tree, all;
    tree.go([] {});
    tree.wait();
    for (int i = 1; i <= 3; ++i) all.go([&after, i] { after.add(i); });
    weft::yield();
    all.wait();
    CHECK(after.begun == std::vector<int>{1, 2, 3});
  });
  enum class leaves_by { sleep, yield, broadcast };
  for (auto const way : {leaves_by::sleep, leaves_by::yield, leaves_by::broadcast}) {
    with_worker_count(1, [way] {
      notes tree;
      auto never = weft::make_chan<int>();
      weft::wait_group all, waiters;
      for (int i = 0; i < 2; ++i) waiters.go([never] { (void)never.recv(); });
      weft::yield();  // both wait
      for (int i = 1; i <= 3; ++i)
        all.go([&, i] {
          tree.add(i);
          if (i != 1) return;
          for (int j = 1; j <= 3; ++j) all.go([&tree, j] { tree.add(10 + j); });
          if (way == leaves_by::sleep) weft::sleep_for(1ms);
          else if (way == leaves_by::yield) weft::yield();
          else never.close();
        });
      all.wait();
      if (way != leaves_by::broadcast) never.close();
      waiters.wait();
      std::vector<int> const children_ahead{1, 11, 12, 13, 2, 3};
      CHECK(tree.begun == children_ahead);
    });
  }
}

namespace {
/// Spawns itself again and ends, until it is over.
void again(std::atomic<bool> const& over, std::atomic<int>& turns, weft::wait_group& all) {
  ++turns;
  if (!over) all.go([&] { again(over, turns, all); });
}
}  // namespace

TEST_CASE("what grows or wakes each other without end does not keep its siblings from beginning") {
  with_workers([] {
    std::atomic<bool> over{false};
    std::atomic<int> turns{0};
    weft::wait_group all;
    for (int i = 0; i < 8; ++i) all.go([&] { again(over, turns, all); });
    all.go([&] { over = true; });
    all.wait();
    CHECK(turns >= 8);
  });
  with_workers([] {
    constexpr int pairs = 5;
    std::atomic<bool> over{false};
    weft::wait_group all;
    for (int i = 0; i < pairs; ++i) {
      auto there = weft::make_chan<int>(), back = weft::make_chan<int>();
      all.go([=] {
        for (auto v : there) back.send(v);
      });
      all.go([=, &over] {
        while (!over) there.send(1), back.recv();
        there.close();
      });
    }
    all.go([&] { over = true; });
    all.wait();
    CHECK(over);
  });
}

namespace {
/// Nodes that also yield, sleep, give up and are cancelled.
std::int64_t unruly(std::uint64_t seed, int depth, std::atomic<std::int64_t>& ended) {
  weft::defer const count([&] { ++ended; });
  std::uint64_t const mine = seed * 0x9e3779b97f4a7c15ULL >> 32;
  if (mine % 7 == 0) weft::yield();
  if (mine % 31 == 0) weft::sleep_for(20us);
  if (depth == 0) return 1;
  auto [tx, rx] = weft::make_ends<std::int64_t>(mine % 3);
  weft::wait_group group;
  for (std::uint64_t i = 0; i < children; ++i)
    group.go([&ended, depth, next = mine * children + i, to = tx] { to.send(unruly(next, depth - 1, ended)); });
  std::int64_t sum = 0;
  for (int i = 0; i < children;) {
    if (mine % 5 == 0) {
      if (auto const v = rx.recv_for(50us)) sum += *v, ++i;
    } else {
      sum += *rx.recv(), ++i;
    }
    if (mine % 11 == 0) weft::yield();
  }
  auto const idle = weft::spawn([] { weft::sleep_for(10s); });  // stopped by its handle
  group.wait();
  return sum;
}
}  // namespace

TEST_CASE("a tree whose tasks yield, sleep, time out and cancel is whole", "[stress]") {
  with_workers([] {
    std::atomic<std::int64_t> ended{0};
    CHECK(unruly(20261201, 5, ended) == 1024);
    CHECK(ended == 1365);
  });
}
