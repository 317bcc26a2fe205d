// weft::rate_limiter: so many a second, and a few at once.
//
//     weft::rate_limiter limit(100, 5);   // 100 a second; 5 at once after a pause
//     for (auto& url : urls) {
//       limit.wait();
//       fetch(url);
//     }
#pragma once

#include <cstddef>
#include <cstdint>

#include <weft/mutex.hpp>
#include <weft/semaphore.hpp>

namespace weft {

/// A bucket that holds at most `burst` permits, is full at first, and gets `per_second` of them a second, evenly. For tasks and plain
/// threads; any number of them may use one at once.
///
/// From its making on, t seconds let at most burst + t * per_second callers through, and as many if that many came in time: a waiter
/// that wakes late does not make those behind it later. A permit is taken by who returns: a wait that is cancelled takes none, and the
/// one behind it gets what it would have got.
///
/// Time is weft's clock; nobody is awake while all wait. Order: none between callers.
/// Life: may be destroyed when no call is in progress.
class rate_limiter {
 public:
  /// Does not block. Throws std::invalid_argument unless per_second > 0 and burst >= 1; infinity means without limit.
  rate_limiter(double per_second, double burst = 1);
  rate_limiter(rate_limiter const&) = delete;
  rate_limiter& operator=(rate_limiter const&) = delete;

  /// Takes a permit; waits for one if need be, first come, first served. Blocks. Cancellation point.
  void wait();

  /// Takes a permit if there is one that nobody waits for. Does not wait.
  [[nodiscard]] bool try_take();

 private:
  struct waiter;

  [[nodiscard]] double missing_ns_locked() const noexcept WEFT_REQUIRES(mutex_);
  [[nodiscard]] std::int64_t due_locked() const noexcept WEFT_REQUIRES(mutex_);
  void take_locked(std::int64_t came) noexcept WEFT_REQUIRES(mutex_);

  double const per_ns_;
  double const burst_;

  mutex mutex_;
  double permits_ WEFT_GUARDED_BY(mutex_);  // in the bucket at the moment at_ns_ + at_rest_; 0 <= permits_ <= burst_
  std::int64_t at_ns_ WEFT_GUARDED_BY(mutex_);       // never later than now
  double at_rest_ WEFT_GUARDED_BY(mutex_) = 0;       // 0 <= at_rest_ < 1: for rates that do not divide a second
  std::size_t waiting_ WEFT_GUARDED_BY(mutex_) = 0;  // callers of wait() that have come and not taken a permit
  binary_semaphore turn_{1};                         // held by the first of them, who sleeps until its permit is due
};

}  // namespace weft
