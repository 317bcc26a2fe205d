// What is made ready goes to a queue: started tasks, woken ones, those that yield; from this scheduler's workers and from anywhere else. See
// scheduler.hpp, "Idle protocol".

#include "runtime/sched/scheduler.hpp"

#include <array>

#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/pick_local.hpp"

namespace weft::rt {

/// A thread that is not one of ours queues a task: the task may run and end, and with it the runtime, before that thread has looked
/// for somebody to wake. ~scheduler waits for it.
class visit {
 public:
  explicit visit(std::atomic<std::uint32_t>& n) noexcept : n_(n) { n_.fetch_add(1, std::memory_order_acquire); }
  ~visit() { n_.fetch_sub(1, std::memory_order_release); }
  visit(visit const&) = delete;
  visit& operator=(visit const&) = delete;

 private:
  std::atomic<std::uint32_t>& n_;
};

void scheduler::overflow(processor& p, task* t) noexcept {
  std::array<task*, run_queue::capacity / 2> half;
  std::uint32_t const n = p.queue.take_half(half);
  if (n != 0) global_.push(*p.port, half.data(), n);
  if (!p.queue.push(t)) global_.push(*p.port, &t, 1);
}

void scheduler::note_children(processor const& p, task& t) noexcept {
  if (!p.queue.is_parent(&t)) return;
  t.children_at = p.queue.first_child();
  t.had_children = true;
}

void scheduler::children_first(processor& p) noexcept {
  if (sim_ != nullptr) return p.queue.forget_parent();  // a simulated run chooses by itself
  bool unseen = false;
  {
    tsan_no_edges const queue;
    unseen = p.queue.children_first(single());
  }
  if (unseen) wake_if_idle(&p);  // who went idle in that moment has seen none of them
}

void scheduler::leave_tree(processor& p, task& t) noexcept {
  note_children(p, t);
  oldest_first(p);
}

void scheduler::oldest_first(processor& p) noexcept {
  bool unseen = false;
  {
    tsan_no_edges const queue;
    unseen = p.queue.oldest_first(single());
  }
  if (unseen) wake_if_idle(&p);
}

void scheduler::push(processor* p, task* t) noexcept {
  if (p != nullptr) {
    push_local(*p, t);
  } else {
    global_.push(t);
  }
}

/// Reports see t from here on: what they read is written.
__attribute__((always_inline)) inline void make_fresh(task* t) noexcept {
  t->phase.store(task_phase::fresh, std::memory_order_release);
  tsan_release(t);
}

/// Counts t and queues it on p. Whether somebody is to be woken for it. `queued` false: there is no room for it.
__attribute__((always_inline)) inline bool scheduler::queue_start(worker const& w, processor& p, task* t,
                                                                  bool& queued) noexcept {
  note_spawn(&p);
  bool const has_handle = t->has_handle;  // once it is queued it may run and end
  bool alone = false;
  {
    tsan_no_edges const queue;
    task const* const parent = w.current.get();
    if (!p.queue.is_parent(parent))
      p.queue.begin_children(parent,
                             parent != nullptr && parent->had_children && p.queue.has_any_from(parent->children_at));
    queued = p.queue.push(t, alone);
  }
  if (p.queue.unshared) return false;
  // A spawner that joins at once needs no second worker, nor does one that goes back to accept, and waking one each time would cost more than
  // the task. If it computes instead this time, the monitor wakes somebody, and the next spawn does so itself.
  bool const joins_here = alone && has_handle && p.joins_here.get();
  bool const accepts = p.acceptor.get() != nullptr && p.acceptor.take() == w.current.get() && alone;
  if (joins_here) p.joins_here = false;
  return !joins_here && !accepts;
}

// A function without a frame: all calls are the last.
__attribute__((always_inline)) inline void scheduler::start_here(worker& w, task* t) noexcept {
  make_fresh(t);
  processor* const p = w.enter_at_once();
  if (p == nullptr) [[unlikely]]
    return start_after_all(t, w);
  bool queued = false;
  bool const wakes = queue_start(w, *p, t, queued);
  if (wakes || !queued) return end_start(w, *p, queued ? nullptr : t, wakes);
  w.leave();
}

void scheduler::start(task* t) noexcept {
  worker* const w = current_worker();
  if (w != nullptr && w->sched == this && !w->is_inside()) return start_here(*w, t);
  make_fresh(t);
  start_elsewhere(t, w);
}

/// The rest, where the section is open: t, if it found no room, and somebody to wake.
__attribute__((noinline)) void scheduler::end_start(worker& w, processor& p, task* t, bool wakes) noexcept {
  if (t != nullptr) overflow(p, t);
  if (wakes) wake_if_idle(&p);
  w.leave();
}

/// The rest, where the section is open, and the processor asked for or gone.
__attribute__((noinline)) void scheduler::start_after_all(task* t, worker& w) noexcept {
  processor* const p = w.comply();
  if (p != nullptr) start_on(w, *p, t);
  w.leave();
  if (p == nullptr) start_elsewhere(t, &w);
}

void scheduler::start_on(worker const& w, processor& p, task* t) noexcept {
  bool queued = false;
  bool const wakes = queue_start(w, p, t, queued);
  if (!queued) overflow(p, t);
  if (wakes) wake_if_idle(&p);
}

void expect_handler() noexcept {
  worker* const w = current_worker();
  if (w == nullptr) return;
  section const inside(w);
  if (processor* const p = inside.proc()) p->acceptor = w->current.get();
}

__attribute__((noinline)) void scheduler::start_elsewhere(task* t, worker* w) noexcept {
  if (w == nullptr || w->sched != this) {
    refuse_from_outside();
    visit const inside_from_outside(visitors_);
    note_spawn(nullptr);
    if (outside_spawned_.load(std::memory_order_relaxed) > 1 || options_.watchdog.count() > 0) want_monitor();
    global_.push(t);
    wake_if_idle(nullptr);
    return;
  }
  section const inside(w);
  processor* p = inside.proc();
  // A spawner that has lost its processor feeds the others one task at a time, at several times the cost: it takes one that is to be had. Not on
  // the native stack: there a worker without one stands in the idle list, and what it starts (of a cancellation that unwinds a deadlock) is
  // for whoever is woken.
  if (p == nullptr && sim_ == nullptr && w->on.get() != nullptr) p = acquire_processor(*w);
  if (p != nullptr) {
    if (w->on.get() == nullptr && p->queue.is_newest_first()) oldest_first(*p);  // a timer's: no task's child
    return start_on(*w, *p, t);
  }
  note_spawn(nullptr);
  global_.push(t);
  wake_if_idle(nullptr);
}

void scheduler::make_ready(task* t) noexcept {
  worker* const w = current_worker();
  // Nearly always: a task of this scheduler, outside of a section, wakes one that nobody looks at.
  if (w == nullptr || w->sched != this || w->is_inside()) [[unlikely]]
    return make_ready_elsewhere(t, w);
  make_ready_here(*w, t);
}

/// The rest of make_ready where the section is open, and the processor asked for or gone.
__attribute__((noinline)) void scheduler::make_ready_after_all(task* t, worker& w) noexcept {
  processor* const p = w.comply();
  if (p != nullptr)
    if (task* const displaced = put_next(*p, t)) push_displaced(*p, displaced);
  w.leave();
  if (p == nullptr) make_ready_elsewhere(t, &w);
}

__attribute__((noinline)) void scheduler::push_displaced_and_leave(worker& w, processor& p, task* t) noexcept {
  push_displaced(p, t);
  w.leave();
}

void scheduler::push_displaced(processor& p, task* t) noexcept {
  push_local(p, t);
  if (p.crowded.get() && aside_.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return;
  wake_if_idle(&p);
}

__attribute__((noinline)) void scheduler::make_ready_elsewhere(task* t, worker* w) noexcept {
  if (left_to_thawer(*t)) return;
  tsan_release(t);
  if (w == nullptr || w->sched != this) {
    refuse_from_outside();
    visit const inside_from_outside(visitors_);
    global_.push(t);
    wake_if_idle(nullptr);
    return;
  }
  section const inside(w);
  processor* p = inside.proc();
  if (p == nullptr) {
    global_.push(t);
    wake_if_idle(nullptr);
    return;
  }
  if (w->on.get() == nullptr) {  // timers fired from the native stack: in the order of their deadlines
    push_local(*p, t);
    if (!w->fires_timers) wake_if_idle(p);
    return;
  }
  if (task* const displaced = put_next(*p, t)) push_displaced(*p, displaced);
}

bool scheduler::sharing_pays(processor const& p) noexcept {
  // Waking a thread costs both sides some 10 us together, and sharing out so little saves few of them.
  constexpr std::int64_t waking_pays_ns = 50'000;
  std::int64_t const waiting = p.queue.size();
  return waiting > 1 && waiting * p.runs.average_ns() >= waking_pays_ns;
}

void scheduler::make_ready_all(processor* p, ready_list& list, bool if_sharing_pays) noexcept {
  unsigned queued = 0;
  while (waiter* w = list.pop()) {
    if (w->is_thread) {
      ready(*w);
      continue;
    }
    auto* t = static_cast<task*>(w);
    if (t->sched != this) {
      t->sched->make_ready(t);
      continue;
    }
    if (left_to_thawer(*t)) continue;
    tsan_release(t);
    ++queued;
    push(p, t);
  }
  if (queued == 0) return;
  // A single one this worker runs itself.
  if (p == nullptr || (queued > 1 && (!if_sharing_pays || sharing_pays(*p)))) wake_if_idle(p);
}

void scheduler::queue_yielded(worker& w, task* t, bool native) noexcept {
  t->phase.store(task_phase::yielded, std::memory_order_release);
  processor* p = w.held();
  if (native && p != nullptr) {
    // On the native stack: the local queue was empty, or it is time to look around. Tasks of the global queue go before the one that
    // yielded, which this worker takes up again itself, so nobody is woken for it.
    if (task* other = take_global(*p, run_queue::capacity / 2)) push_local(*p, other);
    push_local(*p, t);
    return;
  }
  push(p, t);
  wake_if_idle(p);
}

}  // namespace weft::rt

namespace weft::detail {

namespace {
__attribute__((noinline)) void start_otherwise(rt::task* t) noexcept {
  t->sched->start(t);
  preemption_point();
}
}  // namespace

void start(rt::task* t) noexcept {
  rt::worker* const w = rt::worker_at_once;  // none in a simulated run, which may go on with another task here
  if (w == nullptr || w->sched != t->sched || w->is_inside()) [[unlikely]]
    return start_otherwise(t);
  w->sched->start_here(*w, t);
}

}  // namespace weft::detail
