// weft::condition_variable: waits until another task or thread says that something has changed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include <weft/detail/deadline.hpp>
#include <weft/detail/wait.hpp>
#include <weft/mutex.hpp>

namespace weft {

/// As std::condition_variable, with weft::mutex. Waiters are woken first come, first served, and not without a
/// reason; still, what was true at the notify may no longer be true when the mutex has been taken again: wait in a
/// loop or with a predicate.
///
/// Each wait blocks and is a cancellation point: it throws weft::cancelled with the mutex held. A notify is never
/// lost: one that meets a waiter which a timeout or a cancellation has already ended goes to the next waiter; a
/// waiter that was notified first returns, even if it is cancelled before it runs. The lock must own its mutex (fatal
/// otherwise).
/// Order: as the mutex gives it. Life: may be destroyed once every waiter has been notified.
class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(condition_variable const&) = delete;
  condition_variable& operator=(condition_variable const&) = delete;

  /// Wakes one waiter, if there is one, or all. Does not block; needs no lock.
  void notify_one() noexcept {
    if (waited_on_.load(std::memory_order_acquire)) wake(false);
  }
  void notify_all() noexcept {
    if (waited_on_.load(std::memory_order_acquire)) wake(true);
  }

  /// Unlocks, waits for a notify, locks again.
  void wait(std::unique_lock<mutex>& lock) { (void)wait_deadline(lock, detail::never); }

  /// The same until `ready()` is true, which it may be at once. `ready` is called with the mutex held.
  template <class P>
  void wait(std::unique_lock<mutex>& lock, P ready) {
    begin(lock);
    while (!ready()) wait(lock);
  }

  template <class C, class D>
  std::cv_status wait_until(std::unique_lock<mutex>& lock, std::chrono::time_point<C, D> at) {
    return wait_deadline(lock, detail::deadline_at(at)) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }

  /// What `ready()` says in the end: false only if time ran out first.
  template <class C, class D, class P>
  bool wait_until(std::unique_lock<mutex>& lock, std::chrono::time_point<C, D> at, P ready) {
    return wait_deadline(lock, detail::deadline_at(at), ready);
  }

  template <class R, class Q>
  std::cv_status wait_for(std::unique_lock<mutex>& lock, std::chrono::duration<R, Q> d) {
    return wait_deadline(lock, detail::deadline_after(d)) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }

  template <class R, class Q, class P>
  bool wait_for(std::unique_lock<mutex>& lock, std::chrono::duration<R, Q> d, P ready) {
    return wait_deadline(lock, detail::deadline_after(d), ready);
  }

 private:
  template <class P>
  bool wait_deadline(std::unique_lock<mutex>& lock, std::int64_t deadline, P& ready) {
    begin(lock);
    while (!ready()) {
      if (!wait_deadline(lock, deadline)) return ready();
    }
    return true;
  }

  bool wait_deadline(std::unique_lock<mutex>& lock, std::int64_t deadline);  // false: timed out
  void wake(bool all) noexcept;
  /// Due even if `ready` is true at once: the lock is looked at, and the context.
  static void begin(std::unique_lock<mutex> const& lock);

  // Says that waiters_ may not be empty. Written under the lock that guards the list; read without it: a notify that
  // must find a waiter happens after the wait has begun, by way of the mutex, and with that sees it set.
  std::atomic<bool> waited_on_{false};
  detail::wait_list waiters_;  // guarded by rt::lock_of(this)
};

}  // namespace weft
