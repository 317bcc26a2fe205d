// The tree of contexts and its cancellation; see cancel_node.hpp for the steps.

#include "runtime/sched/cancel_node.hpp"

#include <exception>
#include <new>
#include <utility>

#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

cancel_node::cancel_node(scheduler* s, cancel_node* p, bool inherits_, std::uint32_t references)
    : inherits(inherits_), sched(s), parent(p), refs(references) {
  first_shard.node = this;
}

namespace {

__attribute__((always_inline)) inline void* take_memory(std::size_t size) {
  worker* const w = current_worker();
  void* const kept = w != nullptr ? w->contexts.take() : nullptr;
  return kept != nullptr ? kept : ::operator new(size);
}

__attribute__((always_inline)) inline void give_memory_back(void* memory) noexcept {
  worker* const w = current_worker();  // as it is now: the destructor may have waited
  if (w == nullptr || !w->contexts.keep(memory)) ::operator delete(memory);
}

}  // namespace

void* cancel_node::operator new(std::size_t size) { return take_memory(size); }
void cancel_node::operator delete(void* memory) noexcept { give_memory_back(memory); }

spread_shards::spread_shards(cancel_node& of, unsigned count) noexcept
    : count_(count), shards_(new(std::nothrow) padded[count]) {
  if (complete())
    for (unsigned i = 0; i < count; ++i) shards_[i].shard.node = &of;
}

// is_bare() asks for all that is destroyed here.
cancel_node::~cancel_node() {
  if (void* done = done_channel.load(std::memory_order_acquire)) release_done(done);
  while (cancel_listener* l = listeners) {
    listeners = l->next;
    if (l->release != nullptr) l->release(*l);
  }
  delete timer;
  delete spread.load(std::memory_order_acquire);
  // An exception that others may have caught and let go of meanwhile. What orders their reads with its end is the count in the C++
  // library, which ThreadSanitizer does not see.
  tsan_ignore const counted_elsewhere;
  cause = nullptr;
}

