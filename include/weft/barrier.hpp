// weft::barrier: a number of parties that wait for each other, again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <weft/detail/countdown.hpp>
#include <weft/detail/wait.hpp>

namespace weft {
namespace detail {

// What barriers of all completions share. Everything in it is guarded by rt::lock_of(this).
class barrier_core {
 public:
  constexpr explicit barrier_core(std::ptrdiff_t expected) noexcept : expected_(expected), pending_(expected) {}
  barrier_core(barrier_core const&) = delete;
  barrier_core& operator=(barrier_core const&) = delete;

  /// True: it was the last arrival, and the caller must run the completion, then complete().
  [[nodiscard]] bool arrive(std::ptrdiff_t n, std::ptrdiff_t leaving, std::uint64_t& phase) noexcept;
  void complete() noexcept;
  void wait(std::uint64_t phase);
  static void cancellation_point();

 private:
  std::ptrdiff_t expected_;  // of the phases to come
  std::ptrdiff_t pending_;   // arrivals the current phase still needs; 0 while its completion runs
  std::uint64_t phase_ = 0;
  wait_list waiters_;  // of the current phase, all of them
};

}  // namespace detail

struct no_completion {
  void operator()() noexcept {}
};

/// As std::barrier; for tasks and plain threads. When the last expected party has arrived, the completion runs in it,
/// outside of any lock, and then all go on and the next phase begins. The completion must not throw (std::terminate).
///
/// Order: each arrival happens before the completion, and the completion before the return of each wait of its phase.
/// Life: may be destroyed once the waits of all parties have returned, also while the arrival that let them go has
/// yet to.
template <class F = no_completion>
class barrier {
 public:
  /// Says which phase an arrival belongs to.
  class [[nodiscard]] arrival_token {
   public:
    arrival_token(arrival_token&&) noexcept = default;
    arrival_token& operator=(arrival_token&&) noexcept = default;

   private:
    friend class barrier;
    explicit arrival_token(std::uint64_t phase) noexcept : phase_(phase) {}
    std::uint64_t phase_;
  };

  /// `expected` >= 0 parties. Fatal otherwise.
  constexpr explicit barrier(std::ptrdiff_t expected, F completion = F())
      : core_(expected), completion_(std::move(completion)) {
    if (expected < 0) detail::fatal_negative("barrier");
  }

  [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return PTRDIFF_MAX; }

  /// Arrives n times without waiting. Does not block, unless the completion does. Fatal if more arrive than are
  /// expected.
  arrival_token arrive(std::ptrdiff_t n = 1) {
    std::uint64_t phase = 0;
    (void)arrive_as(n, 0, phase);
    return arrival_token(phase);
  }

  /// Returns when the phase of that arrival has ended. Blocks. Cancellation point.
  void wait(arrival_token&& arrival) const { core_.wait(arrival.phase_); }

  /// Arrives and waits for the others. Blocks. Cancellation point: cancelled when it is called, it throws before it
  /// arrives; cancelled while it waits, it throws and its arrival stands.
  void arrive_and_wait() {
    detail::barrier_core::cancellation_point();
    std::uint64_t phase = 0;
    if (!arrive_as(1, 0, phase)) core_.wait(phase);
  }

  /// Arrives, and is not expected in the phases to come. Does not block, unless the completion does.
  void arrive_and_drop() {
    std::uint64_t phase = 0;
    (void)arrive_as(1, 1, phase);
  }

 private:
  // True: it was the last arrival, and the phase has ended.
  bool arrive_as(std::ptrdiff_t n, std::ptrdiff_t leaving, std::uint64_t& phase) {
    if (!core_.arrive(n, leaving, phase)) return false;
    finish();
    return true;
  }

  void finish() noexcept {
    completion_();
    core_.complete();
  }

  mutable detail::barrier_core core_;  // waiting queues the caller in it
  [[no_unique_address]] F completion_;
};

}  // namespace weft
