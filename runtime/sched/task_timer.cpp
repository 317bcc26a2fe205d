// Sleeping, and deadlines of waits.
//
// A wait with a deadline arms its node in the hook (H4) while the object's lock is held. A sleep has no object, so the heap plays
// that part: its lock is taken before the switch and released by the hook, and a sleeper woken by cancellation takes it once more
// (R2) before its node may be used again.

#include "runtime/sched/task_timer.hpp"

#include <new>

#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

namespace {

constexpr timer_ops wait_timer_ops{
    .retain = [](void* owner) noexcept { hold(static_cast<task*>(owner)); },
    .fire =
        [](timer_node&, void* owner, std::uint64_t generation) {
          auto* t = static_cast<task*>(owner);
          if (claim(*t, generation, how::timeout)) t->sched->make_ready(t);
        },
    .release = [](void* owner) { drop_hold(static_cast<task*>(owner)); },
};

}  // namespace

timer_heap& heap_for(task& t, processor* p) noexcept { return p != nullptr ? p->timers : t.sched->proc(0).timers; }

void relieve(scheduler& s, timer_heap& armed_in) noexcept {
  if (armed_in.take_crowded()) [[unlikely]]
    s.timer_changed(0);  // the sleeper in the poller, or somebody else who is idle
}

void make_timer(task& t) noexcept {
  t.timed = true;
  if (t.timer != nullptr) return;
  t.timer = new (std::nothrow) timer_node(wait_timer_ops, &t);
  if (t.timer == nullptr) fatal("out of memory for a timer");
}

void reserve_timer(task& t, processor* p) noexcept {
  if (!heap_for(t, p).reserve_one()) fatal("out of memory for a timer");
}

void arm_timer(task& t, processor* p, std::int64_t deadline, std::uint64_t generation) noexcept {
  // A worker with a processor looks at its timers itself, soon, or tells a sleeper when it goes idle; see idle.cpp.
  if (heap_for(t, p).arm(*t.timer, deadline, generation) && p == nullptr) t.sched->timer_changed(deadline);
}

namespace {

struct sleep_state {
  task* t;
  timer_heap* heap;
  std::int64_t deadline;
  std::uint64_t generation;
  bool to_tell;
};

void arm_and_unlock(void* arg) noexcept {
  auto& s = *static_cast<sleep_state*>(arg);
  // Copied: once the heap is unlocked the timer may fire, and the sleeper's frame be gone.
  scheduler* sched = s.t->sched;
  std::int64_t const deadline = s.deadline;
  bool const tell = s.heap->arm_locked(*s.t->timer, deadline, s.generation) && s.to_tell;
  s.heap->unlock();
  if (tell) sched->timer_changed(deadline);
}

void sleep_task(task& t, std::int64_t deadline) {
  make_timer(t);
  sleep_state s{&t, nullptr, deadline, begin_wait(t), false};
  park_request const request{.unlock = arm_and_unlock, .arg = &s, .reason = wait_reason::sleep};
  t.request = &request;
  worker& here = *current_worker();
  t.wait_cancellable = t.shield == 0 && !unwinds(here);
  processor* p = here.enter();
  reserve_timer(t, p);
  s.to_tell = p == nullptr;
  s.heap = &heap_for(t, p).lock_for(*t.timer);
  leave_parked(here, p, t, request);
  if (end_wait(t) == how::timeout) return;  // R1
  s.heap->lock();                           // R2: the hook has armed the node and is done with this frame
  s.heap->unlock();
  timer_heap::disarm(*t.timer, s.generation);  // R3
  throw_cancelled();
}

void sleep_thread(waiter& w, std::int64_t deadline) noexcept {
  (void)begin_wait(w);
  (void)park(w, {.unlock = [](void*) noexcept {}, .arg = nullptr, .deadline = deadline, .reason = wait_reason::sleep});
}

}  // namespace
}  // namespace weft::rt

namespace weft::detail {

void sleep_until_ns(std::int64_t deadline) {
  rt::waiter& w = rt::cancellation_point();
  if (deadline <= rt::clock_ns()) return yield();
  if (w.is_thread) return rt::sleep_thread(w, deadline);
  rt::sleep_task(static_cast<rt::task&>(w), deadline);
}

}  // namespace weft::detail
