// hand_over: protocol A. A processor is taken from a worker that is stuck in a task, unannounced, and given to another.
//
// Each worker has two words. `seq`, written by the worker alone, is odd while it is inside a *section*, that is, may be touching its
// processor. `proc` is the processor, with flags in its low bits:
//
//   P             the worker holds P
//   P | taking    the monitor is about to take P: whoever changes the word first has it
//   P | asked     the worker holds P and is to hand it on itself at its next short section (its task never stands still outside)
//   adrift [hog]  it runs a task and has lost its processor; hog: for having computed too long
//   0             it holds none and runs no task
//
//   enter  E1 seq + 1 (relaxed)   E2 light fence, pairs with M3   E3 v = proc (relaxed)
//          E4 no flag: P is the caller's until it leaves; who has none and opens a section is adrift, which is a flag
//          E5 taking or asked: compare-exchange to the plain P (acq_rel); won: use it; lost: again.  adrift: no processor
//   leave  L1 seq + 1 (release)
//   take   (the monitor, one at a time)
//          M1 s = seq (acquire); odd, or not what was seen before: stop
//          M2 compare-exchange P -> P|taking (acq_rel)
//          M3 heavy fence
//          M4 seq (acquire) != s: compare-exchange back, stop
//          M5 compare-exchange P|taking -> adrift (acq_rel); lost: the worker has it back, stop
//          M6 hand P on (hand_over.cpp)
//
// Why it holds. If E3 read the plain P, then E1 precedes E3 and M3 makes E1 visible to M4, which stops; or else E3 came after M3
// and saw `taking`. An even seq at M4 means that L1's release orders all that the owner did with P before what the next holder
// does. E5 and M5 are compare-exchanges on one word from one value: one wins. The undoing at M4 fails if the worker has been there
// meanwhile; `taking` is set by the monitor alone, so what it finds set is its own. That seq may come round to the same value
// between M1 and M4 does no harm: evenness is what the proof needs, since a section that began after M2 has removed `taking` at E5.
// Equality is asked for because a worker that moves is not stuck.
//
// A template over the fences, because the whole argument stands on E2 and M3: a test takes them away and sees it break.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/base/check.hpp"
#include "runtime/base/count_up.hpp"

namespace weft::rt {

template <class Processor, class Fences>
struct hand_over_words {
  static constexpr std::uintptr_t taking = 1, asked = 2, adrift = 4, hog = 8, flags = 15;

  std::atomic<std::uint32_t> seq{1};  // written by the worker alone; odd: inside. It begins inside, in the native loop
  std::atomic<std::uintptr_t> proc{
      0};  // E5, M2, M4, M5, ask; and who assigns or gives up a processor, under the scheduler's lock

  /// E1 to E3: opens a section.
  std::uintptr_t open() noexcept {
    count_up(seq, std::memory_order_relaxed);     // E1
    Fences::light();                              // E2
    return proc.load(std::memory_order_relaxed);  // E3
  }

  /// E4: the processor, if there is no flag, and there is one then; else null: it is time for E5, reclaim().
  Processor* open_at_once() noexcept {
    std::uintptr_t const v = open();
    if ((v & flags) != 0) [[unlikely]]
      return nullptr;
    WEFT_ASSERT(v != 0, "a section is opened by who has no processor, and is not adrift");
    if (v == 0) __builtin_unreachable();
    return reinterpret_cast<Processor*>(v);
  }

  /// Opens a section. The processor, or null.
  Processor* enter() noexcept {
    if (Processor* const p = open_at_once()) [[likely]]
      return p;
    return reclaim();
  }

  void leave() noexcept {
    count_up(seq, std::memory_order_release);  // L1
  }

  /// The worker itself.
  [[nodiscard]] bool is_inside() const noexcept { return (seq.load(std::memory_order_relaxed) & 1) != 0; }

  /// E5. The processor, without flags from here on, or null.
  Processor* reclaim() noexcept {
    std::uintptr_t v = proc.load(std::memory_order_relaxed);
    while ((v & (taking | asked)) != 0)
      if (proc.compare_exchange_weak(v, v & ~flags, std::memory_order_acq_rel, std::memory_order_relaxed)) v &= ~flags;
    return reinterpret_cast<Processor*>(v & ~flags);
  }

  /// The worker, inside a section; or anybody, as a guess. The processor, or null.
  [[nodiscard]] Processor* held() const noexcept {
    return reinterpret_cast<Processor*>(proc.load(std::memory_order_relaxed) & ~flags);
  }

  /// M1 to M5, from a worker whose seq was seen to be `s`. True: p is the caller's, and the worker is adrift (`left_with`: adrift,
  /// or adrift | hog).
  bool take(Processor& p, std::uint32_t s, std::uintptr_t left_with) noexcept {
    if ((s & 1) != 0 || seq.load(std::memory_order_acquire) != s) return false;  // M1
    std::uintptr_t const v = proc.load(std::memory_order_relaxed);
    if ((v & ~flags) != reinterpret_cast<std::uintptr_t>(&p) || (v & taking) != 0) return false;
    std::uintptr_t seen = v;
    if (!proc.compare_exchange_strong(seen, v | taking, std::memory_order_acq_rel)) return false;  // M2
    Fences::heavy();                                                                               // M3
    seen = v | taking;
    if (seq.load(std::memory_order_acquire) != s) {  // M4
      proc.compare_exchange_strong(seen, v, std::memory_order_acq_rel);
      return false;
    }
    return proc.compare_exchange_strong(seen, left_with, std::memory_order_acq_rel);  // M5
  }

  /// The monitor: asks the worker to hand p on itself.
  void ask(Processor& p) noexcept {
    std::uintptr_t plain = reinterpret_cast<std::uintptr_t>(&p);
    proc.compare_exchange_strong(plain, plain | asked, std::memory_order_relaxed);
  }
};

}  // namespace weft::rt
