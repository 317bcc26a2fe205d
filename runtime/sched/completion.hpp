// The end of something, awaited by any number of waiters: a task for its joiners. Set once. A select can wait for it
// beside channels, which is why lock and list are plain members here.
#pragma once

#include <atomic>

#include <weft/detail/wait.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::rt {

struct completion {
  object_lock lock;
  wait_list waiters;              // guarded by lock
  std::atomic<bool> done{false};  // set under lock, release; readers without the lock use acquire

  /// Sets `done` and makes every waiter ready, as from a partner. Never throws.
  void complete() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
    lock.lock();
    done.store(true, std::memory_order_release);
    wake_and_unlock();
  }
  /// The rest of it, with the lock held.
  void wake_and_unlock() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
    ready_list woken;
    while (wait_record* r = pop_claimed(waiters, how::partner)) woken.push(*r->who);
    lock.unlock();
    if (!woken.empty()) ready_all(woken);
  }
};

}  // namespace weft::rt
