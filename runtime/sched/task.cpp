// Ending tasks, and what join handles do. See task.hpp for the states, spawn.cpp for the beginning.

#include "runtime/sched/task.hpp"

#include <bit>
#include <exception>
#include <memory>
#include <new>
#include <system_error>

#include <weft/detail/simulated.hpp>
#include <weft/error.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/insist.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task_block.hpp"
#include "runtime/sched/task_end.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

namespace {

void free_task(task* t) noexcept {
  if (t->timer != nullptr) delete std::exchange(t->timer, nullptr);
  worker* const w = current_worker();
  tsan_ignore const list;  // tasks on one worker, which use it by turns, are strangers
  free_task_block(w != nullptr ? &w->store.tasks : nullptr, t);
}

}  // namespace

completion& task::ended() noexcept {
  WEFT_ASSERT(static_cast<bool>(has_handle), "only a task with a handle has a completion");
  return *std::launder(reinterpret_cast<completion*>(reinterpret_cast<char*>(this) + task_header_size));
}

cancel_node* task::root_of_runtime() const noexcept { return &sched->root(); }

task_extra& task::extras() {
  task_extra* e = extra.load(std::memory_order_acquire);
  if (e != nullptr) return *e;
  auto fresh = std::make_unique<task_extra>();
  // acq_rel: a handle's cancel() may install them at the same time, and either side then reads what the other made.
  if (extra.compare_exchange_strong(e, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire))
    return *fresh.release();
  return *e;
}

namespace {

/// On the task itself, or with nothing to do. The values' destructors may wait, and no cancellation may come out of them.
__attribute__((noinline)) void clear_locals_of(task* t, task_extra& e) noexcept {
  if (e.locals == nullptr) return;
  ++t->shield;
  e.locals->clear();
  --t->shield;
}
inline void clear_locals(task* t) noexcept {
  if (task_extra* const e = t->extra.load(std::memory_order_acquire)) [[unlikely]]
    clear_locals_of(t, *e);
}

/// True: the references go back to those that the calling task has counted ahead for its children (inherit_context).
bool kept_for_children(cancel_node* inherited, std::uint16_t references) noexcept {
  task* const parent = current_task();
  if (parent == nullptr || parent->own.load(std::memory_order_relaxed) != inherited ||
      parent->credit > UINT16_MAX - references)
    return false;
  parent->credit = static_cast<std::uint16_t>(parent->credit + references);
  return true;
}

/// Until what is destroyed has made none anew: it is the user's code, and may use a fiber_local or its context.
__attribute__((noinline)) void drop_extra_there(task* t) noexcept {
  for (;;) {
    clear_locals(t);
    if (task_extra* const e = t->extra.load(std::memory_order_acquire)) {  // no handle is left that could make one
      t->extra.store(nullptr, std::memory_order_release);
      wait_for_walks();
      delete e;
    } else if (cancel_node* const own = t->own.load(std::memory_order_acquire)) {
      // A destructor of the result's may have waited under it.
      unregister_from(*t, own);
      if (t->waits_under == own) t->waits_under = nullptr;
      t->own.store(nullptr, std::memory_order_relaxed);  // no handle is left that could look
      cancel_node* const parent = drop_alone(*own, 1u + std::exchange(t->credit, std::uint16_t{0}));
      if (parent != nullptr && !kept_for_children(parent, 1)) drop(parent);
    } else {
      return;
    }
  }
}

inline void drop_extra(task* t) noexcept {
  if (t->extra.load(std::memory_order_acquire) != nullptr || t->own.load(std::memory_order_acquire) != nullptr)
    drop_extra_there(t);
}

/// What is the user's: the result, and contexts, whose values and causes are.
void destroy_contents(task* t) noexcept {
  cancel_node* inherited = std::exchange(t->inherited, nullptr);
  if (std::exchange(t->inherited_lent, false)) inherited = nullptr;
  std::uint16_t references = 1;
  if (!t->has_handle) references = static_cast<std::uint16_t>(references + std::exchange(t->credit, std::uint16_t{0}));
  if (t->ops->destroy_result != nullptr) t->ops->destroy_result(t);
  drop_extra(t);
  if (inherited != nullptr && !inherited->is_root && !kept_for_children(inherited, references)) {
    drop(inherited, references);
    drop_extra(t);
  }
}

/// True: this was the last reference. A sole one cannot be copied by others, so a plain look saves most locked instructions.
bool last_reference(std::atomic<std::uint32_t>& count) noexcept {
  return count.load(std::memory_order_acquire) == 1 || count.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

}  // namespace

void drop(task* t) noexcept {
  if (!last_reference(t->refs)) return;
  destroy_contents(t);
  drop_hold(t);
}

void drop_hold(task* t) noexcept {
  if (last_reference(t->holds)) free_task(t);
}

namespace {
/// The run's reference. Beneath a join it is one of two, and the joiner has the other: nobody else can count meanwhile.
bool last_of_run(task& t, bool beneath_join) noexcept {
  if (!beneath_join || t.refs.load(std::memory_order_relaxed) != 2) return last_reference(t.refs);
  t.refs.store(1, std::memory_order_release);
  return false;
}
}  // namespace

void end_task(task* t, bool beneath_join) noexcept {
  clear_locals(t);
  if (t->shard != nullptr) unregister(*t);
  t->waits_under = nullptr;  // destructors below may wait, and the context may go before them
  // A cancellation may have resumed a wait before its hook armed the timer (H4): R3 found nothing to disarm then.
  if (t->timer != nullptr) timer_heap::disarm(*t->timer, t->timer->generation());
  t->phase.store(task_phase::ended, std::memory_order_release);
  if (t->has_handle) t->ended().complete();
  // A root is counted by handles and children, not by tasks; a join handle that outlives the runtime must not look at it.
  if (t->inherited->is_root) t->inherited = nullptr;
  bool const last = last_of_run(*t, beneath_join);
  if (last) {
    destroy_contents(t);  // while t is still current: user code runs, and may even wait
    if (t->shard != nullptr) unregister(*t);
  }
  current_worker()->current = nullptr;
  if (last) drop_hold(t);
}

bool run_as_task_if_native(void (*f)(void*) noexcept, void* arg) noexcept {
  worker* w = current_worker();
  if (w == nullptr || w->current.get() != nullptr) return false;
  struct call {
    void (*f)(void*) noexcept;
    void* arg;
    static void invoke(void* task) noexcept {
      auto const& c = *static_cast<call*>(detail::body_of<false>(task));
      c.f(c.arg);
    }
  };
  static constexpr detail::body_ops ops = detail::body_ops_of<call, false>(&call::invoke, nullptr, nullptr);
  try {
    task* t = make_task(*w->sched, ops);
    (void)t->inherit(&w->sched->root());
    t->place = {};
    new (detail::body_of<false>(t)) call{f, arg};
    w->sched->start(t);
    return true;
  } catch (std::bad_alloc const&) {
    return false;
  }
}

}  // namespace weft::rt

