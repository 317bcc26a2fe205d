// The heap alone, in one thread: order against a model, lazy removal, holds. Races: timer_heap_stress_test.cpp.

#include "runtime/timer/timer_heap.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "tests/support/catch.hpp"

using weft::rt::due_entry;
using weft::rt::no_deadline;
using weft::rt::timer_heap;
using weft::rt::timer_node;
using weft::rt::timer_ops;

namespace {

struct owner {
  owner() noexcept;
  timer_node node;
  int holds = 0;
  std::uint64_t generation = 0;
  std::vector<std::uint64_t> fired;
};

constexpr timer_ops owner_ops{
    [](void* o) noexcept { ++static_cast<owner*>(o)->holds; },
    [](timer_node&, void* o, std::uint64_t g) { static_cast<owner*>(o)->fired.push_back(g); },
    [](void* o) noexcept { --static_cast<owner*>(o)->holds; },
};

owner::owner() noexcept : node(owner_ops, this) {}

bool arm(timer_heap& heap, owner& o, std::int64_t when) {
  REQUIRE(heap.reserve_one());
  return heap.arm(o.node, when, ++o.generation);
}

struct outcome {
  std::size_t fired = 0;
  std::size_t released = 0;
};

outcome run_due(timer_heap& heap, std::int64_t now, std::size_t batch = 16) {
  outcome result;
  std::vector<due_entry> due(batch);
  do {
    std::size_t const n = heap.collect(now, due.data(), batch);
    for (std::size_t i = 0; i < n; ++i) {
      if (due[i].fire != nullptr) {
        due[i].fire(*due[i].node, due[i].owner, due[i].generation);
        ++result.fired;
      }
      due[i].release(due[i].owner);
      ++result.released;
    }
  } while (heap.needs_collect(now));
  return result;
}

std::size_t drain_all(timer_heap& heap) {
  std::size_t total = 0;
  std::array<due_entry, 7> out{};
  while (std::size_t const n = heap.drain(out.data(), out.size())) {
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(out[i].fire == nullptr);
      out[i].release(out[i].owner);
    }
    total += n;
  }
  return total;
}

}  // namespace

TEST_CASE("an empty timer heap has no deadline and nothing to collect", "[timer]") {
  timer_heap heap;
  due_entry due{};
  REQUIRE(heap.next_deadline() == no_deadline);
  REQUIRE_FALSE(heap.needs_collect(no_deadline - 1));
  REQUIRE(heap.collect(no_deadline - 1, &due, 1) == 0);
  REQUIRE(heap.size() == 0);
}

TEST_CASE("arm reports when the earliest deadline became earlier and only then", "[timer]") {
  timer_heap heap;
  std::array<owner, 4> o;
  REQUIRE(arm(heap, o[0], 100));
  REQUIRE_FALSE(arm(heap, o[1], 200));
  REQUIRE_FALSE(arm(heap, o[2], 100));
  REQUIRE(arm(heap, o[3], 50));
  REQUIRE(heap.next_deadline() == 50);

  SECTION("a node that is re-armed earlier moves up in place") {
    REQUIRE(arm(heap, o[1], 10));
    REQUIRE(heap.size() == 4);
    REQUIRE(heap.next_deadline() == 10);
  }
  SECTION("a node that is re-armed later keeps its entry until that surfaces") {
    REQUIRE_FALSE(arm(heap, o[3], 300));
    REQUIRE(heap.size() == 4);
    REQUIRE(heap.next_deadline() <= 100);
    REQUIRE(run_due(heap, 99).fired == 0);
    REQUIRE(heap.next_deadline() == 100);
    REQUIRE(run_due(heap, 299).fired == 3);
    REQUIRE(o[3].fired.empty());
    REQUIRE(run_due(heap, 300).fired == 1);
    REQUIRE(o[3].fired == std::vector<std::uint64_t>{2});
  }
  drain_all(heap);
}

TEST_CASE("disarm succeeds once and only for the generation that is armed", "[timer]") {
  timer_heap heap;
  owner o;
  REQUIRE_FALSE(timer_heap::disarm(o.node, 0));
  arm(heap, o, 100);
  REQUIRE_FALSE(timer_heap::disarm(o.node, 2));
  REQUIRE(timer_heap::disarm(o.node, 1));
  REQUIRE_FALSE(timer_heap::disarm(o.node, 1));
  REQUIRE(heap.dead() == 1);
  REQUIRE(o.holds == 1);
  REQUIRE(run_due(heap, 1000).fired == 0);
  REQUIRE(o.holds == 0);
  REQUIRE(heap.dead() == 0);
  REQUIRE_FALSE(o.node.in_heap());

  arm(heap, o, 2000);
  REQUIRE(run_due(heap, 2000).fired == 1);
  REQUIRE_FALSE(timer_heap::disarm(o.node, 2));
}

