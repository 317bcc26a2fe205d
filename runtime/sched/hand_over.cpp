// Where a processor goes that was taken (M6 of protocol A, hand_over.hpp) or that its worker gives up by itself, and how a worker
// without one gets another.
//
// Spares are the workers in the idle list: a worker that holds no processor and has no task sleeps there, whether it went idle
// or came back from a long call to find its processor gone. Last in, first out, so that the warm ones are used and the others, after
// ten seconds, leave (leave_as_spare in lifetime.cpp). If nobody sleeps, a new thread starts, up to the limit.
//
// When no thread is to be had at M6, the monitor is the holder, and no thread will look into this processor's queue, the next slot
// above all: it moves all of it to the global queue and gives the processor to the idle list. Then it does what every worker does that
// goes idle (I4, I6, I7 of scheduler.hpp). A thread that comes back from a task meanwhile is found by one of the two: it
// announced itself before the monitor's second look under the lock, and is given the processor; or it finds the idle processor and
// the count of the global queue at its own I7.
//
// With one processor the run queue is popped without locked instructions (run_queue.hpp). That holds still: the processor has one
// holder at a time, the old one's accesses come before L1 and the new one's after M4, and thieves, the only others who would
// change the ring, do not exist. The monitor empties the ring only while it is the holder.

#include <array>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

// ---- giving a processor away ----------------------------------------------------------------------------------------

void scheduler::hold_locked(worker& w, processor& p) noexcept {
  p.holder.store(&w, std::memory_order_release);  // pairs with the monitor's look: w may be new
  w.proc.store(reinterpret_cast<std::uintptr_t>(&p), std::memory_order_release);
}

bool scheduler::assign_locked(worker& w, processor& p) noexcept {
  bool const from_poller = w.in_poller;
  remove_idle_locked(w);
  hold_locked(w, p);
  // Under the lock: stored later, it could meet the worker's next sleep, which nobody would break then.
  w.wakeups.store(1, std::memory_order_release);
  return from_poller;
}

worker* scheduler::sleeper_to_wake_locked() noexcept {
  worker* first = idle_workers_;
  if (first == nullptr) return nullptr;
  // Who sleeps in the poller stays there as long as it could take an idle processor for what it finds. Then nobody else should
  // be woken: a sleeper without a prospect of a processor would only pass events on, at the cost of a thread switch each.
  if (idle_processors_ == nullptr && poll_sleeper_ != nullptr && poll_sleeper_->in_idle_list) return poll_sleeper_;
  return first->in_poller && first->idle_next != nullptr ? first->idle_next : first;
}

void scheduler::hand_on(processor& p) noexcept {
  worker* spare = nullptr;
  bool from_poller = false;
  {
    guard hold(lock_);
    spare = sleeper_to_wake_locked();
    if (spare != nullptr) {
      from_poller = assign_locked(*spare, p);
    } else if (new_worker_locked(p, false)) {
      return;
    }
  }
  if (spare == nullptr) {
    empty(p);
    (void)release_loops(p);
    guard hold(lock_);
    spare = sleeper_to_wake_locked();
    if (spare != nullptr) {
      from_poller = assign_locked(*spare, p);
    } else {
      give_idle_processor_locked(&p);  // I4
    }
  }
  if (spare != nullptr) return wake_worker(*spare, from_poller);
  heavy_fence();                                         // I6
  if (work_anywhere(clock_ns())) wake_if_idle(nullptr);  // I7
}

void scheduler::empty(processor& p) noexcept {
  tsan_ignore const holders_data;
  std::array<task*, run_queue::capacity / 2> batch;
  std::size_t n = 0;
  do {
    for (n = 0; n < batch.size() && (batch[n] = p.queue.pop(single())) != nullptr;) ++n;
    if (n != 0) global_.push(*p.port, batch.data(), n);
  } while (n == batch.size());
}

bool scheduler::hand_over(worker& w, processor& p, bool as_hog) noexcept {
  worker* spare = nullptr;
  bool from_poller = false;
  {
    guard hold(lock_);
    if (stopping_.load(std::memory_order_relaxed)) return false;
    spare = sleeper_to_wake_locked();
    std::uintptr_t const word = worker::adrift | (as_hog ? worker::hog : 0);
    adrift_.fetch_add(1, std::memory_order_seq_cst);
    if (as_hog) hogs_.fetch_add(1, std::memory_order_relaxed);
    // A monitor that is between M2 and M5 loses by this, as by E5. The release is for whoever reads the word without the lock.
    w.proc.store(word, std::memory_order_release);
    if (spare != nullptr) {
      from_poller = assign_locked(*spare, p);
    } else if (!new_worker_locked(p, false)) {
      hold_locked(w, p);
      drift_ended(word);
      report_limit_locked();
      return false;
    }
    hand_overs_.fetch_add(1, std::memory_order_relaxed);
  }
  if (spare != nullptr) wake_worker(*spare, from_poller);
  return true;
}

bool scheduler::thread_to_be_had() noexcept {
  guard hold(lock_);
  if (idle_workers_ != nullptr) return true;
  if (threads_.load(std::memory_order_relaxed) < thread_limit_.load(std::memory_order_relaxed))
    return clock_ns() >= refused_until_;
  report_limit_locked();
  return false;
}

void scheduler::report_limit_locked() noexcept {
  unsigned const limit = thread_limit_.load(std::memory_order_relaxed);
  if (threads_.load(std::memory_order_relaxed) < limit || std::exchange(limit_reported_, true)) return;
  warn(
      "all %u worker threads are stuck in tasks that block or compute, and %s allows no more: other tasks wait until "
      "one comes back",
      limit, thread_limit_name_);
}

void scheduler::begin_blocking(worker& w) noexcept {
  blocking_calls_.fetch_add(1, std::memory_order_seq_cst);
  processor* p = w.enter();
  // With nothing to run and another processor idle, that one's sleeper attends to timers and the network, and the monitor to the rest.
  bool const keep =
      p == nullptr || sim_ != nullptr || (nothing_to_run(*p) && idle_.load(std::memory_order_relaxed) != 0);
  if (!keep)
    (void)hand_over(w, *p, false);  // no thread to be had: the call blocks this worker, as if it had not said so
  w.leave();
}

processor* worker::comply() noexcept {
  bool const was_asked = (proc.load(std::memory_order_relaxed) & asked) != 0;
  processor* p = reclaim();
  if (p != nullptr && was_asked && sched->hand_over(*this, *p, true)) return nullptr;
  return p;
}

// ---- and getting one ------------------------------------------------------------------------------------------------

void scheduler::drift_ended(std::uintptr_t word) noexcept {
  if ((word & worker::hog) != 0) hogs_.fetch_sub(1, std::memory_order_relaxed);
  if ((word & worker::adrift) != 0) adrift_.fetch_sub(1, std::memory_order_seq_cst);
}

processor* scheduler::acquire_processor(worker& w) noexcept {
  if (idle_.load(std::memory_order_relaxed) == 0) return nullptr;
  guard hold(lock_);
  processor* p = take_idle_processor_locked();
  if (p == nullptr) return nullptr;
  std::uintptr_t const word = w.proc.load(std::memory_order_relaxed);
  hold_locked(w, *p);
  p->runs.rest(clock_ns());
  drift_ended(word);
  return p;
}

bool scheduler::nothing_to_run(processor& p) const noexcept {
  return p.queue.ring_empty() && p.queue.peek_next() == nullptr && global_.size() == 0 &&
         !starving_.load(std::memory_order_relaxed);
}

}  // namespace weft::rt
