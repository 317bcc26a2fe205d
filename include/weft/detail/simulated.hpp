// Where a simulated run (<weft/sim.hpp>) may switch to another task. Not for applications.
#pragma once

#include <atomic>

namespace weft::detail {

/// Simulated runs in progress in this process. Written by them alone. Not an inline variable: of such each program and library whose
/// symbols are hidden has its own.
extern constinit std::atomic<unsigned> simulations;

/// In a task of a simulated run, outside of the runtime: the seed says whether another task goes on now. Anywhere else: nothing.
void preempt() noexcept;

/// At the beginning of a call of weft, and after what it has let go. Costs an ordinary run a load of a word that nobody writes and a
/// branch that is never taken, no locked instruction and no fence.
inline void preemption_point() noexcept {
  if (simulations.load(std::memory_order_relaxed) != 0) [[unlikely]]
    preempt();
}

}  // namespace weft::detail
