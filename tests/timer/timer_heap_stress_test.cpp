// Owners that arm and disarm against collectors on several heaps. Each owner is written by one thread, as a task is; what
// the collectors do to it goes through its atomics, as through a wait word.

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "runtime/timer/timer_heap.hpp"
#include "tests/support/catch.hpp"

using weft::rt::due_entry;
using weft::rt::timer_heap;
using weft::rt::timer_node;
using weft::rt::timer_ops;

namespace {

struct owner {
  owner() noexcept;
  timer_node node;
  std::atomic<int> holds{0};
  std::atomic<int> lowest_hold{0};
  std::atomic<std::uint64_t> fired{0};            // how many
  std::atomic<std::uint64_t> last_generation{0};  // fired last
  std::atomic<std::uint64_t> twice{0};
  // The owning thread's:
  std::uint64_t generation = 0;
  std::uint64_t disarmed = 0;
};

constexpr timer_ops owner_ops{
    [](void* o) noexcept { static_cast<owner*>(o)->holds.fetch_add(1, std::memory_order_relaxed); },
    [](timer_node&, void* o, std::uint64_t g) {
      auto* const self = static_cast<owner*>(o);
      if (self->last_generation.exchange(g, std::memory_order_acq_rel) == g) self->twice.fetch_add(1);
      self->fired.fetch_add(1, std::memory_order_acq_rel);
    },
    [](void* o) noexcept {
      auto* const self = static_cast<owner*>(o);
      int const left = self->holds.fetch_sub(1, std::memory_order_acq_rel) - 1;
      if (left < 0) self->lowest_hold.store(left);
    },
};

owner::owner() noexcept : node(owner_ops, this) {}

// Lives on the free store and dies with its last hold.
struct mortal {
  mortal() noexcept : node(ops(), this) {}
  static timer_ops const& ops() noexcept {
    static constexpr timer_ops table{
        [](void* o) noexcept { static_cast<mortal*>(o)->holds.fetch_add(1, std::memory_order_relaxed); },
        [](timer_node&, void* o, std::uint64_t) { static_cast<mortal*>(o)->value = 1; },
        [](void* o) noexcept { drop(static_cast<mortal*>(o)); },
    };
    return table;
  }
  static void drop(mortal* m) noexcept {
    if (m->holds.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      alive.fetch_sub(1);
      delete m;
    }
  }
  static inline std::atomic<int> alive{0};
  timer_node node;
  std::atomic<int> holds{1};  // the task's own
  int value = 0;
};

void handle(due_entry const* due, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (due[i].fire != nullptr) due[i].fire(*due[i].node, due[i].owner, due[i].generation);
    due[i].release(due[i].owner);
  }
}

}  // namespace

TEST_CASE("each armed generation is either fired once or disarmed while collectors and armers race",
          "[timer][stress]") {
  constexpr std::size_t owners_a_thread = 40;
  constexpr int steps = 200'000;
  std::array<timer_heap, 2> heaps;
  std::array<std::deque<owner>, 2> owners;
  for (auto& mine : owners) mine.resize(owners_a_thread);
  std::atomic<std::int64_t> clock{0};
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};

  auto const armer = [&](std::size_t self) {
    std::mt19937_64 random(self + 77);
    for (int step = 0; step < steps; ++step) {
      owner& o = owners[self][random() % owners_a_thread];
      std::int64_t const now = clock.fetch_add(1, std::memory_order_relaxed);
      // As a task does: the wait before is settled (disarmed, or its firing was seen) before the next one begins.
      if (o.generation != 0 && o.generation != o.disarmed + o.fired.load(std::memory_order_acquire)) {
        if (timer_heap::disarm(o.node, o.generation)) {
          ++o.disarmed;
        } else {
          // Handed out: whoever has it fires it soon.
          while (o.generation != o.disarmed + o.fired.load(std::memory_order_acquire)) std::this_thread::yield();
        }
      }
      timer_heap& heap = heaps[random() % 2];
      if (!heap.reserve_one()) failures.fetch_add(1);
      std::int64_t const when = now + static_cast<std::int64_t>(random() % 400);
      if (random() % 2 == 0) {
        heap.arm(o.node, when, ++o.generation);
      } else {
        timer_heap& locked = heap.lock_for(o.node);
        locked.arm_locked(o.node, when, ++o.generation);
        locked.unlock();
      }
    }
  };
  auto const collector = [&] {
    std::array<due_entry, 8> due{};
    std::size_t at = 0;
    while (!stop.load(std::memory_order_acquire)) {
      timer_heap& heap = heaps[at++ % 2];
      std::int64_t const now = clock.load(std::memory_order_relaxed);
      if (heap.needs_collect(now)) handle(due.data(), heap.collect(now, due.data(), due.size()));
      else std::this_thread::yield();
    }
  };

  std::vector<std::thread> collectors;
  for (int i = 0; i < 2; ++i) collectors.emplace_back(collector);
  std::thread first(armer, 0);
  std::thread second(armer, 1);
  first.join();
  second.join();
  stop.store(true, std::memory_order_release);
  for (std::thread& t : collectors) t.join();

  std::array<due_entry, 8> due{};
  for (timer_heap& heap : heaps) {
    while (heap.needs_collect(1'000'000'000)) handle(due.data(), heap.collect(1'000'000'000, due.data(), due.size()));
    REQUIRE(heap.size() == 0);
    REQUIRE(heap.dead() == 0);
    REQUIRE(heap.used() == 0);
  }
  REQUIRE(failures.load() == 0);
  std::uint64_t fired = 0;
  std::uint64_t disarmed = 0;
  for (auto const& mine : owners)
    for (owner const& o : mine) {
      REQUIRE(o.generation == o.disarmed + o.fired.load());
      REQUIRE(o.twice.load() == 0);
      REQUIRE(o.holds.load() == 0);
      REQUIRE(o.lowest_hold.load() == 0);
      fired += o.fired.load();
      disarmed += o.disarmed;
    }
  REQUIRE(fired > 0);
  REQUIRE(disarmed > 0);
}

