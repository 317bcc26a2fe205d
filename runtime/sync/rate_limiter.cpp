// weft::rate_limiter: a token bucket that is only looked at, and a queue before it.
//
// Nothing fills the bucket: it is known what was in it at one moment, and what comes in a nanosecond. That moment moves on when a permit
// is taken.
//
//   wait  W1 nobody waits, and a permit is due: take it
//         W2 count as waiting; queue for the turn: a semaphore, so first come, first served, and a cancelled waiter is passed over
//         W3 with the turn: sleep until the permit is due   W4 take it, stop waiting   W5 pass the turn on
//   try   T1 nobody waits, and a permit is due: take it
//
// W4 takes the permit as of when it was due, not of when the sleeper woke: the moments of all behind follow from that, and a late
// wake-up costs no permits. Cancelled at W2 or W3, a waiter has taken nothing; its turn goes to the next, who sleeps until the same
// moment.
//
// Rejected: giving each comer its moment at once and letting all sleep (a cancelled one leaves a hole, or all behind must be woken and
// moved up), and a task that puts permits into a channel (it must run although nobody waits).

#include <weft/rate_limiter.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <weft/task.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/sched/wait.hpp"

namespace weft {
namespace {

double checked_rate(double per_second) {
  if (!(per_second > 0)) throw std::invalid_argument("weft::rate_limiter: the rate must be positive");
  return per_second / 1e9;
}

double checked_burst(double burst) {
  if (!(burst >= 1)) throw std::invalid_argument("weft::rate_limiter: the burst must be at least 1");
  return burst;
}

}  // namespace

rate_limiter::rate_limiter(double per_second, double burst)
    : per_ns_(checked_rate(per_second)), burst_(checked_burst(burst)), permits_(burst_), at_ns_(rt::clock_ns()) {}

/// From at_ns_ until there is a permit; infinity for the slowest of rates.
double rate_limiter::missing_ns_locked() const noexcept {
  return permits_ >= 1 ? 0 : at_rest_ + (1 - permits_) / per_ns_;
}

/// When the next permit may be taken; rounded up, for nobody may be early.
std::int64_t rate_limiter::due_locked() const noexcept {
  double const missing = std::ceil(missing_ns_locked());
  auto const room = static_cast<double>(rt::never - at_ns_) / 2;
  return missing < room ? at_ns_ + static_cast<std::int64_t>(missing) : rt::never;
}

/// When it is due, by somebody who came then. Until then, or until it became due if that was later, the bucket has filled up.
void rate_limiter::take_locked(std::int64_t came) noexcept {
  if (came < due_locked() && permits_ < 1) {
    double const missing = missing_ns_locked();
    at_ns_ += static_cast<std::int64_t>(missing);
    at_rest_ = missing - std::floor(missing);
    permits_ = 0;
    return;
  }
  double const passed = static_cast<double>(came - at_ns_) - at_rest_;
  if (passed > 0) {
    permits_ = std::min(burst_, permits_ + passed * per_ns_);
    at_ns_ = came;
    at_rest_ = 0;
  }
  permits_ = std::max(0.0, permits_ - 1);
}

bool rate_limiter::try_take() {
  rt::guard const hold(mutex_);
  std::int64_t const now = rt::clock_ns();
  if (waiting_ != 0 || due_locked() > now) return false;
  take_locked(now);
  return true;
}

/// One that is counted as waiting.
struct rate_limiter::waiter {
  explicit waiter(rate_limiter& l) noexcept : in(l) {}
  waiter(waiter const&) = delete;
  waiter& operator=(waiter const&) = delete;
  ~waiter() {
    if (!waits) return;
    rt::guard const hold(in.mutex_);
    --in.waiting_;
  }

  /// True: it has a permit. Else it waits, and `due` says until when.
  [[nodiscard]] bool take_if_due(bool has_turn, std::int64_t& due) {
    rt::guard const hold(in.mutex_);
    std::int64_t const now = rt::clock_ns();
    if (!waits) came = now;
    due = in.due_locked();
    if (due > now || (in.waiting_ != 0 && !has_turn)) {
      if (!waits) ++in.waiting_;
      waits = true;
      return false;
    }
    in.take_locked(came);
    if (waits) --in.waiting_;
    waits = false;
    return true;
  }

  rate_limiter& in;
  bool waits = false;
  std::int64_t came = 0;
};

void rate_limiter::wait() {
  (void)rt::cancellation_point();
  std::int64_t due = 0;
  waiter self(*this);
  if (self.take_if_due(false, due)) return;  // W1, W2
  permit const turn(turn_);
  while (!self.take_if_due(true, due)) detail::sleep_until_ns(due);  // W3, W4; W5 is the end of `turn`
}

}  // namespace weft
