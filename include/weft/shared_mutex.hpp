// weft::shared_mutex: one writer, or any number of readers; for tasks and plain threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>  // std::shared_lock, for its users

#include <weft/detail/annotations.hpp>
#include <weft/detail/lock_order.hpp>
#include <weft/detail/simulated.hpp>
#include <weft/detail/wait.hpp>

namespace weft {

/// Works with std::unique_lock, std::scoped_lock and std::shared_lock. Not recursive, in shared mode neither: a
/// reader that asks again while a writer waits between the two waits for ever.
///
/// Order: an unlock() happens before each lock() and lock_shared() that follows it, an unlock_shared() before the
/// next lock().
/// Fairness: first come, first served. Readers queue behind a writer that waits; when the readers' turn comes, all
/// that stand together at the head of the queue go in at once. The lock is always handed over to who is next.
/// Life: may be destroyed as soon as nobody holds it or waits for it, also while the last unlock has yet to return.
class WEFT_CAPABILITY("shared_mutex") shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  shared_mutex(shared_mutex const&) = delete;
  shared_mutex& operator=(shared_mutex const&) = delete;
#if WEFT_LOCK_ORDER
  ~shared_mutex() { detail::note_order_gone(this); }
#endif

  /// Waits until nobody else holds it and takes it for writing. Blocks. Not a cancellation point. Throws only when
  /// weft::run unwinds a deadlocked program.
  void lock() WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::order_wanted(this);
    if (try_lock()) [[likely]]
      return;
    lock_slow();
    detail::order_taken(this);
  }

  /// Takes it for writing if it is free. Does not block.
  [[nodiscard]] bool try_lock() noexcept WEFT_TRY_ACQUIRE(true) WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::preemption_point();
    std::uint32_t free = 0;
    if (!state_.compare_exchange_strong(free, writer, std::memory_order_acquire, std::memory_order_relaxed))
      return false;
    detail::order_taken(this);
    return true;
  }

  /// Ends writing. Does not block. Fatal if there is no writer.
  void unlock() noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::order_released(this);
    std::uint32_t alone = writer;
    if (!state_.compare_exchange_strong(alone, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
      unlock_slow();
    detail::preemption_point();
  }

  /// Waits until no writer holds it, nor waits for it, and takes it for reading. Blocks, is cancelled and throws as
  /// lock().
  void lock_shared() WEFT_ACQUIRE_SHARED() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::order_wanted(this);
    if (try_lock_shared()) [[likely]]
      return;
    lock_shared_slow();
    detail::order_taken(this);
  }

  /// Takes it for reading if no writer holds it, nor waits for it. Does not block.
  [[nodiscard]] bool try_lock_shared() noexcept WEFT_TRY_ACQUIRE_SHARED(true) WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::preemption_point();
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    while ((state & (writer | queued)) == 0) {
      if (state_.compare_exchange_weak(state, state + reader, std::memory_order_acquire, std::memory_order_relaxed)) {
        detail::order_taken(this);
        return true;
      }
    }
    return false;
  }

  /// Ends reading. Does not block. Fatal if there is no reader.
  void unlock_shared() noexcept WEFT_RELEASE_SHARED() WEFT_NO_THREAD_SAFETY_ANALYSIS;

 private:
  // state_: a writer, waiters (T4 of runtime/sync/lock_table.hpp), and the number of readers from bit 2 on.
  static constexpr std::uint32_t writer = 1, queued = 2, reader = 4;

  void lock_slow();
  void lock_shared_slow();
  void unlock_slow() noexcept;
  void wait_turn(bool shared);
  void hand_on() noexcept;

  std::atomic<std::uint32_t> state_{0};
  detail::wait_list waiters_;  // guarded by rt::lock_of(this)
};

}  // namespace weft
