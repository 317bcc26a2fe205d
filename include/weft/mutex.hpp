// weft::mutex: mutual exclusion between tasks, plain threads, or both.
//
// Stands where std::mutex stood, works with std::unique_lock and std::scoped_lock, and may be held across anything that
// parks. A task that waits for it parks and its worker runs others; a plain thread sleeps.
#pragma once

#include <atomic>
#include <cstdint>

#include <weft/detail/annotations.hpp>
#include <weft/detail/biased_hold.hpp>
#include <weft/detail/lock_order.hpp>
#include <weft/detail/simulated.hpp>
#include <weft/detail/wait.hpp>

namespace weft {

/// Not recursive. Need not be unlocked by the task that locked it.
///
/// Order: an unlock happens before the lock that follows it.
/// Fairness: who waits is served first come, first served, but a newcomer may overtake those that are just being woken
/// (which is what makes a busy mutex fast); a waiter that has waited for 1 ms is handed the mutex directly.
/// Life: may be destroyed as soon as nobody holds it or waits for it, also while the unlock that made it so has yet
/// to return.
class WEFT_CAPABILITY("mutex") mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(mutex const&) = delete;
  mutex& operator=(mutex const&) = delete;
#if WEFT_LOCK_ORDER
  ~mutex() { detail::note_order_gone(this); }
#endif

  /// Waits until the mutex is free and takes it. Blocks. Not a cancellation point. Throws only when weft::run unwinds a
  /// deadlocked program.
  void lock() WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::order_wanted(this);
    detail::preemption_point();
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    if (state == biased) {
      if (!hold_.take(detail::current_lock_owner())) [[unlikely]]
        lock_slow();
    } else if ((state & (held | biased)) != 0 ||
               !state_.compare_exchange_strong(state, state | held, std::memory_order_acquire,
                                               std::memory_order_relaxed)) [[unlikely]] {
      lock_slow();
    } else if ((state & shared) == 0) [[unlikely]] {
      note_taking();
    }
    detail::order_taken(this);
  }

  /// Takes the mutex if it is free. Does not block; does not fail spuriously.
  [[nodiscard]] bool try_lock() noexcept WEFT_TRY_ACQUIRE(true) WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::preemption_point();
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    if (state == biased) {
      if (hold_.take(detail::current_lock_owner())) {
        detail::order_taken(this);
        return true;
      }
      state = share();
    }
    while ((state & (held | biased)) == 0) {
      if (state_.compare_exchange_weak(state, state | held, std::memory_order_acquire, std::memory_order_relaxed)) {
        detail::order_taken(this);
        return true;
      }
    }
    return false;
  }

  /// Releases it. Does not block. Fatal if nobody holds the mutex.
  void unlock() noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    detail::order_released(this);
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    if (state == biased) {
      if (!hold_.let_go(detail::current_lock_owner())) [[unlikely]]
        unlock_slow();
    } else if (wakes_somebody(state) || !state_.compare_exchange_strong(state, state & ~held, std::memory_order_release,
                                                                        std::memory_order_relaxed)) [[unlikely]] {
      unlock_slow();
    }
    detail::preemption_point();  // of *this nothing is touched any more
  }

 private:
  // Bits of state_; runtime/sync/mutex.cpp says who changes them.
  static constexpr std::uint32_t held = 1, queued = 2, called = 4, hand_over = 8, shared = 16, biased = 32;

  struct bias_policy {
    static constexpr std::uint16_t takings_in_a_row = 1024;  // to share it takes as long as a thousand of them
    static constexpr std::uint8_t others = 16;
    static void light() noexcept { detail::light_fence(); }
    static void heavy() noexcept;
    static std::uint8_t wait_while(std::atomic<std::uint8_t>& byte, std::uint8_t value) noexcept;
  };

  /// Whether an unlock has more to do than to clear `held`: U1. Nobody holds it: that is for unlock_slow to report.
  static constexpr bool wakes_somebody(std::uint32_t state) noexcept {
    state &= ~shared;
    return state != held && (state & (held | called | hand_over)) != (held | called);
  }

  void lock_slow();
  void unlock_slow() noexcept;
  bool spin() noexcept;
  void note_taking() noexcept;
  std::uint32_t share() noexcept;

  std::atomic<std::uint32_t> state_{0};
  using biased_hold = detail::biased_hold<bias_policy>;
  static_assert(biased_hold::held == held && biased_hold::shared == shared && biased_hold::biased == biased);
  biased_hold hold_;           // says whether it is held, where state_ is `biased`
  detail::wait_list waiters_;  // guarded by rt::lock_of(this)
};

}  // namespace weft
