// The slow paths of weft::shared_mutex. They follow T1 to T4 of lock_table.hpp.
//
// While somebody queues, nobody enters past the queue (`queued` keeps readers out, holders keep writers out), and
// whoever leaves last hands the lock to the head of the queue. So with the lock of the table taken, `queued` set, and
// the caller the last holder, the word cannot change, and a plain store passes it on.
//
// Rejected: readers that overtake a waiting writer (writers starve), and a wake-up of all who then compete (a
// thundering herd, and no order).
#include <weft/shared_mutex.hpp>

#include <cstdint>

#include "runtime/base/check.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft {
namespace {
// wait_record::index: what the waiter wants.
constexpr std::uint32_t wants_write = 0, wants_read = 1;
}  // namespace

// Takes the lock if it may be had by now, else queues until it is handed over.
void shared_mutex::wait_turn(bool shared) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::uncancellable_waiter();
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (shared ? (state & (writer | queued)) == 0 : state == 0) {
      std::uint32_t const next = shared ? state + reader : writer;
      if (!state_.compare_exchange_weak(state, next, std::memory_order_acquire, std::memory_order_relaxed)) continue;
      guard.unlock();
      return;
    }
    if (state_.compare_exchange_weak(state, state | queued, std::memory_order_relaxed)) break;
  }
  rt::wait_record record;
  record.index = shared ? wants_read : wants_write;
  rt::how const ended =
      rt::wait_in(self, waiters_, guard, record, rt::never, rt::wait_reason::shared_mutex, this, false);
  if (ended != rt::how::partner) rt::throw_cancelled();  // a deadlocked program is being unwound
  (void)state_.load(std::memory_order_acquire);          // pairs with the store of hand_on()
}

void shared_mutex::lock_slow() { wait_turn(false); }

void shared_mutex::lock_shared_slow() { wait_turn(true); }

void shared_mutex::unlock_slow() noexcept {
  if ((state_.load(std::memory_order_relaxed) & writer) == 0)
    rt::fatal("shared_mutex::unlock: unlock of a shared_mutex that no writer holds");
  hand_on();
}

void shared_mutex::unlock_shared() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  detail::order_released(this);
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (state < reader) rt::fatal("shared_mutex::unlock_shared: unlock of a shared_mutex that no reader holds");
    if ((state & queued) != 0 && state < 2 * reader) break;  // the last one in, and others wait
    // release pairs with the acquire of the next writer; readers in between carry it on, being read-modify-writes.
    if (state_.compare_exchange_weak(state, state - reader, std::memory_order_release, std::memory_order_relaxed))
      return detail::preemption_point();
  }
  // The readers before us released into the word; what they did must be ordered before the writer we hand it to.
  (void)state_.load(std::memory_order_acquire);
  hand_on();
}

// Called by the last holder, when the list may hold a waiter.
void shared_mutex::hand_on() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::object_lock& guard = rt::lock_of(this);
  rt::ready_list turn;
  guard.lock();
  std::uint32_t next = 0;
  if (rt::wait_record* first = rt::pop_claimed(waiters_, rt::how::partner)) {
    turn.push(*first->who);
    next = first->index == wants_write ? writer : reader;
    if (first->index == wants_read) {
      while (waiters_.head != nullptr && waiters_.head->index == wants_read) {
        rt::wait_record* const also = waiters_.head;
        unlink(waiters_, *also);
        if (!rt::claim(*also->who, also->generation, rt::how::partner)) continue;
        also->who->winner = also;
        turn.push(*also->who);
        next += reader;
      }
    }
  }
  if (waiters_.head != nullptr) next |= queued;
  state_.store(next, std::memory_order_release);  // T3: the last access
  guard.unlock();
  rt::ready_all(turn);
}

}  // namespace weft
