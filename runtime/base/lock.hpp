// The lock that guards weft's own objects: four bytes, a short spin, then a futex.
//
// Sections under it are a few dozen instructions long and run no user code, so spinning shortly is right as long as
// the holder runs; a holder that the OS preempted must not burn the other cores, hence the futex. std::mutex was
// rejected for its 40 bytes and because its owner is a thread: weft takes a lock on one stack and releases it on
// another after a switch.
//
// States of the word: 0 free; 1 held; 2 held, and somebody may sleep.
//   lock    1. CAS 0 -> 1 (acquire).  2. spin some.  3. exchange 2 (acquire) until it was 0, sleeping in between.
//   unlock  4. it is 1: store 0 (release), and that is all.
//           5. it is 2: exchange 0 (release), wake one. The memory of the lock may be gone by then; a futex wake on
//              memory that is gone or has become something else is a spurious wake-up at worst.
//
// The release of steps 4 and 5 pairs with the acquire of steps 1 and 3.
//
// Step 4 is a load and a store where one would expect an exchange: a locked instruction costs 5 ns, and a channel
// operation has one unlock. Nobody but a would-be sleeper writes the word of a held lock, so the store can only ever wipe
// out a 2 of step 3 that came between the two: the lock is free then, as it should be, but its sleeper is not woken.
// So a sleeper sleeps for 50 us at first and twice as long each time, at most 1 ms, and then does step 3 again, which
// announces it anew. The window is two instructions of a thread that runs while another thread has spun in vain and goes
// to sleep; a holder that the OS preempts in just that window, and nobody else, makes the sleeper oversleep.
// Rejected: looking for sleepers after the store, as in "store, fence, load", with a membarrier by the sleeper: the
// object may be gone after the store, so that all memory with locks in it would have to be type-stable.
//
// A lock is released by the OS thread that took it (a park keeps to that: the hook runs on the same thread), which is
// what lets the checker of ranked_lock keep its list of held locks by OS thread.
#pragma once

#include <weft/detail/annotations.hpp>
#include "runtime/base/lock_rank.hpp"

#include <atomic>
#include <cstdint>

namespace weft::rt {

class WEFT_CAPABILITY("mutex") object_lock {
 public:
  constexpr object_lock() noexcept = default;
  object_lock(object_lock const&) = delete;
  object_lock& operator=(object_lock const&) = delete;

  void lock() noexcept WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    std::uint32_t expected = 0;
    if (!word_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed)) lock_slow();
  }

  bool try_lock() noexcept WEFT_TRY_ACQUIRE(true) WEFT_NO_THREAD_SAFETY_ANALYSIS {
    std::uint32_t expected = 0;
    return word_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed);
  }

  void unlock() noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    if (word_.load(std::memory_order_relaxed) == 1) [[likely]]
      word_.store(0, std::memory_order_release);  // step 4
    else unlock_slow(&word_);
  }

  // Whether somebody holds it; for checks only. acquire: pairs with step 4.
  bool is_locked() const noexcept { return word_.load(std::memory_order_acquire) != 0; }

 private:
  // Both stand in runtime/platform/lock_wait.cpp: they sleep, and this layer knows no operating system.
  __attribute__((noinline)) void lock_slow() noexcept;                 // it counts its pauses in a thread_local
  static void unlock_slow(std::atomic<std::uint32_t>* word) noexcept;  // step 5

  std::atomic<std::uint32_t> word_{0};
};

// A lock whose place in the order of locks is checked in builds without NDEBUG.
struct WEFT_CAPABILITY("mutex") ranked_lock : private object_lock {
  constexpr explicit ranked_lock(lock_rank rank) noexcept : rank_(rank) {}

  inline void lock() noexcept WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS;
  inline bool try_lock() noexcept WEFT_TRY_ACQUIRE(true) WEFT_NO_THREAD_SAFETY_ANALYSIS;
  inline void unlock() noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS;

  using object_lock::is_locked;
  lock_rank rank() const noexcept { return rank_; }

 private:
  lock_rank const rank_;
};

// The checker's three entries. Out of line and never inlined: they touch a thread_local, whose address a caller must
// not keep across a switch.
void note_lock_wanted(ranked_lock const* lock) noexcept;  // before it blocks; fatal if the order forbids it
void note_lock_taken(ranked_lock const* lock) noexcept;
void note_lock_released(ranked_lock const* lock) noexcept;
unsigned locks_held_here() noexcept;  // by this OS thread; always 0 with NDEBUG

inline void ranked_lock::lock() noexcept {
#ifndef NDEBUG
  note_lock_wanted(this);
#endif
  object_lock::lock();
#ifndef NDEBUG
  note_lock_taken(this);
#endif
}

inline bool ranked_lock::try_lock() noexcept {
  bool const taken = object_lock::try_lock();
#ifndef NDEBUG
  if (taken) note_lock_taken(this);
#endif
  return taken;
}

inline void ranked_lock::unlock() noexcept {
#ifndef NDEBUG
  note_lock_released(this);
#endif
  object_lock::unlock();
}

// std::lock_guard with annotations.
template <class Lock>
class WEFT_SCOPED_CAPABILITY guard {
 public:
  explicit guard(Lock& lock) noexcept WEFT_ACQUIRE(lock) : lock_(lock) { lock_.lock(); }
  ~guard() WEFT_RELEASE() { lock_.unlock(); }
  guard(guard const&) = delete;
  guard& operator=(guard const&) = delete;

 private:
  Lock& lock_;
};

}  // namespace weft::rt
