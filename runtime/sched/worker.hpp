// worker: an operating system thread that runs tasks while it holds a processor; and the sections of protocol A.
//
// A worker that is stuck in a task loses its processor to another worker. For that everybody must know at each moment whether a
// worker may be touching its processor: it is inside a *section* while `seq` is odd.
//
//   enter  E1 seq + 1 (relaxed)   E2 compiler barrier, pairs with M3   E3 v = proc
//          E4 plain processor: use it
//          E5 TAKING: compare-exchange P|TAKING -> P (acq_rel); won: use it; lost: reload.  0: no processor
//   leave  L1 seq + 1 (release)
//   take   (the monitor) M1 seq even? M2 P -> P|TAKING  M3 heavy fence  M4 seq unchanged?  M5 P|TAKING -> 0  M6 hand P on
//
// Why it holds: if E3 read the plain P, E1 precedes it and M3 makes E1 visible to M4, or else E3 came after M3 and saw TAKING.
// An even seq at M4 means that L1's release orders all of the owner's writes before the new holder's. E5 and M5 are
// compare-exchanges on one word: one wins.
//
// ThreadSanitizer does not look inside sections: one task's use of the processor is ordered before the next one's by their running on
// one worker, which it does not know, and telling it would hide the races between those tasks. So enter and leave also say that; a task
// that parks says the one before and the other after, on the same logical thread.
//
// A section belongs to the worker: a parking task opens it, the next task on that worker closes it. The native loop is always
// inside. No user code runs inside. Channel and mutex fast paths touch no processor and need no section.
//
// Stacks of a worker: its native one, for all that is deep (stealing, polling, timers, sleeping), and the pooled one that it
// runs on now, with a task on it or just the loop.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/base/random.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/fiber/stack.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/owned.hpp"
#include "runtime/sched/processor.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::rt {

class scheduler;
struct task;

/// What the code that arrives on a stack must do for the one that was left: it cannot be done before the old stack is left.
enum class after_switch : std::uint8_t { nothing, park, yield, retire_stack };

struct alignas(64) worker {
  static constexpr std::uintptr_t taking = 1;

  std::atomic<std::uint32_t> seq{0};     // written by the worker alone; odd: inside
  std::atomic<std::uintptr_t> proc{0};   // processor | TAKING, or 0: E5, M2, M5, M6, and who assigns or gives up a processor

  owned<task*> current;                  // the task whose code runs; null in the loops
  owned<stack*> on;                      // the pooled stack in use; null: native
  owned<task*> handoff;                  // to whoever arrives on a loop or the native stack: run this task
  owned<after_switch> after;             // and do this first
  owned<task*> after_task;
  owned<stack*> after_stack;
  owned<park_request const*> after_request;
  owned<task*> parked_last;              // by a park that left for the native stack: see scheduler::note_time

  scheduler* sched = nullptr;            // constant
  execution native;
  abi::__cxa_eh_globals* exceptions = nullptr;  // this thread's, constant
  int* errno_pointer = nullptr;                 // the same
  random_source random;

  // Sleeping; guarded by the scheduler's lock but for `wakeups`.
  std::atomic<std::uint32_t> wakeups{0};  // futex word: 0 asleep or about to be, 1 woken
  bool in_idle_list = false;
  bool in_poller = false;
  owned<bool> searching;                  // counted in scheduler::searching_
  worker* idle_next = nullptr;
  worker* idle_prev = nullptr;
  worker* all_next = nullptr;             // list of all workers, only grows
  unsigned index = 0;
  int thread_id = 0;                      // the kernel's number
  thread_clock clock;

  processor* enter() noexcept {
    tsan_ignore_begin();
    seq.store(seq.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // E1
    light_fence();                                                                   // E2
    const std::uintptr_t v = proc.load(std::memory_order_relaxed);                   // E3
    if ((v & taking) == 0) [[likely]] return reinterpret_cast<processor*>(v);        // E4
    return reclaim();
  }
  void leave() noexcept {
    seq.store(seq.load(std::memory_order_relaxed) + 1, std::memory_order_release);  // L1
    tsan_ignore_end();
  }

  /// Inside a section: the processor, or null.
  [[nodiscard]] processor* held() const noexcept {
    return reinterpret_cast<processor*>(proc.load(std::memory_order_relaxed) & ~taking);
  }

 private:
  processor* reclaim() noexcept {  // E5
    std::uintptr_t v = proc.load(std::memory_order_relaxed);
    while ((v & taking) != 0)
      if (proc.compare_exchange_weak(v, v & ~taking, std::memory_order_acq_rel, std::memory_order_relaxed)) v &= ~taking;
    return reinterpret_cast<processor*>(v);
  }
};

/// The calling thread's worker, null on a plain thread. Out of line and never inlined, so that no compiler keeps the address of
/// the thread_local across a switch; the result is void after any call that may park.
[[nodiscard]] worker* current_worker() noexcept;
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
      : worker_((w->seq.load(std::memory_order_relaxed) & 1) == 0 ? w : nullptr),
        processor_(worker_ != nullptr ? w->enter() : w->held()) {}
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
