// Whether a worker's time goes into waiting for locks that other workers hold.
//
// Two workers whose tasks do little but use one channel do less together than one would alone: each waits while the other has the lock, and
// the channel's lines travel between their cores. (Four producers and four consumers: 10.6 ns a value on one worker, 28 on two, each of which
// spends 47 % of its time in the lock's slow path; prime_sieve 0.3 %, skynet 2 %.) Such a worker stands aside: see stand_aside.cpp.
// The idea is that of D. Dice, "Malthusian Locks" (2017): who would only wait is kept away for a while. There it is the lock
// that culls its waiters, here the scheduler, since these have other work than the lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace weft::rt {

/// The worker's own.
class lock_waits {
 public:
  static constexpr std::int64_t window_ns = 100'000;
  static constexpr std::int64_t first_pause_ns = 1'000'000, longest_pause_ns = 4'000'000;
  static constexpr std::int64_t in_vain_ns = 100'000'000;

  /// A third of the time is much. Tests change that.
  inline static std::atomic<std::int64_t> much_is_one_in{3};

  /// How much of its time: less than an eighth, less than a third, more. unknown: too short a time to tell.
  enum class share : std::uint8_t { unknown, little, some, much };

  /// It has run tasks since the last call of this or of rest(). `waited`: what lock_waited_ns() says.
  [[nodiscard]] share look(std::int64_t now, std::int64_t waited) noexcept {
    std::int64_t const all = now - since_;
    if (all < window_ns) return share::unknown;
    std::int64_t const for_locks = waited - waited_;
    rest(now, waited);
    if (much_is_one_in.load(std::memory_order_relaxed) * for_locks >= all) return share::much;
    if (8 * for_locks >= all) return share::some;
    pause_ = first_pause_ns;
    return share::little;
  }
  /// It has run none until now.
  void rest(std::int64_t now, std::int64_t waited) noexcept {
    since_ = now;
    waited_ = waited;
  }

  /// How long to stand aside; 0: not now.
  [[nodiscard]] std::int64_t pause(std::int64_t now) const noexcept { return now < not_before_ ? 0 : pause_; }
  /// It has stood aside until now. `helped`: others have run tasks meanwhile; if not, they computed or were stuck, and it is not to
  /// happen again soon.
  void stood(std::int64_t now, bool helped) noexcept {
    pause_ = helped ? std::min(2 * pause_, longest_pause_ns) : first_pause_ns;
    if (!helped) not_before_ = now + in_vain_ns;
  }

 private:
  std::int64_t since_ = 0, waited_ = 0;
  std::int64_t pause_ = first_pause_ns;
  std::int64_t not_before_ = 0;
};

}  // namespace weft::rt
