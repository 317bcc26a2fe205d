// Whether all tasks of a runtime wait for each other, for ever. Asked by the worker that goes idle last (quiescence.cpp), never answered
// wrongly with yes.
//
//   Q1 look_quiet: all processors idle, all workers asleep or about to be; `taken` is kept
//   Q2 no live timer in any heap, no signal subscription, no blocking call in progress
//   Q3 every task that has begun and not ended is parked without a deadline on a channel, select, sync type, group or join; plain
//      threads that wait in weft without a deadline are counted. The generations of all these waits are added up
//   Q4 the process has as many threads as weft's own (workers, monitor, signals) and those counted at Q3 together
//   Q5 Q3 again, without looking at reasons: everything still WAITING, as many, the same sum
//   Q6 Q1 and Q2 again, with the same `taken`
// Fresh tasks that wait for a stack (task_stacks.cpp) count as parked at Q3 and Q5, and as many: no stack comes back where nothing
// runs. They are none that could be unwound, so the scheduler tries for one once more, and ends the process if none is to be had.
//
// Why yes is true. A wait word's generation only grows, so an equal sum at Q3 and Q5 means that each of these waits lasted from its
// look in Q3 to its look in Q5, and all of them lasted through the moment T of Q4, together. At T:
//   - no task ran or was about to: each was WAITING. One that somebody had claimed and not yet made ready would be CLAIMED; one in a
//     queue, fresh; a plain thread between queueing and waking (scheduler::visitors_) would be a thread that does not wait
//   - no worker was inside a task's end, a timer's callback or the like: these hold a processor, and by Q1 and Q6 none was held
//   - no other thread existed: those of Q3 lived at T, for they were waiting, weft's own count themselves while they live, and at Q4
//     the kernel counted no more. One that it has not counted would have to be started by one of these
//   - the threads of weft's that hold no processor do nothing: the monitor wakes workers, not tasks; the sleeper in the poller claims
//     only waits for sockets, of which there are none by Q3; timers are fired by holders of processors, and there are none by Q2; the
//     thread for signals wakes subscribers, and there are none by Q2, nor a delivery in progress
//   So at T nothing could make a move, now or ever, but a signal handler of the program, which may not call weft.
//
// Other runtimes of the process are asked the same: Q1, Q2 and Q6 hold for each of them, Q3 and Q5 look at their tasks as well, and Q4
// counts their threads and those that wait in a shutdown(). None begins or ends meanwhile (runtime_list). All of them are told.
//
// What it does not see, so that nothing is reported: a program with a thread of its own that sleeps elsewhere, tasks in a deadlock
// while others go on.
//
// Rejected: comparing /proc/self/task with lists of thread numbers (two directories' worth of races for what one count says).

#include <new>

