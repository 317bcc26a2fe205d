// timer_heap: the deadlines of one processor, a 4-ary heap with lazy removal.
//
// What it decides. A heap answers one question, "what is due", with a list of copies, and calls nothing above it: the
// scheduler fires and releases what the list names, with no lock of the heap held. The usual life of a deadline is to
// be set and then not needed, so disarming costs one compare-exchange and leaves the node where it is; arming a node
// that still lies in a heap writes its new deadline into it and mostly moves nothing.
//
// Words. A node is *out* (in no heap), *armed* (in a heap, to be fired) or *dead* (in a heap, not to be fired). The heap
// that a node lies in is its *home*, whichever processor its task runs on now. A *hold* keeps the owner alive:
// ops->retain is called once when a node goes into a heap, ops->release is owed once for each entry that comes out of
// collect or drain. A node that was handed out may be armed again before its entry has been released: then two holds
// are out, so holds are counted by the owner.
//
// The protocol. Arms of one node are serialised by its owner (a task has one wait at a time); everything else may race.
//   reserve  T1 used += 1, no lock; at the limit grow the array (allocated outside the lock, copied under it)
//   arm      T2 home set: lock that heap, look again; still its home: re-arm in place. Otherwise lock this heap, insert
//            T3 write node.when; state.exchange(generation | armed). A later deadline is only recorded: the entry keeps
//               its old key and is put right when it surfaces (T6). An earlier one moves up now
//            T4 publish the earliest deadline, before the lock is released
//   disarm   T5 state: generation | armed -> generation | dead by compare-exchange; home's dead count += 1. No lock
//   collect  T6 under the lock, at the top: dead: take out, hand out to release. Armed, but node.when is later than the
//               key: move down. Armed and due: compare-exchange to out, home = null, hand out a copy
//            T7 if over a quarter of the entries (and more than 64) is dead: look through the next 256 entries too
//            Work under the lock is bounded: at most max taken out, 256 moved down, 256 looked through
//   crowd    T10 each 1,024th entry that comes while so many are dead asks whoever arms (take_crowded) to have them collected: the heap's own
//               worker may be in a task that arms and disarms, and does not come back to its timers
//   end      T9 drained, wait until dead is 0. A thread that is no worker may have won T5 and not yet counted, and all who are counted have
//               been taken out: so the count is below 0 until the last of them has
//   index    T8 a node's index is written where its entry is put in or moves down. What moves up into the place of one that went has
//               moved to its parent's place: an entry is at its node's index or at an ancestor of that, and place_of looks there
//
// Why it holds.
//   - T5 and T6 are compare-exchanges on one word from the same value (a generation is armed once): one of them wins,
//     so an armed generation is either handed out to be fired or disarmed. What it means when an entry is handed out
//     while its task is being woken by somebody else is settled by the claim on the task's wait word.
//   - home is null -> X only by the node's armer, X -> null only under X's lock. So the armer's "null" stays true and its
//     "X" is checked again under X's lock. T6 sets the state before home (release), T2 reads home first (acquire): who
//     sees null also sees "out".
//   - A disarm that wins its compare-exchange from the state that it loaded knows that home did not change in between.
//   - earliest may be too early (a dead or postponed top), never too late: it is lowered at T4, under the lock, and
//     raised only by who looked at the top under the lock.
//   - The array is large enough for T2: an entry and a reservation count one each in `used`, an arm turns one into the other.
//
// Waking a sleeper: T4 lowers `earliest` with seq_cst, and next_deadline() is seq_cst. A thread that will sleep until D
// stores its announcement (seq_cst), reads next_deadline() again and sleeps only if it is not before D; an armer to whom
// arm() returned true then reads the announcement (seq_cst). One of the two sees the other.
//
// Sleep has no object whose lock would keep a cancelled sleeper from reusing its node before the hook has armed it, so
// the heap is that object: lock_for(node) before the switch, arm_locked and unlock in the hook; on resume after a cancel,
// lock and unlock the same heap once.
//
// Rejected: removal at disarm (O(log n) under another processor's lock, on the path of every I/O with a time-out); a
// wheel (its granularity would show in time-outs, and idle slots must be walked); clean-up inside arm (it runs in a
// hook, under a channel's lock, and has nowhere to put the owners that it frees); clean-up in one go (a cache
// miss an entry: for a million entries a tenth of a second under the lock); a second entry for an earlier deadline, which
// would spare the index in the node but leaves a trail of stale entries behind a task whose time-outs are long and short
// in turn.
#pragma once

