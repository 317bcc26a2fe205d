// Waiting, claiming, waking: protocol B, the only way to block in weft.
//
// A blocking call describes its wait in a record on its own stack, queues the record in the object's wait list under the
// object's lock, and parks with the lock still held. Whoever ends the wait must first *claim* the waiter: exactly one of
// partner, close, timeout and cancellation wins the compare-exchange on waiter::word, and only the winner makes the
// waiter ready. Tasks and plain threads wait with the same records; a task parks, a thread sleeps on a futex.
//
//   wait    W1 cancellation_point(): cancelled -> throw
//           W2 lock the object(s); try; done: unlock, return
//           W3 begin_wait(): generation + 1, IDLE; fill and link the records; park() WITH the lock(s) held
//   hook    on the stack that runs next, so that nobody can resume the task before it has left its own:
//           H0 cancellable, and the first under this context: register with it
//           H1 publish WAITING | generation | CANCELLABLE?      H2 light fence, pairs with C3
//           H3 context's flag set and cancellable: claim(cancel) H4 arm the timer   H5 unlock   H6 H3 won: ready
//   claim   WAITING and same generation -> CLAIMED(how), FROZEN kept
//   partner, close   under the object's lock: pop_claimed(); deliver (noexcept); unlock; ready(); never touch it again
//   timer   copy (task, generation) under the heap's lock, unlock, claim, ready        cancel: see cancel_node.hpp
//   resume  R1 read how; IDLE   R2 unlink what is still linked, under each object's lock, unless a partner popped the
//           only record   R3 timer node dead (lazily)   R4 partner: the operation happened, even if cancelled meanwhile
//   freeze  F1 WAITING -> WAITING|FROZEN: the task stays where it is, its stack and its request may be read
//   ready   by the winner, when it has delivered: F2 not FROZEN: queue it   F3 FROZEN -> FROZEN|DELIVERED: leave it to the thawer;
//           the exchange failed because FROZEN went: queue it
//   thaw    F4 FROZEN and DELIVERED off; DELIVERED was set: queue it
//
// R2 is what makes a claim by timer or cancellation safe: the lock is held from W2 to H5, so a claimed task cannot free
// the object, or leave the frame its record lies in, before the hook and every popper are done with them.
//
// Freezing. A frozen task cannot run: nobody but the winner of its claim and the thawer may queue it, and F2 sees FROZEN, since it is
// set only on a WAITING word, hence before the claim that F2 follows, and taken off by F4 alone. It is queued exactly once: F3 and F4
// are read-modify-writes of one word. F3 first: F4 finds DELIVERED. F4 first: F3, or F2, finds FROZEN gone. F4 between the claim and
// the end of the delivery finds no DELIVERED and leaves the task to the winner: an own bit is needed, since CLAIMED alone does not
// say that the value has been moved. Claims, objects' locks and timers know nothing of it, so a freeze delays nobody but its task.
// F1 acquires what the task wrote before H1 (request, own_stack) and the hook before H1 (where the stack was left); F4 releases the
// freezer's reads to whoever resumes the task. One freezer at a time: the walk over the tasks (task.hpp) sees to that.
//
// Rejected: leaving the record linked until the woken task unlinks it (two quick notifies reach the same waiter: a lost
// wake-up), and separate flags per kind of waker (no single winner).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <weft/detail/deadline.hpp>
#include <weft/detail/wait.hpp>
#include <weft/error.hpp>

#include "runtime/base/bias.hpp"
#include "runtime/base/lock.hpp"

