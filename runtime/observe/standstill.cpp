#include "runtime/observe/standstill.hpp"

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/observer.hpp"

namespace weft::rt {
namespace {

bool can_only_be_ended_inside(park_request const& r) noexcept {
  if (r.deadline != never) return false;
  switch (r.reason) {
    case wait_reason::chan_send:
    case wait_reason::chan_recv:
    case wait_reason::select:
    case wait_reason::join:
    case wait_reason::mutex:
    case wait_reason::shared_mutex:
    case wait_reason::condition_variable:
    case wait_reason::semaphore:
    case wait_reason::latch:
    case wait_reason::barrier:
    case wait_reason::call_once:
    case wait_reason::wait_group:
    case wait_reason::task_group: return true;
    default: return false;
  }
}

}  // namespace

bool parked_pass::look(task& t) noexcept {
  bool const mine = t.sched == of;
  if ((!mine && !others) || &t == caller) return true;
  task_phase const phase = t.phase.load(std::memory_order_relaxed);
  if (phase == task_phase::free || phase == task_phase::ended) return true;
  tasks += mine ? 1 : 0;
  if (phase == task_phase::joining)
    return true;  // it waits as long as the task above it does, which is looked at itself
  if (mine && starving && phase == task_phase::fresh) {
    fresh += 1;
    return true;
  }
  bool waits = true;
  if (reasons) {
    waits = freeze(t);
    if (waits && !can_only_be_ended_inside(*t.request)) {
      all_wait = false;
      if (mine) {
        witness = &t;
        word = t.word.load(std::memory_order_relaxed) & ~wait_word::frozen;
      }
    }
    if (waits && thaw(t)) ready(t);
  }
  std::uint64_t const now = t.word.load(std::memory_order_acquire);
  if (!waits || (now & wait_word::state_mask) != wait_word::waiting) all_wait = false;
  generations += wait_word::generation(now);
  return all_wait;
}

void parked_pass::look(waiter const& w, bool for_ever) noexcept {
  std::uint64_t const now = w.word.load(std::memory_order_acquire);
  if (!for_ever || (now & wait_word::state_mask) != wait_word::waiting) return;
  threads += 1;
  generations += wait_word::generation(now);
}

void parked_pass::run() {
  for_each_task([](task& t, void* arg) { return static_cast<parked_pass*>(arg)->look(t); }, this);
  if (all_wait)
    for_each_thread_waiter(
        [](waiter& w, bool for_ever, void* arg) { static_cast<parked_pass*>(arg)->look(w, for_ever); }, this);
}

bool may_come_from_outside(scheduler& s) noexcept {
  return s.armed_timers() != 0 || sources.signal_subscriptions.load(std::memory_order_acquire) != 0 ||
         s.blocking_calls() != 0 || s.adrift() != 0;
}

std::size_t own_threads(scheduler& s) noexcept { return s.threads() + (s.draining() ? 1u : 0u); }

bool no_other_thread(std::size_t own, std::size_t waiting) noexcept {
  std::size_t const known = own + sources.threads.load(std::memory_order_acquire) + waiting;
  std::size_t const there = process_threads();
  if (!tsan) return there == known;
  // ThreadSanitizer has a thread of its own; in a child of fork it has none, one or two, so that there the answer is not exact.
  return there == known + 1 || (sources.forked.load(std::memory_order_relaxed) && there >= known && there <= known + 2);
}

}  // namespace weft::rt
