// scheduler::push_local, pick_local, take_back, queue_yielded and make_ready, inlined into all that leaves a stack, or sends to one that has: a part of each
// switch.
#pragma once

#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

// task::stopped: the number of the line of the frame that it stopped in, modulo 128, and whether it waits for the network.
inline constexpr std::uint8_t stopped_lines = 0x7f, stopped_for_io = 0x80;
inline std::uint8_t line_of(void const* at) noexcept {
  return static_cast<std::uint8_t>(reinterpret_cast<std::uintptr_t>(at) / 64 & stopped_lines);
}

/// With many tasks each is cold when its turn comes: the header some places ahead; of the one after the next, whose header is here by now,
/// the stack's block and the frame that it stopped in. A stack has a page of its own, which has to be found by a walk of tables that are as cold.
/// Who has waited for the network returns through some frames and then works in deep ones, on a stack as cold as all that the kernel has done
/// meanwhile: two kilobytes of it.
__attribute__((always_inline)) inline void prefetch_ahead(run_queue const& queue) noexcept {
  task* const soon = queue.ahead(4);
  if (soon == nullptr) return;
  prefetch_task(soon);
  task* const next = queue.ahead(1);  // null if thieves have been here since
  if (stack* s = next != nullptr ? next->own_stack.get() : nullptr) {
    auto const* const block = reinterpret_cast<char const*>(s);
    std::uint8_t const stopped = next->stopped;
    auto const* const frame = block - std::size_t{64} * ((line_of(block) - stopped) & stopped_lines);
    __builtin_prefetch(block, 1);
    __builtin_prefetch(frame, 1);
    __builtin_prefetch(frame - 64, 1);
    __builtin_prefetch(frame - 128, 1);
    if ((stopped & stopped_for_io) != 0) {
      constexpr int above = 8, below = 24;
      for (int line = -below; line <= above; ++line) __builtin_prefetch(frame + 64 * line, 1);
    }
  }
}

__attribute__((always_inline)) inline task* scheduler::pick_local(processor& p) noexcept {
  std::uint64_t const tick = p.tick + 1;
  p.tick = tick;
  if (tick >= p.look_at) [[unlikely]]
    return nullptr;
  task* const t = p.queue.pop(p.queue.unshared);
  if (t == nullptr) return nullptr;
  prefetch_ahead(p.queue);
  return t;
}

inline void scheduler::push_behind(processor& p, task* t) noexcept {
  bool queued = false;
  {
    tsan_no_edges const queue;
    queued = p.queue.push(t);
  }
  if (!queued) [[unlikely]]
    overflow(p, t);
}

inline void scheduler::push_local(processor& p, task* t) noexcept {
  if (p.queue.is_newest_first()) [[unlikely]]
    oldest_first(p);
  push_behind(p, t);
}

inline void scheduler::put_back(processor& p, task* t) noexcept {
  push_behind(p, t);
  wake_if_idle(&p);
}

/// The waker runs t next itself, so nobody is woken for it. The task that had that place, or null.
inline task* put_next(processor& p, task* t) noexcept {
  tsan_no_edges const queue;
  return p.queue.push_next(t, p.queue.unshared);
}

/// make_ready by a task on `w`, outside of a section, for a task of the same scheduler. All calls are the last.
__attribute__((always_inline)) inline void scheduler::make_ready_here(worker& w, task* t) noexcept {
  WEFT_ASSERT(!w.is_inside() && w.sched == this && t->sched == this, "make_ready_here is for tasks of one scheduler");
  if (is_frozen(*t)) [[unlikely]]
    return make_ready_elsewhere(t, &w);
  tsan_release(t);
  processor* const p = w.enter_at_once();
  if (p == nullptr) [[unlikely]]
    return make_ready_after_all(t, w);
  if (task* const displaced = put_next(*p, t)) return push_displaced_and_leave(w, *p, displaced);
  w.leave();
}

/// queue_yielded with its usual case inlined.
__attribute__((always_inline)) inline void scheduler::queue_yielded_here(worker& w, task* t, bool native) noexcept {
  processor* const p = w.held();
  if (native || p == nullptr) [[unlikely]]
    return queue_yielded(w, t, native);
  t->phase.store(task_phase::yielded, std::memory_order_release);
  push_behind(*p, t);  // leave_tree() has been here
  if (!single()) wake_if_idle(p);
}

__attribute__((always_inline)) inline bool scheduler::take_back(processor& p, task* t) noexcept {
  std::uint64_t const tick = p.tick + 1;
  if (tick >= p.look_at) [[unlikely]] {
    if (sim_ == nullptr && p.queue.newest() == t) p.joins_here = true;
    return false;
  }
  if (!p.queue.retract(t, p.queue.unshared)) return false;
  p.joins_here = true;
  p.tick = tick;
  return true;
}

}  // namespace weft::rt
