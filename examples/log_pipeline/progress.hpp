// A bar on a terminal.
#pragma once

#include <cstdint>
#include <functional>

namespace logs {

/// Draws on stderr until the task is cancelled, and then clears the line. `whole` is 0 if nobody knows how much there is.
void draw_progress(std::function<std::uint64_t()> done, std::uint64_t whole);

}  // namespace logs
