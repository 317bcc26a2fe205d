// worker: an operating system thread that runs tasks while it holds a processor; and the sections of protocol A.
//
// A worker that is stuck in a task loses its processor to another worker. For that everybody must know at each moment whether a
// worker may be touching its processor: it is inside a *section* while `seq` is odd.
//
//   enter  E1 to E5   leave  L1     take   (the monitor) M1 to M6, see hand_over.hpp
//
// ThreadSanitizer does not look inside sections: one task's use of the processor is ordered before the next one's by their running on
// one worker, which it does not know, and telling it would hide the races between those tasks. So enter and leave also say that; a task
// that parks says the one before and the other after, on the same logical thread.
//
// A section belongs to the worker: a parking task opens it, the next task on that worker closes it. The native loop is always
// inside, so that a searching or sleeping worker is never robbed. No user code runs inside. Channel and mutex fast paths touch no
// processor and need no section.
//
// A worker that has lost its processor, *adrift*, runs its task on. Calls that do not wait (go, ready, unlock, close, try_) go by
// the global queue and never switch: the task may hold a std::mutex. A spawn takes an idle processor if there
// is one, without a switch (docs/decisions/0024). A call that parks parks as usual, with
// nothing local to go to, and so ends on the native stack, where the worker sleeps as a spare. yield takes an idle processor if there
// is one; otherwise it goes the same way, with its task in the global queue. What outlives a call that may park reloads worker
// and processor.
//
// Stacks of a worker: its native one, for all that is deep (stealing, polling, timers, sleeping), and the pooled one that it
// runs on now, with a task on it or just the loop.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "runtime/base/bias.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/fiber/stack.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/context_memory.hpp"
#include "runtime/sched/hand_over.hpp"
#include "runtime/sched/linger_gain.hpp"
#include "runtime/sched/lock_waits.hpp"
#include "runtime/sched/owned.hpp"
#include "runtime/sched/processor.hpp"
#include "runtime/sched/task_pool.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::rt {

class scheduler;
struct task;

/// What the code that arrives on a stack must do for the one that was left: it cannot be done before the old stack is left.
enum class after_switch : std::uint8_t { nothing, park, park_until, yield, retire_stack };

/// The fences of protocol A (hand_over.hpp: E2, M3) and of protocol B (wait.hpp: H2, C3).
struct process_fences {
  static void light() noexcept { light_fence(); }
  static void heavy() noexcept { heavy_fence(); }
};

/// What a spawn takes from: free blocks, and ids set aside. A worker's, and its own thread's alone, as contexts below: no section is needed,
/// since a thread keeps its worker while it runs a task, whoever has the processor. What tasks and the native loop do with it stands in
/// functions that do not park.
struct spawn_store {
  task_cache tasks;
  owned<task_id> next_id, last_id;
};

struct alignas(64) worker : hand_over_words<processor, process_fences> {
  owned<task*> current;       // the task whose code runs; null in the loops
  owned<stack*> on;           // the pooled stack in use; null: native
  owned<task*> handoff;       // to whoever arrives on a loop or the native stack: run this task
  owned<after_switch> after;  // and do this first
  owned<task*> after_task;
  owned<stack*> after_stack;
  owned<task*> parked_last;  // by a park that left for the native stack: see scheduler::note_time
  owned<bool> dry_by_lock;   // it is looking for work since a task that waits for a lock has left it none

  spawn_store store;
  context_memory contexts;
  std::unique_ptr<std::byte[]> scratch;  // runtime/net/scratch.hpp

  scheduler* sched = nullptr;  // constant
  execution native;
  [[no_unique_address]] bystander hooks;        // publishes waits
  [[no_unique_address]] bystander wakes;        // those that have waited for time or the network
  abi::__cxa_eh_globals* exceptions = nullptr;  // this thread's, constant
  int* errno_pointer = nullptr;                 // the same
  random_source random;
  lock_waits waits;  // of its thread
  linger_gain lingers;
  owned<bool> leaves_timers;  // its last look left some that are dead for the next
  owned<bool> fires_timers;   // now, and sees to it itself that somebody is woken for the tasks

