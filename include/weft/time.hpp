// Time as channels: timer, ticker, after, tick. Sleeping is in <weft/task.hpp>, after_func in <weft/after_func.hpp>.
//
//     weft::timer quiet(30s);
//     for (;;) weft::select(
//         weft::on_recv(lines, [&](std::string& l) { quiet.reset(30s); handle(l); }),
//         weft::on_recv(quiet, [] { ... }));
//
// After stop() or reset() has returned no value from before is received (what another task has taken by then was received before).
// A timer or ticker may be copied: copies are handles to one timer, usable from any thread. When the last has gone the timer
// stops, and its channel is closed for who still holds a receiver. One that is pending when its runtime ends never comes, unless it is
// reset in another: a plain thread that goes on to wait for it waits for ever. Making one needs a runtime: outside of one they throw
// no_runtime. Values are the time at which they were sent, on weft's clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include <weft/chan.hpp>
#include <weft/detail/deadline.hpp>

namespace weft::rt {
struct clock_source;
}

namespace weft {

namespace detail {

/// A counted handle. `first_ns` and `period_ns` count from now; period 0: one value alone.
class clock_handle {
 public:
  clock_handle(std::int64_t first_ns, std::int64_t period_ns);
  clock_handle(clock_handle const& other) noexcept;
  clock_handle& operator=(clock_handle other) noexcept {
    std::swap(source_, other.source_);
    return *this;
  }
  ~clock_handle();

  bool reset(std::int64_t first_ns, std::int64_t period_ns) const;
  bool stop() const noexcept;
  [[nodiscard]] receiver<time_point> channel() const noexcept;

 private:
  rt::clock_source* source_;
};

/// The period of a ticker. Throws std::invalid_argument if it is not positive.
[[nodiscard]] std::int64_t checked_period(std::int64_t ns);
[[nodiscard]] receiver<time_point> clock_channel(std::int64_t first_ns, std::int64_t period_ns);

}  // namespace detail

/// One value, once, after a duration: at once if that is zero or negative, never if it is max().
class timer {
 public:
  using value_type = time_point;

  template <class R, class P>
  explicit timer(std::chrono::duration<R, P> d) : source_(detail::saturated_ns(d), 0) {}

  /// Starts it anew. True: it was pending, or its value had not been received. Does not block. On a plain thread, for a time to
  /// come: throws no_runtime if the runtime that it was last started in has ended.
  template <class R, class P>
  bool reset(std::chrono::duration<R, P> d) const {
    return source_.reset(detail::saturated_ns(d), 0);
  }
  /// True: it was pending, or its value had not been received. Does not block.
  bool stop() const noexcept { return source_.stop(); }
  /// Where its value comes; the same channel each time.
  [[nodiscard]] receiver<time_point> channel() const noexcept { return source_.channel(); }

 private:
  detail::clock_handle source_;
};

/// A value every period; a slow receiver misses ticks: one is kept for it. Throws std::invalid_argument for a period that is not
/// positive; max(): never.
class ticker {
 public:
  using value_type = time_point;

  template <class R, class P>
  explicit ticker(std::chrono::duration<R, P> d) : ticker(detail::checked_period(detail::saturated_ns(d))) {}

  /// Stops it and starts it with another period; the next tick comes when that has passed. Does not block.
  template <class R, class P>
  void reset(std::chrono::duration<R, P> d) const {
    std::int64_t const period = detail::checked_period(detail::saturated_ns(d));
    source_.reset(period, period);
  }
  /// No more ticks until a reset(). Does not close the channel, does not block.
  void stop() const noexcept { source_.stop(); }
  [[nodiscard]] receiver<time_point> channel() const noexcept { return source_.channel(); }

 private:
  explicit ticker(std::int64_t period) : source_(period, period) {}
  detail::clock_handle source_;
};

/// One value after d, then the channel is closed; without a value if its runtime ends before. Costs nothing more once the receiver is dropped.
template <class R, class P>
[[nodiscard]] receiver<time_point> after(std::chrono::duration<R, P> d) {
  return detail::clock_channel(detail::saturated_ns(d), 0);
}

/// A ticker without a handle: it ends when the last receiver is dropped. Its channel is closed when its runtime ends.
template <class R, class P>
[[nodiscard]] receiver<time_point> tick(std::chrono::duration<R, P> d) {
  std::int64_t const period = detail::checked_period(detail::saturated_ns(d));
  return detail::clock_channel(period, period);
}

}  // namespace weft
