// A count that can be waited for to be zero: what latch and wait_group have in common. Not for applications.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <weft/detail/wait.hpp>

namespace weft::detail {

[[noreturn]] void fatal_negative(char const* call) noexcept;

class countdown {
 public:
  constexpr explicit countdown(std::ptrdiff_t count) noexcept : state_(static_cast<std::uint64_t>(count) << 1) {}
  countdown(countdown const&) = delete;
  countdown& operator=(countdown const&) = delete;

  /// `call` is named in the fatal message if the count would overflow, or fall below zero, as it does by a
  /// negative number that has been converted.
  void up(std::ptrdiff_t n, char const* call) noexcept;
  void down(std::uint64_t by, char const* call) noexcept;

  /// Of a count that somebody keeps in advance (wait_group), `ahead` says how much belongs to nobody yet; `waited`: nothing, and nothing is to come, as
  /// long as somebody queues.
  static constexpr std::uint32_t waited = std::uint32_t{1} << 31;
  /// Where nothing is counted, nobody queues, and `ahead` says `waited`: counts n, of which n - 1 are ahead. False: it is not so.
  [[nodiscard]] bool begin_anew(std::atomic<std::uint32_t>& ahead, std::uint32_t n) noexcept;

  /// Zero, and whoever made it so is done with this object.
  [[nodiscard]] bool finished() const noexcept { return state_.load(std::memory_order_acquire) == 0; }

  /// What is `ahead` is taken back, and its place says `waited`, before the caller queues. Null: a latch.
  void wait(std::atomic<std::uint32_t>* ahead);
  static void cancellation_point();

 private:
  static constexpr std::uint64_t queued = 1, one = 2;  // bits of state_: T4 of runtime/sync/lock_table.hpp; the count

  /// Whether the count is zero now, and somebody queues. The lock is held.
  bool subtract_locked(std::uint64_t by, char const* call) noexcept;
  void let_go() noexcept;

  std::atomic<std::uint64_t> state_;
  wait_list waiters_;  // guarded by rt::lock_of(this)
};

}  // namespace weft::detail
