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
// A sweep of dead ones, with nothing due, ends after so many: tasks wait meanwhile, and there may be millions.
constexpr std::size_t few_dead = 512;
// Or when it has made about as many tasks, which destroy contexts' values, as run between two looks.
constexpr std::uint64_t few_tasks = 64;
// What a collect counts for beside what it takes out: it looks at others.
constexpr std::size_t look_counts = 8;
}  // namespace

bool scheduler::has_timers_to_run(processor const& of, std::int64_t now) const noexcept {
  // Dead ones that nobody has taken out yet are no reason for shutdown to wait: abandon_timers takes them.
  if (draining_.load(std::memory_order_relaxed)) return of.timers.next_deadline() <= now;
  return of.timers.needs_collect(now);
}

swept scheduler::run_timers(worker& w, processor& holds, processor& of, std::int64_t now, bool busy) {
  if (!has_timers_to_run(of, now)) return swept::all;
  bool any = false;
  swept result = swept::all;
  holds.count.firing += 1;                       // E1
  light_fence();                                 // E2
  if (!over_.load(std::memory_order_relaxed)) {  // E3
    constexpr std::size_t ahead = 4;
    std::array<due_entry, 32> due;
    w.fires_timers = true;
    std::size_t const enough = busy ? std::max(few_dead, of.timers.dead() / 32) : few_dead;
    std::size_t spent = 0;
    std::uint64_t made = 0;
    while (has_timers_to_run(of, now)) {  // E4
      if (of.timers.next_deadline() > now) {
        if (made >= few_tasks) result = swept::into_tasks;
        else if (spent >= enough) result = swept::in_part;
        if (result != swept::all) break;
      }
      bystander::scope const nothing_to_tell(w.wakes);
      std::size_t const n = of.timers.collect(now, due.data(), due.size());
      spent += look_counts;
      for (std::size_t i = 0; i < n; ++i) {
        if (i + ahead < n) {  // what firing and letting go of it touch
          prefetch_to_write(due[i + ahead].owner);
          prefetch_to_write(static_cast<char*>(due[i + ahead].owner) + 64);
        }
        std::uint64_t before = holds.count.spawned;
        if (due[i].fire != nullptr) {
          holds.count.timers += 1;
          due[i].fire(*due[i].node, due[i].owner, due[i].generation);
          before = holds.count.spawned;
        } else {
          ++spent;
        }
        due[i].release(due[i].owner);
        made += holds.count.spawned - before;
      }
      any |= n != 0;
    }
    w.fires_timers = false;
    if (any && sharing_pays(holds)) wake_if_idle(&holds);
  }
  holds.count.fired.publish(holds.count.fired.get() + 1);  // E5
  wake_shutdown(nullptr);
  return result;
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
