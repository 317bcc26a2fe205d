// cancel_node: one node of the tree of contexts, and cancellation as a claimant of waits (protocol B, C1 to C5).
//
//   cancel C1 err, cause, done, stage in the node and, node by node under its lock, in all below
//          C2 no task is registered there, by a look at each shard under its lock if ever one was: done, as after each within()
//             that ends in time
//          C3 one heavy fence                                    pairs with H2
//          C4 each shard under its lock: claim the CANCELLABLE waits, keep the winners
//          C5 unlock, make them ready in bulk; then the listeners
// If C4 misses a task's WAITING, that task's H3 sees the stage.
//
// A task registers with a node when it first parks under it (H0) and stays registered until it waits under another or ends, so the
// cost is paid once, and by those that park alone. A node has one shard; once that has been found locked by another it gets one
// a processor besides, so that who registers from different processors, or ends there, does not meet. They are made by the next task that
// leaves a list, with no lock held: under those that never end the one shard has to do. Tasks spawned under a node take no lock.
// H0 comes in the hook, under the object's lock: nothing is locked under a shard's. C4 holds a shard for long where many are woken. A hook
// that sees the stage does not register; one that looked just before C1 waits for the end of C4 with its object locked.
//
// Each handle-spawned task has a context of its own, made when it is first needed: when the task asks for its context, derives
// one, or spawns (children inherit it), or when a handle cancels it. In that last case a wait may already be under way that
// knows only the inherited context; cancel_own() therefore claims that one wait directly (task::implicit tells it apart).
// Such a wait may also fall to a cancellation from above that has not come to the new context yet: then the task cancels it (R4, cancelled_context).
//
// References: handles, children (each holds its parent), exceptions, tasks that inherited it. Tasks do not count roots, whose one
// counter all processors would share: a runtime holds its root until its last task has ended, and a task forgets it then.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <system_error>

#include "runtime/base/lock.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/timer/timer_heap.hpp"

namespace weft::detail {
struct context_key_name;
}

namespace weft::rt {

struct task;
struct cancel_node;
struct worker;
class scheduler;

// To ThreadSanitizer these lists are not there. Nearly all tasks register under one context, so the locks would order what a task did before
// it first parked, and before its end, with what others do after theirs, and hide the races in between.
struct context_shard {
  ranked_lock lock{lock_rank::context_shard};
  task* head = nullptr;         // guarded by lock; links in the task
  cancel_node* node = nullptr;  // constant
};

/// A shard a processor, each on a line of its own.
class spread_shards {
 public:
  spread_shards(cancel_node& of, unsigned count) noexcept;
  [[nodiscard]] bool complete() const noexcept { return shards_ != nullptr; }  // false: there was no memory
  [[nodiscard]] unsigned count() const noexcept { return count_; }
  [[nodiscard]] context_shard& of(unsigned processor) noexcept { return shards_[processor % count_].shard; }

 private:
  struct alignas(64) padded {
    context_shard shard;
  };
  unsigned const count_;
  std::unique_ptr<padded[]> const shards_;
};

/// Called once when a context is cancelled, on the canceller's stack, with no lock held. Must neither block nor throw; starting a
/// task is the way to do more. Unregistered under the node's lock.
struct cancel_listener {
  void (*notify)(cancel_listener&) noexcept = nullptr;
  void (*release)(cancel_listener&) noexcept =
      nullptr;  // if not null: called when the node goes without having been cancelled
  cancel_listener* next = nullptr;
  cancel_listener* prev = nullptr;
  bool linked = false;
};

enum class cancel_kind : std::uint8_t { none, cancelled, timed_out };
enum class cancel_stage : std::uint8_t { none, closing_done, set };  // the second only under the node's lock

struct cancel_node {
  cancel_node(scheduler* s, cancel_node* parent, bool inherits, std::uint32_t references = 1);
  ~cancel_node();
  cancel_node(cancel_node const&) = delete;
  cancel_node& operator=(cancel_node const&) = delete;
  static void* operator new(std::size_t size);  // the calling worker's context_memory
  static void operator delete(void* memory) noexcept;

  std::atomic<cancel_stage> stage{cancel_stage::none};  // C1, release; W1, H0 and H3 read it
  std::atomic<bool> used{false};                        // a task has registered once: C2
  bool is_root = false;                                 // constant from creation; tasks do not count it
  bool is_tasks_own = false;                    // the same. No signal and no std::stop_token has a pointer to it
  bool const inherits;                          // false: without_cancel, a parent's cancellation stops here
  scheduler* const sched;                       // may be null: made outside of any runtime; may have gone: guest.cpp
  cancel_node* const parent;                    // counted
  std::atomic<spread_shards*> spread{nullptr};  // not null: who registers from now on does so there; installed once

  // The done channel, made by the channel layer at first use: closed under `lock`, in stage closing_done.
  std::atomic<void*> done_channel{nullptr};
  void (*close_done)(void*) noexcept = nullptr;  // constant once done_channel is set
  void (*release_done)(void*) noexcept = nullptr;

  // Set at creation.
  std::int64_t deadline = never;
  detail::context_key_name const* key = nullptr;
  std::shared_ptr<void> value;
  timer_node* timer = nullptr;  // with a deadline of its own

