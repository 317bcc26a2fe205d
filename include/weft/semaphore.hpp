// weft::counting_semaphore and permit: at most so many at once; for tasks and plain threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <weft/detail/deadline.hpp>
#include <weft/detail/wait.hpp>

namespace weft {
namespace detail {

[[noreturn]] void fatal_permits() noexcept;

// What semaphores of all maxima share.
class semaphore_core {
 public:
  constexpr explicit semaphore_core(std::ptrdiff_t permits) noexcept
      : state_(static_cast<std::uint64_t>(permits) << 1) {}
  semaphore_core(semaphore_core const&) = delete;
  semaphore_core& operator=(semaphore_core const&) = delete;

  bool acquire(std::int64_t deadline);  // false: timed out
  bool try_acquire() noexcept;
  void release(std::ptrdiff_t permits, std::ptrdiff_t max) noexcept;

 private:
  static constexpr std::uint64_t queued = 1, one = 2;  // bits of state_: T4 of runtime/sync/lock_table.hpp; the count

  std::atomic<std::uint64_t> state_;
  wait_list waiters_;  // guarded by rt::lock_of(this)
};

}  // namespace detail

/// As std::counting_semaphore. First come, first served: release() hands its permits to those that wait, and nobody
/// overtakes them. A waiter that times out or is cancelled takes no permit; one that had been given a permit returns
/// with it.
///
/// Order: a release() happens before the acquire that gets its permit.
/// Life: may be destroyed once the last acquire has returned, also while the release it was waiting for has yet to.
template <std::ptrdiff_t Max = PTRDIFF_MAX>
class counting_semaphore {
  static_assert(Max >= 0, "a semaphore's maximum cannot be negative");

 public:
  /// With `permits` to begin with: 0 <= permits <= Max. Fatal otherwise.
  constexpr explicit counting_semaphore(std::ptrdiff_t permits) noexcept : core_(permits) {
    if (permits < 0 || permits > Max) detail::fatal_permits();
  }

  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return Max; }

  /// Takes a permit; waits for one if need be. Blocks. Cancellation point.
  void acquire() { (void)core_.acquire(detail::never); }

  /// Takes a permit if there is one. Does not block.
  [[nodiscard]] bool try_acquire() noexcept { return core_.try_acquire(); }

  /// Waits at most that long; false: no permit in that time. Blocks. Cancellation point.
  template <class R, class P>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<R, P> d) {
    return core_.acquire(detail::deadline_after(d));
  }
  template <class C, class D>
  [[nodiscard]] bool try_acquire_until(std::chrono::time_point<C, D> at) {
    return core_.acquire(detail::deadline_at(at));
  }

  /// Gives `permits` back. Does not block. Fatal if there would be more than Max, or if `permits` is negative.
  void release(std::ptrdiff_t permits = 1) noexcept { core_.release(permits, Max); }

 private:
  friend class permit;
  detail::semaphore_core core_;
};

using binary_semaphore = counting_semaphore<1>;

/// Holds one permit for a block.
///
///     weft::counting_semaphore<> slots(8);
///     ...
///     weft::permit permit(slots);  // waits; cancellation point
class [[nodiscard]] permit {
 public:
  /// Acquires. Blocks. Cancellation point.
  template <std::ptrdiff_t M>
  [[nodiscard]] explicit permit(counting_semaphore<M>& semaphore) : core_(semaphore.core_), max_(M) {
    semaphore.acquire();
  }
  permit(permit const&) = delete;
  permit& operator=(permit const&) = delete;
  ~permit() { core_.release(1, max_); }

 private:
  detail::semaphore_core& core_;
  std::ptrdiff_t max_;
};

}  // namespace weft
