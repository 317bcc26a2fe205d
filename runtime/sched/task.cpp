// Ending tasks. See task.hpp for the states, spawn.cpp for the beginning, join.cpp for who waits for the end.

#include "runtime/sched/task.hpp"

#include <memory>
#include <new>
#include <utility>

#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task_block.hpp"
#include "runtime/sched/task_end.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

namespace {

__attribute__((noinline)) void free_task_otherwise(worker* w, task* t) noexcept {
  tsan_ignore const list;  // tasks on one worker, which use it by turns, are strangers
  free_task_block(w != nullptr ? &w->store.tasks : nullptr, t);
}

__attribute__((always_inline)) inline void free_task(task* t) noexcept {
  worker* const w = current_worker();
  if (w == nullptr || tsan || !free_task_block_at_once(w->store.tasks, t)) [[unlikely]]
    free_task_otherwise(w, t);
}

}  // namespace

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
__attribute__((always_inline)) inline bool kept_for_children(cancel_node* inherited,
                                                             std::uint16_t references) noexcept {
  worker const* const w = current_worker();
  task* const parent = w != nullptr ? w->current.get() : nullptr;
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
      if (t->shard != nullptr) unregister_from(*t, own);
      if (t->waits_under == own) t->waits_under = nullptr;
      t->own.store(nullptr, std::memory_order_relaxed);  // no handle is left that could look
      cancel_node* const parent = drop_alone(*own, 1u + std::exchange(t->credit, std::uint16_t{0}));
      if (parent != nullptr && !kept_for_children(parent, 1)) drop(parent);
    } else {
      return;
    }
  }
}

template <class... P>
inline bool any(P*... p) noexcept {
  return (reinterpret_cast<std::uintptr_t>(p) | ...) != 0;
}

inline void drop_extra(task* t) noexcept {
  if (any(t->extra.load(std::memory_order_acquire), t->own.load(std::memory_order_acquire))) drop_extra_there(t);
}

/// What is the user's: the result, and contexts, whose values and causes are.
__attribute__((always_inline)) inline void destroy_contents(task* t) noexcept {
  cancel_node* inherited = std::exchange(t->inherited, nullptr);
  if (t->inherited_lent) {
    t->inherited_lent = false;
    inherited = nullptr;
  }
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
template <class Count>
inline bool last_reference(std::atomic<Count>& count) noexcept {
  return count.load(std::memory_order_acquire) == 1 || count.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

}  // namespace

void drop_hold(task* t) noexcept {
  if (last_reference(t->holds)) free_task(t);
}

void drop(task* t) noexcept {
  if (!last_reference(t->refs)) return;
  destroy_contents(t);
  if (last_reference(t->holds)) free_task(t);
}

// ---- the end of the run. Each rarer part is the last call of its function, so that the others need no frame -----------

namespace {

/// The last of what is its own goes, while it is still current: user code runs, and may even wait.
__attribute__((noinline)) void end_last(task* t) noexcept {
  destroy_contents(t);
  if (t->shard != nullptr) unregister(*t);
  current_worker()->current = nullptr;
  drop_hold(t);
}

/// The run's reference to a task with a handle.
template <bool BeneathJoin>
__attribute__((always_inline)) inline void leave_joinable(task* t) noexcept {
  // A root is counted by handles and children, not by tasks; a join handle that outlives the runtime must not look at it.
  if (t->inherited->is_root) t->inherited = nullptr;
  if (BeneathJoin && t->refs.load(std::memory_order_relaxed) == 2) {
    t->refs.store(1, std::memory_order_release);  // the other one is the joiner's: nobody else can count meanwhile
  } else if (last_reference(t->refs)) {
    return end_last(t);
  }
  current_worker()->current = nullptr;
}

/// `done` is set, under the completion's lock, which is held.
template <bool BeneathJoin>
__attribute__((noinline)) void wake_joiners(task* t) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  t->ended().wake_and_unlock();
  leave_joinable<BeneathJoin>(t);
}

template <bool BeneathJoin>
__attribute__((noinline)) void complete_contended(task* t) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  t->ended().complete();
  leave_joinable<BeneathJoin>(t);
}

template <bool BeneathJoin>
__attribute__((always_inline)) inline void end_joinable(task* t) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  completion& c = t->ended();
  if (!c.lock.try_lock()) [[unlikely]]
    return complete_contended<BeneathJoin>(t);
  c.done.store(true, std::memory_order_release);
  if (c.waiters.head != nullptr) return wake_joiners<BeneathJoin>(t);
  c.lock.unlock();
  leave_joinable<BeneathJoin>(t);
}

/// The context's last reference has been given up.
__attribute__((noinline)) void end_with_context(task* t, cancel_node* last) noexcept {
  drop_last(last);
  end_last(t);
}

/// A task without a handle: its only reference is the run's.
__attribute__((always_inline)) inline void end_unjoinable(task* t) noexcept {
  WEFT_ASSERT(t->refs.load(std::memory_order_relaxed) == 1,
              "the run's reference is the only one of a task without a handle");
  if (any(t->own.load(std::memory_order_acquire), t->extra.load(std::memory_order_acquire)) || t->credit != 0)
    return end_last(t);
  cancel_node* const inherited = std::exchange(t->inherited, nullptr);
  if (!inherited->is_root && inherited->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) [[unlikely]]
    return end_with_context(t, inherited);
  current_worker()->current = nullptr;
  if (last_reference(t->holds)) free_task(t);
}

template <bool BeneathJoin>
__attribute__((always_inline)) inline void end_cleared(task* t) noexcept {
  t->waits_under = nullptr;  // destructors below may wait, and the context may go before them
  t->phase.store(task_phase::ended, std::memory_order_release);
  if (BeneathJoin || t->has_handle) return end_joinable<BeneathJoin>(t);
  end_unjoinable(t);
}

template <bool BeneathJoin>
__attribute__((noinline)) void clear_and_end(task* t) noexcept {
  clear_locals(t);
  if (t->shard != nullptr) unregister(*t);
  // A cancellation may have resumed a wait before its hook armed the timer (H4): R3 found nothing to disarm then.
  if (t->timed) timer_heap::disarm(*t->timer, t->timer->generation());
  end_cleared<BeneathJoin>(t);
}

template <bool BeneathJoin>
__attribute__((always_inline)) inline void end(task* t) noexcept {
  if (any(t->extra.load(std::memory_order_acquire), t->shard) || t->timed) return clear_and_end<BeneathJoin>(t);
  end_cleared<BeneathJoin>(t);
}

}  // namespace

void end_task(task* t) noexcept { end<false>(t); }
void end_task_beneath_join(task* t) noexcept { end<true>(t); }

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
