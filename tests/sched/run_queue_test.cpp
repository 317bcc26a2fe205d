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
  std::size_t popped = 0, back = 0;
  std::vector<task*> pushed;  // by the owner, as far as it knows still in the queue
  for (std::uintptr_t next = 0; next < tasks;) {
    std::uint64_t const choice = random.below(8);
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
}