namespace weft::detail {

using namespace weft::rt;

namespace {

constexpr body_ops no_body{nullptr, nullptr, nullptr, 0, false};

}  // namespace

void abandon(task* t) noexcept {
  t->ops = &no_body;
  t->refs.store(1, std::memory_order_relaxed);
  drop(t);
}

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

void task_wait(task* t) {
  preemption_point();
  worker* const w = current_worker();
  task* const self = w != nullptr ? w->current.get() : nullptr;
  bool const ended = is_done(*t);
  if (self != nullptr) throw_if_touched(*self);
  if (ended) return;
  if (self == nullptr || !run_for_join(*w, *self, *t)) (void)wait_for_end(t, prepare_wait(), never, true);
  if (self != nullptr) throw_if_touched(*self);
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

void task_release(task* t) noexcept { drop(t); }

completion* task_completion(task* t) noexcept { return &t->ended(); }

}  // namespace weft::detail

namespace weft::this_task {

namespace {
rt::task& require_task(char const* call) {
  rt::task* t = rt::current_task();
  if (t == nullptr) rt::fatal("%s called outside of a task", call);
  return *t;
}
}  // namespace

task_id id() {
  rt::task* t = rt::current_task();
  return t != nullptr ? t->id : 0;
}

std::string_view name() {
  rt::task* t = rt::current_task();
  rt::task_extra const* e = t != nullptr ? t->extra.load(std::memory_order_acquire) : nullptr;
  return e != nullptr ? std::string_view(e->name) : std::string_view();
}

void set_name(std::string name) { rt::set_task_name(require_task("this_task::set_name"), std::move(name)); }

}  // namespace weft::this_task
