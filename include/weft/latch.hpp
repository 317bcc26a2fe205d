// weft::latch: waits until a number of things have happened, once.
#pragma once

#include <cstddef>

#include <weft/detail/countdown.hpp>

namespace weft {

/// As std::latch; for tasks and plain threads.
///
/// Order: each count_down() happens before the wait that it lets go.
/// Life: may be destroyed once a wait has returned, also while the last count_down() has yet to.
class latch {
 public:
  /// `expected` >= 0. Fatal otherwise.
  constexpr explicit latch(std::ptrdiff_t expected) noexcept : count_(expected) {
    if (expected < 0) detail::fatal_negative("latch");
  }
  latch(latch const&) = delete;
  latch& operator=(latch const&) = delete;

  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return PTRDIFF_MAX; }

  /// Does not block. Fatal if it counts below zero.
  void count_down(std::ptrdiff_t n = 1) noexcept { count_.down(static_cast<std::uint64_t>(n), "latch::count_down"); }

  /// Whether a wait would return at once. Does not block.
  [[nodiscard]] bool try_wait() const noexcept { return count_.finished(); }

  /// Returns when the count is zero. Blocks. Cancellation point.
  void wait() const { count_.wait(nullptr); }

  /// Counts down and waits. Blocks. Cancellation point: cancelled when it is called, it throws before it counts down.
  void arrive_and_wait(std::ptrdiff_t n = 1) {
    detail::countdown::cancellation_point();
    count_.down(static_cast<std::uint64_t>(n), "latch::arrive_and_wait");
    if (!count_.finished()) count_.wait(nullptr);
  }

 private:
  mutable detail::countdown count_;  // waiting queues the caller in it
};

}  // namespace weft
