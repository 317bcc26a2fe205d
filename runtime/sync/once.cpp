// weft::call_once. Follows T1 to T4 of lock_table.hpp.
//
//   begin  B1 idle: running (the caller calls)   B2 done: return   B3 under the lock: awaited, link, park
//          B4 woken: by a call that returned (ok = false), or to make the call itself (ok = true; the word stays)
//   end    E1 running: done or idle; nobody waits   E2 awaited, success: under the lock: pop all, done
//          E3 awaited, failure: under the lock: hand the call to the first that waits
#include <weft/detail/simulated.hpp>
#include <weft/once.hpp>

#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft {

bool once_flag::begin() WEFT_NO_THREAD_SAFETY_ANALYSIS {
  detail::preemption_point();
  std::uint32_t state = idle;
  // acquire pairs with the release of E1 and E2, or of the failed call before.
  if (state_.compare_exchange_strong(state, running, std::memory_order_acquire)) return true;  // B1
  if (state == done) return false;                                                             // B2
  rt::waiter& self = rt::uncancellable_waiter();
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();  // B3
  state = state_.load(std::memory_order_acquire);
  for (;;) {
    if (state == done || (state == idle && state_.compare_exchange_weak(state, running, std::memory_order_acquire))) {
      guard.unlock();
      return state == idle;
    }
    if (state == awaited ||
        (state == running && state_.compare_exchange_weak(state, awaited, std::memory_order_acquire)))
      break;
  }
  rt::wait_record record;
  rt::how const ended = rt::wait_in(self, waiters_, guard, record, rt::never, rt::wait_reason::call_once, this, false);
  if (ended != rt::how::partner) rt::throw_cancelled();  // a deadlocked program is being unwound
  return record.ok;                                      // B4
}

void once_flag::end(bool succeeded) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::uint32_t alone = running;
  if (state_.compare_exchange_strong(alone, succeeded ? done : idle, std::memory_order_release,
                                     std::memory_order_relaxed))
    return;  // E1
  rt::object_lock& guard = rt::lock_of(this);
  rt::ready_list woken;
  guard.lock();
  rt::wait_record* first = rt::pop_claimed(waiters_, rt::how::partner);
  if (succeeded) {  // E2
    for (; first != nullptr; first = rt::pop_claimed(waiters_, rt::how::partner)) {
      first->ok = false;
      woken.push(*first->who);
    }
    state_.store(done, std::memory_order_release);  // T3: the last access
  } else if (first != nullptr) {                    // E3
    first->ok = true;
    woken.push(*first->who);
    if (waiters_.head == nullptr) state_.store(running, std::memory_order_release);
  } else {
    state_.store(idle, std::memory_order_release);
  }
  guard.unlock();
  rt::ready_all(woken);
}

}  // namespace weft
