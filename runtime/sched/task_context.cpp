// What a task has to do with contexts: its own one, and the lists of those who wait under one. See cancel_node.hpp.

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

// ---- a task's own context -------------------------------------------------------------------------------------------

cancel_node& own_context_of(task& t) {
  cancel_node* own = t.own.load(std::memory_order_acquire);
  return own != nullptr ? *own : make_own_context(t);
}

void cancel_own(task& t) {
  cancel_node* inherited = nullptr;
  {
    // A task that has not ended cannot end while this lock is held, so its runtime, and a root that it does not count, are there.
    guard hold(t.ended().lock);
    if (t.ended().done.load(std::memory_order_relaxed)) return;
    inherited = t.inherited;
    retain(inherited);
  }
  struct release {
    cancel_node* n;
    ~release() { drop(n); }
  } const at_end{inherited};
  cancel_node* own = t.own.load(std::memory_order_acquire);
  bool installed = false;
  if (own == nullptr) {
    auto* const fresh = new cancel_node(t.sched, inherited, true);
    retain(inherited);
    installed = put_into(t.own, *fresh);
    own = installed ? fresh : t.own_context();
    if (!installed) drop(fresh);
  }
  cancel(*own, cancel_kind::cancelled, nullptr);
  if (!installed) return;
  // A wait that began before the context was there knows only the inherited one: implicit tells such a wait. It is written before
  // H1, so that it belongs to the wait whose generation is claimed; the claim fails if the task has gone on meanwhile.
  heavy_fence();  // C3, pairs with H2
  std::uint64_t const word = t.word.load(std::memory_order_acquire);
  if ((word & wait_word::state_mask) != wait_word::waiting || !t.implicit.load(std::memory_order_relaxed)) return;
  if (claim(t, wait_word::generation(word), how::cancel)) t.sched->make_ready(&t);
}

// ---- registration ---------------------------------------------------------------------------------------------------

namespace {

/// Locks s. Finding it taken is what tells that its node needs more shards.
void lock_and_look(context_shard& s) noexcept WEFT_ACQUIRE(s.lock) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (s.lock.try_lock()) return;
  if (s.node->spread.load(std::memory_order_relaxed) == nullptr) s.node->crowded.store(true, std::memory_order_relaxed);
  s.lock.lock();
}

/// No lock is held, and the caller keeps n. Without memory for it, the one shard has to do.
__attribute__((noinline)) void spread(cancel_node& n, scheduler& of) noexcept {
  tsan_ignore const lists;  // who registers sees no edge to who made them
  n.crowded.store(false, std::memory_order_relaxed);
  if (of.processors() == 1 || n.spread.load(std::memory_order_relaxed) != nullptr) return;
  auto fresh = std::unique_ptr<spread_shards>(new (std::nothrow) spread_shards(n, of.processors()));
  if (fresh == nullptr || !fresh->complete()) return;
  spread_shards* none = nullptr;
  // release: pairs with who registers; C4 comes after the fence of C3. acquire: from C2's, which has found none
  if (n.spread.compare_exchange_strong(none, fresh.get(), std::memory_order_acq_rel, std::memory_order_relaxed))
    fresh.release();
}

}  // namespace

void unregister(task& t) noexcept {
  context_shard& s = *t.shard;
  bool crowded = false;
  {
    tsan_hidden const lists;
    lock_and_look(s);
    (t.shard_prev != nullptr ? t.shard_prev->shard_next : s.head) = t.shard_next;
    if (t.shard_next != nullptr) t.shard_next->shard_prev = t.shard_prev;
    t.shard = nullptr;
    t.shard_next = t.shard_prev = nullptr;
    s.lock.unlock();
    crowded = s.node->crowded.load(std::memory_order_relaxed);
  }
  if (crowded) [[unlikely]]
    spread(*s.node, *t.sched);
}

void unregister_from(task& t, cancel_node const* n) noexcept {
  if (t.shard != nullptr && t.shard->node == n) unregister(t);
}

