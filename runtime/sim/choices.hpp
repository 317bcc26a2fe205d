// A run's choices as a list, and the list as text.
//
// Only deviations are kept: choices other than 0, which is what a quiet run would do (go on; the task that has been ready longest; the
// cases as drawn first). Text: "w1", then for each deviation "-" gap kind value "/" n: so many zeros before it, what was chosen, and
// among how many. With n a program that comes to other choices is found out at the first that differs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sched/simulated.hpp"

namespace weft::sim {

struct deviation {
  std::uint64_t at = 0;  // number of the choice in its run
  rt::choice what = rt::choice::next;
  std::uint32_t value = 0;
  std::uint32_t among = 0;

  friend bool operator==(deviation const&, deviation const&) = default;
};

[[nodiscard]] char letter_of(rt::choice) noexcept;
[[nodiscard]] std::string to_text(std::vector<deviation> const& list);
/// Throws std::invalid_argument.
[[nodiscard]] std::vector<deviation> from_text(std::string_view text);

}  // namespace weft::sim
