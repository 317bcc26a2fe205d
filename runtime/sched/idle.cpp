// The idle protocol: I1 to I8 of scheduler.hpp, and who sleeps where.
//
// One idle worker sleeps in the poller until the next timer is due; the others sleep on their futexes. The one in the poller must have
// an idle processor to take for what it finds; workers beyond that are spares of the hand-over (hand_over.cpp). A worker that goes idle
// while the one in the poller would oversleep a timer sleeps on its futex only until that timer (timer_until_), which spares the
// system call that breaking the poller's sleep would cost each time a busy worker arms an early timer.
//
// Handing a processor to a sleeper is done under lock_: the waker takes the worker from the idle list and gives it the processor,
// so that two wakers never wake one worker, and a worker that wakes by itself (time-out, event) finds out by in_idle_list whether
// it has been given one meanwhile.

#include <algorithm>

#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

// ---- the waking side ------------------------------------------------------------------------------------------------

void scheduler::wake_if_idle(processor* mine) noexcept {
  if (mine == nullptr) {
    full_fence();  // I2 of a thread that a sleeper's heavy fence may not reach in time: it may not even be a worker
  } else {
    if (single()) return;
    light_fence();  // I2, pairs with I6
  }
  // seq_cst, which costs nothing here: it is also the look of a searcher that has just stopped, against one that goes idle unsearched.
  if (idle_.load(std::memory_order_seq_cst) == 0 || searching_.load(std::memory_order_relaxed) != 0) return;  // I3
  wake_one_searcher();
}

void scheduler::wake_one_searcher() noexcept {
  std::uint32_t none = 0;
  if (searching_.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) wake_searcher();
}

void scheduler::wake_another_searcher() noexcept {
  searching_.fetch_add(1, std::memory_order_seq_cst);
  wake_searcher();
}

/// It is counted already.
void scheduler::wake_searcher() noexcept {
  worker* woken = nullptr;
  bool from_poller = false;
  {
    guard hold(lock_);
    processor* p = take_idle_processor_locked();
    if (p != nullptr && !stopping_.load(std::memory_order_relaxed)) {
      woken = sleeper_to_wake_locked();
      if (woken != nullptr) {
        woken->searching = true;
        from_poller = assign_locked(*woken, *p);
      } else if (new_worker_locked(*p, true)) {
        return;
      }
    }
    if (woken == nullptr) {
      if (p != nullptr) give_idle_processor_locked(p);
      searching_.fetch_sub(1, std::memory_order_seq_cst);
      return;
    }
  }
  wake_worker(*woken, from_poller);
}

void scheduler::wake_worker(worker& w, bool from_poller) noexcept {
  if (from_poller) {
    poller_.wake();
  } else {
    futex_wake(w.wakeups, 1);
  }
}

void scheduler::stop_searching(worker& w) noexcept {
  w.searching = false;
  // The last searcher that found something wakes the next: there may be more where that came from. But not where there has been one task
  // so far, and so no monitor: a second one is announced to the monitor before it is queued (I1), hence before its I3 counts on this searcher.
  if (searching_.fetch_sub(1, std::memory_order_seq_cst) == 1 && monitor_wanted_.load(std::memory_order_seq_cst))
    wake_if_idle(w.held());
}

void scheduler::timer_changed(std::int64_t when) noexcept {
  full_fence();  // the arming comes before; pairs with the fence after poll_until_ is announced
  if (when < poll_until_.load(std::memory_order_relaxed)) {
    poller_.wake();
    return;
  }
  if (poll_until_.load(std::memory_order_relaxed) == 0) wake_if_idle(nullptr);
}

// ---- the lists, under lock_ -----------------------------------------------------------------------------------------

processor* scheduler::take_idle_processor_locked() noexcept {
  processor* p = idle_processors_;
  if (p == nullptr) return nullptr;
  idle_processors_ = p->next_idle;
  p->next_idle = nullptr;
  taken_ += 1;
  ask_pause_ = first_pause_ns;
  if (idle_.fetch_sub(1, std::memory_order_seq_cst) == processor_count_) wake_monitor();
  return p;
}

void scheduler::give_idle_processor_locked(processor* p) noexcept {
  p->next_idle = idle_processors_;
  idle_processors_ = p;
  idle_.fetch_add(1, std::memory_order_seq_cst);  // I4
}

void scheduler::add_idle_locked(worker& w) noexcept {
  w.wakeups.store(0, std::memory_order_relaxed);
  w.in_idle_list = true;
  w.idle_prev = nullptr;
  w.idle_next = idle_workers_;
  if (idle_workers_ != nullptr) idle_workers_->idle_prev = &w;
  idle_workers_ = &w;
}

void scheduler::remove_idle_locked(worker& w) noexcept {
  (w.idle_prev != nullptr ? w.idle_prev->idle_next : idle_workers_) = w.idle_next;
  if (w.idle_next != nullptr) w.idle_next->idle_prev = w.idle_prev;
  w.idle_next = w.idle_prev = nullptr;
  w.in_idle_list = false;
}

// ---- the sleeping side ----------------------------------------------------------------------------------------------

bool scheduler::take_processor(worker& w) noexcept {
  guard hold(lock_);
  if (!w.in_idle_list) return true;  // a waker was first
  processor* p = take_idle_processor_locked();
  if (p == nullptr) return false;
  remove_idle_locked(w);
  hold_locked(w, *p);
  return true;
}

std::int64_t scheduler::earliest_timer() const noexcept {
  std::int64_t first = never;
  for (unsigned i = 0; i < processor_count_; ++i) {
    std::int64_t const at = processors_[i].timers.next_deadline();
    if (at < first) first = at;
  }
  return first;
}

