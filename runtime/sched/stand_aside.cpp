// A worker whose time goes into waiting for locks (lock_waits.hpp) leaves its tasks to the others for a while.
//
//   A1 if its tasks are few they go to the global queue; of many, in its ring, the others take their part (even_out, steal)
//   A2 under lock_: another processor is held by a worker that neither is idle nor stands aside; this one is counted in aside_
//   A3 it sleeps, its processor in its hands, until the time is over, its next timer is due, or the runtime stops
//
// To all others it is a worker that is busy for a few milliseconds, or that the operating system has not run for as long: nothing counts
// on its looking around sooner, and the monitor backs it up. Nobody is woken for what A1 queued, who would only come in its place; the
// worker of A2 takes it when it looks around, or has run out of work, whoever goes idle after A2 finds it as any task that was queued before (I4 is
// under lock_, too), the monitor wakes an idle worker for it, and this one comes back. If no other processor has picked a task meanwhile (all that are
// held compute, or are stuck), standing aside was in vain, and is left out for the next tenth of a second.
//
// A timer that is armed on its heap by others while it sleeps (through a node that has its home there) fires when it comes back, unless
// another worker has run out of work, or the monitor finds it overdue.
//
// While somebody stands aside, a processor that is crowded itself does not wake an idle worker for a task that it wakes
// (push_displaced): with many processors the next one would only come in the first one's place. That is one of the wake-ups that the monitor backs up, so
// without its thread nobody stands aside.

#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

std::uint64_t scheduler::picks_of_others(processor const& p) const noexcept {
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < processor_count_; ++i)
    if (i != p.index) sum += processors_[i].tick.get();
  return sum;
}

bool scheduler::heed_lock_waits(worker& w, processor& p, std::int64_t now) noexcept {
  auto const share = w.waits.look(now, lock_waited_ns());
  if (share == lock_waits::share::little && aside_.load(std::memory_order_relaxed) == 0) p.crowded = false;
  if (share != lock_waits::share::much) return false;
  p.crowded = true;
  std::int64_t const pause = w.waits.pause(now);
  if (pause == 0 || w.searching || !others_run()) return false;
  return stand_aside(w, p, pause);
}

bool scheduler::others_run() const noexcept {
  return idle_.load(std::memory_order_relaxed) + aside_.load(std::memory_order_relaxed) + 2 <= processor_count_;
}

bool scheduler::stand_aside(worker& w, processor& p, std::int64_t for_ns) noexcept {
  if (p.queue.size() <= much_longer) empty(p);  // A1
  {
    guard hold(lock_);
    if (stopping_.load(std::memory_order_relaxed) || !others_run() || !monitor_.joinable()) return false;
    w.wakeups.store(0, std::memory_order_relaxed);
    aside_.store(aside_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // A2
  }
  std::uint64_t const picks = picks_of_others(p);
  (void)sleep_until_woken(w, std::min(clock_ns() + for_ns, p.timers.next_deadline()));  // A3
  {
    guard hold(lock_);
    aside_.store(aside_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  stood_aside_.fetch_add(1, std::memory_order_relaxed);
  w.waits.stood(clock_ns(), picks_of_others(p) != picks);
  note_rest(w);
  return true;
}

}  // namespace weft::rt
