// Calls that block: system calls without a deadline, libraries that sleep or wait for a lock.
//
//     std::string text = weft::blocking([&] { return read_whole_file(path); });
//
// It is never needed. A task may block anywhere: the monitor sees it within a millisecond or two and the other tasks go
// on, on another thread. blocking() says so at once, which saves that time, and it keeps order afterwards: the task goes on
// when a worker is free for it, while one that blocked without saying so just goes on, beside the others.
#pragma once

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include <weft/detail/task_api.hpp>

namespace weft {

namespace detail {

/// The time in which the calling task blocks.
class blocking_call {
 public:
  blocking_call();
  ~blocking_call();
  blocking_call(blocking_call const&) = delete;
  blocking_call& operator=(blocking_call const&) = delete;

 private:
  rt::scheduler* sched_;  // null: on a plain thread
};

}  // namespace detail

/// Calls f(a...) where blocking harms nobody: on the same thread, while the other tasks go on elsewhere. Returns what f returns and
/// throws what f throws. On a plain thread it just calls f.
///
/// Stack: f runs on the task's own stack, so what f needs counts against its size (256 KiB unless options::stack_size or
/// task_options::stack_size says otherwise). For code that needs more, spawn a task with a larger stack and join it:
/// `weft::spawn({.stack_size = 8 << 20}, f).join()`.
///
/// Waiting: the task may go on on another thread after f, so hold no std::mutex across it and expect nothing of thread_local variables. f
/// itself stays on its thread as long as it calls nothing of weft that waits; it may do that too.
///
/// Cancellation point when it is entered, and only then: a call that has begun cannot be interrupted. Throws weft::cancelled. Its
/// threads count against options::max_threads; when there is none to be had, f runs all the same, and the tasks behind it wait.
template <class F, class... A>
  requires std::invocable<F, A...>
auto blocking(F&& f, A&&... a) -> std::invoke_result_t<F, A...> {
  detail::blocking_call const call;
  return std::invoke(std::forward<F>(f), std::forward<A>(a)...);
}

}  // namespace weft
