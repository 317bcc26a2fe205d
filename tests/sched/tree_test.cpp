// Trees of tasks: what a task that waits has spawned goes before all else in its queue, and others have their turns all the same.

#include <weft/weft.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::undisturbed;
using weft::test::with_worker_count;
using weft::test::with_workers;
using namespace std::chrono_literals;

namespace {

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

TEST_CASE("of a tree of tasks few nodes have begun at any time") {
  static constexpr int depth = 7;  // 5,461 nodes; a level at a time, half of them would have begun at once
  for (by const way : ways) {
    with_worker_count(1, [way] {
      crowd nodes;
      auto const start = std::chrono::steady_clock::now();
      CHECK(node(nodes, depth, way) == 16'384);
      auto const ms = (std::chrono::steady_clock::now() - start) / 1ms;
      CHECK(nodes.most >= depth);  // one path
      // What joins without end parks now and then; and once a millisecond the oldest begins.
      CHECK(nodes.most < 50 * depth + 2 * depth * ms);
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
  undisturbed(1, [] {
    constexpr std::size_t others = 20;
    std::atomic<int> leaves{0};
    std::array<std::atomic<int>, others> leaves_before{};
    weft::wait_group tree, rest;
    tree.go([&] {
      weft::wait_group mine;
      for (int i = 0; i < 250; ++i) mine.go([&] { ++leaves; });
      mine.wait();
    });
    for (auto& each : leaves_before) rest.go([&] { each = leaves.load(); });
    weft::yield();  // behind what it has spawned, which so stays as it is queued
    tree.wait();
    rest.wait();
    CHECK(leaves == 250);
    int last = 0;
    for (std::size_t i = 0; i < others; ++i) {
      INFO("the " << i << "th");
      CHECK(leaves_before[i] >= last);
      CHECK(leaves_before[i] <= last + 8);
      last = leaves_before[i];
    }
    CHECK(last >= 6 * static_cast<int>(others));  // who looks around gives some a turn, too
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
    std::atomic<int> rounds{0};
    auto const plays = weft::spawn([&] {
      for (; !over; ++rounds) there.send(1), back.recv();
      there.close();
    });
    for (int trees = 0; trees < 50 && (turns <= 2 || rounds <= 10); ++trees) {
      crowd nodes;
      CHECK(node(nodes, 7, by::channel) == 16'384);
    }
    CHECK(turns > 2);
    CHECK(rounds > 10);
    over = true;
  });
}

TEST_CASE("who joins its tasks where they have not begun lets others have their turns") {
  undisturbed(1, [] {
    constexpr std::size_t others = 20;
    constexpr int look_every = 61;
    std::atomic<int> joins{0};
    std::array<std::atomic<int>, others> joins_before{};
    weft::wait_group rest;
    auto const joiner = weft::spawn([&] {
      while (joins < 8 * look_every * static_cast<int>(others)) weft::spawn([] {}).join(), ++joins;
    });
    for (auto& each : joins_before) rest.go([&] { each = joins.load(); });
    weft::yield();
    rest.wait();
    joiner.wait();
    int last = 0;
    for (std::size_t i = 0; i < others; ++i) {
      INFO("the " << i << "th");
      CHECK(joins_before[i] <= last + 2 * look_every);
      last = joins_before[i];
    }
  });
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
  // The same while threads outside keep the global queue filled.
  with_workers([] {
    constexpr int threads = 2, receivers = 32;
    std::atomic<bool> over{false};
    std::atomic<int> turns{0}, got{0};
    auto from_outside = weft::make_chan<int>();
    std::vector<std::thread> outside;
    weft::wait_group all, rest;
    for (int i = 0; i < receivers; ++i)
      rest.go([&, from_outside] {
        for (int const v : from_outside) got += v;
      });
    for (int i = 0; i < threads; ++i)
      outside.emplace_back([&, from_outside] {
        while (!over) from_outside.send(1);
      });
    for (int i = 0; i < 8; ++i) all.go([&] { again(over, turns, all); });
    all.go([&] { over = true; });
    all.wait();
    for (auto& each : outside) weft::blocking([&] { each.join(); });
    from_outside.close();
    rest.wait();
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
