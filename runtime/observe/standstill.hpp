// Whether tasks wait for each other alone: the looks that the search for deadlocks (deadlock.cpp, Q1 to Q6) and that for leaks share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

/// Q3 and Q5: whether all tasks of a runtime, and of the others, are parked, how many waits there are, and the sum of their generations.
struct parked_pass {
  scheduler* of;
  bool reasons;                  // looks at them
  bool others = false;           // those of other runtimes are looked at too
  task const* caller = nullptr;  // not looked at
  bool starving = false;  // fresh tasks may be there, without a stack: they are counted, and do not run by themselves
  bool all_wait = true;
  std::size_t fresh = 0;
  std::size_t tasks = 0;  // of this runtime
  std::size_t threads = 0;
  std::uint64_t generations = 0;
  task* witness = nullptr;  // a wait of this runtime's that something outside may end, and its wait word
  std::uint64_t word = 0;

  void run();

 private:
  bool look(task& t) noexcept;
  void look(waiter const& w, bool for_ever) noexcept;
};

/// Q2.
[[nodiscard]] bool may_come_from_outside(scheduler& s) noexcept;

/// Of the runtime itself, and the one that waits in its shutdown().
[[nodiscard]] std::size_t own_threads(scheduler& s) noexcept;
/// Q4. `own`: own_threads. `waiting`: parked_pass::threads.
[[nodiscard]] bool no_other_thread(std::size_t own, std::size_t waiting) noexcept;

}  // namespace weft::rt
