// Durations and time points of any std::chrono type as nanoseconds on weft's clock, saturating: max() means never,
// and a negative duration means now.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

namespace weft {
using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;
using time_point = steady_clock::time_point;

/// weft's clock: std::chrono::steady_clock, or the simulated clock inside a simulation. Does not block.
[[nodiscard]] time_point now() noexcept;
}  // namespace weft

namespace weft::detail {

inline constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

/// Nanoseconds in `d`, at least 0, `never` where they do not fit. Rounds up: a wait is never shorter than asked for.
template <class R, class P>
constexpr std::int64_t saturated_ns(std::chrono::duration<R, P> d) noexcept {
  using duration = std::chrono::duration<R, P>;
  if constexpr (std::is_floating_point_v<R>) {
    long double const ns = std::chrono::duration<long double, std::nano>(d).count();
    if (!(ns < static_cast<long double>(never))) return never;  // also not-a-number
    return ns <= 0 ? 0 : static_cast<std::int64_t>(ns + 0.999999L);
  } else {
    if (d == duration::max()) return never;
    if (d <= duration::zero()) return 0;
    long double const ns = std::chrono::duration<long double, std::nano>(d).count();
    if (ns >= static_cast<long double>(never)) return never;
    return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
  }
}

/// Nanoseconds into which a duration of any type is turned by saturated_ns: for members of options, and for parameters of what is no
/// template. hours::max() assigned to plain nanoseconds is a negative number of them.
class patience : public std::chrono::nanoseconds {
 public:
  constexpr patience() noexcept : std::chrono::nanoseconds(0) {}
  template <class R, class P>
  constexpr patience(std::chrono::duration<R, P> d) noexcept : std::chrono::nanoseconds(saturated_ns(d)) {}
};

/// The instant `ns` nanoseconds from now, saturating at `never`.
[[nodiscard]] std::int64_t deadline_in(std::int64_t ns) noexcept;

template <class R, class P>
std::int64_t deadline_after(std::chrono::duration<R, P> d) noexcept {
  std::int64_t const ns = saturated_ns(d);
  return ns == never ? never : deadline_in(ns);
}

/// The same as a time_point. now() + d is for durations that nobody else chose: it overflows.
template <class R, class P>
time_point time_after(std::chrono::duration<R, P> d) noexcept {
  return time_point(std::chrono::nanoseconds(deadline_after(d)));
}

/// Seconds since the clock's epoch, from any representation without overflow.
template <class Clock, class D>
constexpr long double seconds_of(std::chrono::time_point<Clock, D> at) noexcept {
  return std::chrono::duration<long double>(at.time_since_epoch()).count();
}

/// A steady_clock deadline is taken as it is; one of another clock is turned into a duration from that clock's now(). Exactly, if it
/// is within 30 years of it: the difference, and even the common type, of what is further apart may not fit (sys_days of the year
/// 9999 are no nanoseconds), and nanoseconds are of no matter there. What has passed is not subtracted: where the representation is
/// unsigned the difference would be a large one.
template <class Clock, class D>
std::int64_t deadline_at(std::chrono::time_point<Clock, D> at) noexcept {
  if (at == std::chrono::time_point<Clock, D>::max()) return never;
  if constexpr (std::is_same_v<Clock, steady_clock>) {
    auto const since = at.time_since_epoch();
    return since <= D::zero() ? 0 : saturated_ns(since);
  } else {
    auto const now = Clock::now();
    long double const ahead = seconds_of(at) - seconds_of(now);
    if (ahead <= 0) return 0;
    if (ahead > 1e9L) return deadline_after(std::chrono::duration<long double>(ahead));
    return deadline_after(at - now);
  }
}

}  // namespace weft::detail