#include "runtime/base/check.hpp"
#include "runtime/base/message.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/observe/report.hpp"
#include "runtime/observe/reports.hpp"
#include "runtime/observe/runtime_list.hpp"
#include "runtime/observe/standstill.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {
namespace {

void unwind(scheduler& s, census const& tasks) {
  s.unwind_deadlocked("weft: deadlock: all tasks wait, and nothing is left in the process that could wake one\n" +
                      describe(tasks));
}

/// Those of other runtimes that somebody waits for in run() are as dead, and must be told now: whoever is told first may be a thread
/// that sleeps elsewhere soon, and in its way for ever. Whether `s` was among those.
bool act(scheduler& s, runtime_list& list) WEFT_REQUIRES(list.lock) {
  census const mine = take_census(&s);
  list.all([&](scheduler& other) {
    if (&other == &s || other.runs.load(std::memory_order_acquire) == 0) return true;
    census const its = take_census(&other);
    if (!its.tasks.empty()) unwind(other, its);
    return true;
  });
  if (s.runs.load(std::memory_order_acquire) != 0) return unwind(s, mine), true;
  // Nobody is in run() to be told: all that can be done is to say why the program stands still.
  warn("deadlock: all %zu tasks wait, and so does every thread of the program:", mine.tasks.size());
  write_error(describe(mine));
  return false;
}

struct others {
  bool quiet = true;
  std::uint64_t taken = 0;
  std::size_t threads = 0;
  std::size_t stopped = 0;  // have been shut down: they have no tasks, and threads that they still have, Q4 finds
};

/// Q1 and Q2 for the other runtimes of the process.
others look_at_others(runtime_list& list, scheduler& but) noexcept WEFT_REQUIRES(list.lock) {
  others found;
  list.all([&](scheduler& s) {
    if (&s == &but) return true;
    if (s.stopping()) {
      ++found.stopped;
      return true;
    }
    scheduler::quiet_look const look = s.look_quiet();
    found.quiet = look.quiet && !s.starving() && !may_come_from_outside(s);
    found.taken += look.taken;
    found.threads += own_threads(s);
    return found.quiet;
  });
  return found;
}

struct finding {
  idle_verdict verdict;
  bool dead = false;   // Q1 to Q6 say yes, or, of a runtime that is being unwound, all but Q4 do
  bool alone = false;  // Q4
  std::size_t fresh = 0;
};

finding look_around(scheduler& s, runtime_list& list) noexcept WEFT_REQUIRES(list.lock) {
  scheduler::quiet_look const before = s.look_quiet();  // Q1
  finding f{.verdict = {.is = idle_verdict::what::later, .taken = before.taken}};
  if (!before.quiet || may_come_from_outside(s)) return f;  // Q2
  bool const unwinding = s.deadlocked();
  bool const starving = s.starving();
  others const beside = look_at_others(list, s);
  // While a runtime is unwound, its own standstill is what counts.
  parked_pass first{.of = &s, .reasons = true, .others = beside.quiet && !unwinding, .starving = starving};
  first.run();  // Q3
  if (first.witness != nullptr) {
    f.verdict.is = idle_verdict::what::alive;
    f.verdict.witness = first.witness;
    f.verdict.word = first.word;
    return f;
  }
  if (!first.all_wait || first.tasks == 0) return f;
  f.alone = beside.quiet && no_other_thread(own_threads(s) + beside.threads, first.threads);  // Q4
  if (!f.alone && !unwinding) return f;
  parked_pass second{.of = &s, .reasons = false, .others = first.others, .starving = starving};
  second.run();  // Q5
  if (!second.all_wait || second.tasks != first.tasks || second.generations != first.generations ||
      second.fresh != first.fresh)
    return f;
  scheduler::quiet_look const after = s.look_quiet();  // Q6
  if (!after.quiet || after.taken != before.taken || may_come_from_outside(s)) return f;
  if (!unwinding) {
    others const still = look_at_others(list, s);
    // One that was shut down meanwhile may have been a thread's that counted as waiting for that.
    if (!still.quiet || still.taken != beside.taken || still.stopped != beside.stopped) return f;
  }
  f.dead = true;
  f.fresh = first.fresh;
  return f;
}

}  // namespace

idle_verdict all_idle(scheduler& s) noexcept {
  using what = idle_verdict::what;
  runtime_list& list = runtime_list::of_process();
  guard hold(list.lock);
  finding const found = look_around(s, list);
  idle_verdict v = found.verdict;
  if (!found.dead) return v;
  if (found.fresh != 0) {
    s.starve_for_long(true);
    return v;
  }
  if (s.deadlocked()) {
    if (s.unwind_some()) {
      v.is = what::changed;
    } else if (found.alone) {
      s.report_stuck("deadlock: these tasks could not be unwound, since they wait uncancellably");
    }
    return v;
  }
  if (s.draining()) {  // the end of run: what its cancellation does not reach
    if (s.call_detached()) v.is = what::changed;
    return v;
  }
  try {
    // alive, without a witness: not again, unless something happens after all
    v.is = act(s, list) ? what::changed : what::alive;
  } catch (std::bad_alloc const&) {
    // Nobody is left to free some, but the tasks when they are unwound: so without the list, by a text that lies within the string.
    if (s.runs.load(std::memory_order_acquire) == 0) return v;
    s.unwind_deadlocked("weft: deadlock");
    v.is = what::changed;
  }
  return v;
}

}  // namespace weft::rt
