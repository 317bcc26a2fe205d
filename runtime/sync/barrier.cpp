// weft::barrier. All of its state is changed under the table's lock (lock_table.hpp), so that the last arrival
// touches nothing of it after the release of that lock, which is when a waiter that looks for itself can see the
// phase ended.
//
//   arrive   A1 pending - n   A2 zero: the caller is the last, and the phase stays open while it runs the completion
//   complete C1 next phase, pending = expected   C2 pop and claim all   C3 unlock, ready
//   wait     W1 the phase is over: return   W2 link, park
//
// Rejected: a word of state with a fast path as elsewhere in this layer: all parties but one park, so it would save
// little.
#include <weft/barrier.hpp>
#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft::detail {

void barrier_core::cancellation_point() { (void)rt::cancellation_point(); }

bool barrier_core::arrive(std::ptrdiff_t n, std::ptrdiff_t leaving, std::uint64_t& phase) noexcept {
  rt::guard lock(rt::lock_of(this));
  if (n <= 0 || n > pending_) rt::fatal("barrier::arrive: %td arrivals where %td are expected", n, pending_);
  phase = phase_;
  expected_ -= leaving;
  pending_ -= n;
  return pending_ == 0;
}

void barrier_core::complete() noexcept {
  rt::ready_list woken;
  {
    rt::guard lock(rt::lock_of(this));
    ++phase_;
    pending_ = expected_;
    while (rt::wait_record* first = rt::pop_claimed(waiters_, rt::how::partner)) woken.push(*first->who);
  }
  rt::ready_all(woken);
  preemption_point();
}

void barrier_core::wait(std::uint64_t phase) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::cancellation_point();
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  if (phase_ != phase) {
    guard.unlock();
    return;
  }
  rt::wait_record record;
  rt::how const ended = rt::wait_in(self, waiters_, guard, record, never, rt::wait_reason::barrier, this);
  if (ended == rt::how::cancel) rt::throw_cancelled();
}

}  // namespace weft::detail