  // At the other end than `stage`, which all tasks read: who makes a context below this one or lets go of it, and those that park or end on
  // several workers, write what follows.
  ranked_lock lock{lock_rank::context_node};
  cancel_kind kind = cancel_kind::none;  // guarded by lock; constant once it is set in `stage`
  std::exception_ptr cause;              // the same
  bool started_here = false;             // the same: the cancellation began at this node, not above
  cancel_node* first_child = nullptr;    // guarded by lock
  cancel_node* next_sibling = nullptr;   // guarded by the parent's lock
  cancel_node* prev_sibling = nullptr;
  bool is_child = false;                 // guarded by the parent's lock: stands in its list
  cancel_listener* listeners = nullptr;  // guarded by lock
  cancel_listener* stop_bridge =
      nullptr;                        // guarded by lock; the one that serves std::stop_token; dangles once kind is set
  cancel_node* visit_next = nullptr;  // owned by the one cancellation that set the parent's `kind`
  cancel_node* work_next = nullptr;   // owned by the one cancellation that set `kind` here
  context_shard first_shard;
  std::atomic<bool> crowded{false};  // first_shard was found locked: a hint
  std::atomic<std::uint32_t> refs;

  /// Without a lock. May be false for a moment when the done channel is closed already.
  [[nodiscard]] bool is_cancelled() const noexcept {
    return stage.load(std::memory_order_acquire) == cancel_stage::set;
  }
  /// Whether it is cancelled, or is being cancelled: then one of the others says which.
  [[nodiscard]] bool is_touched() const noexcept { return stage.load(std::memory_order_acquire) != cancel_stage::none; }
  /// True for who has found the done channel closed, and who gets true finds it closed. Takes the node's lock while it is being closed.
  [[nodiscard]] bool is_cancelled_for_all() noexcept {
    cancel_stage const now = stage.load(std::memory_order_acquire);
    if (now != cancel_stage::closing_done) [[likely]]
      return now == cancel_stage::set;
    guard hold(lock);
    return true;
  }
  /// none until cancelled; who sees it set finds the done channel closed, and who finds that closed sees it set.
  [[nodiscard]] cancel_kind err() noexcept;
  [[nodiscard]] std::exception_ptr cause_now() noexcept;
};

inline void retain(cancel_node* n, std::uint32_t times = 1) noexcept {
  if (n != nullptr) n->refs.fetch_add(times, std::memory_order_relaxed);
}
/// A reference from a place that does not count as one; false: the last one is going.
[[nodiscard]] bool try_retain(cancel_node& n) noexcept;
/// drop(), unless it is the last one: then false, and nothing has happened.
[[nodiscard]] bool drop_unless_last(cancel_node& n) noexcept;
void drop(cancel_node* n, std::uint32_t times = 1) noexcept;
/// The rest of drop(), for who has counted the last reference down itself.
void drop_last(cancel_node* n) noexcept;
/// drop() without going on to the parent: whose reference is the caller's to drop; null: none.
[[nodiscard]] cancel_node* drop_alone(cancel_node& n, std::uint32_t times) noexcept;

/// A child of `parent` (null: no parent), with one reference for the caller. Born cancelled if the parent is. Throws bad_alloc.
[[nodiscard]] cancel_node* make_context(scheduler* s, cancel_node* parent, bool inherits = true);
/// Puts a new node, whose reference to its parent is counted already, in the parent's list; cancels it if the parent is cancelled.
void put_below_parent(cancel_node& n) noexcept;
/// The same for a context of a task's own, and puts it into `place`, unless there is one: then `n` is as new, and false. Two that do this at
/// once, the task itself and a handle's cancel(), have the same parent, so they agree under its lock.
[[nodiscard]] bool put_into(std::atomic<cancel_node*>& place, cancel_node& n) noexcept;
/// As its parent is, which is cancelled, for good.
void cancel_as_parent(cancel_node& n) noexcept;
/// make_context() with a deadline: cancels itself with timed_out. Only inside a runtime.
[[nodiscard]] cancel_node* make_context_until(scheduler& s, cancel_node* parent, std::int64_t deadline);

/// C1 to C5. False: it was cancelled already. Safe from any thread, hook or native stack.
bool cancel(cancel_node& n, cancel_kind kind, std::exception_ptr cause) noexcept;
/// Disarms the deadline's timer, once the context is of no more use.
void disarm_deadline(cancel_node& n) noexcept;

/// False, and nothing registered: it is cancelled already.
[[nodiscard]] bool add_listener(cancel_node& n, cancel_listener& l) noexcept;
/// True: it will not be called. False: it was, or is being called.
bool remove_listener(cancel_node& n, cancel_listener& l) noexcept;

/// The calling task's own context, made if need be. Throws bad_alloc.
[[nodiscard]] cancel_node& own_context_of(task& t);
/// The same where it was not there a moment ago.
[[nodiscard]] cancel_node& make_own_context(task& t);
/// How many of its children a task counts ahead, in its own context's references.
inline constexpr std::uint16_t children_ahead = 64;
/// What join_handle::cancel does.
void cancel_own(task& t);

/// H0, on `here`: a task that is registered nowhere, which waits under n.
void register_wait(task& t, cancel_node& n, worker const& here) noexcept;
/// The task itself, with no lock held, and the node kept.
void unregister(task& t) noexcept;
/// The same, if it is n that the task is registered with: n may go, and the task will not wait under it again.
void unregister_from(task& t, cancel_node const* n) noexcept;
/// C2: whether a task may be registered with n.
[[nodiscard]] bool has_registered(cancel_node& n) noexcept;
/// C4, C5.
void wake_registered(cancel_node& n) noexcept;

}  // namespace weft::rt
