// Whether tasks wait for each other alone: the looks that the search for deadlocks (deadlock.cpp, Q1 to Q6) and that for leaks share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

/// Q3 and Q5: whether all tasks of a runtime are parked, how many waits there are, and the sum of their generations.
struct parked_pass {
  scheduler* of;
  bool reasons;                  // looks at them
  task const* caller = nullptr;  // not looked at
  bool starving = false;  // fresh tasks may be there, without a stack: they are counted, and do not run by themselves
  bool all_wait = true;
  std::size_t fresh = 0;
  std::size_t tasks = 0;
  std::size_t threads = 0;
  std::uint64_t generations = 0;
  task* witness = nullptr;  // a wait that something outside may end, and its wait word
  std::uint64_t word = 0;

  void run();

 private:
  bool look(task& t) noexcept;
  void look(waiter const& w, bool for_ever) noexcept;
};

/// Q2.
[[nodiscard]] bool may_come_from_outside(scheduler& s) noexcept;

/// Q4. `waiting`: parked_pass::threads.
[[nodiscard]] bool no_other_thread(scheduler& s, std::size_t waiting) noexcept;

}  // namespace weft::rt
