// The count under latch and wait_group. Follows T1 to T4 of lock_table.hpp.
//
//   down   D1 nobody queues, or it does not become zero: subtract, by compare-exchange. Nothing is touched afterwards
//          D2 else, under the lock: subtract, but leave `queued` set: the word is not 0 yet
//          D3 it became zero: pop and claim all waiters   D4 clear `queued`: the last access   D5 unlock, ready them
//   wait   W1 the word is 0: return   W2 under the lock: count zero: return   W3 set queued
//          W4 what is ahead: exchange with `waited`, D2; zero now: D3 to D5, return   W5 link, park
//   anew   B1 under the lock: the word is 0, and ahead says `waited`: count n, n - 1 ahead
//
// What is ahead of a wait_group is counted and belongs to nobody: who queues while there is some would wait for ever. Hence W4 comes after
// W3, and B1, which alone puts something there where `waited` was, finds the word 0 under the same lock: as long as somebody queues,
// nothing is ahead, nor will be.
//
// Why the object may be destroyed when wait() has returned: wait() returns at W1 only when the word is 0, which D1 or
// D4 made it with its last access; at W2 only with the lock, so not between D2 and D4; from W4 by its own; from W5 only after D5. The
// lock itself is not part of the object. So no down() that took part touches the object after any wait() has returned.
//
// Why not pop before the subtraction: an up() may come in between (a task that counts itself adds another), and the
// popped waiters would return though the count is not zero.
#include <weft/detail/countdown.hpp>
#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft::detail {

void fatal_negative(char const* call) noexcept { rt::fatal("%s: negative counter", call); }

void countdown::cancellation_point() { (void)rt::cancellation_point(); }

void countdown::up(std::ptrdiff_t n, char const* call) noexcept {
  std::uint64_t const limit = PTRDIFF_MAX;
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  do {
    if (static_cast<std::uint64_t>(n) > limit - state / one) rt::fatal("%s: the counter overflows", call);
    // relaxed: an up() publishes nothing; it must be ordered before the wait by its caller anyhow.
  } while (
      !state_.compare_exchange_weak(state, state + static_cast<std::uint64_t>(n) * one, std::memory_order_relaxed));
}

void countdown::down(std::uint64_t by, char const* call) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  for (;;) {  // D1
    if (by > state / one) rt::fatal("%s: negative counter", call);
    if (by == state / one && (state & queued) != 0) break;
    // acq_rel: releases what was done before; acquires what the earlier ones released, for the waiters of D5.
    if (state_.compare_exchange_weak(state, state - by * one, std::memory_order_acq_rel, std::memory_order_relaxed))
      return preemption_point();
  }
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  if (subtract_locked(by, call)) return let_go();
  guard.unlock();
  preemption_point();
}

bool countdown::subtract_locked(std::uint64_t by, char const* call) noexcept {  // D2
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  do {
    if (by > state / one) rt::fatal("%s: negative counter", call);
  } while (
      !state_.compare_exchange_weak(state, state - by * one, std::memory_order_acq_rel, std::memory_order_relaxed));
  return by == state / one && (state & queued) != 0;
}

/// D3 to D5, of a count that is zero; the lock is held, and released.
void countdown::let_go() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::object_lock& guard = rt::lock_of(this);
  rt::ready_list woken;
  while (rt::wait_record* first = rt::pop_claimed(waiters_, rt::how::partner)) woken.push(*first->who);  // D3
  state_.fetch_and(~queued, std::memory_order_release);                                                  // D4
  guard.unlock();
  rt::ready_all(woken);  // D5
  preemption_point();
}

bool countdown::begin_anew(std::atomic<std::uint32_t>& ahead, std::uint32_t n) noexcept {  // B1
  rt::guard const hold(rt::lock_of(this));
  std::uint64_t none = 0;
  // acquire: pairs with D1 and D4 of those that were counted before.
  if (ahead.load(std::memory_order_relaxed) != waited ||
      !state_.compare_exchange_strong(none, n * one, std::memory_order_acquire, std::memory_order_relaxed))
    return false;
  ahead.store(n - 1, std::memory_order_release);  // as wait_group::count_one
  return true;
}

void countdown::wait(std::atomic<std::uint32_t>* ahead) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::cancellation_point();
  if (finished()) return;  // W1
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  std::uint64_t state = state_.load(std::memory_order_acquire);
  for (;;) {
    if (state < one) {  // W2
      guard.unlock();
      return;
    }
    if (state_.compare_exchange_weak(state, state | queued, std::memory_order_acquire)) break;  // W3
  }
  if (ahead != nullptr) {  // W4
    std::uint64_t const unused = ahead->exchange(waited, std::memory_order_acq_rel) & ~waited;
    if (unused != 0 && subtract_locked(unused, "wait_group::done")) return let_go();  // too much: one done() too many
  }
  rt::wait_record record;  // W5
  rt::how const ended = rt::wait_in(self, waiters_, guard, record, never,
                                    ahead == nullptr ? rt::wait_reason::latch : rt::wait_reason::wait_group, this);
  if (ended == rt::how::cancel) rt::throw_cancelled();
}

}  // namespace weft::detail