namespace weft::rt {

using detail::never;
using detail::wait_list;

/// Who ended a wait.
enum class how : std::uint8_t { none, partner, close, timeout, cancel };

/// What a waiter waits for; shown by dumps. Keep wait_reason_names in step.
enum class wait_reason : std::uint8_t {
  none,
  chan_send,
  chan_recv,
  select,
  sleep,
  join,
  mutex,
  shared_mutex,
  condition_variable,
  semaphore,
  latch,
  barrier,
  call_once,
  wait_group,
  task_group,
  io_read,
  io_write,
  blocking_call,
  signal,
  runtime_end,
  idle
};
inline constexpr char const* wait_reason_names[] = {"nothing",
                                                    "channel send",
                                                    "channel receive",
                                                    "select",
                                                    "sleep",
                                                    "join",
                                                    "mutex",
                                                    "shared_mutex",
                                                    "condition_variable",
                                                    "semaphore",
                                                    "latch",
                                                    "barrier",
                                                    "call_once",
                                                    "wait_group",
                                                    "task_group",
                                                    "socket read",
                                                    "socket write",
                                                    "blocking call",
                                                    "signal",
                                                    "end of the runtime",
                                                    "idleness of the others"};
[[nodiscard]] constexpr char const* wait_reason_name(wait_reason r) noexcept {
  return wait_reason_names[static_cast<std::size_t>(r)];
}

/// Waits for what another holds and will give back.
[[nodiscard]] constexpr bool is_lock(wait_reason r) noexcept {
  return r == wait_reason::mutex || r == wait_reason::shared_mutex || r == wait_reason::call_once;
}

[[nodiscard]] constexpr bool is_io(wait_reason r) noexcept {
  return r == wait_reason::io_read || r == wait_reason::io_write;
}

/// waiter::word: generation | DELIVERED | FROZEN | CANCELLABLE | how | state. One word, changed only by the functions below.
namespace wait_word {
inline constexpr std::uint64_t state_mask = 3, idle = 0, waiting = 1, claimed = 2;
inline constexpr unsigned how_shift = 2;
inline constexpr std::uint64_t how_mask = 7u << how_shift;
inline constexpr std::uint64_t cancellable = 1u << 5;
inline constexpr std::uint64_t frozen = 1u << 6;
inline constexpr std::uint64_t delivered = 1u << 7;  // only beside frozen
inline constexpr unsigned generation_shift = 8;
constexpr std::uint64_t generation(std::uint64_t word) noexcept { return word >> generation_shift; }
constexpr how winner(std::uint64_t word) noexcept { return static_cast<how>((word & how_mask) >> how_shift); }
}  // namespace wait_word

struct park_request;
struct task;

/// The part of a task, or of a plain thread, that waits. Lies in type-stable memory: a late claimer may read `word` after
/// the wait, and even the task, has ended; the generation tells it so.
struct waiter {
  std::atomic<std::uint64_t> word{0};  // written by its owner (W3, H1, R1) and by claimers
  wait_record* winner = nullptr;       // written by the partner or closer that won, read by the owner after it resumed
  waiter* next_ready = nullptr;        // link of a ready_list; written by the winner, before ready
  park_request const* request = nullptr;  // written by the owner before H1; read by dumps while frozen (F1)
  bool is_thread = false;                 // constant
};

/// One place in one wait list. Lives on the waiting call's stack. All fields but `slot`'s target are guarded by the
/// object's lock once the record is linked.
struct wait_record {
  wait_record() noexcept = default;
  wait_record(waiter& w, std::uint64_t of, void* at) noexcept : who(&w), generation(of), slot(at) {}
  /// As the last one of this list, for push_back_filled(): each field is written once.
  wait_record(waiter& w, std::uint64_t of, void* at, wait_list const& list) noexcept
      : prev(list.tail), who(&w), generation(of), slot(at), linked(true) {}