bool scheduler::go_idle(worker& w) {
  bool const was_searching = w.searching;
  // Who comes without a processor looks for tasks that were left for want of a thread (hand_over.cpp).
  processor* const given = w.held();
  bool looks_again = single() || given == nullptr;
  w.searching = false;
  {
    guard hold(lock_);
    if (given != nullptr && keeps_from_starving_locked(*given)) [[unlikely]] {
      w.searching = was_searching;
      return true;  // and gives them up, before it comes here again: S2 of task_stacks.cpp
    }
    drift_ended(w.proc.load(std::memory_order_relaxed));
    w.proc.store(0, std::memory_order_relaxed);
    if (given != nullptr) give_idle_processor_locked(given);  // I4
    add_idle_locked(w);
  }
  // Who leaves a searcher behind, or was not allowed to search and sees one now that I4 is done, need not look again: whether that one finds
  // something or not, it is the next to see this processor in the list. Whoever was counted before may have been gone by I4: a searcher that
  // found something and saw no idle processor to pass it on to, or a waker that found none.
  std::uint32_t others = 0;
  if (was_searching) others = searching_.fetch_sub(1, std::memory_order_seq_cst) - 1;  // I5
  else others = searching_.load(std::memory_order_seq_cst);
  looks_again = looks_again || others == 0;
  // I6, pairs with I2. If every processor is idle, whoever published from one of them did so before giving it back under lock_, and
  // anybody else uses a full fence: then a membarrier, which costs microseconds, would be for nothing. Who gave no processor back
  // needs none either: it stands in the way of nobody's I3, and who left a task for want of a thread had lock_ before it.
  if (looks_again && given != nullptr)
    idle_.load(std::memory_order_seq_cst) == processor_count_ ? full_fence() : heavy_fence();
  for (bool first = true;; first = false) {
    if (stopping_.load(std::memory_order_acquire)) return leave_idle(w);
    if ((looks_again || !first) && work_anywhere(clock_ns()) && take_processor(w)) {  // I7
      // Woken by a waker, it is counted as searching already; by itself, it is not, and looks around all the same.
      return true;
    }
    bool mine = false;
    bool leaves = false;
    std::int64_t ask_at = never, feed_at = never;
    {
      guard hold(lock_);
      if (!w.in_idle_list) return true;
      ask_at = time_to_ask_locked(w);
      feed_at = time_to_feed_locked();
      if (poll_sleeper_ == nullptr && idle_processors_ != nullptr) {
        poll_sleeper_ = &w;
        w.in_poller = mine = true;
      }
    }
    if (mine) {
      sleep_in_poller(w, std::min(ask_at, feed_at));
    } else {
      leaves = sleep_on_futex(w, std::min(ask_at, feed_at));
    }
    {
      guard hold(lock_);
      if (asker_ == &w) asker_ = nullptr;
      if (!w.in_idle_list) return true;
    }
    if (leaves && leave_as_spare(w)) return false;
    if (ask_at != never && clock_ns() >= std::min(ask_at, feed_at)) ask_whether_dead();
    if (feed_at != never) feed_without_monitor();
  }
}

bool scheduler::leave_idle(worker& w) noexcept {
  guard hold(lock_);
  if (w.in_idle_list) remove_idle_locked(w);
  return false;
}

void scheduler::sleep_in_poller(worker& w, std::int64_t limit) {
  std::int64_t until = std::min(limit, earliest_timer());
  poll_until_.store(until, std::memory_order_seq_cst);
  full_fence();  // pairs with timer_changed, and with a waker's wakeups
  until = std::min(until, earliest_timer());
  if (w.wakeups.load(std::memory_order_acquire) == 0 && !stopping_.load(std::memory_order_acquire)) {
    std::int64_t timeout = -1;
    if (until != never) {
      timeout = wakes_at(until) - clock_ns();
      if (timeout < 0) timeout = 0;
    }
    poll_network(w, timeout);
  }
  poll_until_.store(0, std::memory_order_relaxed);
  guard hold(lock_);
  poll_sleeper_ = nullptr;
  w.in_poller = false;
}

bool scheduler::sleep_until_woken(worker& w, std::int64_t until) noexcept {
  bool in_time = true;
  while (in_time && w.wakeups.load(std::memory_order_acquire) == 0 && !stopping_.load(std::memory_order_acquire)) {
    if (until == never) {
      futex_wait(w.wakeups, 0);
    } else {
      in_time = futex_wait_until(w.wakeups, 0, until);
    }
  }
  return in_time;
}

bool scheduler::sleep_on_futex(worker& w, std::int64_t limit) {
  std::int64_t const at = earliest_timer();
  std::int64_t other = timer_until_.load(std::memory_order_relaxed);
  std::int64_t const in_poller = poll_until_.load(std::memory_order_relaxed);
  // Only for a timer that nobody who sleeps already would wake for; only one at a time; and only if there is a processor to take then.
  bool const timed = at != never && (in_poller == 0 || at < in_poller) && at < other &&
                     idle_.load(std::memory_order_relaxed) != 0 &&
                     timer_until_.compare_exchange_strong(other, at, std::memory_order_seq_cst);
  bool const surplus = !timed && threads_.load(std::memory_order_relaxed) > processor_count_;
  std::int64_t const leave_at = surplus ? clock_ns() + spare_lives_ns.load(std::memory_order_relaxed) : never;
  std::int64_t const until = std::min({limit, timed ? wakes_at(at) : never, leave_at});
  bool const in_time = sleep_until_woken(w, until);
  if (timed) timer_until_.store(never, std::memory_order_relaxed);
  return surplus && !in_time && until == leave_at;
}

}  // namespace weft::rt
