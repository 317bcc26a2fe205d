#include "runtime/sched/run_queue.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/base/random.hpp"
#include "tests/support/catch.hpp"

using weft::rt::run_queue;
using weft::rt::task;

namespace {

// The queue never looks at what a pointer points to.
task* number(std::uintptr_t n) { return reinterpret_cast<task*>((n + 1) * 64); }
std::uintptr_t number_of(task const* t) { return reinterpret_cast<std::uintptr_t>(t) / 64 - 1; }

}  // namespace

TEST_CASE("the ring of a run queue gives tasks in the order in which they came") {
  for (bool const single : {true, false}) {
    run_queue q;
    for (std::uintptr_t i = 0; i < 3 * run_queue::capacity; ++i) {
      REQUIRE(q.push(number(i)));
      CHECK(q.size() == 1);
      CHECK(q.newest() == number(i));
      CHECK(q.pop(single) == number(i));
    }
    CHECK(q.pop(single) == nullptr);
    CHECK(q.newest() == nullptr);
    for (std::uintptr_t i = 0; i < run_queue::capacity; ++i) REQUIRE(q.push(number(i)));
    CHECK_FALSE(q.push(number(0)));
    for (std::uintptr_t i = 0; i < run_queue::capacity; ++i) CHECK(q.pop(single) == number(i));
  }
}

TEST_CASE("a thief with tasks of its own puts as many as it is told behind them") {
  run_queue victim, mine;
  for (std::uintptr_t i = 0; i < 100; ++i) REQUIRE(victim.push(number(i)));
  for (std::uintptr_t i = 1000; i < 1010; ++i) REQUIRE(mine.push(number(i)));
  CHECK(mine.steal_from(victim, false, 20) == number(19));
  CHECK(mine.steal_from(victim, false, 1) == number(20));
  for (std::uintptr_t i = 1000; i < 1010; ++i) CHECK(mine.pop(false) == number(i));
  for (std::uintptr_t i = 0; i < 19; ++i) CHECK(mine.pop(false) == number(i));
  CHECK(mine.ring_empty());
  CHECK(mine.steal_from(victim, false) == number(60));
  CHECK(mine.size() == 39);
  CHECK(victim.size() == 39);
}

TEST_CASE("the owner takes back what it pushed last and nothing else") {
  for (bool const single : {true, false}) {
    run_queue q;
    CHECK_FALSE(q.retract(number(0), single));
    for (std::uintptr_t i = 0; i < 3; ++i) REQUIRE(q.push(number(i)));
    CHECK_FALSE(q.retract(number(0), single));
    CHECK(q.retract(number(2), single));
    CHECK_FALSE(q.retract(number(2), single));
    CHECK(q.retract(number(1), single));
    REQUIRE(q.push(number(7)));
    CHECK(q.pop(single) == number(0));
    CHECK(q.pop(single) == number(7));
    CHECK(q.pop(single) == nullptr);
    CHECK(q.ring_empty());
  }
}

TEST_CASE("a thief takes half and leaves the task that was pushed last unless it is told to take that too") {
  run_queue victim, mine;
  CHECK(mine.steal_from(victim, true) == nullptr);
  REQUIRE(victim.push(number(0)));
  CHECK(mine.steal_from(victim, false) == nullptr);
  CHECK(mine.steal_from(victim, true) == number(0));
  CHECK_FALSE(victim.retract(number(0), false));
  for (std::uintptr_t i = 0; i < 5; ++i) REQUIRE(victim.push(number(i)));
  CHECK(mine.steal_from(victim, false) == number(2));
  CHECK(mine.size() == 2);
  CHECK(victim.retract(number(4), false));
  CHECK(victim.pop(false) == number(3));
  CHECK(victim.pop(false) == nullptr);
}

namespace {
/// The owner of a queue lets a parent push children.
struct family {
  run_queue& q;
  bool single;

  void spawn(std::uintptr_t parent, std::initializer_list<std::uintptr_t> children, bool again = false) {
    if (!q.is_parent(number(parent))) q.begin_children(number(parent), again);
    for (std::uintptr_t const child : children) REQUIRE(q.push(number(child)));
    CHECK(q.is_parent(number(parent)));
  }
  void pops(std::initializer_list<std::uintptr_t> expected) {
    for (std::uintptr_t const each : expected) CHECK(q.pop(single) == number(each));
  }
};
}  // namespace