  wait_record* next = nullptr;
  wait_record* prev = nullptr;
  waiter* who = nullptr;
  std::uint64_t generation = 0;
  void* slot = nullptr;     // where a partner takes the value from or puts it; meaning is the object's
  std::uint32_t index = 0;  // the object's own meaning
  bool linked = false;
  bool ok = false;  // set by the partner: the object's own meaning
};

// ---- the waiting side -----------------------------------------------------------------------------------------------

/// W1. The calling task's, or plain thread's, waiter. Throws weft::cancelled if the task's context is cancelled, waiting
/// is not shielded and no exception is unwinding the stack. Must be called before any object's lock is taken.
[[nodiscard]] waiter& cancellation_point();

/// W1 without the throw, for waits that have an answer of their own to cancellation (a select with an on_done case,
/// done().recv()): `cancelled` says whether cancellation_point() would have thrown.
[[nodiscard]] waiter& wait_point(bool& cancelled);

/// The throw of W1 alone, for the calling task, and W1 without it: for a call that mostly need not wait. With no other call of weft's in
/// between they are cancellation_point(); what is cancelled after the first is found by H3.
void throw_if_cancelled_here(task& self);
[[nodiscard]] waiter& prepare_wait();

/// The calling task's or thread's waiter for a wait that ignores cancellation (locks). Never throws but bad_alloc.
[[nodiscard]] waiter& uncancellable_waiter();
/// The same for callers that must not throw: waits for the memory that a plain thread's first wait needs.
[[nodiscard]] waiter& uncancellable_waiter_at_last() noexcept;

/// W3. Starts a new wait of `w` and returns its generation, for the records.
[[nodiscard]] inline std::uint64_t begin_wait(waiter& w) noexcept {
  std::uint64_t const generation = wait_word::generation(w.word.load(std::memory_order_relaxed)) + 1;
  w.word.store(generation << wait_word::generation_shift, std::memory_order_relaxed);  // IDLE
  return generation;
}

/// H1 and H2: from here on the wait can be claimed, and what the caller then reads (H3) is as new as what a canceller reads. A template
/// over the fences, since the argument stands on H2 and C3: a test takes them away and sees a cancellation get lost.
template <class Fences>
void publish_wait(waiter& w, std::uint64_t generation, bool cancellable) noexcept {
  w.word.store(
      (generation << wait_word::generation_shift) | wait_word::waiting | (cancellable ? wait_word::cancellable : 0),
      std::memory_order_release);  // H1
  Fences::light();                 // H2, pairs with C3
}

/// R1, by a waiter that goes on. Who ended its wait.
inline how end_wait(waiter& w) noexcept {
  std::uint64_t const word = w.word.load(std::memory_order_acquire);  // pairs with the claim
  w.word.store(word & ~(wait_word::state_mask | wait_word::how_mask), std::memory_order_relaxed);
  return wait_word::winner(word);
}

/// How to park. `unlock` is called once, on another stack (a plain thread calls it itself), and releases every lock that
/// the caller holds; it must not throw, allocate or run user code.
struct park_request {
  void (*unlock)(void* arg) noexcept;
  void* arg;
  std::int64_t deadline = never;  // on weft's clock
  wait_reason reason = wait_reason::none;
  void const* object = nullptr;  // shown by dumps
  bool cancellable = true;       // false for waiters from uncancellable_waiter()
};

/// park_request::unlock for an object_lock.
inline void unlock_object_lock(void* l) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  static_cast<object_lock*>(l)->unlock();
}

/// Parks the caller until somebody has claimed this wait; says who did. Nothing thread-local survives it. The caller
/// then does R2.
inline how park(waiter& w, park_request const& request) noexcept;
/// park() of a task without a deadline (switching.cpp), and all the rest of it (wait.cpp).
how park_task(waiter& w, park_request const& request) noexcept;
how park_otherwise(waiter& w, park_request const& request) noexcept;

inline how park(waiter& w, park_request const& request) noexcept {
  w.request = &request;
  return w.is_thread || request.deadline != never ? park_otherwise(w, request) : park_task(w, request);
}

/// W3, park and R2 for a wait on one list of one object whose `lock` the caller holds; the lock is released on return.
/// `record.slot` (and whatever else the object uses) may be set beforehand. Returns who ended the wait; on anything but
/// partner and close the record has been unlinked.
how wait_in(waiter& w, wait_list& list, object_lock& lock, wait_record& record, std::int64_t deadline,
            wait_reason reason, void const* object, bool cancellable = true) noexcept;

/// The calling task's current context; null on a plain thread.
[[nodiscard]] cancel_node* current_context() noexcept;
/// Whether `done` is the done channel of the calling task's context or of one above. Those above a without_cancel do not count: their
/// cancellation is not the task's.
[[nodiscard]] bool is_own_done_channel(void const* done) noexcept;
/// The same of a task whose wait was cancelled. It is cancelled, or does not stand under what ended the wait (the last call, a deadlock).
[[nodiscard]] cancel_node* cancelled_context() noexcept;
/// Throws the weft::cancelled that belongs to the calling task's context; called after a park() that returned cancel.
/// Inlined, since a frame costs the unwinder a quarter of a microsecond.
[[noreturn]] __attribute__((always_inline)) inline void throw_cancelled() {
  throw weft::cancelled(cancelled_context());
}

// ---- the waking side ------------------------------------------------------------------------------------------------

