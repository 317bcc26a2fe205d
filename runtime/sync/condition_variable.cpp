// weft::condition_variable. Follows T1 to T4 of lock_table.hpp; waited_on_ is the bit of T4.
//
//   wait    V1 cancellation point   V2 list's lock; link
//           V3 park; the hook releases the list's lock, then unlocks the user's mutex
//           V4 unlink after a timeout or cancellation   V5 lock the mutex, uncancellably   V6 cancelled: throw
//   notify  pop_claimed: a waiter whose wait has ended otherwise is skipped, so that the next one gets the notify
//
// Why V3 in that order: the mutex may share the list's lock (one table), and its unlock may have to make a task
// ready, which is allowed without such a lock only. A notify may come before the mutex is unlocked: the notified
// waiter then waits in V5.
//
// After V4 the waiter touches the condition variable no more: it may be destroyed once all have been notified. A
// waiter that timed out at the same moment looks at its own record, under the table's lock, and finds it unlinked.
#include <weft/condition_variable.hpp>
#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft {
namespace {

struct release_request {
  rt::object_lock* list;
  mutex* user;
};

// The request lies on the waiter's stack, which may be gone once the list's lock is free: read it first.
void release_both(void* arg) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  release_request const request = *static_cast<release_request*>(arg);
  request.list->unlock();
  request.user->unlock();
}

void check_owned(std::unique_lock<mutex> const& lock) noexcept {
  if (!lock.owns_lock()) rt::fatal("condition_variable::wait: the lock does not own its mutex");
}

}  // namespace

void condition_variable::begin(std::unique_lock<mutex> const& lock) {
  check_owned(lock);
  (void)rt::cancellation_point();
}

bool condition_variable::wait_deadline(std::unique_lock<mutex>& lock,
                                       std::int64_t deadline) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  check_owned(lock);
  rt::waiter& self = rt::cancellation_point();  // V1
  rt::object_lock& guard = rt::lock_of(this);
  rt::wait_record record;
  record.who = &self;
  guard.lock();  // V2
  record.generation = rt::begin_wait(self);
  push_back(waiters_, record);
  waited_on_.store(true, std::memory_order_relaxed);
  // Both live beyond V4: a timer may wake us while the hook is still on its way to reading them. It ends before V4 gets
  // the lock.
  release_request both{.list = &guard, .user = lock.mutex()};
  rt::park_request const request{.unlock = release_both,
                                 .arg = &both,
                                 .deadline = deadline,
                                 .reason = rt::wait_reason::condition_variable,
                                 .object = this,
                                 .cancellable = true};
  rt::how const ended = rt::park(self, request);  // V3
  if (ended != rt::how::partner) {                // V4
    guard.lock();
    if (record.linked) {
      unlink(waiters_, record);
      if (waiters_.head == nullptr) waited_on_.store(false, std::memory_order_relaxed);
    }
    guard.unlock();
  }
  try {
    lock.mutex()->lock();  // V5
  } catch (...) {          // a deadlocked program is being unwound: `lock` must not unlock what it has not got
    lock.release();
    throw;
  }
  if (ended == rt::how::cancel) rt::throw_cancelled();  // V6
  return ended == rt::how::partner;
}

void condition_variable::wake(bool all) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::object_lock& guard = rt::lock_of(this);
  rt::ready_list woken;
  guard.lock();
  if (!all && detail::simulations.load(std::memory_order_relaxed) != 0) [[unlikely]]
    rt::choose_waiter(waiters_);
  do {
    rt::wait_record* const first = rt::pop_claimed(waiters_, rt::how::partner);
    if (first == nullptr) break;
    woken.push(*first->who);
  } while (all);
  if (waiters_.head == nullptr) waited_on_.store(false, std::memory_order_relaxed);
  guard.unlock();
  rt::ready_all(woken);
  detail::preemption_point();
}

}  // namespace weft