TEST_CASE(
    "what a task has spawned goes before all else when it leaves, in the order of the spawns, and theirs before") {
  for (bool const single : {true, false}) {
    run_queue q;
    family f{q, single};
    for (std::uintptr_t i = 0; i < 2; ++i) REQUIRE(q.push(number(i)));
    f.spawn(100, {10, 11, 12});
    CHECK(q.children_first(single) == !single);
    CHECK_FALSE(q.has_parent());
    f.pops({10});
    f.spawn(10, {20, 21});
    (void)q.children_first(single);
    f.pops({20, 21, 11});
    f.spawn(11, {30});
    CHECK_FALSE(q.children_first(single));  // one alone is in order
    f.pops({30, 12});
    CHECK(q.is_newest_first());
    f.pops({0, 1});
    CHECK_FALSE(q.is_newest_first());
    CHECK(q.pop(single) == nullptr);
  }
}

TEST_CASE("where the newest goes first, the ring can be had in that order with the oldest first") {
  for (bool const single : {true, false}) {
    run_queue q;
    family f{q, single};
    REQUIRE(q.push(number(0)));
    f.spawn(100, {10, 11, 12});
    (void)q.children_first(single);
    f.pops({10});
    f.spawn(10, {20, 21});
    (void)q.children_first(single);
    CHECK(q.pop_ring(single) == number(0));  // who looks around
    CHECK(q.oldest_first(single) == !single);
    CHECK_FALSE(q.is_newest_first());
    REQUIRE(q.push(number(1)));
    f.pops({20, 21, 11, 12, 1});
    CHECK(q.pop(single) == nullptr);
  }
}

TEST_CASE("children of a parent some of whose earlier ones still stand in the ring go behind these") {
  for (bool const single : {true, false}) {
    run_queue q;
    family f{q, single};
    for (std::uintptr_t i = 0; i < 2; ++i) REQUIRE(q.push(number(i)));
    f.spawn(100, {10, 11, 12});
    CHECK_FALSE(q.has_any_from(q.first_child() + 3));
    CHECK(q.has_any_from(q.first_child() + 2));
    (void)q.children_first(single);
    f.pops({10});
    f.spawn(100, {13}, true);
    (void)q.children_first(single);
    CHECK_FALSE(q.is_newest_first());
    f.pops({0, 1, 11});
    f.spawn(100, {14, 15}, true);
    CHECK_FALSE(q.children_first(single));
    f.spawn(11, {20, 21});  // a tree of its own
    (void)q.children_first(single);
    f.pops({20, 21, 12, 13, 14, 15});
    f.spawn(100, {16, 17}, true);  // none of those is left
    REQUIRE(q.push(number(2)));
    (void)q.children_first(single);
    f.pops({16, 17, 2});
    CHECK(q.pop(single) == nullptr);
  }
}

TEST_CASE("what a parent has spawned when the ring is turned back goes before what it spawns later") {
  for (bool const single : {true, false}) {
    run_queue q;
    family f{q, single};
    f.spawn(100, {10, 11, 12});
    (void)q.children_first(single);
    f.pops({10});
    f.spawn(10, {20, 21});
    CHECK(q.oldest_first(single) == !single);
    REQUIRE(q.push(number(0)));
    f.spawn(10, {22, 23});
    CHECK_FALSE(q.children_first(single));
    CHECK_FALSE(q.has_parent());
    f.pops({20, 21, 11, 12, 0, 22, 23});
    CHECK(q.pop(single) == nullptr);
  }
}

TEST_CASE("a ring is turned back up to its tail where what stood below a parent's later children was taken back") {
  for (bool const single : {true, false}) {
    run_queue q;
    family f{q, single};
    f.spawn(100, {10, 11, 12});
    (void)q.children_first(single);
    f.spawn(100, {13}, true);
    CHECK(q.retract(number(13), single));
    CHECK(q.retract(number(10), single));
    (void)q.oldest_first(single);
    f.pops({11, 12});
    CHECK(q.pop(single) == nullptr);
  }
}

TEST_CASE("who looks around finds the oldest below a tree, and none where there is no tree") {
  for (bool const single : {true, false}) {
    run_queue q;
    family f{q, single};
    for (std::uintptr_t i = 0; i < 2; ++i) REQUIRE(q.push(number(i)));
    CHECK(q.pop_below(single) == nullptr);
    f.spawn(100, {10, 11});
    (void)q.children_first(single);
    CHECK(q.pop_below(single) == number(0));
    CHECK(q.pop_below(single) == number(1));
    CHECK(q.pop_below(single) == nullptr);
    f.pops({10, 11});
    CHECK(q.pop(single) == nullptr);
  }
}

