// task_group: a number of places with a context, a limit, the first exception and a bounded list of the others.
//
// The places are two words, group_places.hpp, whose steps A1 to A4 and Y1 to Y8 are named here; the rest is guarded by one lock. A task's last act is to give
// its place back (leave_group).
//
// The limit hands places on: a task that leaves while somebody waits in spawn() gives its place to the first of them, who does not
// count himself again. So a place is never free while somebody waits, and spawns are served first come, first served.
//
// Which exception wait() rethrows: the first; but a closed_channel gives way to any other, and is none in a group that is cancelled. A task that fails drops its channel ends on the
// way out, before the group can know of the failure, and a neighbour that runs at that moment may be here first with the consequence.
//
// The context is replaced, after a cancellation, when wait() has found no task left: handles to the old one stay cancelled.

#include <weft/detail/simulated.hpp>
#include <weft/task_group.hpp>

#include <weft/mutex.hpp>

#include <new>
#include <optional>
#include <vector>

#include "runtime/base/check.hpp"
#include "runtime/base/exception_text.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/cancel/group_places.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::detail {

class group_core {
 public:
  group_core(context of, group_options o)
      : parent(std::move(of)), options(std::move(o)), limit(options.limit), own(with_cancel(parent).first) {
    places.limit(limit != 0);
  }

  context const parent;
  group_options const options;
  mutex reporting;  // around on_error: one at a time
  rt::object_lock lock;
  group_places places;
  std::size_t limit WEFT_GUARDED_BY(lock);
  std::exception_ptr first WEFT_GUARDED_BY(lock);
  bool first_is_closed_channel WEFT_GUARDED_BY(lock) = false;
  std::vector<std::exception_ptr> others WEFT_GUARDED_BY(lock);  // of the tasks that run now, as far as there is memory
  std::vector<std::exception_ptr> last_others WEFT_GUARDED_BY(lock);  // what the last wait() found there
  wait_list waiting WEFT_GUARDED_BY(lock);                            // in wait() or the destructor
  wait_list spawning WEFT_GUARDED_BY(lock);                           // for a place
  context own WEFT_GUARDED_BY(lock);                                  // of its tasks

  [[nodiscard]] context current() noexcept {
    rt::guard const hold(lock);
    return own;
  }
  /// The caller has a place, and current() stays what it is.
  [[nodiscard]] rt::cancel_node* current_of_member() const noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
    return own.node();
  }
  void cancel(std::exception_ptr cause) noexcept {
    context const of = current();
    rt::cancel(*of.node(), rt::cancel_kind::cancelled, std::move(cause));
  }
  /// Takes e as the first or among the others; gives back what is to be destroyed without the lock.
  [[nodiscard]] std::exception_ptr keep(std::exception_ptr e, bool is_closed_channel) noexcept {
    rt::guard const hold(lock);
    if (first == nullptr || (first_is_closed_channel && !is_closed_channel)) {
      first_is_closed_channel = is_closed_channel;
      std::swap(first, e);
    }
    if (e == nullptr || others.size() == task_group::most_other_errors) return e;
    try {
      others.push_back(std::move(e));
    } catch (std::bad_alloc const&) {  // wait() has the first in any case
      return e;
    }
    return nullptr;
  }
  [[nodiscard]] bool has_room() const noexcept WEFT_REQUIRES(lock) { return limit == 0 || places.taken() < limit; }

  /// A4 of group_places.hpp.
  void give_back_ahead() noexcept WEFT_REQUIRES(lock) {
    std::uint32_t const ahead = places.close();
    if (ahead == 0) return;
    rt::drop(own.node(), ahead);  // not the last one: there is `own`
    places.give_back(ahead);
  }

  /// Waits for the last task. False: `self` is a waiter that ignores cancellation, or else weft::cancelled is due.
  void wait_for_end(rt::waiter& self, bool cancellable) WEFT_NO_THREAD_SAFETY_ANALYSIS {
    lock.lock();
    give_back_ahead();                          // A4
    if (!places.queue()) return lock.unlock();  // Y6
    rt::wait_record r;
    if (rt::wait_in(self, waiting, lock, r, never, rt::wait_reason::task_group, this, cancellable) == rt::how::cancel)
      rt::throw_cancelled();
    lock.lock();  // the task that left last, by Y4, is done with this object once it has unlocked
    lock.unlock();
  }
};

