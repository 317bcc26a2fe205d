// after_func: a task that waits to be started by a timer or by a cancellation.
//
// Exactly one takes the task out of `task`, by an exchange: the timer or the canceller, who start it, or a stop_fn, who destroys it.
// Whoever comes later finds nothing.
//
// Of a context: the registration is a listener and keeps the node, so that a cancellation above reaches it although nobody holds the
// context any more, and stop_fns find it. That is a circle, opened by the cancellation or by a stop.
//
// The end of the runtime takes the task too: out of the heap, or off the list of pending_start.hpp. It waits for a stop_fn that is at it (G4).
//
// References: all stop_fns one each, the listener, the entry in the heap, or in the list where the time never comes, one.

#include <weft/after_func.hpp>

#include <atomic>
#include <memory>
#include <new>

#include "runtime/base/check.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/pending_start.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"
#include "runtime/timer/timer_heap.hpp"

namespace weft::rt {

struct later_start : cancel_listener, pending_start {
  later_start(timer_ops const& ops, rt::task* t) noexcept : node(ops, this), in(t->sched), task(t) {}
  ~later_start() { drop(of); }

  std::atomic<std::uint32_t> refs{1};
  timer_node node;              // of a duration: armed once, with generation 1
  scheduler* const in;          // whose task it is; may have gone
  std::atomic<rt::task*> task;  // null: started, or stopped
  cancel_node* of = nullptr;    // of a context: where the listener stands; constant, counted
  bool never = false;           // of a duration without end: stands in no heap, but in the list; constant
};

namespace {

void discard(task* t) noexcept {
  t->ops->discard(t);
  detail::abandon(t);
}

void drop_later(later_start& l) noexcept {
  if (l.refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete &l;
}

void start_now(later_start& l) noexcept {
  // acq_rel: pairs with the exchange of whoever comes second.
  if (task* t = l.task.exchange(nullptr, std::memory_order_acq_rel)) detail::start(t);
}

void on_cancel(cancel_listener& of) noexcept {
  auto& l = static_cast<later_start&>(of);
  start_listed(l);
  drop_later(l);
  detail::preemption_point();
}

/// Takes the task back, if nobody has taken it. The runtime is there.
bool take_back(later_start& l) noexcept {
  task* t = l.task.exchange(nullptr, std::memory_order_acq_rel);
  if (t == nullptr) return false;
  if (l.never) {
    unlist_start(l);
    drop_later(l);
  } else if (l.of == nullptr) {
    timer_heap::disarm(l.node, 1);
  } else {
    unlist_start(l);
    if (remove_listener(*l.of, l)) drop_later(l);
  }
  discard(t);
  return true;
}

/// The same from anywhere. The end of the runtime destroys the task itself, and what it stands under.
bool stop_later(later_start& l) noexcept {
  worker const* const w = current_worker();
  if (w != nullptr && w->sched == l.in) return take_back(l);
  if (!scheduler::let_in(l.in, /*even_shut_down=*/true)) return false;
  bool const stopped = take_back(l);
  l.in->let_out();
  return stopped;
}

void list_later(later_start& l) noexcept {
  l.take = [](pending_start& p) noexcept {
    return static_cast<later_start&>(p).task.exchange(nullptr, std::memory_order_acq_rel);
  };
  l.keep = [](pending_start& p) noexcept { static_cast<later_start&>(p).refs.fetch_add(1, std::memory_order_relaxed); };
  l.destroy = [](pending_start& p) noexcept {
    auto& later = static_cast<later_start&>(p);
    take_back(later);
    drop_later(later);
  };
  list_start(l, *l.task.load(std::memory_order_relaxed));
}

constexpr timer_ops later_ops{
    .retain =
        [](void* owner) noexcept { static_cast<later_start*>(owner)->refs.fetch_add(1, std::memory_order_relaxed); },
    .fire = [](timer_node&, void* owner, std::uint64_t) { start_now(*static_cast<later_start*>(owner)); },
    .release =
        [](void* owner) {
          auto& l = *static_cast<later_start*>(owner);
          // Neither fired nor stopped: the runtime ends, and a task must not outlive its runtime.
          if (task* t = l.task.exchange(nullptr, std::memory_order_acq_rel)) discard(t);
          drop_later(l);
        },
};

}  // namespace

}  // namespace weft::rt

namespace weft {

namespace detail {

rt::scheduler* scheduler_of(context const& c) noexcept { return c.node()->sched; }

namespace {

/// For its values; deaf to its cancellation. Takes the task over if there is no memory.
void put_under(rt::task& t, context const& of) {
  rt::cancel_node* under = nullptr;
  try {
    under = rt::make_context(t.sched, of.node(), false);
  } catch (std::bad_alloc const&) {
    rt::discard(&t);
    throw;
  }
  rt::cancel_node* before = t.inherit(under);
  if (!before->is_root) rt::drop(before);  // tasks do not count roots
}

/// Takes the task over, also if there is no memory.
rt::later_start* make_later(rt::task* t) {
  auto* l = new (std::nothrow) rt::later_start(rt::later_ops, t);
  if (l != nullptr) return l;
  rt::discard(t);
  throw std::bad_alloc();
}

}  // namespace

stop_fn start_when_cancelled(context of, rt::task* t) {
  put_under(*t, of);
  rt::later_start* l = make_later(t);
  stop_fn const stop(l);
  t->sched->want_monitor();  // a second task, which is not counted until whoever cancels starts it
  rt::retain(of.node());
  l->of = of.node();
  rt::list_later(*l);
  l->notify = rt::on_cancel;
  l->refs.fetch_add(1, std::memory_order_relaxed);
  if (!rt::add_listener(*of.node(), *l)) rt::on_cancel(*l);
  return stop;
}

stop_fn start_after(std::int64_t ns, rt::task* t) {
  rt::later_start* l = make_later(t);
  stop_fn const stop(l);
  // Kept: once the timer is armed the task may run, end, and its memory be another's, of another runtime even.
  rt::scheduler& sched = *t->sched;
  std::int64_t const when = deadline_after(std::chrono::nanoseconds(ns));
  if (ns == 0) {
    rt::start_now(*l);
  } else if (when == rt::never) {
    l->never = true;  // the end of the runtime finds it in the list, and nobody else but a stop
    l->refs.fetch_add(1, std::memory_order_relaxed);
    rt::list_later(*l);
  } else {
    bool armed = false;
    bool tell = false;
    rt::timer_heap* heap = &sched.proc(0).timers;
    {
      rt::section const inside(rt::current_worker());
      if (inside.proc() != nullptr) heap = &inside.proc()->timers;
      armed = heap->reserve_one();
      tell = armed && heap->arm(l->node, when, 1) && inside.proc() == nullptr;
    }
    if (!armed) {
      (void)stop();
      throw std::bad_alloc();
    }
    if (tell) sched.timer_changed(when);
    rt::relieve(sched, *heap);
  }
  return stop;
}

}  // namespace detail

stop_fn::stop_fn(stop_fn const& other) noexcept : later_(other.later_) {
  if (later_ != nullptr) later_->refs.fetch_add(1, std::memory_order_relaxed);
}

stop_fn::~stop_fn() {
  if (later_ != nullptr) rt::drop_later(*later_);
}

bool stop_fn::operator()() const { return later_ != nullptr && rt::stop_later(*later_); }

}  // namespace weft