TEST_CASE("owners that are freed by their last release are never touched afterwards", "[timer][stress]") {
  // Sanitizers see a touch that comes too late.
  std::array<timer_heap, 2> heaps;
  std::atomic<std::int64_t> clock{0};
  std::atomic<bool> stop{false};
  auto const armer = [&](unsigned self) {
    std::mt19937_64 random(self);
    for (int i = 0; i < 30'000; ++i) {
      auto* const m = new mortal;
      mortal::alive.fetch_add(1);
      timer_heap& heap = heaps[random() % 2];
      if (!heap.reserve_one()) std::abort();
      std::int64_t const now = clock.fetch_add(1, std::memory_order_relaxed);
      heap.arm(m->node, now + static_cast<std::int64_t>(random() % 300), 1);
      if (random() % 4 != 0) timer_heap::disarm(m->node, 1);
      mortal::drop(m);
    }
  };
  auto const collector = [&](std::size_t at) {
    std::array<due_entry, 16> due{};
    while (!stop.load(std::memory_order_acquire)) {
      std::int64_t const now = clock.load(std::memory_order_relaxed);
      handle(due.data(), heaps[at++ % 2].collect(now, due.data(), due.size()));
      std::this_thread::yield();
    }
  };
  std::thread c1(collector, 0);
  std::thread c2(collector, 1);
  std::thread a1(armer, 1U);
  std::thread a2(armer, 2U);
  a1.join();
  a2.join();
  stop.store(true, std::memory_order_release);
  c1.join();
  c2.join();
  std::array<due_entry, 16> due{};
  for (timer_heap& heap : heaps)
    while (std::size_t const n = heap.drain(due.data(), due.size())) handle(due.data(), n);
  REQUIRE(mortal::alive.load() == 0);
}

TEST_CASE("a sleeper that announces itself and looks again never misses an earlier deadline", "[timer][stress]") {
  timer_heap heap;
  std::deque<owner> owners(1);
  owner& o = owners.front();
  std::atomic<std::int64_t> sleeping_until{-1};
  constexpr std::uint64_t rounds = 5'000;
  std::uint64_t missed = 0;
  std::vector<char> armer_saw(rounds);
  std::vector<char> sleeper_saw(rounds);

  std::atomic<std::uint64_t> ready[2] = {0, 0};
  auto const meet = [&ready](int self, std::uint64_t round) {
    ready[self].store(round, std::memory_order_release);
    while (ready[1 - self].load(std::memory_order_acquire) < round) std::this_thread::yield();
  };
  std::thread sleeper([&] {
    for (std::uint64_t r = 0; r < rounds; ++r) {
      meet(0, 2 * r + 1);
      sleeping_until.store(1000, std::memory_order_seq_cst);
      sleeper_saw[r] = heap.next_deadline() < 1000 ? 1 : 0;
      meet(0, 2 * r + 2);
    }
  });
  std::array<due_entry, 4> due{};
  for (std::uint64_t r = 0; r < rounds; ++r) {
    if (!heap.reserve_one()) std::abort();
    sleeping_until.store(-1, std::memory_order_relaxed);
    meet(1, 2 * r + 1);
    bool const earlier = heap.arm(o.node, 10, ++o.generation);
    armer_saw[r] = earlier && sleeping_until.load(std::memory_order_seq_cst) == 1000 ? 1 : 0;
    meet(1, 2 * r + 2);
    handle(due.data(), heap.collect(10, due.data(), due.size()));
  }
  sleeper.join();
  for (std::uint64_t r = 0; r < rounds; ++r)
    if (armer_saw[r] == 0 && sleeper_saw[r] == 0) ++missed;
  REQUIRE(missed == 0);
  REQUIRE(o.fired.load() == rounds);
}

TEST_CASE("a heap ends while threads disarm what lies in it") {
  constexpr int owners = 16;
  for (int round = 0; round < 200; ++round) {
    auto heap = std::make_unique<timer_heap>();
    std::deque<owner> all(owners);
    for (owner& each : all) {
      REQUIRE(heap->reserve_one());
      (void)heap->arm(each.node, 1'000'000, ++each.generation);
    }
    std::atomic<bool> go{false};
    std::atomic<int> disarmed{0};
    std::thread crowd[2];
    for (int t = 0; t < 2; ++t)
      crowd[t] = std::thread([&, t] {
        while (!go.load(std::memory_order_relaxed)) {
        }
        for (int i = t; i < owners; i += 2) disarmed += timer_heap::disarm(all[static_cast<std::size_t>(i)].node, 1);
      });
    go.store(true, std::memory_order_relaxed);
    std::array<due_entry, 4> gone;
    while (std::size_t const n = heap->drain(gone.data(), gone.size()))
      for (std::size_t i = 0; i < n; ++i) gone[i].release(gone[i].owner);
    heap.reset();
    for (std::thread& each : crowd) each.join();
    CHECK(disarmed.load() <= owners);
    for (owner const& each : all) CHECK(each.holds.load() == 0);
  }
}
