// Protocol B alone: one waiter that waits again and again, and partners, closers, timers and cancellers that race for each of its waits; and
// a canceller against a waiter without the fence between them, which must lose a cancellation. If it does not, this test cannot see what it is
// there for.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "runtime/base/random.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weft::rt;

/// The mutant: C3 is gone, H2 is the compiler barrier that it is beside membarrier.
struct no_fences {
  static void light() noexcept { __asm__ volatile("" ::: "memory"); }
  static void heavy() noexcept { __asm__ volatile("" ::: "memory"); }
};

/// One waiter's wait, and what the others know of it.
struct object {
  object_lock lock;
  wait_list waiters;  // guarded by lock
  waiter who;
  std::atomic<bool> flag{false};             // the context's
  std::atomic<std::uint64_t> generation{0};  // what a timer was armed with; 0: no wait has begun
  std::atomic<bool> ready{false};            // in place of a run queue: stored by the winner, once it has delivered
  std::uint64_t value = 0;                   // guarded by the claim
};

/// W2 to R2, in order, as park_hook and wait_in do it. Who won.
how wait_once(object& o) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  o.lock.lock();
  o.ready.store(false, std::memory_order_relaxed);
  wait_record r;
  r.who = &o.who;
  r.generation = begin_wait(o.who);
  r.slot = &o.value;
  push_back(o.waiters, r);
  publish_wait<process_fences>(o.who, r.generation, true);
  bool const mine = o.flag.load(std::memory_order_acquire) && claim(o.who, r.generation, how::cancel);  // H3
  o.generation.store(r.generation, std::memory_order_release);                                          // H4
  o.lock.unlock();
  if (mine) o.ready.store(true, std::memory_order_release);  // H6
  while (!o.ready.load(std::memory_order_acquire)) std::this_thread::yield();
  std::uint64_t const word = o.who.word.load(std::memory_order_acquire);
  o.who.word.store(word & ~(wait_word::state_mask | wait_word::how_mask), std::memory_order_relaxed);  // R1
  how const h = wait_word::winner(word);
  o.lock.lock();  // R2
  if (r.linked) unlink(o.waiters, r);
  bool const alone = o.waiters.head == nullptr;
  o.lock.unlock();
  return alone ? h : how::none;
}

/// One attempt of each kind. True: it won, and has delivered.
bool attempt(object& o, how h, std::uint64_t value) {
  bool won = false;
  if (h == how::partner || h == how::close) {
    o.lock.lock();
    if (wait_record* r = pop_claimed(o.waiters, h)) {
      if (h == how::partner) *static_cast<std::uint64_t*>(r->slot) = value;
      won = true;
    }
    o.lock.unlock();
  } else if (h == how::timeout) {
    won = claim(o.who, o.generation.load(std::memory_order_acquire), how::timeout);
  } else {
    o.flag.store(true, std::memory_order_release);  // C1
    process_fences::heavy();                        // C3
    std::uint64_t const word = o.who.word.load(std::memory_order_acquire);
    won = claim(o.who, wait_word::generation(word), how::cancel);  // C4
  }
  if (won) o.ready.store(true, std::memory_order_release);
  return won;
}

}  // namespace

