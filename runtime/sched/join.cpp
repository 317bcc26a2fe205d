// What join handles wait for: the end of a task. One that has not begun is run where the joiner stands.

#include <weft/detail/simulated.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/insist.hpp"
#include "runtime/fiber/switch.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/pick_local.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_end.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

namespace {

// join() of a task that has not begun. To park, let the loop call the child, and be woken by its end costs two switches and a claim; calling it
// where the joiner stands costs a call. The joiner could do nothing else anyway. What must hold:
//
//   J1 The child was queued last on this worker's processor, so that nobody can have begun it: run_queue's retract.
//   J2 It was spawned under the context that the joiner is under. The joiner's frames lie below the child's and cannot go on before it ends,
//      so a cancellation of the joiner must be one of the child, which is woken by it. The join then throws, as each does
//      (task_wait), and its handle stays joinable. A joiner with a handle that has no context of its own yet may get one any moment, by that
//      handle's cancel(), and the child is not below it. A child that is uncancellable is not woken, and keeps the joiner as long.
//   J3 There is room: the child has seven eighths of the default stack, however much the joiners below it have used. Where the joiner calls from
//      a stack of the program's own, as in a coroutine, nobody here knows how much there is.
//   J4 Others are not kept waiting: each 61st join, and one after the monitor has found something overdue, parks as usual.
//   J5 The child finds the thread as a task does at its beginning (no exception, rounding to nearest), and the joiner finds it again as
//      it left it, on whichever worker.
//
// If the child parks, the stack is parked with it, the joiner below: its phase says so to reports. Not under ThreadSanitizer, where each
// task is a logical thread with a stack of its own.

/// J2: of the joiner, null: none that will do.
inline cancel_node* context_of_children(task const& joiner) noexcept {
  if (joiner.in_scope) return joiner.scoped;
  if (cancel_node* const own = joiner.own_context()) return own;
  return joiner.has_handle ? nullptr : joiner.inherited;
}

/// By `joiner` on `of`, outside of a section. False: it was not run. Perhaps on another worker afterwards.
__attribute__((always_inline)) inline bool run_for_join(worker& of, task& joiner, task& t) noexcept {
  worker* w = &of;
  if (tsan || t.phase.load(std::memory_order_acquire) != task_phase::fresh || t.stack_shift != 0 || t.sched != w->sched)
    return false;
  stack* const here = w->on;
  auto const room = static_cast<std::size_t>(static_cast<char*>(__builtin_frame_address(0)) - here->base);
  if (room < w->sched->stacks().room_for_child() || room > here->usable()) return false;  // J3
  processor* p = w->enter_shortly();
  if (p == nullptr || !w->sched->take_back(*p, &t)) {  // J4, J1
    w->leave();
    return false;
  }
  if (t.inherited != context_of_children(joiner)) [[unlikely]] {  // J2
    w->sched->put_back(*p, &t);
    w->leave();
    return false;
  }
  joiner.parked_at.store(p->coarse_now.get(), std::memory_order_relaxed);
  joiner.next_ready = &t;  // of no list meanwhile: tells reports and debuggers below which task its frames lie
  joiner.phase.store(task_phase::joining, std::memory_order_release);
  set_aside const joiners(w->exceptions, w->errno_pointer);  // J5
  w->current = &t;
  here->owner = &t;
  t.phase.store(task_phase::running, std::memory_order_release);
  w->leave();
  t.ops->invoke(&t);
  end_task_beneath_join(&t);
  w = current_worker();
  p = w->enter();
  w->current = &joiner;
  here->owner = &joiner;
  joiner.phase.store(task_phase::running, std::memory_order_release);
  joiners.put_back(w->exceptions, w->errno_pointer);
  w->sched->note_end(p);
  if (p != nullptr && p->queue.is_parent(&t)) [[unlikely]]
    w->sched->children_first(*p);
  w->leave();
  return true;
}

}  // namespace

}  // namespace weft::rt

namespace weft::detail {

using namespace weft::rt;

namespace {
bool is_done(task& t) noexcept { return t.ended().done.load(std::memory_order_acquire); }
}  // namespace

bool task_done(task* t) noexcept {
  preemption_point();  // a program may poll it
  return is_done(*t);
}

namespace {

/// False: timed out.
bool wait_for_end(task* t, waiter& self, std::int64_t deadline,
                  bool cancellable) WEFT_NO_THREAD_SAFETY_ANALYSIS {  // the hook unlocks
  completion& c = t->ended();
  c.lock.lock();
  if (c.done.load(std::memory_order_relaxed)) {
    c.lock.unlock();
    return true;
  }
  wait_record r;
  how const h = wait_in(self, c.waiters, c.lock, r, deadline, wait_reason::join, t, cancellable);
  if (h == how::cancel) throw_cancelled();
  return h != how::timeout;
}

inline void throw_if_touched(task& self) {
  if (self.current_context()->is_touched()) [[unlikely]]
    throw_if_cancelled_here(self);
}

}  // namespace

// A join takes nothing from the task, unlike a partner (R4), so it throws whenever its task is cancelled, even if the end came first: that
// may have been an end by the same cancellation, and the handle is to stay joinable. Hence each look at the context comes after the one
// that finds the end. Who ended the task then had read the mark (C1), and done hands it on.

namespace {
/// task_wait() by waiting for the end, if it has not come.
__attribute__((noinline)) void wait_until_ended(task* t) {
  preemption_point();
  task* const self = current_task();
  bool const ended = is_done(*t);
  if (self != nullptr) throw_if_touched(*self);
  if (ended) return;
  (void)wait_for_end(t, prepare_wait(), never, true);
  if (self != nullptr) throw_if_touched(*self);
}
}  // namespace

void task_wait(task* t) {
  worker* const w = worker_at_once;  // none in a simulated run, in which others may go on here
  task* const self = w != nullptr ? w->current.get() : nullptr;
  if (self == nullptr) [[unlikely]]
    return wait_until_ended(t);
  bool const ended = is_done(*t);
  if (self->current_context()->is_touched()) [[unlikely]]
    return wait_until_ended(t);
  if (ended) return;
  if (!run_for_join(*w, *self, *t)) return wait_until_ended(t);
  throw_if_touched(*self);
}

bool task_wait_until(task* t, std::int64_t deadline) {
  waiter& waiting = cancellation_point();
  if (!task_done(t) && !wait_for_end(t, waiting, deadline, true)) return false;
  if (task* const self = current_task(); self != nullptr) throw_if_cancelled_here(*self);
  return true;
}

void task_cancel(task* t) {
  preemption_point();
  cancel_own(*t);
  preemption_point();
}

void task_stop(task* t) noexcept {
  preemption_point();
  insist([&] { cancel_own(*t); });
  preemption_point();
  if (!task_done(t)) (void)wait_for_end(t, uncancellable_waiter_at_last(), never, false);
}

}  // namespace weft::detail
