// With switch_here.hpp, which other files inline, the only place in which a worker leaves one stack for another.
//
// Three kinds of stacks meet here: the native one, with the scheduler's loop; pooled ones with a task on them; pooled ones with
// only the loop below, suspended. Whoever leaves says in worker::after what must be done once it has left (publish a wait, queue a
// yielded task, give the stack back), and whoever arrives does it, because before the jump the old stack is still in use.
//
// Between two stacks nothing thread-local survives: each function here fetches the worker again after a jump.
//
// Under ThreadSanitizer a stack's logical thread stands for the task on it, so each task gets a stack of its own, and every switch goes
// by the native stack, so that no two tasks hand anything to each other directly; the edges that exist are said on the task (ready -> resume, start -> run) in make_ready, start and below.

#include "runtime/sched/switching.hpp"

#include <thread>
#include <utility>

#include <weft/detail/simulated.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/fiber/switch.hpp"
#include "runtime/platform/biased_lock.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/switch_here.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_end.hpp"
#include "runtime/sched/worker.hpp"

#include <weft/detail/lock_owner.hpp>

// Used: an optimizer that sees the whole program does not see who reads it.
thread_local constinit std::uint32_t weft_lock_owner __attribute__((tls_model("initial-exec"), used)) =
    weft::detail::passing_owner;

namespace weft {

WEFT_NO_TSAN __attribute__((noinline)) detail::lock_owner detail::lock_owner_out_of_line() noexcept {
  __asm__ volatile("");
  return weft_lock_owner;
}
void detail::full_fence() noexcept { rt::full_fence(); }

}  // namespace weft