TEST_CASE("of partner and close and timer and cancellation exactly one wins a wait and nothing is lost") {
  constexpr std::array kinds{how::partner, how::close, how::timeout, how::cancel};
  constexpr unsigned claimers = 3;
  object o;
  std::atomic<bool> stop{false};
  std::array<std::atomic<std::uint64_t>, 8> won{};  // by those who won
  std::atomic<std::uint64_t> sent{0};               // the sum of what partners delivered
  std::uint64_t const seed = 4711;
  INFO("seed " << seed);
  std::vector<std::thread> others;
  for (unsigned i = 0; i < claimers; ++i)
    others.emplace_back([&, i] {
      random_source random(seed + i);
      for (std::uint64_t n = 1; !stop.load(std::memory_order_acquire); ++n) {
        how const h = kinds[random.below(kinds.size())];
        std::uint64_t const value = n * claimers + i;
        if (attempt(o, h, value)) {
          won[static_cast<std::size_t>(h)] += 1;
          if (h == how::partner) sent += value;
        }
        for (std::uint64_t pause = random.below(64); pause != 0; --pause) cpu_relax();
      }
    });

  std::array<std::uint64_t, 8> met{};  // by the waiter
  std::uint64_t received = 0, waits = 0;
  // A second, and on a busy machine, where few waits fit into it, until each of them has won one.
  auto const all_have_won = [&] {
    return std::ranges::all_of(kinds, [&](how h) { return met[static_cast<std::size_t>(h)] != 0; });
  };
  auto const begun = std::chrono::steady_clock::now();
  for (auto now = begun; now < begun + 1s || (!all_have_won() && now < begun + 30s);
       now = std::chrono::steady_clock::now(), ++waits) {
    o.value = 0;
    how const h = wait_once(o);
    met[static_cast<std::size_t>(h)] += 1;
    if (h == how::partner) received += o.value;
    else if (o.value != 0) met[0] += 1;  // somebody delivered into a wait that was not its own
    o.flag.store(false, std::memory_order_relaxed);
  }
  stop.store(true, std::memory_order_release);
  for (auto& each : others) each.join();

  INFO(waits << " waits");
  CHECK(met[0] == 0);
  CHECK(received == sent);
  std::uint64_t sum = 0;
  for (how const h : kinds) {
    INFO("claimant " << static_cast<int>(h));
    std::uint64_t const times = met[static_cast<std::size_t>(h)];
    CHECK(times > 0);
    // The waiter itself wins a cancellation at H3.
    if (h == how::cancel) CHECK(times >= won[static_cast<std::size_t>(h)]);
    else CHECK(times == won[static_cast<std::size_t>(h)]);
    sum += times;
  }
  CHECK(sum == waits);
}

namespace {

/// One canceller against one waiter, both in step: waits that neither of the two has claimed are lost.
template <class Fences>
std::uint64_t lost_cancellations(std::chrono::milliseconds length) {
  waiter w;
  std::atomic<bool> flag{false};
  std::atomic<std::uint64_t> begin{0}, ended{0};  // rounds
  std::atomic<bool> stop{false};
  std::atomic<bool> claimed{false};
  std::thread canceller([&] {
    for (std::uint64_t round = 1;; ++round) {
      while (begin.load(std::memory_order_acquire) != round)
        if (stop.load(std::memory_order_relaxed)) return;
      flag.store(true, std::memory_order_release);  // C1
      Fences::heavy();                              // C3
      std::uint64_t const word = w.word.load(std::memory_order_acquire);
      claimed.store(claim(w, wait_word::generation(word), how::cancel), std::memory_order_relaxed);  // C4
      ended.store(round, std::memory_order_release);
    }
  });
  std::uint64_t lost = 0, round = 0;
  for (auto const end = std::chrono::steady_clock::now() + length;
       std::chrono::steady_clock::now() < end && lost == 0;) {
    for (int i = 0; i < 1000; ++i) {
      std::uint64_t const generation = begin_wait(w);
      flag.store(false, std::memory_order_relaxed);
      begin.store(++round, std::memory_order_release);
      for (int pause = i % 64; pause != 0; --pause) cpu_relax();
      publish_wait<Fences>(w, generation, true);
      bool const mine = flag.load(std::memory_order_acquire) && claim(w, generation, how::cancel);  // H3
      while (ended.load(std::memory_order_acquire) != round) {
      }
      lost += !mine && !claimed.load(std::memory_order_relaxed);
    }
  }
  stop.store(true, std::memory_order_relaxed);
  canceller.join();
  return lost;
}

}  // namespace

TEST_CASE("a cancellation is seen by the waiter or sees the waiter") {
  if (usable_cpus() < 2) return;  // the two spin for each other
  CHECK(lost_cancellations<process_fences>(500ms) == 0);
}

TEST_CASE("without the fences between waiter and canceller a cancellation is lost") {
  // One CPU sees its own stores in order, and ThreadSanitizer's calls around each atomic hide the store buffer.
  if (tsan || usable_cpus() < 2) return;
  CHECK(lost_cancellations<no_fences>(60s) > 0);
}
