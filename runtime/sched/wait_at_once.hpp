// W1 where it has nothing to do, which is nearly always: inlined into what every message goes through.
#pragma once

#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

/// The calling task's waiter, and what its thread takes locks as; or a null pointer: there is something to do or to throw, or no task
/// calls, or one of a simulated run, and it takes cancellation_point(). For functions that park in their last call or not at all, and are not inlined.
__attribute__((always_inline)) inline waiting_caller wait_at_once() noexcept {
  constexpr waiting_caller nobody{nullptr, passing_owner};
  worker* const here = worker_at_once;
  if (here == nullptr) [[unlikely]]
    return nobody;  // in a simulated run another task may go on first
  task* const t = here->current;
  if (t == nullptr) [[unlikely]]
    return nobody;
  // The context that it waited under last, or was spawned under, if that is still its own: the scope changes by set_scope alone, which forgets it, and a context
  // of the task's own may have been made by a handle.
  cancel_node* const n = t->waits_under;
  if (n == nullptr || n->is_touched()) [[unlikely]]
    return nobody;
  if (cancel_node* const own = t->own_context(); own != nullptr && own != n && !t->in_scope) [[unlikely]]
    return nobody;
  return {t, here->owner};
}

}  // namespace weft::rt
