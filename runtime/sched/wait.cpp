// Protocol B's waiting side, for tasks and for plain threads; the hook is in switch_here.hpp. See wait.hpp for the steps.

#include "runtime/sched/wait.hpp"

#include <exception>
#include <mutex>

#include <weft/detail/simulated.hpp>
#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/insist.hpp"
#include "runtime/base/lasting.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

// ---- plain threads --------------------------------------------------------------------------------------------------

namespace {

/// A plain thread's waiter. Pooled and never unmapped, since a late claimer may look at one whose thread has gone.
struct thread_waiter : waiter {
  thread_waiter() { is_thread = true; }
  thread_waiter* next_free = nullptr;
  thread_waiter* next_of_all = nullptr;     // constant once it is in the list
  std::atomic<bool> waits_for_ever{false};  // of the wait that WAITING announces: it has no deadline
  std::atomic<std::uint32_t> signal{
      0};  // futex: 1 once the winner has delivered; a word of its own, since the wait word has 64 bits
};

struct waiter_pool {
  std::mutex lock;
  std::atomic<thread_waiter*> all{nullptr};  // pushed under lock; only grows
  thread_waiter* free = nullptr;
};
constinit lasting<waiter_pool> all_waiters;  // threads may outlive static destruction
waiter_pool& pool() noexcept { return all_waiters.value; }

struct thread_waiter_holder {
  thread_waiter* mine;
  thread_waiter_holder() {
    auto& p = pool();
    {
      std::lock_guard hold(p.lock);
      if ((mine = p.free) != nullptr) {
        p.free = mine->next_free;
        return;
      }
    }
    mine = new thread_waiter;
    std::lock_guard hold(p.lock);
    mine->next_of_all = p.all.load(std::memory_order_relaxed);
    p.all.store(mine, std::memory_order_release);  // pairs with for_each_thread_waiter
  }
  ~thread_waiter_holder() {
    auto& p = pool();
    std::lock_guard hold(p.lock);
    mine->next_free = p.free;
    p.free = mine;
  }
};

constinit thread_local thread_waiter_holder* held_waiter = nullptr;

// Not a thread_local object: one that has gone could not be made anew for a wait in a destructor that runs later at the thread's end,
// and its waiter would be another thread's by then.
__attribute__((noinline)) waiter& this_thread_waiter() {
  if (held_waiter == nullptr) {
    held_waiter = new thread_waiter_holder;
    at_thread_exit(
        [](void* holder) {
          held_waiter = nullptr;
          delete static_cast<thread_waiter_holder*>(holder);
        },
        held_waiter);
  }
  return *held_waiter->mine;
}

how park_thread(thread_waiter& w, park_request const& request) noexcept {
  std::uint64_t const generation = wait_word::generation(w.word.load(std::memory_order_relaxed));
  w.signal.store(0, std::memory_order_relaxed);
  w.waits_for_ever.store(request.deadline == never, std::memory_order_relaxed);
  w.word.store((generation << wait_word::generation_shift) | wait_word::waiting,
               std::memory_order_release);  // H1, locked
  request.unlock(request.arg);
  std::int64_t deadline = request.deadline;
  while (w.signal.load(std::memory_order_acquire) == 0) {  // pairs with ready_thread
    if (deadline == never) {
      futex_wait(w.signal, 0);
    } else if (!futex_wait_until(w.signal, 0, deadline)) {
      if (claim(w, generation, how::timeout)) break;
      deadline = never;  // somebody else has won and is about to deliver
    }
  }
  how const h = wait_word::winner(w.word.load(std::memory_order_acquire));
  w.word.store(generation << wait_word::generation_shift, std::memory_order_relaxed);  // R1
  return h;
}

}  // namespace

void for_each_thread_waiter(void (*visit)(waiter&, bool waits_for_ever, void*), void* arg) {
  for (thread_waiter* w = pool().all.load(std::memory_order_acquire); w != nullptr; w = w->next_of_all)
    visit(*w, w->waits_for_ever.load(std::memory_order_relaxed), arg);
}

// ---- the waiting side -----------------------------------------------------------------------------------------------

namespace {
[[nodiscard]] bool is_to_throw(task const& t, cancel_node& n) noexcept {
  return n.is_cancelled_for_all() && t.shield == 0 && std::uncaught_exceptions() == 0;
}

/// W1 at the first wait under n. From here on t is registered there or nowhere.
__attribute__((noinline)) void wait_under(task& t, cancel_node& n) noexcept {
  // A wait under the inherited context by default also belongs to a context of its own that a handle may make any moment.
  t.implicit.store(&n == t.inherited && !t.in_scope && t.has_handle, std::memory_order_relaxed);
  t.waits_under = &n;
  if (t.shard != nullptr && t.shard->node != &n) unregister(t);
}

__attribute__((always_inline)) inline cancel_node& prepare_wait_of(task& t) noexcept {
  cancel_node* const n = t.current_context();
  if (n != t.waits_under) [[unlikely]]
    wait_under(t, *n);
  return *n;
}

__attribute__((noinline)) void throw_if_due(task const& t, cancel_node& n) {
  if (is_to_throw(t, n)) throw_cancelled();
}
}  // namespace

