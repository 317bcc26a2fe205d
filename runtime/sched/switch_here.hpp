// Leaving a stack, what is done on arrival for the one that was left, and parking, inlined into what tasks wait in: see switching.cpp.
//
// Between two stacks nothing thread-local survives: each function here fetches the worker again after a jump.
#pragma once

#include "runtime/base/check.hpp"
#include "runtime/fiber/switch.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/pick_local.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

/// Jumps from `from` to wherever `next` runs: its own stack, a suspended loop that will call it, or the native stack.
__attribute__((always_inline)) inline void leave_for(worker& w, processor* p, task* next, execution& from) noexcept {
  execution* to = &w.native;
  task* current = nullptr;
  stack* on = nullptr;
  if (next != nullptr) {
    on = next->own_stack;
    if (on != nullptr) {
      current = next;
      next->phase.store(task_phase::running, std::memory_order_release);
    } else {
      w.handoff = next;
      if (next->stack_shift == 0) on = next->sched->take_loop(*p);
    }
    if (on != nullptr) to = &on->exec;
  }
  w.current = current;
  w.on = on;
  auto* const exceptions = w.exceptions;
  int* const errno_pointer = w.errno_pointer;
  tsan_release(&w.native);  // after the last look at the worker; pairs with arrive()
  switch_to(from, *to, exceptions, errno_pointer);
}

__attribute__((always_inline)) inline task* pick_for_switch(worker& w, processor* p) noexcept {
  return p != nullptr && !tsan ? w.sched->pick_local(*p) : nullptr;
}

/// H0 to H6. Timed: with a deadline.
template <bool Timed>
__attribute__((always_inline)) inline void park_hook(worker& w, task& t, park_request const& request) noexcept {
  // The objects behind request.arg live until H5, since whoever claims the wait before that is either a partner, who needs the lock
  // that is held here, or makes a task ready that needs that lock for R2. The request itself may be gone once H1 is done: copied.
  auto* const unlock = request.unlock;
  void* const arg = request.arg;
  std::uint64_t const generation = wait_word::generation(t.word.load(std::memory_order_relaxed));
  cancel_node* n = t.waits_under;
  bool const cancellable = t.wait_cancellable && n != nullptr;
  std::int64_t const deadline = Timed ? request.deadline : never;
  if (cancellable && t.shard == nullptr && !n->is_cancelled()) [[unlikely]]
    register_wait(t, *n, w);  // H0
  t.phase.store(task_phase::parked, std::memory_order_release);
  publish_wait<process_fences>(t, generation, cancellable);  // H1, H2
  bool mine = false;
  if (cancellable) {  // H3
    bool flagged = n->is_cancelled();
    if (!flagged && t.implicit.load(std::memory_order_relaxed)) {
      cancel_node* own = t.own_context();
      flagged = own != nullptr && own->is_cancelled();
    }
    mine = flagged && claim(t, generation, how::cancel);
  }
  if (Timed) arm_timer(t, w.held(), deadline, generation);  // H4; even if mine: it uses up the reservation
  unlock(arg);                                              // H5
  if (mine) t.sched->make_ready(&t);                        // H6
}

/// The hook, by whoever arrives.
template <bool Timed>
__attribute__((always_inline)) inline void publish(worker& w, bool native) noexcept {
  task* const t = w.after_task;
  park_request const& request = *t->request;
  if (native) {
    w.parked_last = t;
    w.dry_by_lock = is_lock(request.reason);
  }
  if (tsan && native) {
    bystander::scope const for_the_task(w.hooks);
    tsan_acquire(t);  // what the wait's lock guards was written by the task that parked
    return park_hook<Timed>(w, *t, request);
  }
  park_hook<Timed>(w, *t, request);
}

/// What is rarer.
void settle_otherwise(worker& w, after_switch after, bool native) noexcept;

/// What is done for the one that was left: first what it most likely is.
template <after_switch Likely>
__attribute__((always_inline)) inline void settle(worker& w, after_switch after, bool native) noexcept {
  if (Likely == after_switch::yield && after == after_switch::yield)
    return w.sched->queue_yielded_here(w, w.after_task, native);
  if (after == after_switch::park) [[likely]]
    return publish<false>(w, native);
  if (after != after_switch::nothing) settle_otherwise(w, after, native);
}

/// What arrive() does, inlined into all that a switch comes back to.
template <after_switch Likely = after_switch::park>
__attribute__((always_inline)) inline worker& arrive_here(bool on_own_stack = true) noexcept {
  worker& w = *current_worker();
  tsan_acquire(&w.sched);  // the worker's and the scheduler's constants; released once, when the thread started
  bool const native = !on_own_stack && w.on.get() == nullptr;
  // The native stack comes after all that ran on this worker; the tasks do not come after each other.
  if (native) tsan_acquire(&w.native);
  settle<Likely>(w, w.after.take(), native);
  return w;
}

/// For prefetch_ahead.
__attribute__((always_inline)) inline void note_place(task& t, [[maybe_unused]] stack const* on, void const* frame,
                                                      bool io) noexcept {
  WEFT_ASSERT(static_cast<std::size_t>(reinterpret_cast<char const*>(on) - static_cast<char const*>(frame)) < on->size,
              "a task waits in a call that it has made on the native stack (native_call.hpp)");
  t.stopped = static_cast<std::uint8_t>(line_of(frame) | (io ? stopped_for_io : 0));
}

/// Returns the worker that t goes on on.
__attribute__((always_inline)) inline worker& leave_parked_here(worker& w, processor* p, task& t, bool io,
                                                                bool timed) noexcept {
  stack* const on = w.on;
  t.own_stack = on;
  note_place(t, on, __builtin_frame_address(0), io);
  w.after_task = &t;
  w.after = timed ? after_switch::park_until : after_switch::park;
  w.sched->note_park(p);
  t.parked_at.store(p != nullptr ? p->coarse_now.get() : coarse_time(clock_ns()), std::memory_order_relaxed);
  tsan_release(&t);
  leave_for(w, p, pick_for_switch(w, p), on->exec);
  worker& now = arrive_here();
  tsan_acquire(&t);
  now.leave();
  return now;
}

/// park_task. `here` is t's worker, and void afterwards.
__attribute__((always_inline)) inline how park_here(worker& here, task& t, park_request const& request,
                                                    bool cancellable, bool io) noexcept {
  t.request = &request;
  t.wait_cancellable = cancellable && t.shield == 0 && !unwinds(here);
  processor* const p = here.enter_at_once();
  if (p != nullptr && !p->queue.has_parent()) [[likely]]
    // What runs there is t, and need not be kept across the switch, which leaves no register.
    return end_wait(*leave_parked_here(here, p, t, io, false).current.get());
  leave_parked(here, p != nullptr ? p : here.reclaim(), t, request);
  return end_wait(*current_worker()->current.get());
}

}  // namespace weft::rt