bool try_retain(cancel_node& n) noexcept {
  std::uint32_t refs = n.refs.load(std::memory_order_relaxed);
  while (refs != 0)
    if (n.refs.compare_exchange_weak(refs, refs + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  return false;
}

bool drop_unless_last(cancel_node& n) noexcept {
  std::uint32_t refs = n.refs.load(std::memory_order_relaxed);
  while (refs > 1)
    if (n.refs.compare_exchange_weak(refs, refs - 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  return false;
}

namespace {

/// Whether destroying the node may run user code.
bool has_users_things(cancel_node const& n) noexcept {
  return n.value != nullptr || n.cause != nullptr || n.listeners != nullptr;
}

/// Whether the destructor would find nothing to do: most own contexts of tasks only stood by, to hand on a cancellation.
__attribute__((always_inline)) inline bool is_bare(cancel_node const& n) noexcept {
  auto const any = [](auto*... p) { return (reinterpret_cast<std::uintptr_t>(p) | ...) != 0; };
  return n.kind == cancel_kind::none && !any(n.done_channel.load(std::memory_order_acquire), n.listeners, n.timer,
                                             n.spread.load(std::memory_order_acquire), n.key, n.value.get());
}

void destroy(cancel_node* n) noexcept {
  cancel_node* parent = n->parent;
  delete n;
  drop(parent);
}

}  // namespace

namespace {

void leave_parent_locked(cancel_node& n, cancel_node& parent) noexcept {
  if (!n.is_child) return;
  (n.prev_sibling != nullptr ? n.prev_sibling->next_sibling : parent.first_child) = n.next_sibling;
  if (n.next_sibling != nullptr) n.next_sibling->prev_sibling = n.prev_sibling;
}

/// `times` references less. True: there are none left, and the node is out of its parent's list.
bool let_go(cancel_node& n, std::uint32_t times) noexcept {
  // Whoever holds all the references to a task's own context needs no locked instruction to find that out: new ones are made from old
  // ones, or by a cancellation from above (mark), which has the parent's lock. Others are also looked at by signals and
  // std::stop_tokens (try_retain), without that lock. acquire: pairs with the release of who dropped the others. A single reference is
  // mostly a child's, one of many, and looking first would fetch the line twice.
  bool const sole = times > 1 && n.is_tasks_own && n.refs.load(std::memory_order_acquire) == times;
  if (!sole && n.refs.fetch_sub(times, std::memory_order_acq_rel) != times) return false;
  cancel_node* const parent = n.parent;
  if (parent == nullptr) return true;
  guard hold(parent->lock);
  if (sole) {
    if (n.refs.load(std::memory_order_acquire) == times) n.refs.store(0, std::memory_order_relaxed);
    else if (n.refs.fetch_sub(times, std::memory_order_acq_rel) != times)
      return false;  // such a one has come, and drops the last
  }
  leave_parent_locked(n, *parent);
  return true;
}

__attribute__((noinline)) cancel_node* destroy_with_contents(cancel_node& n) noexcept {
  if (has_users_things(n) &&
      run_as_task_if_native([](void* dead) noexcept { destroy(static_cast<cancel_node*>(dead)); }, &n))
    return nullptr;
  cancel_node* const parent = n.parent;
  delete &n;
  return parent;
}

/// It has no references, and is out of its parent's list. Whose reference is the caller's to drop; null: none.
__attribute__((always_inline)) inline cancel_node* destroy_alone(cancel_node& n) noexcept {
  if (!is_bare(n)) [[unlikely]]
    return destroy_with_contents(n);
  cancel_node* const parent = n.parent;
  give_memory_back(&n);
  return parent;
}

}  // namespace

cancel_node* drop_alone(cancel_node& n, std::uint32_t times) noexcept {
  return let_go(n, times) ? destroy_alone(n) : nullptr;
}

void drop_last(cancel_node* n) noexcept {
  if (cancel_node* const parent = n->parent) {
    guard hold(parent->lock);
    leave_parent_locked(*n, *parent);
  }
  drop(destroy_alone(*n));
}

void drop(cancel_node* n, std::uint32_t times) noexcept {
  // Iterative: a long chain of contexts must not become a deep recursion.
  for (; n != nullptr; times = 1) n = drop_alone(*n, times);
}

namespace {

bool cancel_from(cancel_node& n, cancel_kind kind, std::exception_ptr const& cause, bool started_here) noexcept;

void link_locked(cancel_node& parent, cancel_node& n) noexcept {
  n.is_child = true;
  n.next_sibling = parent.first_child;
  if (parent.first_child != nullptr) parent.first_child->prev_sibling = &n;
  parent.first_child = &n;
}

constexpr timer_ops deadline_ops{
    .retain = [](void* owner) noexcept { retain(static_cast<cancel_node*>(owner)); },
    .fire = [](timer_node&, void* owner,
               std::uint64_t) { cancel(*static_cast<cancel_node*>(owner), cancel_kind::timed_out, nullptr); },
    .release = [](void* owner) { drop(static_cast<cancel_node*>(owner)); },
};

}  // namespace

__attribute__((noinline)) void cancel_as_parent(cancel_node& n) noexcept {
  cancel_from(n, n.parent->kind, n.parent->cause, false);
}

void put_below_parent(cancel_node& n) noexcept {
  if (n.parent == nullptr || !n.inherits) return;
  n.deadline = n.parent->deadline;
  {
    guard hold(n.parent->lock);
    if (n.parent->kind == cancel_kind::none) return link_locked(*n.parent, n);
  }
  cancel_as_parent(n);
}

bool put_into(std::atomic<cancel_node*>& place, cancel_node& n) noexcept {
  cancel_node* const parent = n.parent;
  if (parent == nullptr) [[unlikely]] {
    cancel_node* none = nullptr;
    return place.compare_exchange_strong(none, &n, std::memory_order_release, std::memory_order_relaxed);
  }
  n.deadline = parent->deadline;
  guard hold(parent->lock);
  if (place.load(std::memory_order_relaxed) != nullptr) return false;
  if (parent->kind == cancel_kind::none) [[likely]] {
    link_locked(*parent, n);
  } else {
    parent->lock.unlock();
    cancel_as_parent(n);  // before anybody sees it
    parent->lock.lock();
    if (place.load(std::memory_order_relaxed) != nullptr) return false;
  }
  place.store(&n, std::memory_order_release);
  return true;
}

cancel_node& make_own_context(task& t) {
  // Its children are counted right now, and the task's reference to the inherited context becomes the new one's.
  auto* const fresh =
      ::new (take_memory(sizeof(cancel_node))) cancel_node(t.sched, t.inherited, true, 1 + children_ahead);
  fresh->is_tasks_own = true;
  bool const lends = t.inherited != nullptr && !t.inherited->is_root && !t.inherited_lent;
  if (!lends) retain(t.inherited);
  if (put_into(t.own, *fresh)) {
    t.credit = children_ahead;
    t.inherited_lent = lends;
    return *fresh;
  }
  if (lends) retain(t.inherited);
  drop(fresh, 1 + children_ahead);
  return *t.own_context();
}

cancel_node* make_context(scheduler* s, cancel_node* parent, bool inherits) {
  auto* const n = new cancel_node(s, parent, inherits);
  retain(parent);
  put_below_parent(*n);
  return n;
}

cancel_node* make_context_until(scheduler& s, cancel_node* parent, std::int64_t deadline) {
  cancel_node* n = make_context(&s, parent);
  if (deadline >= n->deadline) return n;  // the parent's comes first
  n->deadline = deadline;
  if (deadline <= clock_ns()) {
    cancel(*n, cancel_kind::timed_out, nullptr);
    return n;
  }
  n->timer = new (std::nothrow) timer_node(deadline_ops, n);
  worker* w = current_worker();
  bool armed = false;
  bool tell = true;
  timer_heap* heap = &s.proc(0).timers;
  if (n->timer != nullptr) {
    if (w != nullptr && w->sched == &s) {
      section const inside(w);
      processor* const p = inside.proc();
      if (p != nullptr) heap = &p->timers;
      armed = heap->reserve_one();
      if (armed) tell = heap->arm(*n->timer, deadline, 1) && p == nullptr;
    } else {
      armed = heap->reserve_one();
      if (armed) tell = heap->arm(*n->timer, deadline, 1);
    }
  }
  if (!armed) {
    drop(n);
    throw std::bad_alloc();
  }
  if (tell) s.timer_changed(deadline);
  relieve(s, *heap);
  s.want_monitor();
  return n;
}

void disarm_deadline(cancel_node& n) noexcept {
  if (n.timer != nullptr) timer_heap::disarm(*n.timer, 1);
}

cancel_kind cancel_node::err() noexcept {
  if (!is_cancelled()) {
    if (done_channel.load(std::memory_order_acquire) == nullptr) return cancel_kind::none;
    guard hold(lock);  // the done channel may be closed already: then the stage is about to be set under this lock
    return kind;
  }
  return kind;
}

std::exception_ptr cancel_node::cause_now() noexcept {
  if (err() == cancel_kind::none) return nullptr;
  return cause != nullptr ? cause : std::make_exception_ptr(weft::cancelled(this));
}

// ---- cancelling -----------------------------------------------------------------------------------------------------

namespace {

/// C1 for one node. False: it was cancelled before. Children found are appended to `visit`, each with a reference.
bool mark(cancel_node& n, cancel_kind kind, std::exception_ptr const& cause, bool started_here,
          cancel_node*& visit) noexcept {
  guard hold(n.lock);
  if (n.kind != cancel_kind::none) return false;
  n.kind = kind;
  n.started_here = started_here;
  n.cause = cause;
  if (void* done = n.done_channel.load(std::memory_order_relaxed)) {
    n.stage.store(cancel_stage::closing_done, std::memory_order_release);
    n.close_done(done);
  }
  n.stage.store(cancel_stage::set, std::memory_order_release);
  for (cancel_node* c = n.first_child; c != nullptr; c = c->next_sibling) {
    if (!try_retain(*c)) continue;  // it is about to take itself out
    c->visit_next = visit;
    visit = c;
  }
  return true;
}

void call_listeners(cancel_node& n) noexcept {
  for (;;) {
    cancel_listener* l = nullptr;
    {
      guard hold(n.lock);
      l = n.listeners;
      if (l == nullptr) return;
      n.listeners = l->next;
      if (l->next != nullptr) l->next->prev = nullptr;
      l->linked = false;
    }
    l->notify(*l);
  }
}

/// Calls the listeners, and drops the reference that the cancellation held.
void finish_cancel(cancel_node& n) noexcept {
  bool any = false;
  {
    guard hold(n.lock);
    any = n.listeners != nullptr;
  }
  auto rest = [](void* node) noexcept {
    auto* c = static_cast<cancel_node*>(node);
    call_listeners(*c);
    drop(c);
  };
  if (any && run_as_task_if_native(rest, &n)) return;
  rest(&n);
}

bool cancel_from(cancel_node& n, cancel_kind kind, std::exception_ptr const& cause, bool started_here) noexcept {
  cancel_node* visit = nullptr;
  if (!mark(n, kind, cause, started_here, visit)) return false;  // C1
  retain(&n);
  cancel_node* marked = &n;
  n.work_next = nullptr;
  cancel_node* last = &n;
  while (visit != nullptr) {
    cancel_node* c = visit;
    visit = c->visit_next;
    if (!mark(*c, kind, cause, false, visit)) {
      drop(c);
      continue;
    }
    c->work_next = nullptr;
    last = last->work_next = c;
  }
  full_fence();  // pairs with that of H0: its H3 sees the stage, or `used` is seen here
  bool any = false;
  for (cancel_node* c = marked; c != nullptr && !any; c = c->work_next) any = has_registered(*c);  // C2
  if (any) process_fences::heavy();                                                                // C3: pairs with H2
  while (marked != nullptr) {
    cancel_node* c = marked;
    marked = c->work_next;
    // A deadlocked program is unwound in an order of its own: quiescence.cpp, X1.
    if (any && !scheduler::is_unwound(c->sched)) wake_registered(*c);  // C4, C5
    finish_cancel(*c);
  }
  return true;
}

}  // namespace

namespace {

bool is_at_or_below(cancel_node const* at, cancel_node const& n) noexcept {
  while (at != nullptr && at != &n) at = at->parent;
  return at != nullptr;
}

/// It is a weft::cancelled of n or of a context below, or has one nested in it. That keeps its context, which keeps n: kept by n, all would
/// stay for ever.
bool keeps(std::exception_ptr cause, cancel_node const& n) noexcept {
  while (cause != nullptr) {
    try {
      std::rethrow_exception(std::exchange(cause, nullptr));
    } catch (std::nested_exception const& outer) {
      auto const* const c = dynamic_cast<weft::cancelled const*>(&outer);
      if (c != nullptr && is_at_or_below(c->node(), n)) return true;
      cause = outer.nested_ptr();
    } catch (weft::cancelled const& c) {
      return is_at_or_below(c.node(), n);
    } catch (...) {
      return false;
    }
  }
  return false;
}

}  // namespace

bool cancel(cancel_node& n, cancel_kind kind, std::exception_ptr cause) noexcept {
  if (keeps(cause, n)) cause = nullptr;  // cause_now() makes one of n's own
  return cancel_from(n, kind, cause, true);
}

bool add_listener(cancel_node& n, cancel_listener& l) noexcept {
  guard hold(n.lock);
  if (n.kind != cancel_kind::none) return false;
  l.prev = nullptr;
  l.next = n.listeners;
  if (n.listeners != nullptr) n.listeners->prev = &l;
  n.listeners = &l;
  l.linked = true;
  return true;
}

bool remove_listener(cancel_node& n, cancel_listener& l) noexcept {
  guard hold(n.lock);
  if (!l.linked) return false;
  (l.prev != nullptr ? l.prev->next : n.listeners) = l.next;
  if (l.next != nullptr) l.next->prev = l.prev;
  l.linked = false;
  return true;
}

}  // namespace weft::rt
