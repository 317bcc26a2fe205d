// weft::call_once: one call, made by whoever comes first, before anybody who comes later goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include <weft/detail/wait.hpp>

namespace weft {

/// As std::once_flag.
class once_flag {
 public:
  constexpr once_flag() noexcept = default;
  once_flag(once_flag const&) = delete;
  once_flag& operator=(once_flag const&) = delete;

 private:
  template <class F, class... A>
  friend void call_once(once_flag& flag, F&& f, A&&... args);

  // state_: not called, or the last call threw; the call runs; it runs and others wait (T4 of
  // runtime/sync/lock_table.hpp); done.
  static constexpr std::uint32_t idle = 0, running = 1, awaited = 2, done = 3;

  [[nodiscard]] bool begin();  // true: the caller makes the call, then end()
  void end(bool succeeded) noexcept;

  std::atomic<std::uint32_t> state_{idle};
  detail::wait_list waiters_;  // guarded by rt::lock_of(this)
};

/// Calls f(args...) unless a call with this flag has returned before; waits for one that is running. If the call
/// throws, the exception goes to its caller, and the next of those that wait calls. Blocks. Not a cancellation point,
/// but f may be one.
///
/// Order: the call that returned happens before the return of every call_once with this flag.
template <class F, class... A>
void call_once(once_flag& flag, F&& f, A&&... args) {
  // acquire pairs with the release in end().
  if (flag.state_.load(std::memory_order_acquire) == once_flag::done) [[likely]]
    return;
  if (!flag.begin()) return;
  struct ending {
    once_flag& flag;
    bool succeeded = false;
    ~ending() { flag.end(succeeded); }
  } ending{flag};
  std::invoke(std::forward<F>(f), std::forward<A>(args)...);
  ending.succeeded = true;
}

}  // namespace weft
