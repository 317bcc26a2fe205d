// A planted bug must be found within a small budget, and its choices must show it again. Its repaired twin, where there is one, must pass.
#pragma once

#include <weft/sim.hpp>

#include <stdexcept>

#include "tests/support/catch.hpp"

struct violated : std::logic_error {
  using std::logic_error::logic_error;
};

inline void must(bool holds, char const* what) {
  if (!holds) throw violated(what);
}

/// Most of them are data races: ThreadSanitizer tells of these by itself, and of nothing else here.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool races_are_reported = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool races_are_reported = true;
#else
inline constexpr bool races_are_reported = false;
#endif
#else
inline constexpr bool races_are_reported = false;
#endif

template <class F>
void is_found(F f) {
  if (races_are_reported) {
    SUCCEED("left to ThreadSanitizer");
    return;
  }
  for (auto const pick : {weft::sim::policy::random, weft::sim::policy::pct}) {
    weft::sim::result const r = weft::sim::explore(10'000, f, {.pick = pick});
    INFO("policy " << static_cast<int>(pick) << ", " << r.runs << " runs, " << r.what);
    REQUIRE(r.failed);
    bool again = false;
    try {
      weft::sim::replay(r.choices, f);
    } catch (violated const& e) {
      again = r.what == e.what();
    } catch (weft::deadlock const&) {
      again = r.what.find("deadlock") != std::string::npos;
    } catch (weft::closed_channel const& e) {
      again = r.what == e.what();
    }
    CHECK(again);
  }
}

template <class F>
void is_sound(F f) {
  weft::sim::result const r = weft::sim::explore(500, f);
  INFO(r.what);
  CHECK_FALSE(r.failed);
}
