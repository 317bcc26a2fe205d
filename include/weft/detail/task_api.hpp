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

// Where the parts of a task lie in its block: header | completion, if there is a handle | body. Known here, so that the templates find a body
// without a call; the runtime's task.hpp sees to it that the parts fit.
inline constexpr std::size_t task_header_size = 176, task_completion_size = 32;
inline constexpr std::size_t task_block_step = 64, task_block_max = 12 * task_block_step;  // larger bodies: apart
constexpr std::size_t body_offset(bool with_handle) noexcept {
  return task_header_size + (with_handle ? task_completion_size : 0);
}
/// Whether a block has room for such a body. What has none is kept apart (task.hpp).
constexpr bool body_fits(std::size_t size, std::size_t align, bool with_handle) noexcept {
  return align <= alignof(std::max_align_t) && body_offset(with_handle) + size <= task_block_max;
}

/// The typed part of a task. All take the task.
struct body_ops {
  void (*invoke)(void* task) noexcept;          // runs the closure, destroys it, stores result or exception
  void (*destroy_result)(void* task) noexcept;  // null: none; called when the last reference goes
  void (*discard)(void* task) noexcept;         // destroys a closure that never ran
  std::size_t size_class;                       // of the block: so many steps and one
  bool with_handle;
};
/// Of a task with a body of `Body`.
template <class Body, bool WithHandle>
constexpr body_ops body_ops_of(void (*invoke)(void*) noexcept, void (*destroy_result)(void*) noexcept,
                               void (*discard)(void*) noexcept) noexcept {
  static_assert(body_fits(sizeof(Body), alignof(Body), WithHandle));
  constexpr std::size_t size = body_offset(WithHandle) + sizeof(Body);
  return {invoke, destroy_result, discard, (size + task_block_step - 1) / task_block_step - 1, WithHandle};
}
/// Where the body lies, or is to be made.
template <bool WithHandle>
[[nodiscard]] inline void* body_of(void* task) noexcept {
  return static_cast<std::byte*>(task) + body_offset(WithHandle);
}

/// A task without a body yet: construct one at body_of(), then start() it; or abandon() it if that throws. `sched` null:
/// the current task's or worker's runtime, throws weft::no_runtime if there is none. Throws std::bad_alloc, and
/// std::system_error when the runtime has no stack to give.
[[nodiscard]] rt::task* create_task(rt::scheduler* sched, body_ops const& ops, task_options* options,
                                    std::source_location place);
/// The same for the current runtime, without options: a task without a handle, and one with a handle.
[[nodiscard]] rt::task* create_task_to_go(body_ops const& ops, std::source_location place);
[[nodiscard]] rt::task* create_task_to_join(body_ops const& ops, std::source_location place);
/// Under `under`, which is no root, whatever the caller's own context is: takes over a reference to it, and sets it to null then; also if it
/// throws afterwards. The task has no handle.
[[nodiscard]] rt::task* create_task_under(rt::cancel_node*& under, rt::scheduler& sched, body_ops const& ops,
                                          task_options* options, std::source_location place);
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