#include <weft/detail/annotations.hpp>
#include "runtime/base/lock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace weft::rt {

class timer_heap;
struct timer_node;

// What a kind of owner (task, context, timer) does with its node. One constant table a kind.
struct timer_ops {
  // One more hold on the owner. Only counts: called in hooks and under the heap's lock; no throw, no lock, no allocation.
  void (*retain)(void* owner) noexcept;
  // The deadline of this generation has passed. Called by the scheduler, from a due entry, never by this layer.
  void (*fire)(timer_node& node, void* owner, std::uint64_t generation);
  // One hold less; may free the owner. Called by the scheduler, for every entry handed out, after fire.
  void (*release)(void* owner);
  // In its place for an entry that is not to be fired: dead, or drained, and then its deadline is never seen. Null: release does.
  void (*abandon)(void* owner) = nullptr;
  // Whether firing it would do no more than arm it again. Null: no. For simulated runs, where nothing else happens meanwhile.
  bool (*idles)(void* owner) = nullptr;
};

inline constexpr std::int64_t no_deadline = std::numeric_limits<std::int64_t>::max();

// Embedded in what can time out. Must not be destroyed while in_heap(); the hold sees to that.
struct timer_node {
  timer_node(timer_ops const& o, void* who) noexcept : ops(&o), owner(who) {}
  timer_node(timer_node const&) = delete;
  timer_node& operator=(timer_node const&) = delete;

  timer_ops const* const ops;
  void* const owner;

  // Approximate for everybody but the armer, to whom false is final.
  bool in_heap() const noexcept { return home_.load(std::memory_order_acquire) != nullptr; }
  // The generation that was armed last.
  std::uint64_t generation() const noexcept { return state_.load(std::memory_order_relaxed) >> 2; }
  bool armed() const noexcept { return (state_.load(std::memory_order_acquire) & 3) == 1; }
  // For the armer and for dumps: the deadline that was armed last.
  std::int64_t when() const noexcept { return when_.load(std::memory_order_relaxed); }

 private:
  friend class timer_heap;

  std::atomic<std::uint64_t> state_{0};          // generation << 2 | out, armed or dead; T3, T5, T6
  std::atomic<timer_heap*> home_{nullptr};       // written under the lock of the heap it names
  std::atomic<std::int64_t> when_{no_deadline};  // written under home's lock; atomic for dumps alone
  std::uint32_t index_{0};                       // guard: home's lock. T8
};

// What collect and drain hand out: a copy, and with it one hold on the owner. The receiver calls fire (unless null: then
// the node was dead or the runtime is shutting down), then release; both with no lock of weft's held.
struct due_entry {
  void* owner;
  timer_node* node;
  std::uint64_t generation;
  void (*fire)(timer_node& node, void* owner, std::uint64_t generation);
  void (*release)(void* owner);
};

class alignas(64) timer_heap {
 public:
  timer_heap() noexcept = default;
  timer_heap(timer_heap const&) = delete;
  timer_heap& operator=(timer_heap const&) = delete;
  ~timer_heap();  // must be empty: drain first. Waits for calls of disarm, which must find nothing of it any more

  // Sets room aside for one arm on this heap, which then cannot need memory. False: no memory. Each success is followed
  // by exactly one arm / lock_for on this heap, or by unreserve_one. Allocates only when the array is full.
  bool reserve_one() noexcept;
  void unreserve_one() noexcept;

  // T10, once each time. For who has armed, outside of sections and locks: it has somebody awake look at the timers.
  bool take_crowded() noexcept {
    return crowded_.load(std::memory_order_relaxed) && crowded_.exchange(false, std::memory_order_relaxed);
  }

  // Arms the node for `when` (ns of weft's clock), in this heap or, if it still lies in one, there. Needs a
  // reservation on this heap and consumes it. The generation must not have been armed before; an older one that is
  // still armed is superseded. Neither throws nor allocates.
  // True: the earliest deadline of the heap where the node is now became earlier; whoever sleeps until that heap's
  // next deadline must be woken.
  bool arm(timer_node& node, std::int64_t when, std::uint64_t generation) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS;