waiter& wait_point(bool& cancelled) {
  detail::preemption_point();  // a load and a branch
  cancelled = false;
  task* t = current_task();
  if (t == nullptr) [[unlikely]]
    return this_thread_waiter();
  cancel_node& n = prepare_wait_of(*t);
  if (n.is_touched()) [[unlikely]]
    cancelled = is_to_throw(*t, n);
  return *t;
}

void throw_if_cancelled_here(task& self) {
  cancel_node& n = *self.current_context();
  if (n.is_touched()) [[unlikely]]
    throw_if_due(self, n);
}

waiter& prepare_wait() {
  task* t = current_task();
  if (t == nullptr) return this_thread_waiter();
  (void)prepare_wait_of(*t);
  return *t;
}

waiter& cancellation_point() {
  bool cancelled = false;
  waiter& w = wait_point(cancelled);
  if (cancelled) [[unlikely]]
    throw_cancelled();
  return w;
}

waiter& uncancellable_waiter() {
  task* t = current_task();
  return t != nullptr ? *t : this_thread_waiter();
}

waiter& uncancellable_waiter_at_last() noexcept {
  return insist([]() -> waiter& { return uncancellable_waiter(); });
}

namespace {
how park_until(task& t, park_request const& request) noexcept {
  if (request.deadline <= clock_ns()) {  // due already: nobody can have claimed an IDLE wait, so it ends here
    request.unlock(request.arg);
    return how::timeout;
  }
  make_timer(t);
  worker& here = *current_worker();
  t.wait_cancellable = request.cancellable && t.shield == 0 && !unwinds(here);
  processor* p = here.enter();
  reserve_timer(t, p);
  leave_parked(here, p, t, request);
  how const h = end_wait(t);
  // R3. After a cancellation it may come before H4; end_task sees to that, and a stale generation claims nothing.
  if (h != how::timeout) timer_heap::disarm(*t.timer, wait_word::generation(t.word.load(std::memory_order_relaxed)));
  return h;
}
}  // namespace

how park_otherwise(waiter& w, park_request const& request) noexcept {
  if (w.is_thread) return park_thread(static_cast<thread_waiter&>(w), request);
  return park_until(static_cast<task&>(w), request);
}

how wait_in(waiter& w, wait_list& list, object_lock& lock, wait_record& record, std::int64_t deadline,
            wait_reason reason, void const* object,
            bool cancellable) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {  // the hook unlocks
  record.who = &w;
  record.generation = begin_wait(w);
  push_back(list, record);
  park_request const request{.unlock = unlock_object_lock,
                             .arg = &lock,
                             .deadline = deadline,
                             .reason = reason,
                             .object = object,
                             .cancellable = cancellable};
  how const h = park(w, request);
  if (h == how::timeout || h == how::cancel) {  // R2
    guard hold(lock);
    if (record.linked) unlink(list, record);
  }
  return h;
}

// ---- the waking side ------------------------------------------------------------------------------------------------

namespace {
void ready_thread(thread_waiter& w) noexcept {
  w.signal.store(1, std::memory_order_release);
  futex_wake(w.signal, 1);  // the thread may have gone on already; its waiter is never unmapped
}
}  // namespace

void ready(waiter& w) noexcept {
  if (w.is_thread) return ready_thread(static_cast<thread_waiter&>(w));
  auto& t = static_cast<task&>(w);
  t.sched->make_ready(&t);
}

void ready_all(ready_list& list) noexcept {
  worker* here = current_worker();
  if (here == nullptr || list.single()) {
    while (waiter* w = list.pop()) ready(*w);
    return;
  }
  // Several keep their order: the next slot would turn it round.
  section const inside(here);
  here->sched->make_ready_all(inside.proc(), list);
}

// ---- the seam -------------------------------------------------------------------------------------------------------

std::int64_t clock_ns() noexcept {
  if (detail::simulations.load(std::memory_order_relaxed) != 0) [[unlikely]]  // beside some 20 ns for reading the clock
    if (simulation const* s = current_simulation()) return s->now.load(std::memory_order_relaxed);
  return monotonic_ns();
}

namespace {
__attribute__((noinline)) random_source& thread_random() noexcept {
  thread_local random_source source(static_cast<std::uint64_t>(monotonic_ns()) ^
                                    reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)));
  return source;
}
}  // namespace

std::uint64_t random_below(std::uint64_t n) noexcept {
  worker* w = current_worker();
  if (w == nullptr) return thread_random().below(n);
  tsan_ignore const worker_data;  // the worker's, whichever task runs on it
  if (simulation* s = w->sched->simulated()) [[unlikely]]
    return n > 1 ? s->by.choose(choice::draw, static_cast<std::uint32_t>(n)) : 0;
  return w->random.below(n);
}

}  // namespace weft::rt

namespace weft {
time_point now() noexcept { return time_point(std::chrono::nanoseconds(rt::clock_ns())); }
namespace detail {
std::int64_t deadline_in(std::int64_t ns) noexcept {
  std::int64_t const at = rt::clock_ns();
  return ns >= never - at ? never : at + ns;
}
}  // namespace detail
}  // namespace weft
