// The end of a task.
#pragma once

namespace weft::rt {

struct task;

/// After t's code has returned, on its stack, outside of any section, with t still current: its fiber_local values go, it leaves its
/// context, its joiners are woken, its references to contexts and the run's reference to itself are dropped. May run user code
/// (destructors). t is void afterwards.
void end_task(task* t) noexcept;
/// The same for a task that ran in its joiner's join(), which holds the handle's reference.
void end_task_beneath_join(task* t) noexcept;

}  // namespace weft::rt
