// The timer node of a task's wait: time as a claimant of protocol B.
#pragma once

#include <cstdint>

namespace weft::rt {

struct task;
struct processor;
class scheduler;
class timer_heap;

/// Before a timed park, outside of a section: makes the task's timer node if its block has none.
void make_timer(task& t) noexcept;

/// Inside the section that the park goes on in: a place in the heap that the hook will use, so that arming there cannot fail.
void reserve_timer(task& t, processor* p) noexcept;

/// H4.
void arm_timer(task& t, processor* p, std::int64_t deadline, std::uint64_t generation) noexcept;

/// T10, after an arm in that heap, outside of sections.
void relieve(scheduler& s, timer_heap& armed_in) noexcept;

/// The heap that a task on `p` arms its timer in; a worker without a processor uses that of processor 0.
[[nodiscard]] timer_heap& heap_for(task& t, processor* p) noexcept;

}  // namespace weft::rt
