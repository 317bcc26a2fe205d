// What keeps a thread busy for a time.
#pragma once

#include <chrono>

namespace weft::test {

/// Computes for so long, as the real clock has it: no call of weft's, and no sleep.
inline void compute_for(std::chrono::nanoseconds time) {
  for (auto const until = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < until;) {
  }
}

}  // namespace weft::test
