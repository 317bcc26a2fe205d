// A simulated run: the scheduler on the thread that called it, with a virtual clock, and somebody above who makes every choice.
//
// What is real stays real: tasks, stacks, switches, channels, locks and the timer heap are those of every run. Replaced are
//   Z1 picking: the ready tasks stand in one list, in the order in which they became ready, and the chooser names one (find_simulated)
//   Z2 preemption: calls of weft ask the chooser whether another task goes on first (detail::preempt)
//   Z3 the clock: stands still while a task can run; with none, it jumps to the next timer, and the chooser orders what is due then
//   Z4 random numbers: select's order, and whom notify_one wakes
//   Z5 the end of all moves: no task ready, no timer armed: a deadlock, at once. Nothing can come from outside
//   Z6 sockets: in memory; what was sent arrives by a timer (simulated_network.hpp)
//
// Everything else is off: no second thread, no monitor, no poller, no hand-over (blocking() calls its function in place).
//
// Why a run is a function of the choices. One thread executes all of it. What it decides by is the list, whose order follows from what
// the tasks did; the clock, which only Z3 moves; the heap, ordered by deadlines and arrivals; and answers of the chooser. Addresses
// order locks and memory, never tasks: the walk over all tasks, for a deadlock, is the one place, and its tasks are sorted by number.
// Task numbers begin at 1 in each run.
//
// Why Z2 is safe. A preemption is a yield, made where a user's call enters weft or has finished its work: never inside a section (hooks and
// native stacks are inside), and never under an object's lock, which another task on this thread would spin on for ever. So points stand in
// the calls that users make, not in what these are made of: chan_close and chan_try_send also run under other locks.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <weft/detail/task_api.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/timer/timer_heap.hpp"

namespace weft::rt {

class simulated_network;

/// What a run ends by that has made more choices than it may. A type of its own, by which explore tells it from what the program throws.
struct too_many_choices : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class choice : std::uint8_t {
  next,
  preempt,
  draw,
  timer,
  waiter,
  delay,  // of what is sent: none, or one of three
  part,   // of what could be read or written: all, one byte, half, all but one
  loss,   // none; the connection is reset, the datagram lost; the connection falls silent, the datagram comes twice
  apart,  // whether the other timers of this instant wait until what the last one woke waits again
};

/// Who chooses. Called on the run's thread, without a lock; may not call weft.
class chooser {
 public:
  chooser() = default;
  chooser(chooser const&) = delete;
  chooser& operator=(chooser const&) = delete;
  virtual ~chooser() = default;

  /// A number in [0, n), n > 1.
  virtual std::uint32_t choose(choice what, std::uint32_t n) noexcept = 0;
  /// The same of what is 0 in a quiet run, and mostly 0 in any.
  virtual std::uint32_t choose_rarely(choice what, std::uint32_t n) noexcept = 0;
  /// Which of `ready` goes on, when `last` (0: none) has parked, ended or yielded.
  virtual std::uint32_t choose_next(task_id last, bool yielded, std::span<task* const> ready) noexcept = 0;
  /// 0: `current` goes on; i: ready[i - 1] does.
  virtual std::uint32_t choose_preemption(task_id current, std::span<task* const> ready) noexcept = 0;
  /// For the trace: a task goes on; the clock has jumped.
  virtual void goes_on(task_id) noexcept = 0;
  virtual void time_is(std::int64_t ns) noexcept = 0;
};

/// What a scheduler that simulates has besides. Of the run's thread alone; `now` is atomic for ThreadSanitizer, to which tasks are threads.
struct simulation {
  simulation(chooser& c, std::uint64_t most) noexcept : by(c), most_steps(most) {}

  static constexpr std::int64_t begin_ns =
      1'000'000'000'000;  // the clock's first reading: far from 0, which means "now" here and there

  chooser& by;
  simulated_network* network = nullptr;  // set before the run
  std::uint64_t const most_steps;
  std::uint64_t steps = 0;
  bool too_long = false;
  std::string given_up;  // for that: what the run throws
  std::atomic<std::int64_t> now{begin_ns};
  std::vector<task*> ready;
  std::vector<due_entry> due;  // at this instant; up to `fired` they have been
  std::size_t fired = 0;
  task* chosen = nullptr;  // by a preemption: goes on next
  task* first = nullptr;   // when it has ended, so has the run
  bool ending = false;     // the root was cancelled for that
  bool unwinding = false;  // a deadlock, or a failure: tasks are being ended one by one
  // While unwinding: whom a look may find parked, the youngest last. Who was found otherwise then may be again only when it has run.
  std::set<std::pair<task_id, task*>> to_unwind;
  std::uint32_t yields = 0;  // in a row, with nothing else happening but preemptions
  std::map<task_id, std::uint32_t>
      interrupted;                  // among these yields, and after how many; not those that have yielded since
  std::uint32_t moves_in_vain = 0;  // of time, in a row
  task_id running = 0;
  std::uint32_t kept = 0;      // by keeps_running: no preemption
  std::exception_ptr failure;  // escaped from a task that nobody joins
  object_lock idle_lock;
  wait_list idle_waiters;  // guarded by idle_lock: who waits until all others wait
};

/// The simulation that the calling thread runs, or null.
[[nodiscard]] simulation* current_simulation() noexcept;

/// A run that has made too many choices, and goes on for half as many after it was cancelled for that. `s` may be null.
WEFT_NO_TSAN inline bool is_given_up(simulation const* s) noexcept {
  return s != nullptr && s->too_long && s->steps > s->most_steps + s->most_steps / 2;
}

/// No preemption of the calling task while this lives: for calls that users make, made under a lock of weft's.
class keeps_running {
 public:
  keeps_running() noexcept : run_(current_simulation()) {
    tsan_ignore const run_data;
    if (run_ != nullptr) ++run_->kept;
  }
  ~keeps_running() {
    tsan_ignore const run_data;
    if (run_ != nullptr) --run_->kept;
  }
  keeps_running(keeps_running const&) = delete;
  keeps_running& operator=(keeps_running const&) = delete;

 private:
  simulation* const run_;
};

/// Z4: moves one waiter of a list to its front. Under the list's lock.
void choose_waiter(wait_list& list) noexcept;

/// Until every other task of the simulated run waits. Fatal outside of one.
void wait_until_idle();

}  // namespace weft::rt
