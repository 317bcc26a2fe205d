// A context as far as its model goes (context.cpp), and its references: step by step as in runtime/sched/cancel_node.cpp, under the same names.
#pragma once

#include "runtime/sched/wait.hpp"

#include "tests/model/explorer.hpp"

namespace model {

using weft::rt::object_lock;

/// cancel_node, with room for one task that registers and one child.
struct context {
  std::atomic<bool> stage{false};
  std::atomic<bool> used{false};
  std::atomic<std::uint32_t> refs{0};
  object_lock lock;
  bool cancelled = false;     // guarded by lock
  context* child = nullptr;   // the same
  bool is_child = false;      // guarded by the parent's lock
  context* parent = nullptr;  // constant
  bool is_root = false;       // constant, as the next
  bool is_tasks_own = false;
  object_lock shard;
  bool registered = false;  // guarded by shard
  plain memory;             // read by whoever uses it, written by who gives it back
  bool made = false, gone = false;
};

inline void lock_unless(bool left_out, object_lock& l) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (!left_out) l.lock();
}
inline void unlock_unless(bool left_out, object_lock& l) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (!left_out) l.unlock();
}

inline void use(context& n) {
  n.memory.read();
  check(!n.gone, "a context is used after its end");
}

// ---- references -----------------------------------------------------------------------------------------------------

inline void create(context& n, context* parent, std::uint32_t references, bool tasks_own = false) {
  n.made = true;
  n.parent = parent;
  n.is_tasks_own = tasks_own;
  n.refs.store(references, std::memory_order_relaxed);
}

inline void retain(context& n) {
  use(n);
  n.refs.fetch_add(1, std::memory_order_relaxed);
}

inline bool try_retain(context& n) {
  use(n);
  bool const even_from_none = mutated("try_retain: counts up from none");
  std::uint32_t refs = n.refs.load(std::memory_order_relaxed);
  while (refs != 0 || even_from_none)
    if (n.refs.compare_exchange_weak(refs, refs + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  return false;
}

inline std::uint32_t count_down(context& n, std::uint32_t times, order o) {
  std::uint32_t const before = n.refs.fetch_sub(times, o);
  check(before >= times, "a reference is dropped that nobody has");
  return before;
}

inline void leave_parent_locked(context& n, context& parent) {
  if (n.is_child) parent.child = nullptr;
}

inline bool let_go(context& n, std::uint32_t times) {
  use(n);
  order const last = mutated("let_go: nothing is acquired from who dropped the others") ? std::memory_order_relaxed
                                                                                        : std::memory_order_acquire;
  bool const sole = times > 1 && n.is_tasks_own && n.refs.load(last) == times;
  order const down =
      mutated("let_go: what it did is not released") ? std::memory_order_acquire : std::memory_order_acq_rel;
  if (!sole && count_down(n, times, down) != times) return false;
  context* const parent = n.parent;
  if (parent == nullptr) return true;
  bool const unlocked = mutated("let_go: the parent is left without its lock");
  lock_unless(unlocked, parent->lock);
  bool goes = true;
  if (sole) {
    bool const looks = !mutated("let_go: does not look again under the parent's lock");
    if (!looks || n.refs.load(last) == times) n.refs.store(0, std::memory_order_relaxed);
    else goes = count_down(n, times, std::memory_order_acq_rel) == times;
  }
  if (goes) leave_parent_locked(n, *parent);
  unlock_unless(unlocked, parent->lock);
  return goes;
}

inline context* give_back(context& n) {
  n.memory.write();
  check(!n.gone, "a context is given back twice");
  n.gone = true;
  return n.parent;
}

inline void drop(context* n, std::uint32_t times = 1) {
  for (; n != nullptr; times = 1) n = let_go(*n, times) ? give_back(*n) : nullptr;
}

/// end_unjoinable, with drop_last.
inline void drop_at_end(context& n) {
  use(n);
  if (count_down(n, 1, std::memory_order_acq_rel) != 1) return;
  bool const unlocked = mutated("drop_last: the parent is left without its lock");
  lock_unless(unlocked, n.parent->lock);
  leave_parent_locked(n, *n.parent);
  unlock_unless(unlocked, n.parent->lock);
  drop(give_back(n));
}

}  // namespace model