TEST_CASE("a dead node that is armed again costs no second entry and no second hold", "[timer]") {
  timer_heap heap;
  owner o;
  for (std::int64_t i = 0; i < 1000; ++i) {
    arm(heap, o, 1000 + i % 7);
    REQUIRE(timer_heap::disarm(o.node, o.generation));
  }
  REQUIRE(heap.size() == 1);
  REQUIRE(heap.used() == 1);  // no reservation is left over
  REQUIRE(heap.dead() == 1);
  REQUIRE(o.holds == 1);
  arm(heap, o, 5000);
  REQUIRE(heap.dead() == 0);
  REQUIRE(run_due(heap, 4999).fired == 0);
  REQUIRE(run_due(heap, 5000).fired == 1);
  REQUIRE(o.fired == std::vector<std::uint64_t>{1001});
  REQUIRE(o.holds == 0);
}

TEST_CASE("a node that is dead in one heap is armed there and not in the heap asked", "[timer]") {
  timer_heap first;
  timer_heap second;
  owner o;
  arm(first, o, 100);
  REQUIRE(timer_heap::disarm(o.node, 1));
  arm(second, o, 40);
  REQUIRE(first.next_deadline() == 40);
  REQUIRE(second.size() == 0);
  REQUIRE(run_due(first, 40).fired == 1);
  arm(second, o, 50);
  REQUIRE(second.size() == 1);
  REQUIRE(first.size() == 0);

  // The two-step form, which sleep uses.
  REQUIRE(timer_heap::disarm(o.node, 3));
  REQUIRE(first.reserve_one());
  timer_heap& home = first.lock_for(o.node);
  REQUIRE(&home == &second);
  REQUIRE(home.arm_locked(o.node, 45, ++o.generation));
  home.unlock();
  REQUIRE(run_due(second, 45).fired == 1);
  REQUIRE(first.used() == 0);
  REQUIRE(second.used() == 0);
  REQUIRE(o.holds == 0);
}

TEST_CASE("a handed-out node may be armed again before its entry is released", "[timer]") {
  timer_heap heap;
  owner o;
  due_entry due{};
  arm(heap, o, 10);
  REQUIRE(heap.collect(10, &due, 1) == 1);
  REQUIRE(o.holds == 1);
  arm(heap, o, 20);
  REQUIRE(o.holds == 2);
  due.release(due.owner);
  REQUIRE(o.holds == 1);
  REQUIRE(due.generation == 1);
  REQUIRE(run_due(heap, 20).fired == 1);
  REQUIRE(o.holds == 0);
}

TEST_CASE("postponed nodes that surface together are moved down in bounded steps and fire at their new deadline",
          "[timer]") {
  timer_heap heap;
  std::deque<owner> owners(2000);
  for (owner& o : owners) arm(heap, o, 10);
  for (owner& o : owners) REQUIRE_FALSE(arm(heap, o, 1000));
  REQUIRE(heap.next_deadline() == 10);
  due_entry due{};
  REQUIRE(heap.collect(10, &due, 1) == 0);
  REQUIRE(heap.needs_collect(10));
  REQUIRE(run_due(heap, 999).fired == 0);
  REQUIRE(heap.next_deadline() == 1000);
  REQUIRE(run_due(heap, 1000).fired == owners.size());
}

TEST_CASE("reservations never let an arm run out of room", "[timer]") {
  timer_heap heap;
  std::deque<owner> owners(1000);
  for (std::size_t i = 0; i < owners.size(); ++i) REQUIRE(heap.reserve_one());
  for (int i = 0; i < 500; ++i) heap.unreserve_one();
  for (int i = 0; i < 500; ++i) REQUIRE(heap.reserve_one());
  std::int64_t when = 1000;
  for (owner& o : owners) heap.arm(o.node, when--, ++o.generation);
  REQUIRE(heap.size() == 1000);
  REQUIRE(heap.used() == 1000);
  REQUIRE(drain_all(heap) == 1000);
  REQUIRE(heap.used() == 0);
  for (owner const& o : owners) REQUIRE(o.holds == 0);
}

TEST_CASE("drain hands everything out unfired, armed or dead", "[timer]") {
  timer_heap heap;
  std::deque<owner> owners(100);
  for (owner& o : owners) arm(heap, o, 5);
  for (std::size_t i = 0; i < 50; ++i) REQUIRE(timer_heap::disarm(owners[i].node, 1));
  REQUIRE(drain_all(heap) == 100);
  REQUIRE(heap.size() == 0);
  REQUIRE(heap.dead() == 0);
  REQUIRE(heap.next_deadline() == no_deadline);
  for (owner const& o : owners) {
    REQUIRE(o.holds == 0);
    REQUIRE(o.fired.empty());
    REQUIRE_FALSE(timer_heap::disarm(const_cast<owner&>(o).node, 1));
  }
}