/// The claim. True: the caller is the one who must make `w` ready, after it has delivered. `even_locks`: a cancellation that also ends
/// waits which ignore it, for the unwinding of a deadlocked program (lock() throws then).
inline bool claim(waiter& w, std::uint64_t generation, how h, bool even_locks = false) noexcept {
  // acquire: what the waiter wrote before H1 (release) is visible to the winner, who reads the record's slot.
  std::uint64_t word = w.word.load(std::memory_order_acquire);
  std::uint64_t const waits = (generation << wait_word::generation_shift) | wait_word::waiting;
  for (;;) {
    // A WAITING word has neither `how` nor DELIVERED.
    if ((word & ~(wait_word::cancellable | wait_word::frozen)) != waits) return false;
    if (h == how::cancel && (word & wait_word::cancellable) == 0 && !even_locks) return false;
    std::uint64_t const taken = (word & ~(wait_word::cancellable | wait_word::state_mask)) |
                                (static_cast<std::uint64_t>(h) << wait_word::how_shift) | wait_word::claimed;
    if (w.word.compare_exchange_weak(word, taken, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
  }
}

inline void push_back(wait_list& list, wait_record& r) noexcept {
  r.next = nullptr;
  r.prev = list.tail;
  (list.tail != nullptr ? list.tail->next : list.head) = &r;
  list.tail = &r;
  r.linked = true;
}

/// push_back() of one that was made as the last of this list.
inline void push_back_filled(wait_list& list, wait_record& r) noexcept {
  (r.prev != nullptr ? r.prev->next : list.head) = &r;
  list.tail = &r;
}

inline void unlink(wait_list& list, wait_record& r) noexcept {
  (r.prev != nullptr ? r.prev->next : list.head) = r.next;
  (r.next != nullptr ? r.next->prev : list.tail) = r.prev;
  r.linked = false;
}

/// Under the object's lock: pops records until one could be claimed; nullptr if none is left. The caller delivers into
/// the record, takes record->who, unlocks, and makes that ready; it never touches the record after the unlock. Channels have their own: pop_partner.
inline wait_record* pop_claimed(wait_list& list, how h) noexcept {
  while (wait_record* r = list.head) {
    list.head = r->next;
    (r->next != nullptr ? r->next->prev : list.tail) = nullptr;
    r->linked = false;
    waiter& who = *r->who;
    if (claim(who, r->generation, h)) {
      who.winner = r;
      return r;
    }
  }
  return nullptr;
}

// ---- freezing -------------------------------------------------------------------------------------------------------

/// F1. True: the task waits, and stays where it is until thaw().
inline bool freeze(waiter& w) noexcept {
  std::uint64_t word = w.word.load(std::memory_order_relaxed);
  while ((word & (wait_word::state_mask | wait_word::frozen)) == wait_word::waiting)
    if (w.word.compare_exchange_weak(word, word | wait_word::frozen, std::memory_order_acq_rel,
                                     std::memory_order_relaxed))
      return true;
  return false;
}

/// F4. True: the caller must make it ready, as its winner would have.
[[nodiscard]] inline bool thaw(waiter& w) noexcept {
  constexpr std::uint64_t both = wait_word::frozen | wait_word::delivered;
  return (w.word.fetch_and(~both, std::memory_order_acq_rel) & wait_word::delivered) != 0;
}

/// F2. Of a word that the caller has claimed.
inline bool is_frozen(waiter const& w) noexcept {
  return (w.word.load(std::memory_order_relaxed) & wait_word::frozen) != 0;
}

/// F2, F3. True: whoever thaws it makes it ready.
inline bool left_to_thawer(waiter& w) noexcept {
  std::uint64_t word = w.word.load(std::memory_order_relaxed);  // of a word that this thread has claimed
  while ((word & wait_word::frozen) != 0) [[unlikely]]
    if (w.word.compare_exchange_weak(word, word | wait_word::delivered, std::memory_order_acq_rel,
                                     std::memory_order_relaxed))
      return true;
  return false;
}

/// Calls visit for each waiter of a plain thread that there ever was: their number is the most threads that waited at once.
void for_each_thread_waiter(void (*visit)(waiter&, bool waits_for_ever, void*), void* arg);

/// Makes a claimed waiter run: call it once, without any lock of an object held. Works in tasks, plain threads and hooks.
void ready(waiter& w) noexcept;

/// Waiters that were claimed under a lock, to be made ready in bulk after it.
class ready_list {
 public:
  void push(waiter& w) noexcept {
    w.next_ready = nullptr;
    (tail_ != nullptr ? tail_->next_ready : head_) = &w;
    tail_ = &w;
  }
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] waiter* front() const noexcept { return head_; }
  [[nodiscard]] bool single() const noexcept { return head_ == tail_; }  // or empty
  waiter* pop() noexcept {
    waiter* w = head_;
    if (w != nullptr && (head_ = w->next_ready) == nullptr) tail_ = nullptr;
    return w;
  }

 private:
  waiter* head_ = nullptr;
  waiter* tail_ = nullptr;
};
void ready_all(ready_list& list) noexcept;

// ---- the seam: every clock read and every random choice of the runtime ---------------------------------------------

[[nodiscard]] std::int64_t clock_ns() noexcept;
[[nodiscard]] std::uint64_t random_below(std::uint64_t n) noexcept;

}  // namespace weft::rt
