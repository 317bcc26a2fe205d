// A lock that costs its usual thread no locked instruction.
//
// Channels are mostly used by tasks of one worker, whose 8 to 11 ns for each compare-exchange buy nothing. So a lock that one thread has
// taken many times in a row becomes *biased* to it: from then on that thread takes it by two stores and two looks, until another one comes,
// who pays a heavy fence (a system call that interrupts the processors of this process) to take the bias away.
// After D. Dice, M. Moir, W. Scherer, "Quickly Reacquirable Locks" (2003), with asymmetric fences in place of their serialization.
//
//   lock    B1 owner is me?  no: V1
//           B2 held[slot] := 1     B3 light fence, pairs with V3     B4 owner is still me: it is locked
//           B5 held[slot] := 0 (release); V1
//           V1 take the inner lock     V2 there is an owner: owner := none     V3 heavy fence
//           V4 wait until its held[slot] = 0 (acquire)     V5 enough in a row, and a slot for me: owner := me, for the times to come
//   unlock  U1 taken at B4: held[slot] := 0 (release)     U2 taken at V1: release the inner lock
//
// Why two are never inside. All that go by V1 exclude each other by the inner lock, and `owner` is written under it alone, so a
// thread that has passed B4 (the owner) can only meet one that is between V2 and U2, or after a V2. B2 before B4 in the one, V2 before V4 in
// the other, with the fences between them: the owner sees V2 at B4, or V4 sees B2. If B4 saw V2, the owner goes to V1, where it waits for
// the inner lock. If V4 saw B2, it waits for U1, which is a release that V4 acquires. After V3 no thread finds itself the owner at B4, until it
// has made itself the owner at V5, under the inner lock.
// What the owner's sections wrote is visible to it, since it is one thread, and to who takes the bias away by V4; what those wrote who
// went by V1 is visible to whom they made way for by the inner lock.
//
// A thread may be late: B1 before V3, B2 and B5 long after V4. So `held` does not say how the lock was taken; `by_inner` does, which
// only the holder touches. And a slot belongs to one thread for ever, since what a former owner writes late would be taken for a later one's. There
// are two slots; a third thread that would be an owner finds none. Its own late writes come before its own next ones.
//
// After U1 the memory of the lock may be gone: nobody touches it any more on the owner's behalf.
//
// A bias is worth a heavy fence (8 us and more) after a thousand takings; one that is taken away again costs twice as many the next time, until
// the lock is given up as one that threads share. So a lock that moves between threads pays a fence for a thousand takings at most, then less.
// Where no other thread with a name is there it is worth one much earlier: only those without, which are never owners, may come then.
//
// The owner is a thread, not a task or a worker: see lock_owner. Whether it sleeps, is stuck or has ended does not matter to V4, unless the operating
// system has preempted it inside a section, as with any lock.
#pragma once

#include <atomic>
#include <cstdint>

#include <weft/detail/annotations.hpp>
#include <weft/detail/lock_owner.hpp>
#include <weft/detail/sanitizer.hpp>

namespace weft::rt {

using detail::lock_owner;
using detail::no_owner;
using detail::passing_owner;

/// `Inner` is a lock. `Policy` has the fences light() and heavy(), wait_while(word, value), which returns what else it has loaded, with acquire, and
/// how many takings in a row make a bias: first_bias at least, worth() now, and the last one that it is worth.
template <class Inner, class Policy>
class WEFT_CAPABILITY("mutex") biased {
 public:
  constexpr biased() noexcept = default;
  biased(biased const&) = delete;
  biased& operator=(biased const&) = delete;

  void lock(lock_owner me) noexcept WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    if (lock_as_owner(me) == nullptr) [[unlikely]]
      lock_by_inner(me);
  }

  /// lock() in two parts, for functions that save no registers where the first one does. What unlock_as_owner() may take in place of unlock(),
  /// or null: it is not locked, and lock_by_inner() is due. No analysis: whether it is locked is decided at run time.
  using owners_hold = std::atomic<std::uint8_t>*;
  __attribute__((always_inline)) owners_hold lock_as_owner(lock_owner me) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
    std::uint32_t const owner = owner_.load(std::memory_order_relaxed);  // B1
    std::uint32_t const slot = owner ^ me << 1;
    if (slot > 1) [[unlikely]]
      return nullptr;
    std::atomic<std::uint8_t>& held = held_[slot];
#if WEFT_TSAN
    // To ThreadSanitizer two tasks of the owner are two threads. The one before let go by U1, or by U2 after it had made the thread the owner.
    (void)held.load(std::memory_order_acquire);
    (void)inner_.is_locked();
#endif
    held.store(1, std::memory_order_relaxed);                        // B2
    Policy::light();                                                 // B3
    if (owner_.load(std::memory_order_relaxed) == owner) [[likely]]  // B4
      return &held;
    held.store(0, std::memory_order_release);  // B5
    return nullptr;
  }

  void lock_by_inner(lock_owner me) noexcept WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    inner_.lock();  // V1
    // Where the last one to come here was this thread there is no owner: it has made no other one, and is itself none, or B4 had let it in.
    if (last_ != me || ++in_a_row_ >= limit_) [[unlikely]]
      look_at_owner(me);
    by_inner_.store(true, std::memory_order_relaxed);  // not before V4: the owner may be inside
  }

  static void unlock_as_owner(owners_hold held) noexcept {
    held->store(0, std::memory_order_release);  // U1
  }

  void unlock() noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    if (!by_inner_.load(std::memory_order_relaxed)) return held_[slot_].store(0, std::memory_order_release);  // U1
    by_inner_.store(false, std::memory_order_relaxed);                                                        // U2
    inner_.unlock();
  }

 private:
  /// V2 to V5.
  __attribute__((noinline)) void look_at_owner(lock_owner me) noexcept {
    if (owner_.load(std::memory_order_relaxed) != no_owner) {
      owner_.store(no_owner, std::memory_order_relaxed);  // V2
      Policy::heavy();                                    // V3
      (void)Policy::wait_while(held_[slot_], 1);          // V4
      limit_ = limit_ < Policy::last_bias ? static_cast<std::uint16_t>(limit_ * 2) : never;
    } else if (last_ == me && limit_ != never && me != passing_owner) {
      if (std::uint16_t const worth = Policy::worth(); limit_ < worth) {
        limit_ = worth;  // and goes on counting
        return;
      }
      std::uint8_t const slot = slots_[0] == no_owner || slots_[0] == me ? 0 : 1;
      if (slots_[slot] == no_owner || slots_[slot] == me) {
        slots_[slot] = me;
        slot_ = slot;
        owner_.store(me << 1 | slot, std::memory_order_relaxed);  // V5; U2 releases it
      } else {
        limit_ = never;
      }
    }
    last_ = me;
    in_a_row_ = 0;
  }

  static constexpr std::uint16_t never = 0xffff;

  Inner inner_;
  std::atomic<std::uint32_t> owner_{no_owner};  // name and slot; written under inner_, read by the owner without
  std::atomic<std::uint8_t> held_[2] = {};      // each written by its slot's thread
  // Guarded by the lock itself, however it was taken. The one is atomic for the model check, which then sees that it is.
  std::uint8_t slot_ = 0;  // of the owner
  std::atomic<bool> by_inner_{false};
  // Guarded by inner_.
  lock_owner slots_[2] = {no_owner, no_owner};  // whose they are
  lock_owner last_ = no_owner;                  // who took inner_ last
  std::uint16_t in_a_row_ = 0;                  // how often
  std::uint16_t limit_ = Policy::first_bias;
};

}  // namespace weft::rt
