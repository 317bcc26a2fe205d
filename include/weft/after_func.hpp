// after_func: a function that becomes a task later: when some time has passed, or once a context is cancelled.
//
//     auto stop = weft::after_func(ctx, [conn] { conn->close(); });
//     talk(*conn);
//     if (!stop()) { /* it runs, has run, or was destroyed with its runtime */ }
//
// The task is made beforehand, so that starting it cannot fail. After a duration it runs as go() would have run it: under the
// context of the call. After a cancellation it runs under without_cancel(context), so that it may wait. An exception that
// escapes it ends the process, as with go(). A function that waits for a context keeps it, until it has run or was stopped.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <source_location>
#include <utility>

#include <weft/context.hpp>
#include <weft/detail/deadline.hpp>
#include <weft/detail/guest.hpp>
#include <weft/task.hpp>

namespace weft::rt {
struct later_start;
}

namespace weft {

/// Takes back what after_func has set up: copyable, callable from any thread. Dropping it leaves the function to run.
class stop_fn {
 public:
  /// Prevents nothing.
  stop_fn() noexcept = default;
  stop_fn(stop_fn const& other) noexcept;
  stop_fn& operator=(stop_fn other) noexcept {
    std::swap(later_, other.later_);
    return *this;
  }
  ~stop_fn();

  /// True: this call prevented the function from running, and destroyed it. False: it runs, has run, or was prevented before, by
  /// another call or the end of its runtime.
  /// Does not block.
  bool operator()() const;

  explicit stop_fn(rt::later_start* counted) noexcept : later_(counted) {}  // for weft itself

 private:
  rt::later_start* later_ = nullptr;
};

namespace detail {

[[nodiscard]] rt::scheduler* scheduler_of(context const&) noexcept;  // which may have gone
/// Both take over the task, whose body stands.
[[nodiscard]] stop_fn start_when_cancelled(context of, rt::task*);
[[nodiscard]] stop_fn start_after(std::int64_t ns, rt::task*);

/// A task as go() makes it, not started.
template <class F>
[[nodiscard]] rt::task* make_later_task(rt::scheduler* s, std::source_location const& place, F&& f) {
  using closure_t = go_closure<closure<F>>;
  rt::task* t = create_task(s, go_body<closure_t>::ops, nullptr, place);
  try {
    ::new (body_of<false>(t)) closure_t(std::in_place, std::forward<F>(f));
  } catch (...) {
    abandon(t);
    throw;
  }
  return t;
}

}  // namespace detail

/// Runs f as a task once `of` is cancelled: at once if it is already. Does not block. Throws no_runtime if neither the caller nor
/// the context belongs to a runtime, or the context's is being shut down or has ended.
template <class F>
  requires task_callable<F>
stop_fn after_func(context of, F&& f, std::source_location place = std::source_location::current()) {
  detail::guest const in(detail::scheduler_of(of));
  rt::task* t = detail::make_later_task(in.scheduler(), place, std::forward<F>(f));
  return detail::start_when_cancelled(std::move(of), t);
}

/// Runs f as a task when d has passed: zero or negative: at once, max(): never. Does not block. Throws no_runtime outside of a
/// runtime. f is dropped if the runtime ends first.
template <class R, class P, class F>
  requires task_callable<F>
stop_fn after_func(std::chrono::duration<R, P> d, F&& f, std::source_location place = std::source_location::current()) {
  detail::guest const in(nullptr);
  rt::task* t = detail::make_later_task(in.scheduler(), place, std::forward<F>(f));
  return detail::start_after(detail::saturated_ns(d), t);
}

}  // namespace weft
