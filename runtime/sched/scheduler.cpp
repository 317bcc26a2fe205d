// Picking. Queueing is in queueing.cpp, stacks are in task_stacks.cpp, sleeping and waking in idle.cpp, start and stop in lifetime.cpp, switches in
// switching.cpp.

#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/pick_local.hpp"

#include <array>

#include "runtime/base/check.hpp"
#include "runtime/sched/switching.hpp"

namespace weft::rt {

namespace {
constexpr std::int64_t poll_every_ns = 50'000;       // a busy processor looks at the network this often
constexpr std::int64_t poll_behind_ns = 10'000'000;  // while tasks wait in the global queue; as Go's monitor
constexpr std::int64_t even_every_ns = 50'000;
constexpr std::int64_t oldest_after_ns =
    1'000'000;  // beside a tree of tasks that goes first and grows, the oldest has a turn this often
constexpr std::uint64_t sweep_every = 8;  // picks, while there are many dead timers
// Tasks that run for so long on average: another worker gets the data of the next one warm in less.
constexpr std::int64_t long_run_ns = 2'000;
constexpr std::int64_t linger_ns = 3'000;
}  // namespace

// ---- bookkeeping ----------------------------------------------------------------------------------------------------

void scheduler::set_ids_aside(spawn_store& of) noexcept {
  constexpr task_id batch = 64;
  want_monitor();  // the first spawn by a task: there are two now
  task_id const first = ids_.fetch_add(batch, std::memory_order_relaxed);
  of.next_id = first;
  of.last_id = first + batch;
}

// ---- picking --------------------------------------------------------------------------------------------------------

task* scheduler::take_global(processor& p, std::size_t max) noexcept {
  std::size_t const queued = global_.size();
  if (queued == 0) return nullptr;
  std::array<task*, run_queue::capacity / 2> batch;
  std::size_t n = queued / processor_count_ + 1;
  if (n > max) n = max;
  std::size_t const room = run_queue::capacity - p.queue.size();
  if (n > batch.size()) n = batch.size();
  if (n > room + 1) n = room + 1;
  n = global_.pop(*p.port, batch.data(), n);
  if (n == 0) return nullptr;
  for (std::size_t i = 1; i < n; ++i) push_local(p, batch[i]);
  if (n > 1 || global_.size() != 0) wake_if_idle(&p);
  return batch[0];
}

void scheduler::poll_network(worker& w, std::int64_t timeout_ns) {
  std::array<poll_event, 128> events;
  // Of many processors that look in passing at once one does: the others would wait for the kernel's lock of the poller.
  bool const passing = timeout_ns == 0;
  if (passing && (polling_.load(std::memory_order_relaxed) || polling_.exchange(true, std::memory_order_relaxed)))
    return;
  std::size_t const n = poller_.wait(timeout_ns, events.data(), events.size());
  if (passing) polling_.store(false, std::memory_order_relaxed);
  processor* p = w.held();
  if (p != nullptr) p->count.polls += 1;
  if (n == 0) return;
  ready_list woken;
  {
    bystander::scope const nothing_to_tell(w.wakes);
    io_.dispatch(events.data(), n, woken);
  }
  if (p == nullptr) p = processor_for_sleeper(w);
  if (p != nullptr) p->last_poll = clock_ns();
  bystander::scope const nothing_to_tell(w.wakes);
  make_ready_all(p, woken, true);
  if (p != nullptr) p->poll_turn = p->tick.get() + p->queue.size();
}

processor* scheduler::processor_for_sleeper(worker& w) noexcept {
  // Out of a blocking sleep in the poller, with tasks in hand: takes a processor for them rather than have somebody else woken.
  return take_processor(w) ? w.held() : nullptr;
}

void scheduler::note_time(worker& w, processor& p, std::int64_t now) noexcept {
  p.coarse_now = coarse_time(now);
  // Whoever parked last on this worker, and left nothing to run, parked this moment: its stamp may be older. If it has gone on
  // meanwhile, this makes the stamp of its next wait wrong by as little.
  if (task* t = w.parked_last.take()) t->parked_at.store(coarse_time(now), std::memory_order_relaxed);
}

void scheduler::note_rest(worker& w) noexcept {
  std::int64_t const now = clock_ns();
  note_time(w, *w.held(), now);
  w.held()->runs.rest(now);
  w.waits.rest(now, lock_waited_ns());
}

// A processor whose tasks are always ready again (they yield, or their connections never rest) does not run out of work, and so robs
// nobody: without this its few tasks would have ten turns while each in another's long queue has one. By length and by time: short tasks
// are not to wait behind a few that compute.
void scheduler::even_out(worker& w, processor& p, std::int64_t now) noexcept {
  if (single() || now - p.last_evened.get() <= even_every_ns) return;
  p.last_evened = now;
  processor& other = processors_[(p.index + 1 + w.random.below(processor_count_ - 1)) % processor_count_];
  std::int64_t const mine = p.queue.size(), theirs = other.queue.size();
  if (theirs <= 2 * mine + much_longer) return;
  std::int64_t const each = std::max<std::int64_t>(other.runs.average_ns(), 1);
  std::int64_t const more_ns = theirs * each - mine * p.runs.average_ns();
  if (2 * more_ns <= theirs * each) return;  // theirs takes less than twice as long
  auto const most = static_cast<std::uint32_t>(std::min((theirs - mine) / 2, more_ns / (2 * each)));
  if (p.queue.is_newest_first()) oldest_first(p);  // they go behind its own
  task* const t = p.queue.steal_from(other.queue, false, most);
  if (t == nullptr) return;
  p.count.steals += 1;
  push_local(p, t);
  // I2, I3: it need not be a searcher, and who goes idle meanwhile may have seen these in neither ring.
  wake_if_idle(&p);
}

namespace {
/// A tree that grows without end would go before its own first nodes for ever. Never at two looks in a row: where these are further
/// apart than that time, the global queue would have no turn.
bool oldest_is_due(processor& p, std::int64_t now) noexcept {
  if (!p.queue.grows()) {
    p.oldest_since = 0;
    return false;
  }
  if (p.oldest_since.get() == 0) p.oldest_since = now;
  if (now - p.oldest_since.get() <= oldest_after_ns) return false;
  p.oldest_since = 0;
  return true;
}
}  // namespace

/// A look's own turn: for what would have none, or seldom one, by pop().
task* scheduler::take_for_others(processor& p, std::int64_t now) noexcept {
  // The monitor may ask for a look at each pick of tasks that take milliseconds: between two such turns what is queued here has one.
  constexpr std::uint64_t next_pick =
      2;  // in ticks: a switch that leaves the pick to the native stack has counted it, too
  if (p.tick.get() - p.others_turn.get() <= next_pick) return nullptr;
  task* t = oldest_is_due(p, now) ? p.queue.pop_ring(single()) : nullptr;
  if (t == nullptr) t = take_global(p, 1);
  // Picks of a tree whose tasks are run where they are joined come seldom, and each eighth of them seldomer (J4).
  if (t == nullptr) t = p.queue.pop_below(single());
  if (t != nullptr) p.others_turn = p.tick.get();
  return t;
}

task* scheduler::find_now(worker& w, processor& p) {
  bool const look_around = p.tick >= p.look_at;
  p.tick += 1;
  if (look_around) {
    p.look_at = p.tick + (look_every - 1);
    std::int64_t now = clock_ns();
    note_time(w, p, now);
    p.runs.add(now, p.tick, 0);
    try_monitor_again(now);
    if (run_timers(w, p, p, now, true) == swept::in_part) p.look_at = p.tick + sweep_every;
    if (starving_.load(std::memory_order_relaxed) && p.loops != nullptr) [[unlikely]]
      (void)release_loops(p);  // S2
    if (heed_lock_waits(w, p, now)) [[unlikely]]
      (void)run_timers(w, p, p, now = clock_ns());
    even_out(w, p, now);
    // What the network wakes goes to the ring, and the global queue gets its large share when that is empty. So those in the global
    // queue go first: connections that always have something to do would keep the ring filled, and one task in 61 would be one of them. Where the
    // system lets this thread run for little of that time, what the last look put into the ring has its turn first, all the same.
    bool const behind = global_.size() != 0;
    if (now - p.last_poll.get() > (behind ? poll_behind_ns : poll_every_ns) &&
        (!behind || p.tick.get() >= p.poll_turn.get())) {
      p.last_poll = now;
      poll_network(w, 0);
    }
    if (task* t = take_for_others(p, now)) return t;
  }
  if (task* t = p.queue.pop(single())) return t;
  p.dry += 1;
  if (task* t = take_global(p, run_queue::capacity / 2)) return t;
  // Out of work: timers of processors that nobody holds, or whose holder computes, are run here too.
  std::int64_t const now = clock_ns();
  note_time(w, p, now);
  p.runs.add(now, p.tick, 2);
  try_monitor_again(now);
  w.leaves_timers = false;
  for (unsigned i = 0; i < processor_count_; ++i)
    if (run_timers(w, p, processors_[i], now) != swept::all) w.leaves_timers = true;
  even_out(w, p, now);
  if (task* t = p.queue.pop(single())) return t;
  // Who finds nothing will sleep in the poller and sees what is ready there; a look before that is for those who have not looked for long.
  if (poll_until_.load(std::memory_order_relaxed) == 0 && now - p.last_poll.get() > poll_every_ns) {
    p.last_poll = now;
    poll_network(w, 0);
    if (task* t = p.queue.pop(single())) return t;
  }
  return nullptr;
}

task* scheduler::find_work(worker& w) {
  for (;;) {
    if (stopping_.load(std::memory_order_acquire)) return nullptr;
    processor* p = w.held();
    if (p == nullptr) {
      if (!go_idle(w)) return nullptr;
      note_rest(w);
      continue;
    }
    if (sim_ != nullptr) [[unlikely]]
      return find_simulated(w, *p);
    if (p->queue.has_parent()) [[unlikely]]
      children_first(*p);  // of one that has lost this processor: whoever leaves it otherwise has been there
    task* t = find_now(w, *p);
    if (t == nullptr && (t = search(w, *p)) != nullptr) p->tick += 1;
    if (t != nullptr) {
      w.dry_by_lock = false;
      if (w.searching) stop_searching(w);
      return t;
    }
    if (starving_.load(std::memory_order_relaxed)) [[unlikely]]
      give_up_loops(*p);
    if (w.leaves_timers) continue;
    if (!go_idle(w)) return nullptr;
    note_rest(w);
  }
}

task* scheduler::search(worker& w, processor& p) noexcept {
  if (single()) return nullptr;
  if (!w.searching) {
    std::uint32_t const busy = processor_count_ - idle_.load(std::memory_order_relaxed);
    if (2 * searching_.load(std::memory_order_relaxed) >= busy) return nullptr;
    searching_.fetch_add(1, std::memory_order_seq_cst);
    w.searching = true;
  }
  // The last round also takes next slots and single tasks from processors whose tasks are short, if they have not moved for a while.
  for (bool const last_round : {false, true}) {
    if (last_round)
      for (int i = 0; i < 24; ++i) cpu_relax();
    if (task* t = steal(w, p, last_round)) return t;
    if (global_.size() != 0)
      if (task* t = take_global(p, run_queue::capacity / 2)) return t;
  }
  return linger(w, p);
}

task* scheduler::linger(worker& w, processor& p) noexcept {
  // One worker at a time, and only while others run tasks, which may make one ready. Not where a lock is waited for: its holder and the next one
  // to want it do better without another that wants it.
  if (searching_.load(std::memory_order_relaxed) > 1 || !others_run() || p.runs.average_ns() < long_run_ns ||
      w.dry_by_lock || !w.lingers.pays())
    return nullptr;
  std::int64_t now = clock_ns();
  std::int64_t const until = now + linger_ns;
  task* t = nullptr;
  do {
    for (int pause = 0; pause < 24; ++pause) cpu_relax();
    t = steal(w, p, false);
    if (t == nullptr) t = take_global(p, run_queue::capacity / 2);
    now = clock_ns();
  } while (t == nullptr && now < until);
  w.lingers.looked(t != nullptr);
  p.runs.rest(now);
  return t;
}

task* scheduler::steal(worker& w, processor& p, bool last_round) noexcept {
  for (victim_order::walk at(victims_, w.random.next()); !at.done(); at.next()) {
    processor& victim = processors_[at.at()];
    if (&victim == &p) continue;
    if (task* t = p.queue.steal_from(victim.queue, false)) {
      p.count.steals += 1;
      return t;
    }
    if (victim.queue.peek_next() == nullptr && victim.queue.ring_empty()) continue;
    // A task in a next slot is about to run where its data is warm, one that is alone in the ring is about to be joined or run. It is
    // taken only if that processor stands still: 3 us where a pause is 140 cycles, 1 us where it is 40. Go waits 3 us there. Where tasks run for
    // long anyway, a moment tells; but not for the sake of a lock, which all of them may want.
    bool const at_once = !w.dry_by_lock && victim.runs.average_ns() >= long_run_ns;
    if (!at_once && !last_round) continue;
    std::uint64_t const tick = victim.tick;
    for (int pause = at_once ? 10 : 60; pause > 0; --pause) cpu_relax();
    if (victim.tick.get() != tick) continue;
    task* t = victim.queue.take_next();
    if (t == nullptr) t = p.queue.steal_from(victim.queue, true);
    if (t != nullptr) {
      p.count.steals += 1;
      return t;
    }
  }
  return nullptr;
}

bool scheduler::work_anywhere(std::int64_t now) noexcept {
  if (global_.size() != 0) return true;
  for (unsigned i = 0; i < processor_count_; ++i)
    if (processors_[i].queue.size() > 1 || has_timers_to_run(processors_[i], now)) return true;
  return false;
}

}  // namespace weft::rt