namespace {

/// A2. False: the group is closed, limited or changing.
bool enter_with_many(group_core& g) noexcept {
  constexpr std::uint32_t ahead = group_places::many - 1;
  if (g.places.is_closed() || !g.places.enter(group_places::many)) return false;
  rt::cancel_node* const under = g.current_of_member();
  rt::retain(under, group_places::many);
  if (g.places.put_ahead(ahead)) return true;
  rt::drop(under, ahead);
  for (std::uint32_t i = 0; i < ahead; ++i) leave_group(g);
  return true;
}

/// A3.
bool enter_at_rest(group_core& g) noexcept {
  if (!g.places.may_open()) return false;
  rt::guard const hold(g.lock);
  if (!g.places.enter_at_rest(group_places::many)) return false;
  rt::retain(g.own.node(), group_places::many);
  g.places.open(group_places::many - 1);
  return true;
}

/// Y1, Y2. Waits for a place. No analysis: wait_in releases the lock.
void enter_alone(group_core& g) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (g.places.enter(1)) return;  // Y1
  g.lock.lock();
  bool const limited = g.limit != 0;
  if (!limited) g.places.enter_locked();  // Y2: Y7 has kept it from Y1
  g.lock.unlock();
  if (!limited) return;
  rt::waiter& self = rt::cancellation_point();
  g.lock.lock();
  if (g.has_room()) {
    g.places.enter_locked();  // Y2
    return g.lock.unlock();
  }
  rt::wait_record r;
  if (rt::wait_in(self, g.spawning, g.lock, r, never, rt::wait_reason::task_group, &g) == rt::how::cancel)
    rt::throw_cancelled();
}

/// Where A1 has found nothing ahead. Counts a reference to the group's context, too.
__attribute__((noinline)) void enter_otherwise(group_core& g) {
  if (enter_with_many(g) || enter_at_rest(g)) return;
  enter_alone(g);
  rt::retain(g.current_of_member());
}

}  // namespace

rt::task* create_in_group(group_core& g, std::optional<guest>& in, body_ops const& ops, task_options* options,
                          std::source_location place) {
  if (!g.places.take_ahead()) enter_otherwise(g);  // A1
  rt::cancel_node* counted = g.current_of_member();
  try {
    return create_task_under(counted, *in.emplace(counted->sched).scheduler(), ops, options, place);
  } catch (...) {
    rt::drop(counted);
    leave_group(g);
    throw;
  }
}

void leave_group(group_core& g) noexcept {
  if (g.places.leave()) return;  // Y3
  rt::ready_list woken;
  g.lock.lock();  // Y4
  rt::wait_record* next =
      g.limit == 0 || g.places.taken() <= g.limit ? rt::pop_claimed(g.spawning, rt::how::partner) : nullptr;
  if (next != nullptr) {
    woken.push(*next->who);
  } else if (g.places.leave_locked()) {
    while (rt::wait_record* r = rt::pop_claimed(g.waiting, rt::how::partner)) woken.push(*r->who);
    g.places.let_go();  // Y5
  }
  g.lock.unlock();
  rt::ready_all(woken);
}

void failed_in_group(group_core& g) noexcept {
  std::exception_ptr e = std::current_exception();
  bool is_closed_channel = false;
  try {
    throw;
  } catch (cancelled const&) {
    if (g.current().cancelled()) return;
  } catch (closed_channel const&) {
    if (g.current().cancelled())
      return;  // a neighbour was cancelled too, and let go of its end before this task was woken
    is_closed_channel = true;
  } catch (...) {
  }
  // In a deadlocked run nobody is there to be told.
  if (!g.options.cancel_on_error && g.options.on_error && !rt::scheduler::is_unwound(rt::current_task()->sched)) {
    uncancellable const shield;
    try {
      std::lock_guard const hold(g.reporting);
      g.options.on_error(std::move(e));
      return;
    } catch (...) {
      e = std::current_exception();
      is_closed_channel = false;
    }
  }
  std::exception_ptr const dropped = g.keep(e, is_closed_channel);
  if (g.options.cancel_on_error) g.cancel(std::move(e));
}

}  // namespace weft::detail

