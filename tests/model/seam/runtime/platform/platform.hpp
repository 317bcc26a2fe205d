// The platform of a model check: fences and futexes are the explorer's, and time stands still.
#pragma once

#include "runtime/base/sanitizer.hpp"

namespace weft::rt {

inline void futex_wait(model::atomic<std::uint32_t>& word, std::uint32_t expected,
                       model::where at = model::where::current()) noexcept {
  word.sleep_while(expected, at);
}
inline bool futex_wait_until(model::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t,
                             model::where at = model::where::current()) noexcept {
  word.sleep_while(expected, at);
  return true;
}
inline void futex_wake(model::atomic<std::uint32_t> const& word, int count,
                       model::where at = model::where::current()) noexcept {
  word.wake(count, at);
}

inline void full_fence(model::where at = model::where::current()) noexcept { model::full_fence(at); }
inline void light_fence(model::where at = model::where::current()) noexcept { model::light_fence(at); }
inline void heavy_fence(model::where at = model::where::current()) noexcept { model::heavy_fence(at); }

inline std::int64_t monotonic_ns() noexcept { return 1; }
inline void cpu_relax() noexcept {}

}  // namespace weft::rt