void register_wait(task& t, cancel_node& n, worker const& here) noexcept {
  tsan_hidden const lists;
  if (!n.used.load(std::memory_order_acquire)) {
    n.used.store(true, std::memory_order_relaxed);
    full_fence();  // before H3 looks at the stage: C2 sees `used`, or H3 sees the stage
  }
  // Who finds `used` set by another passes no fence of its own, and the other may not have come to its one. Where C2 has missed `used`, the stage had come to
  // memory before that store did; the load above (acquire) found it there, and H3 looks later. That is an argument about processors on which a
  // store comes to all others at once (multi-copy atomic: x86-64, ARM64). C++ does not promise it: there, C2 would have to ask by an exchange
  // and the first one to store by another, as with `spread`.
  spread_shards* const more = n.spread.load(std::memory_order_acquire);
  processor const* const p = here.held();
  context_shard& s = more == nullptr ? n.first_shard : more->of(p != nullptr ? p->index : here.index);
  lock_and_look(s);
  t.shard = &s;
  t.shard_prev = nullptr;
  t.shard_next = s.head;
  if (s.head != nullptr) s.head->shard_prev = &t;
  s.head = &t;
  s.lock.unlock();
}

/// C2. Lists that are found empty stay so, as far as this cancellation goes: who registers later takes the lock after this look at it, so that its H3
/// sees the stage. Nor is there more to look at where `spread` is null: that is asked by an exchange, from which the one that installs it reads, so
/// that who comes by it sees the stage, too.
bool has_registered(cancel_node& n) noexcept {
  if (!n.used.load(std::memory_order_relaxed)) return false;
  auto const any = [](context_shard& s) {
    guard hold(s.lock);
    tsan_ignore const lists;
    return s.head != nullptr;
  };
  if (any(n.first_shard)) return true;
  spread_shards* more = nullptr;
  if (!n.spread.compare_exchange_strong(more, nullptr, std::memory_order_acq_rel, std::memory_order_acquire))
    for (unsigned i = 0; i < more->count(); ++i)
      if (any(more->of(i))) return true;
  return false;
}

namespace {

/// C4, C5 for one shard.
void wake_registered(context_shard& s) noexcept {
  ready_list woken;
  {
    guard hold(s.lock);
    tsan_ignore const lists;
    for (task* t = s.head; t != nullptr; t = t->shard_next) {
      std::uint64_t const generation = wait_word::generation(t->word.load(std::memory_order_acquire));
      if (claim(*t, generation, how::cancel)) woken.push(*t);
    }
  }
  ready_all(woken);
}

}  // namespace

/// The same for one node. Shards that were spread out after C3 are not seen here, and need not be: H3 of who registered there sees the
/// stage.
void wake_registered(cancel_node& n) noexcept {
  wake_registered(n.first_shard);
  if (spread_shards* const more = n.spread.load(std::memory_order_acquire))
    for (unsigned i = 0; i < more->count(); ++i) wake_registered(more->of(i));
}

cancel_node* current_context() noexcept {
  task* t = current_task();
  return t != nullptr ? t->current_context() : nullptr;
}

// A handle may have made the task's own context since W1. Who cancels above has marked that first, H3 has seen it there, and the mark on the own
// one may be still to come. Those who catch the exception ask their context.
cancel_node* cancelled_context() noexcept {
  cancel_node* const n = current_context();
  if (n != nullptr && n->inherits && !n->is_touched() && n->parent != nullptr && n->parent->is_cancelled())
    cancel_as_parent(*n);
  return n;
}

// By the way up, not by a pointer in the channel: the channel may outlive its node.
bool is_own_done_channel(void const* done) noexcept {
  cancel_node const* n = current_context();
  while (n != nullptr && n->done_channel.load(std::memory_order_acquire) != done) n = n->inherits ? n->parent : nullptr;
  return n != nullptr;
}

}  // namespace weft::rt
