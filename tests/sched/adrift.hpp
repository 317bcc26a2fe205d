// How a test makes its worker lose its processor: it blocks until the monitor has taken it.
#pragma once

#include <weft/task.hpp>

#include <ctime>

#include "runtime/sched/worker.hpp"

namespace weft::test {

inline bool has_processor() { return rt::current_worker()->held() != nullptr; }

inline void block_for_ms(long ms) {
  timespec left{ms / 1000, ms % 1000 * 1'000'000};
  while (::nanosleep(&left, &left) != 0) {
  }
}

/// In a task. Returns on the same thread, without a processor.
inline void lose_processor() {
  go([] {});  // with a second task there is something for the monitor
  while (has_processor()) block_for_ms(1);
}

}  // namespace weft::test
