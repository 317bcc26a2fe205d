// Whether a worker that has found nothing to do looks on for some microseconds before it sleeps.
//
// Where tasks hand work to each other across processors, the next piece often comes within a microsecond or two. To sleep and be woken costs both
// sides more than that: a membarrier, two system calls, and an interrupt of each processor that runs. Where it does not come, looking on is
// CPU time lost. So what it brought is counted, and looked on only where it brings something one time in four: as an adaptive mutex spins
// (A. Karlin and others, "Empirical Studies of Competitive Spinning for a Shared-Memory Multiprocessor", 1991).
#pragma once

#include <algorithm>
#include <cstdint>

namespace weft::rt {

/// The worker's own.
class linger_gain {
 public:
  static constexpr int found_counts = 3, most = 12;  // in vain: -1
  static constexpr int tries_one_in = 16;

  /// Whether to look on this time.
  [[nodiscard]] bool pays() noexcept { return worth_ > 0 || ++left_out_ % tries_one_in == 0; }
  /// It has looked on.
  void looked(bool found) noexcept { worth_ = std::clamp(worth_ + (found ? found_counts : -1), 0, most); }

 private:
  int worth_ = 0;
  unsigned left_out_ = 0;
};

}  // namespace weft::rt
