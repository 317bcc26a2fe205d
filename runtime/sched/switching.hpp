// Leaving a stack: parking, yielding, and the loop at the base of pooled stacks. See scheduler.hpp, "Stacks".
#pragma once

#include "runtime/fiber/stack.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::rt {

struct processor;
struct task;
struct worker;

/// The part of park_task that leaves and comes back, for waits with a timer. Entered inside a section, and left outside of any.
void leave_parked(worker& w, processor* p, task& t, park_request const& request) noexcept;

/// Inside a section, on t's stack: queues t behind the others and leaves it; without a processor, in the global queue. Returns, outside
/// of any section, when its turn has come.
void yield_task(worker& w, processor* p, task& t) noexcept;

/// Does what the execution that was left behind asked for. First thing on every arrival.
/// Returns the worker that it runs on.
worker& arrive() noexcept;

/// The entry of every pooled stack; `self` is the stack. Calls fresh tasks for ever.
void loop_main(void* self);

}  // namespace weft::rt