namespace weft::rt {

// initial-exec: a load in place of a call, in a shared library too.
thread_local constinit worker* this_thread_worker __attribute__((tls_model("initial-exec"), used)) =
    nullptr;  // the name: worker.hpp

thread_local constinit worker* worker_at_once __attribute__((tls_model("initial-exec"))) = nullptr;

// The variables are the thread's, and tasks on one thread are strangers to ThreadSanitizer: it does not look at these four.
WEFT_NO_TSAN __attribute__((noinline)) worker* worker_out_of_line() noexcept {
  __asm__ volatile("");  // not a function of its arguments: no compiler may merge two calls
  return this_thread_worker;
}

WEFT_NO_TSAN __attribute__((noinline)) void set_current_worker(worker* w) noexcept {
  __asm__ volatile("");
  this_thread_worker = w;
  worker_at_once = w != nullptr && w->sched->simulated() == nullptr ? w : nullptr;
  lock_owner const before = std::exchange(weft_lock_owner, w != nullptr ? w->owner : passing_owner);
  if (before == passing_owner && weft_lock_owner != passing_owner)
    bias_policy::possible_owners.fetch_add(1, std::memory_order_relaxed);
  else if (before != passing_owner && weft_lock_owner == passing_owner)
    bias_policy::possible_owners.fetch_sub(1, std::memory_order_relaxed);
}

WEFT_NO_TSAN __attribute__((noinline)) task* current_task() noexcept {
  __asm__ volatile("");
  worker* w = this_thread_worker;
  return w != nullptr ? w->current.get() : nullptr;
}

lock_owner new_lock_owner() noexcept {
  if (!tsan && !has_membarrier()) return passing_owner;  // a light fence would be a full one
  static constinit std::atomic<std::uint64_t> last{no_owner};
  std::uint64_t const name = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return name < passing_owner ? static_cast<lock_owner>(name) : passing_owner;  // no name twice
}

namespace {

/// Calls a fresh task on the stack that the loop runs on. Opens and closes the section around the task's code.
__attribute__((noinline)) void call(stack* self) noexcept {
  worker* w = current_worker();
  task* t = w->handoff.take();
  WEFT_ASSERT(t != nullptr, "a loop was resumed without a task");
  tsan_acquire(t);  // pairs with start()
  w->current = t;
  self->owner = t;
  t->phase.store(task_phase::running, std::memory_order_release);
  w->leave();
  t->ops->invoke(t);
  end_task(t);
  w = current_worker();
  processor* p = w->enter();
  self->owner = nullptr;
  w->sched->note_end(p);
  if (p != nullptr && p->queue.has_parent()) [[unlikely]]
    w->sched->children_first(*p);
  reset_rounding();  // the next task on this stack starts afresh
}

}  // namespace

void settle_otherwise(worker& w, after_switch after, bool native) noexcept {
  switch (after) {
    case after_switch::nothing:
    case after_switch::park: break;
    case after_switch::park_until: publish<true>(w, native); break;
    case after_switch::yield: w.sched->queue_yielded(w, w.after_task, native); break;
    case after_switch::retire_stack: w.sched->put_loop(w.held(), w.after_stack); break;
  }
}

worker& arrive() noexcept { return arrive_here(false); }

__attribute__((noinline)) how park_task(waiter& of, park_request const& request) noexcept {
  return park_here(*current_worker(), static_cast<task&>(of), request, request.cancellable, is_io(request.reason));
}

__attribute__((noinline)) void leave_parked(worker& w, processor* p, task& t, park_request const& request) noexcept {
  if (p != nullptr && p->queue.has_parent()) {
    bool const needs_them = !is_io(request.reason) && request.reason != wait_reason::sleep;
    if (needs_them || p->queue.is_newest_first()) {
      scheduler::note_children(*p, t);
      t.sched->children_first(*p);
    } else {
      p->queue.forget_parent();
    }
  }
  (void)leave_parked_here(w, p, t, is_io(request.reason), request.deadline != never);
}

/// yield_task, inlined: yield() is to be as short as can be.
__attribute__((always_inline)) inline void leave_to_others(worker& w, processor* p, task& t) noexcept {
  stack* const on = w.on;
  t.own_stack = on;
  note_place(t, on, __builtin_frame_address(0), false);
  if (p != nullptr) {
    if (p->queue.is_newest_first()) [[unlikely]]
      t.sched->leave_tree(*p, t);
    p->queue.forget_parent();  // it goes behind its children in any case
  }
  w.after_task = &t;
  w.after = after_switch::yield;
  tsan_release(&t);
  leave_for(w, p, pick_for_switch(w, p), on->exec);
  worker& now = arrive_here<after_switch::yield>();
  tsan_acquire(&t);
  now.leave();
}

__attribute__((noinline)) void yield_task(worker& w, processor* p, task& t) noexcept { leave_to_others(w, p, t); }

void loop_main(void* arg) {
  tsan_ignore_begin();  // a stack begins inside a section
  auto* self = static_cast<stack*>(arg);
  bool const goes_on = self->size == stack_pool::rounded(current_worker()->sched->stacks().default_size());
  for (;;) {
    (void)arrive();
    call(self);
    task* next = nullptr;
    for (;;) {
      worker& w = *current_worker();
      processor* p = w.held();
      next = pick_for_switch(w, p);
      if (next == nullptr || next->own_stack != nullptr || next->stack_shift != 0 || !goes_on) break;
      w.handoff = next;
      call(self);
    }
    worker& w = *current_worker();
    w.after_stack = self;
    w.after = after_switch::retire_stack;
    tsan_ignore_end();  // a suspended loop may be destroyed, and a logical thread must not end while it is not looked at
    leave_for(w, w.held(), next, self->exec);
    tsan_ignore_begin();
  }
}

}  // namespace weft::rt

namespace weft {

namespace {

__attribute__((always_inline)) inline void yield_now() {
  rt::worker* const w = rt::current_worker();
  rt::task* const t = w != nullptr ? w->current.get() : nullptr;
  if (t == nullptr) {
    std::this_thread::yield();
    return;
  }
  rt::processor* p = w->enter();
  if (p == nullptr) [[unlikely]]
    p = w->sched->acquire_processor(*w);
  rt::leave_to_others(*w, p, *t);
}

/// The same while some run is simulated: a task of one that has been given up for its length is unwound from here, since it may be polling
/// for what will not come.
__attribute__((noinline)) void yield_beside_simulations() {
  if (rt::is_given_up(rt::current_simulation()))
    if (rt::task const* const t = rt::current_task(); t->shield == 0 && !rt::is_cleaning_up(*t)) rt::throw_cancelled();
  yield_now();
}

}  // namespace

__attribute__((noinline)) void yield() {
  if (detail::simulations.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return yield_beside_simulations();
  yield_now();
}

}  // namespace weft