TEST_CASE("children that may still stand in the ring are told from such as stood there long ago") {
  run_queue q;
  family f{q, true};
  for (std::uintptr_t i = 0; i < run_queue::capacity - 1; ++i) REQUIRE(q.push(number(i)));
  f.spawn(100, {10});
  std::uint16_t const at = q.first_child();
  // The last of a full ring, and as much behind it as there is room for.
  for (std::uintptr_t i = 0; i < run_queue::capacity - 1; ++i) {
    CHECK(q.has_any_from(at));
    REQUIRE(q.pop_ring(true) == number(i));
    REQUIRE(q.push(number(i)));
  }
  CHECK(q.has_any_from(at));
  CHECK(q.pop_ring(true) == number(10));
  for (std::uint32_t i = 0; i < 20 * run_queue::capacity; ++i) REQUIRE(q.push(q.pop_ring(true)));
  CHECK_FALSE(q.has_any_from(at));
}

TEST_CASE("a parent whose children have been popped or stolen has none that go first") {
  run_queue q, mine;
  family f{q, false};
  f.spawn(100, {10, 11});
  f.pops({10, 11});
  CHECK_FALSE(q.children_first(false));
  CHECK_FALSE(q.is_newest_first());
  f.spawn(100, {12, 13, 14, 15});
  CHECK(mine.steal_from(q, true) == number(13));
  REQUIRE(q.push(number(0)));  // behind them all the same: only to be compared with
  CHECK(q.children_first(false));
  f.pops({14, 15, 0});
  CHECK(q.pop(false) == nullptr);
}

TEST_CASE("each task that is pushed is popped or taken back or stolen exactly once") {
  constexpr std::uintptr_t tasks = 2'000'000;
  constexpr unsigned thieves = 3;
  auto const taken = std::make_unique<std::array<std::atomic<std::uint8_t>, tasks>>();
  std::atomic<bool> done{false};
  run_queue q;
  std::uint64_t const seed = 20261125;
  INFO("seed " << seed);

  std::vector<std::thread> others;
  for (unsigned i = 0; i < thieves; ++i)
    others.emplace_back([&, i] {
      run_queue mine;
      bool last = false;
      while (!last) {
        last = done.load(std::memory_order_acquire);
        for (task* t = mine.steal_from(q, (i & 1) == 0); t != nullptr; t = mine.pop(false)) (*taken)[number_of(t)] += 1;
      }
    });

  weft::rt::random_source random(seed);
  std::size_t popped = 0, back = 0, turned = 0;
  std::vector<task*> pushed;  // by the owner, as far as it knows still in the queue
  for (std::uintptr_t next = 0; next < tasks;) {
    std::uint64_t const choice = random.below(8);
    if (random.below(16) == 0) {
      if (std::uintptr_t const parent = tasks + random.below(4); !q.is_parent(number(parent)))
        q.begin_children(number(parent), random.below(4) == 0);
      for (std::uint64_t n = random.below(5); n > 0 && next < tasks; --n)
        if (q.push(number(next))) ++next;
      if (random.below(4) == 0 && q.is_newest_first()) turned += static_cast<std::size_t>(q.oldest_first(false));
      if (random.below(4) != 0) turned += static_cast<std::size_t>(q.children_first(false));
      if (random.below(4) == 0 && q.is_newest_first()) turned += static_cast<std::size_t>(q.oldest_first(false));
      pushed.clear();
      continue;
    }
    if (choice < 4) {
      if (q.push(number(next))) pushed.push_back(number(next++));
    } else if (choice < 7) {
      if (!pushed.empty()) {
        task* const t = pushed.back();
        pushed.pop_back();
        if (q.retract(t, false)) (*taken)[number_of(t)] += 1, ++back;
        if (q.newest() != (pushed.empty() ? nullptr : pushed.back())) pushed.clear();  // thieves have been there
      }
    } else if (task* const t = q.pop(false)) {
      (*taken)[number_of(t)] += 1;
      ++popped;
    }
  }
  while (task* const t = q.pop(false)) (*taken)[number_of(t)] += 1;
  done.store(true, std::memory_order_release);
  for (auto& each : others) each.join();

  std::size_t wrong = 0;
  for (auto const& times : *taken) wrong += times.load(std::memory_order_relaxed) != 1;
  CHECK(wrong == 0);
  CHECK(popped > 0);
  CHECK(back > 0);
  CHECK(turned > 0);
}
