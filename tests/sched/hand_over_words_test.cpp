// Protocol A alone: an owner that enters and leaves as fast as it can against a monitor that robs it, and the same without the
// monitor's fence, which must break. If it does not, this test cannot see what it is there for.

#include "runtime/sched/hand_over.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace std::chrono_literals;

/// What a processor is to the protocol: plain data of its holder. Relaxed atomics, so that breaking it is no undefined behaviour: a
/// holder writes `a`, then `b`, and they differ for whoever looks while another is at it.
struct alignas(64) processor {
  std::atomic<std::uint64_t> a{0}, b{0};

  /// One operation of a holder. False: somebody else is at it.
  bool use() {
    std::uint64_t const before = a.load(std::memory_order_relaxed);
    bool const whole = b.load(std::memory_order_relaxed) == before;
    a.store(before + 1, std::memory_order_relaxed);
    b.store(before + 1, std::memory_order_relaxed);
    return whole;
  }
};

struct real_fences {
  static void light() noexcept { weft::rt::light_fence(); }
  static void heavy() noexcept { weft::rt::heavy_fence(); }
};

/// Both sides full fences: what runs where membarrier is not to be had.
struct full_fences {
  static void light() noexcept { weft::rt::full_fence(); }
  static void heavy() noexcept { weft::rt::full_fence(); }
};

/// The mutant: M3 is gone, E2 is the compiler barrier that it is beside membarrier.
struct no_fences {
  static void light() noexcept { __asm__ volatile("" ::: "memory"); }
  static void heavy() noexcept { __asm__ volatile("" ::: "memory"); }
};

struct outcome {
  std::uint64_t owner_uses = 0, takes = 0;
  std::uint64_t torn = 0;
  std::int64_t lost = 0;
};

/// Runs for that long, and until there were enough takes to speak of; or until something is torn or lost if `until_broken`.
template <class Fences>
outcome fight(std::chrono::milliseconds length, bool until_broken) {
  using words = weft::rt::hand_over_words<processor, Fences>;
  processor p;
  words w;
  w.proc.store(reinterpret_cast<std::uintptr_t>(&p));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> owner_uses{0}, owner_torn{0};
  std::thread owner([&] {
    w.leave();
    std::uint64_t uses = 0, torn = 0, turns = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      // Now and then it stands still, for as long as a take needs, more or less: so that it comes back at every step of one.
      if (++turns % 256 == 0)
        for (std::uint64_t pause = turns / 256 % 200; pause != 0; --pause) weft::rt::cpu_relax();
      if (processor* mine = w.enter()) {
        torn += mine->use() ? 0 : 1;
        ++uses;
      }
      w.leave();
      owner_torn.store(torn, std::memory_order_relaxed);
    }
    owner_uses = uses;
  });
  outcome out;
  std::uint64_t monitor_uses = 0;
  auto const end = std::chrono::steady_clock::now() + length;
  while (std::chrono::steady_clock::now() < end || (!until_broken && out.takes < 100)) {
    for (int i = 0; i < 100; ++i) {
      if (!w.take(p, w.seq.load(std::memory_order_acquire), words::adrift)) continue;
      ++out.takes;
      for (int k = 0; k < 3; ++k, ++monitor_uses) out.torn += p.use() ? 0 : 1;
      w.proc.store(reinterpret_cast<std::uintptr_t>(&p), std::memory_order_release);  // M6
    }
    if (until_broken && out.torn + owner_torn.load(std::memory_order_relaxed) != 0) break;
  }
  stop = true;
  owner.join();
  out.owner_uses = owner_uses;
  out.torn += owner_torn;
  out.lost = static_cast<std::int64_t>(out.owner_uses + monitor_uses) - static_cast<std::int64_t>(p.a.load());
  return out;
}

}  // namespace

TEST_CASE("a robbed owner and its robber lose nothing and tear nothing") {
  for (bool const as_without_membarrier : {false, true}) {
    outcome const o = as_without_membarrier ? fight<full_fences>(1s, false) : fight<real_fences>(1s, false);
    CAPTURE(as_without_membarrier);
    INFO(o.owner_uses << " uses by the owner, " << o.takes << " takes");
    CHECK(o.torn == 0);
    CHECK(o.lost == 0);
    CHECK(o.owner_uses > 0);
    CHECK(o.takes >= 100);
  }
}

TEST_CASE("without the monitor's fence the owner and its robber meet") {
  // One CPU sees its own stores in order, and ThreadSanitizer's calls around each atomic hide the store buffer.
  if (weft::rt::tsan || weft::rt::usable_cpus() < 2) return;
  std::uint64_t broken = 0;
  for (int round = 0; round < 60 && broken == 0; ++round) {
    outcome const o = fight<no_fences>(1s, true);
    broken += o.torn + (o.lost != 0 ? 1 : 0);
  }
  CHECK(broken > 0);
}

TEST_CASE("an owner that was asked finds its processor plain again, and one that was robbed finds none") {
  using words = weft::rt::hand_over_words<processor, real_fences>;
  processor p, other;
  words w;
  w.proc = reinterpret_cast<std::uintptr_t>(&p);
  CHECK_FALSE(w.take(p, w.seq, words::adrift));  // M1: inside
  w.leave();
  w.ask(p);
  CHECK(w.held() == &p);
  CHECK(w.enter() == &p);
  CHECK(w.proc == reinterpret_cast<std::uintptr_t>(&p));
  w.leave();
  CHECK_FALSE(w.take(other, w.seq, words::adrift));
  CHECK_FALSE(w.take(p, w.seq - 2, words::adrift));  // it has moved since
  w.ask(p);
  CHECK(w.take(p, w.seq, words::adrift | words::hog));
  CHECK(w.held() == nullptr);
  CHECK(w.enter() == nullptr);
  CHECK(w.proc == (words::adrift | words::hog));
  w.ask(p);
  CHECK(w.proc == (words::adrift | words::hog));
  w.leave();
}
