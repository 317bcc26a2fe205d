// The few functions that the templates of task.hpp and run.hpp need from the compiled runtime. Not for applications.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include <weft/detail/sanitizer.hpp>

namespace weft {

using task_id = std::uint64_t;

/// How a task is made. `name` is shown in dumps and reports; `stack_size` is in bytes of address space, 0: the runtime's.
struct task_options {
  std::string name{};
  std::size_t stack_size = 0;
};

namespace rt {
struct task;
struct completion;
struct cancel_node;
class scheduler;
}  // namespace rt

namespace detail {

/// The typed part of a task.
struct body_ops {
  void (*invoke)(void* body) noexcept;          // runs the closure, destroys it, stores result or exception
  void (*destroy_result)(void* body) noexcept;  // null: none; called when the last reference goes
  void (*discard)(void* body) noexcept;         // destroys a closure that never ran
};

/// A task without a body yet: construct one at body_of(), then start() it; or abandon() it if that throws. `sched` null:
/// the current task's or worker's runtime, throws weft::no_runtime if there is none. Throws std::bad_alloc, and
/// std::system_error when the runtime has no stack to give.
[[nodiscard]] rt::task* create_task(rt::scheduler* sched, std::size_t size, std::size_t align, body_ops const& ops,
                                    bool with_handle, task_options* options, std::source_location const* place);
[[nodiscard]] void* body_of(rt::task*) noexcept;
void start(rt::task*) noexcept;
void abandon(rt::task*) noexcept;  // frees a task whose body could not be made

/// The exception now handled escaped a task: a cancellation of the task's context just ends it, all else ends the process.
void escaped_from_go() noexcept;

// What a join handle does.
[[nodiscard]] bool task_done(rt::task*) noexcept;
void task_wait(rt::task*);  // cancellation point
[[nodiscard]] bool task_wait_until(rt::task*, std::int64_t deadline);
void task_cancel(rt::task*);
void task_stop(rt::task*) noexcept;     // cancel, wait uncancellably
void task_release(rt::task*) noexcept;  // the handle's reference
[[nodiscard]] rt::completion* task_completion(rt::task*) noexcept;

}  // namespace detail
}  // namespace weft
