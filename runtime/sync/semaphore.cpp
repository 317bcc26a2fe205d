// weft::counting_semaphore. Follows T1 to T4 of lock_table.hpp.
//
// state_ is the number of permits and the bit `queued`. Invariant: permits > 0 means that nobody waits, for a release
// that may find waiters gives to them first, under the lock, and only adds what is left when the list is empty. So a
// newcomer that finds a permit overtakes nobody, and the order of service needs no further rule.
#include <weft/detail/simulated.hpp>
#include <weft/semaphore.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft::detail {

void fatal_permits() noexcept {
  rt::fatal("counting_semaphore: fewer than 0 permits to begin with, or more than the semaphore's maximum");
}

bool semaphore_core::try_acquire() noexcept {
  preemption_point();
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  while (state >= one) {
    // acquire pairs with the release in release(), on which later ones build as read-modify-writes.
    if (state_.compare_exchange_weak(state, state - one, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
  }
  return false;
}

bool semaphore_core::acquire(std::int64_t deadline) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::cancellation_point();
  if (try_acquire()) return true;
  if (deadline != never && deadline <= rt::clock_ns()) return false;
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (state >= one) {
      if (!state_.compare_exchange_weak(state, state - one, std::memory_order_acquire, std::memory_order_relaxed))
        continue;
      guard.unlock();
      return true;
    }
    if (state_.compare_exchange_weak(state, state | queued, std::memory_order_relaxed)) break;
  }
  rt::wait_record record;
  rt::how const ended = rt::wait_in(self, waiters_, guard, record, deadline, rt::wait_reason::semaphore, this);
  if (ended == rt::how::cancel) rt::throw_cancelled();
  return ended == rt::how::partner;
}

void semaphore_core::release(std::ptrdiff_t permits, std::ptrdiff_t max) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (permits < 0) rt::fatal("counting_semaphore::release: a negative number of permits");
  auto left = static_cast<std::uint64_t>(permits);
  auto const limit = static_cast<std::uint64_t>(max);
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  while ((state & queued) == 0) {
    if (left > limit - state / one) rt::fatal("counting_semaphore::release: more permits than the semaphore's maximum");
    if (state_.compare_exchange_weak(state, state + left * one, std::memory_order_release, std::memory_order_relaxed))
      return preemption_point();
  }
  rt::object_lock& guard = rt::lock_of(this);
  rt::ready_list served;
  guard.lock();
  for (; left != 0; --left) {
    rt::wait_record* const first = rt::pop_claimed(waiters_, rt::how::partner);
    if (first == nullptr) break;
    served.push(*first->who);
  }
  // Others that release may have found `queued` cleared, others that acquire a permit: hence the loop.
  std::uint64_t const still = waiters_.head != nullptr ? queued : 0;
  state = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (left > limit - state / one) rt::fatal("counting_semaphore::release: more permits than the semaphore's maximum");
    std::uint64_t const next = ((state & ~queued) | still) + left * one;
    if (state_.compare_exchange_weak(state, next, std::memory_order_release, std::memory_order_relaxed)) break;  // T3
  }
  guard.unlock();
  rt::ready_all(served);
  preemption_point();
}

}  // namespace weft::detail
