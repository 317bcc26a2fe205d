// The same result by the plainest means: one thread, lines from a stream, Boost.JSON.
#pragma once

#include "event.hpp"
#include "output.hpp"

#include <cstdint>
#include <filesystem>
#include <iosfwd>

namespace logs {

struct check_totals {
  std::uint64_t lines = 0, below = 0, malformed = 0, kept = 0;
  bool operator==(check_totals const&) const = default;
};

/// Reads the input again, and the files that the run has made, and says on `out` where they differ. `in_order`: the
/// lines of a file must come in the input's order. True: no difference. Throws std::system_error if the input cannot be
/// read.
[[nodiscard]] bool check(std::filesystem::path const& input, output_folder const& folder, level least,
                         check_totals const& counted, bool in_order, std::ostream& out);

}  // namespace logs
