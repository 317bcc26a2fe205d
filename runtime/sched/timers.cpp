// Timers that are due, and sleeping for those that are not.
//
// What fires may start tasks, and nothing else on the native stack may. So that none starts when the last has ended:
//
//   E1 firing + 1, as a spawn counts   E2 light fence   E3 over_: leave it   E4 fire   E5 fired + 1, as an end counts
//
// and shutdown does E6 to E8 (lifetime.cpp). If E3 does not see E6, E8 sees E1, and the firing is waited for like a task.

#include <algorithm>
#include <array>

#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

namespace {
// Tasks wait meanwhile, and there may be millions: one that computes has stopped a timer each half microsecond. A part of them at least,
// so that these go faster than others come; but of those that leave a task behind, which destroys a context's values, no more than a round of picks runs.
constexpr std::size_t few_dead = 512, part_of_dead = 32;
constexpr std::int64_t few_tasks = 64;
}  // namespace

bool scheduler::has_timers_to_run(processor const& of, std::int64_t now) const noexcept {
  // Dead ones that nobody has taken out yet are no reason for shutdown to wait: abandon_timers takes them.
  if (draining_.load(std::memory_order_relaxed)) return of.timers.next_deadline() <= now;
  return of.timers.needs_collect(now);
}

bool scheduler::run_timers(worker& w, processor& holds, processor& of, std::int64_t now) {
  if (!has_timers_to_run(of, now)) return false;
  bool any = false;
  bool left = false;
  holds.count.firing += 1;                       // E1
  light_fence();                                 // E2
  if (!over_.load(std::memory_order_relaxed)) {  // E3
    constexpr std::size_t ahead = 4;
    std::array<due_entry, 32> due;
    w.fires_timers = true;
    std::size_t const enough = std::max(few_dead, of.timers.dead() / part_of_dead);
    std::int64_t const queued = holds.queue.size();
    std::size_t dead = 0;
    while (has_timers_to_run(of, now)) {  // E4
      left = (dead >= enough || holds.queue.size() > queued + few_tasks) && of.timers.next_deadline() > now;
      if (left) break;
      bystander::scope const nothing_to_tell(w.wakes);
      std::size_t const n = of.timers.collect(now, due.data(), due.size());
      for (std::size_t i = 0; i < n; ++i) {
        if (i + ahead < n) {  // what firing and letting go of it touch
          prefetch_to_write(due[i + ahead].owner);
          prefetch_to_write(static_cast<char*>(due[i + ahead].owner) + 64);
        }
        if (due[i].fire != nullptr) {
          holds.count.timers += 1;
          due[i].fire(*due[i].node, due[i].owner, due[i].generation);
        } else {
          ++dead;
        }
        due[i].release(due[i].owner);
      }
      any |= n != 0;
    }
    w.fires_timers = false;
    if (any && sharing_pays(holds)) wake_if_idle(&holds);
  }
  holds.count.fired.publish(holds.count.fired.get() + 1);  // E5
  wake_shutdown();
  return left;
}

std::int64_t scheduler::wakes_at(std::int64_t until) noexcept {
  constexpr std::uint64_t crowd = 4;
  constexpr std::int64_t apart_ns = 50'000, pause_ns = 200'000;
  std::uint64_t all = 0;
  for (unsigned i = 0; i < processor_count_; ++i) all += processors_[i].count.timers.get();
  std::int64_t const now = clock_ns();
  // At most two workers sleep for timers at a time. That both are here at once makes one decision a poor one, no more.
  std::uint64_t const before = timers_then_.exchange(all, std::memory_order_relaxed);
  std::int64_t const since = slept_for_timer_.exchange(now, std::memory_order_relaxed);
  bool const crowded = all >= before + crowd && static_cast<std::int64_t>(all - before) * apart_ns >= now - since;
  return crowded ? std::max(until, now + pause_ns) : until;
}

}  // namespace weft::rt