  // Sleeping; guarded by the scheduler's lock but for `wakeups`.
  std::atomic<std::uint32_t> wakeups{0};  // futex word: 0 asleep (idle, or aside) or about to be, 1 woken
  std::atomic<std::uint32_t> naps{0};     // of its thread: tell_lock_naps
  bool in_idle_list = false;
  bool in_poller = false;
  owned<bool> searching;  // counted in scheduler::searching_
  worker* idle_next = nullptr;
  worker* idle_prev = nullptr;
  worker* all_next = nullptr;     // list of all workers, only grows
  worker* unused_next = nullptr;  // of those whose thread has gone; guarded by the scheduler's lock
  std::thread thread;             // guarded by the scheduler's lock
  unsigned index = 0;
  lock_owner owner = passing_owner;  // its thread's name; written by that, before it runs a task
  // Written by the thread before its first L1, read by the monitor after it has seen that.
  owned<int> thread_id;  // the kernel's number
  owned<int> clock;      // thread_clock::id

  processor* enter() noexcept {
    tsan_ignore_begin();
    return hand_over_words::enter();
  }
  void leave() noexcept {
    hand_over_words::leave();
    tsan_ignore_end();
  }
  /// enter() for a section that does not park: who was asked to hand its processor on does so now.
  processor* enter_shortly() noexcept {
    processor* const p = enter_at_once();
    return p != nullptr ? p : comply();
  }
  /// The first half of enter_shortly(), where it does: null: it is comply()'s turn.
  processor* enter_at_once() noexcept {
    tsan_ignore_begin();
    return open_at_once();
  }
  processor* comply() noexcept;  // hand_over.cpp
};

/// The variable itself, for functions that park in their last call or not at all, and are not inlined into others.
extern thread_local constinit worker* this_thread_worker __asm__("weft_this_thread_worker")
    __attribute__((tls_model("initial-exec")));
/// The same, null in a simulated run too: for W1 (wait_at_once), which asks for both at once.
extern thread_local constinit worker* worker_at_once __attribute__((tls_model("initial-exec")));
/// The calling thread's worker, null on a plain thread, out of line: no compiler keeps the address of the thread_local across a switch.
[[nodiscard]] worker* worker_out_of_line() noexcept;
/// The same. Void after any call that may park.
[[nodiscard]] inline worker* current_worker() noexcept {
#if defined(__x86_64__) && !WEFT_TSAN
  // Volatile, so that each call reads, as current_lock_owner().
  worker* w;
  __asm__ volatile("movq weft_this_thread_worker@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(w));
  return w;
#else
  return worker_out_of_line();
#endif
}
using detail::current_lock_owner;
/// A name for a thread that starts; passing_owner where a light fence is a full one, which a bias would not pay for.
[[nodiscard]] lock_owner new_lock_owner() noexcept;
void set_current_worker(worker*) noexcept;

/// Whether an exception is on its way on the stack that runs on this worker, the caller's. As std::uncaught_exceptions() != 0,
/// without its two calls.
WEFT_NO_TSAN inline bool unwinds(worker const& here) noexcept {
  return reinterpret_cast<exception_state const*>(here.exceptions)->uncaught != 0;
}

/// The calling task, null on a plain thread and in the loops.
[[nodiscard]] task* current_task() noexcept;

/// A section for calls that do not park. Nests: only the outermost one toggles, and on the native stack none does.
class section {
 public:
  explicit section(worker* w) noexcept
      : worker_(w->is_inside() ? nullptr : w), processor_(worker_ != nullptr ? w->enter_shortly() : w->held()) {}
  ~section() {
    if (worker_ != nullptr) worker_->leave();
  }
  section(section const&) = delete;
  section& operator=(section const&) = delete;
  [[nodiscard]] processor* proc() const noexcept { return processor_; }

 private:
  worker* worker_;
  processor* processor_;
};

}  // namespace weft::rt