TEST_CASE("dead nodes are cleaned up until at most a quarter of the heap is dead", "[timer]") {
  timer_heap heap;
  constexpr std::size_t count = 20'000;
  std::deque<owner> owners(count);
  std::mt19937_64 random(11);
  for (owner& o : owners) arm(heap, o, 1'000'000 + static_cast<std::int64_t>(random() % 1'000'000));

  // 64 dead ones are left in peace.
  for (std::size_t i = 0; i < 64; ++i) REQUIRE(timer_heap::disarm(owners[i].node, 1));
  REQUIRE_FALSE(heap.needs_collect(0));
  for (std::size_t i = 64; i < count; ++i)
    if (random() % 10 != 0) REQUIRE(timer_heap::disarm(owners[i].node, 1));
  REQUIRE(heap.needs_collect(0));

  std::array<due_entry, 64> due{};
  std::size_t calls = 0;
  while (heap.needs_collect(0)) {
    std::size_t const n = heap.collect(0, due.data(), due.size());
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(due[i].fire == nullptr);
      due[i].release(due[i].owner);
    }
    REQUIRE(++calls < count);
  }
  REQUIRE(heap.dead() * 4 <= std::max<std::size_t>(heap.size(), 64 * 4));

  std::size_t live = 0;
  for (owner const& o : owners) {
    REQUIRE(o.holds == (o.node.in_heap() ? 1 : 0));
    if (o.node.armed()) ++live;
  }
  // Removal from the middle has left a heap: what remains comes out in order.
  std::int64_t last = 0;
  std::size_t fired = 0;
  while (std::size_t const n = heap.collect(2'000'000, due.data(), due.size()))
    for (std::size_t i = 0; i < n; ++i) {
      if (due[i].fire != nullptr) {
        REQUIRE(due[i].node->when() >= last);
        last = due[i].node->when();
        ++fired;
      }
      due[i].release(due[i].owner);
    }
  REQUIRE(fired == live);
  for (owner const& o : owners) REQUIRE(o.holds == 0);
}

TEST_CASE("timers are handed out in the order of a reference model under random arm, disarm and collect", "[timer]") {
  auto const seed = GENERATE(1U, 2U, 3U, 4U);
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  auto const below = [&random](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };

  std::array<timer_heap, 2> heaps;
  std::deque<owner> owners(300);
  std::vector<std::int64_t> model(owners.size(), no_deadline);  // no_deadline: not armed
  std::int64_t now = 0;
  std::uint64_t fired = 0;

  for (int step = 0; step < 40'000; ++step) {
    auto const k = static_cast<std::size_t>(below(owners.size()));
    owner& o = owners[k];
    switch (below(8)) {
      case 0:
      case 1:
      case 2: {
        std::int64_t const when = now + below(below(2) != 0 ? 50 : 3000);
        timer_heap& heap = heaps[static_cast<std::size_t>(below(2))];
        std::int64_t const before[] = {heaps[0].next_deadline(), heaps[1].next_deadline()};
        bool const earlier = arm(heap, o, when);
        model[k] = when;
        REQUIRE(earlier == (heaps[0].next_deadline() < before[0] || heaps[1].next_deadline() < before[1]));
        break;
      }
      case 3:
      case 4:
        REQUIRE(timer_heap::disarm(o.node, o.generation) == (model[k] != no_deadline));
        model[k] = no_deadline;
        break;
      default: {
        now += below(20);
        timer_heap& heap = heaps[static_cast<std::size_t>(below(2))];
        std::array<due_entry, 4> due{};
        std::int64_t last = -1;
        for (;;) {
          std::size_t const n = heap.collect(now, due.data(), due.size());
          for (std::size_t i = 0; i < n; ++i) {
            auto const at = static_cast<std::size_t>(
                std::find_if(owners.begin(), owners.end(), [&](owner& x) { return &x == due[i].owner; }) -
                owners.begin());
            if (due[i].fire != nullptr) {
              REQUIRE(model[at] <= now);
              REQUIRE(model[at] >= last);
              REQUIRE(due[i].generation == owners[at].generation);
              last = model[at];
              model[at] = no_deadline;
              ++fired;
            }
            due[i].release(due[i].owner);
          }
          if (!heap.needs_collect(now)) break;
        }
      }
    }
    std::int64_t earliest = no_deadline;
    for (std::int64_t const when : model) earliest = std::min(earliest, when);
    REQUIRE(std::min(heaps[0].next_deadline(), heaps[1].next_deadline()) <= earliest);
  }
  REQUIRE(fired > 1000);
  for (timer_heap& heap : heaps) drain_all(heap);
  for (owner const& o : owners) REQUIRE(o.holds == 0);
}

TEST_CASE("a heap that fills with dead entries asks each 1,024 to be relieved of them, once each time") {
  timer_heap heap;
  std::deque<owner> owners(4096);
  int asked = 0;
  for (owner& o : owners) {
    arm(heap, o, 1000);
    CHECK(timer_heap::disarm(o.node, o.generation));
    if (heap.take_crowded()) ++asked;
  }
  CHECK(asked == 4);
  CHECK_FALSE(heap.take_crowded());
  drain_all(heap);
  for (owner& o : owners) arm(heap, o, 1000);  // none of them dead
  CHECK_FALSE(heap.take_crowded());
  drain_all(heap);
}