namespace weft {

namespace {

void report_unseen(std::exception_ptr const& unseen) noexcept {
  try {
    std::rethrow_exception(unseen);
  } catch (std::exception const& e) {
    rt::warn("a task_group was destroyed with an exception that nobody has seen: %s", rt::exception_text(e).c_str());
  } catch (cancelled const&) {
    rt::task const* const t = rt::current_task();
    if (t != nullptr && rt::scheduler::is_unwound(t->sched)) return;  // each is, one after the other: simulated.cpp
    rt::warn("a task_group was destroyed with a weft::cancelled that nobody has seen");
  } catch (...) {
    rt::warn("a task_group was destroyed with an exception that nobody has seen, and that is no std::exception");
  }
}

}  // namespace

task_group::task_group() : task_group(detail::inherited_context()) {}
task_group::task_group(group_options options) : task_group(detail::inherited_context(), std::move(options)) {}
task_group::task_group(context parent, group_options options)
    : core_(std::make_unique<detail::group_core>(std::move(parent), std::move(options))) {}

task_group::~task_group() {
  std::exception_ptr unseen;
  std::vector<std::exception_ptr> others, seen;  // destroyed without the lock
  if (core_->places.in_use()) core_->cancel(nullptr);
  core_->wait_for_end(rt::uncancellable_waiter_at_last(), false);
  {
    rt::guard const hold(core_->lock);
    unseen = std::exchange(core_->first, nullptr);
    others.swap(core_->others);
    seen.swap(core_->last_others);
  }
  if (unseen == nullptr) return;
  report_unseen(unseen);
  for (std::exception_ptr const& e : others) report_unseen(e);
}

void task_group::limit(std::size_t n) {
  detail::group_core& g = *core_;
  rt::ready_list woken;
  {
    rt::guard const hold(g.lock);
    g.give_back_ahead();  // A4
    g.limit = n;
    g.places.limit(true);  // the number stands still
    while (g.has_room()) {
      rt::wait_record* r = rt::pop_claimed(g.spawning, rt::how::partner);
      if (r == nullptr) break;
      g.places.enter_locked();
      woken.push(*r->who);
    }
    if (n == 0) g.places.limit(false);
  }
  rt::ready_all(woken);
}

void task_group::wait() {
  detail::group_core& g = *core_;
  g.wait_for_end(rt::cancellation_point(), true);
  context const seen = g.current();
  std::optional<context> fresh;
  if (seen.cancelled()) fresh = with_cancel(g.parent).first;
  std::exception_ptr first;
  std::vector<std::exception_ptr> before;  // destroyed without the lock
  {
    rt::guard const hold(g.lock);
    g.give_back_ahead();    // A4: somebody may have spawned since, and opened it
    if (g.places.rest()) {  // Y7
      // Unless somebody else who has waited was first, and tasks may be spawned under what he has put there.
      if (fresh && g.own.node() == seen.node()) std::swap(g.own, *fresh);
      g.places.resume();  // Y8
    }
    first = std::exchange(g.first, nullptr);
    before.swap(g.others);
    before.swap(g.last_others);
  }
  if (first != nullptr) std::rethrow_exception(first);
}

void task_group::cancel() {
  core_->cancel(nullptr);
  detail::preemption_point();
}

std::vector<std::exception_ptr> task_group::other_errors() const {
  std::vector<std::exception_ptr> copy;
  copy.reserve(most_other_errors);  // not under the lock
  rt::guard const hold(core_->lock);
  copy.assign(core_->last_others.begin(), core_->last_others.end());
  return copy;
}

context task_group::ctx() const { return core_->current(); }

}  // namespace weft