  // The same in two steps, for a sleep (see above). lock_for locks and returns the heap that the node lies in, or this
  // one; with the reservation on *this*. arm_locked is called once on the heap returned, then unlock.
  timer_heap& lock_for(timer_node& node) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS;
  bool arm_locked(timer_node& node, std::int64_t when,
                  std::uint64_t generation) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS;
  void lock() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS { lock_.lock(); }
  void unlock() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS { lock_.unlock(); }

  // True: that generation was armed and will not be handed out to be fired. False: it has been, or was never armed.
  // O(1), no lock, whichever heap it is in. The caller keeps the owner alive meanwhile.
  static bool disarm(timer_node& node, std::uint64_t generation) noexcept;

  // Takes out what is due at `now`, earliest first, and dead nodes met on the way, at most max; the number stored.
  // Its work is bounded, so more may be due afterwards whatever it returned: needs_collect(now) says. Anybody may call it.
  std::size_t collect(std::int64_t now, due_entry* out, std::size_t max) noexcept;

  // Whether collect(now) has something to do: a deadline has passed, or too much is dead. To be asked between tasks
  // and before sleeping; two loads.
  bool needs_collect(std::int64_t now) const noexcept { return next_deadline() <= now || too_many_dead(); }

  // The earliest deadline, no_deadline if there is none. May be early, never late.
  std::int64_t next_deadline() const noexcept { return earliest_.load(std::memory_order_seq_cst); }

  // Whether all that is armed idles. Called by the only thread there is, in a simulated run.
  bool only_idles() const noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS;

  // Takes out everything, to be released and not fired, at most max at a time; 0: empty. For shutdown.
  std::size_t drain(due_entry* out, std::size_t max) noexcept;

  // Entries (dead ones included), dead entries, and entries plus reservations: snapshots.
  std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  std::size_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
  std::size_t dead() const noexcept {
    std::int64_t const n = dead_.load(std::memory_order_relaxed);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }

 private:
  struct entry {
    std::int64_t key;  // <= node->when_
    timer_node* node;
  };

  ranked_lock lock_{lock_rank::timer_heap};

  bool too_many_dead() const noexcept { return dead() > 64 && dead() * 4 > size(); }
  bool grow() noexcept;
  std::size_t place_of(timer_node const& node) const noexcept WEFT_REQUIRES(lock_);
  void set(std::size_t i, entry e) noexcept WEFT_REQUIRES(lock_);
  void sift_up(std::size_t i, entry e) noexcept WEFT_REQUIRES(lock_);
  void sift_down(std::size_t i, entry e) noexcept WEFT_REQUIRES(lock_);
  void remove(std::size_t i) noexcept WEFT_REQUIRES(lock_);
  bool publish() noexcept WEFT_REQUIRES(lock_);
  due_entry take_out(std::size_t i, std::uint64_t state, bool fire) noexcept WEFT_REQUIRES(lock_);
  std::size_t sweep(due_entry* out, std::size_t max) noexcept WEFT_REQUIRES(lock_);

  void* block_ WEFT_GUARDED_BY(lock_) = nullptr;  // the allocation that entries_ points into
  entry* entries_ WEFT_GUARDED_BY(lock_) = nullptr;
  std::size_t sweep_at_ WEFT_GUARDED_BY(lock_) = 0;  // T7 goes on below this index
  std::atomic<std::size_t> size_{0};                 // written under lock_, read by anybody
  std::atomic<std::size_t> capacity_{0};             // written under lock_, only grows; read at T1
  // Entries plus reservations; <= capacity_ but for a reserve that is about to fail.
  std::atomic<std::size_t> used_{0};
  std::atomic<bool> crowded_{false};
  // On lines of their own: the first is read by the monitor and by searchers, the second written from other processors.
  alignas(64) std::atomic<std::int64_t> earliest_{no_deadline};  // written under lock_
  alignas(64) std::atomic<std::int64_t> dead_{0};  // for a moment negative, when T6 overtakes the second half of T5
};

}  // namespace weft::rt
