// W1 where it has nothing to do, which is nearly always: inlined into what every message goes through.
#pragma once

#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/switch_here.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

/// A task for which W1 had nothing to do: by its worker, on which it is outside of any section, and in no simulated run. Void once it has parked.
class waiting_caller {
 public:
  constexpr explicit waiting_caller(worker* here) noexcept : here_(here) {}
  [[nodiscard]] constexpr bool is_nobody() const noexcept { return here_ == nullptr; }
  [[nodiscard]] waiter& who() const noexcept { return *here_->current.get(); }
  /// What its thread takes biased locks as.
  [[nodiscard]] lock_owner owner() const noexcept { return here_->owner; }

  /// ready(), inlined. All calls are the last.
  __attribute__((always_inline)) void make_ready(waiter& w) const noexcept {
    if (w.is_thread || static_cast<task&>(w).sched != here_->sched) [[unlikely]]
      return ready(w);
    here_->sched->make_ready_here(*here_, &static_cast<task&>(w));
  }

  /// park() of the task without a deadline, in a wait that can be cancelled, and not for the network. Inlined where it switches by hand; what
  /// sanitizers look at is left to one function.
  __attribute__((always_inline)) how park(waiter& self, park_request const& request) const noexcept {
#if WEFT_SWITCH_BY_HAND
    return park_here(*here_, static_cast<task&>(self), request, true, false);
#else
    return rt::park(self, request);
#endif
  }

 private:
  worker* here_;
};

/// The calling task; or nobody: there is something to do or to throw, or no task
/// calls, or one of a simulated run, and it takes cancellation_point(). For functions that park in their last call or not at all, and are not inlined.
__attribute__((always_inline)) inline waiting_caller wait_at_once() noexcept {
  constexpr waiting_caller nobody(nullptr);
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
  return waiting_caller(here);
}

}  // namespace weft::rt
