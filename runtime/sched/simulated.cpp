// The scheduler's side of a simulated run: Z1 to Z6 of simulated.hpp.

#include "runtime/sched/simulated.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>

#include <weft/detail/simulated.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/fiber/overflow.hpp"
#include "runtime/fiber/switch.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/pending_start.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/simulated_network.hpp"
#include "runtime/sched/switching.hpp"

constinit std::atomic<unsigned> weft::detail::simulations{0};

namespace weft::rt {

namespace {
constexpr std::uint32_t polls_before_time_moves = 1 << 16;
constexpr std::uint32_t polls_a_millisecond = 1 << 10;
constexpr std::uint32_t waiters_to_choose_from = 256;  // the first ones: thousands are not walked over each time
constexpr std::uint64_t least_for_unwinding = 10'000;  // choices, however few a run may make
}  // namespace

simulation* current_simulation() noexcept {
  worker* const w = current_worker();
  return w != nullptr ? w->sched->simulated() : nullptr;
}

simulated_network& network_of_run() noexcept {
  simulation* const s = current_simulation();
  if (s == nullptr) fatal("a socket of a simulated run is used outside of it");
  return *s->network;
}

// ---- the run --------------------------------------------------------------------------------------------------------

namespace {

/// The calling thread is the run's worker until the end of the block, also if the first task cannot be made.
class simulated_thread {
 public:
  simulated_thread(scheduler& of, worker& w) : run_(of) {
    detail::simulations.fetch_add(1, std::memory_order_relaxed);
    tsan_ignore_begin();
    w.owner = new_lock_owner();
    set_current_worker(&w);
    thread_globals const globals = current_thread_globals();
    w.exceptions = globals.exceptions;
    w.errno_pointer = globals.errno_pointer;
    w.thread_id = current_thread_id();
    w.clock = current_thread_clock().id;
    init_native(w.native);
    tsan_release(&w.sched);
  }
  ~simulated_thread() {
    tsan_ignore_end();
    set_current_worker(nullptr);
    drop_starts_of(run_);
    detail::simulations.fetch_sub(1, std::memory_order_relaxed);
  }
  simulated_thread(simulated_thread const&) = delete;
  simulated_thread& operator=(simulated_thread const&) = delete;

 private:
  scheduler& run_;
};

}  // namespace

void scheduler::run_simulated(void (*body)(void*), void* arg) {
  // In a process that has never had a second thread libstdc++ counts shared_ptrs without locked instructions; to ThreadSanitizer, for
  // which tasks are threads, these are races.
  if constexpr (tsan) {
    [[maybe_unused]] static bool const has_had_two = (std::thread([] {}).join(), true);
  }
  simulation& s = *sim_;
  worker* w = nullptr;
  {
    guard hold(lock_);
    w = &unused_worker_locked();
    hold_locked(*w, *take_idle_processor_locked());
    threads_.store(1, std::memory_order_relaxed);
  }
  processor& p = *w->held();
  w->store.next_id = 1;
  w->store.last_id = ~task_id{0};
  p.coarse_now = coarse_time(s.now.load(std::memory_order_relaxed));
  alternate_stack const signals;
  join_handle<void> handle;
  {
    simulated_thread const here(*this, *w);
    auto call = [body, arg] { body(arg); };
    s.first = detail::spawn_on(this, nullptr, {}, call);
    handle = join_handle<void>(s.first);
    // Tasks stand on stacks that this loop alone goes on with: without memory they can neither go on nor be unwound.
    try {
      for (;;) {
        (void)arrive();
        task* t = w->handoff.take();
        if (t == nullptr) t = find_work(*w);
        if (t == nullptr) break;
        run_on_stack(*w, t);
      }
    } catch (std::bad_alloc const&) {
      fatal("out of memory in a simulated run");
    }
    s.network->end();
    for (; s.fired != s.due.size(); ++s.fired) s.due[s.fired].release(s.due[s.fired].owner);
  }
  (void)all_ended();  // acquires what the tasks did
  if (s.failure != nullptr) std::rethrow_exception(s.failure);
  if (s.too_long) throw too_many_choices(s.given_up);
  if (deadlocked()) throw deadlock(deadlock_report());
  handle.take_ended();
}

void scheduler::refuse_from_outside() const noexcept {
  if (sim_ != nullptr)
    fatal("another thread spawned or woke a task of a simulated run, which would not be the same again");
}

// ---- picking --------------------------------------------------------------------------------------------------------

void scheduler::gather_ready(processor& p) {
  simulation& s = *sim_;
  while (task* t = p.queue.pop(true)) s.ready.push_back(t);
  std::array<task*, 64> more;
  while (std::size_t const n = global_.size() != 0 ? global_.pop(*p.port, more.data(), more.size()) : 0)
    s.ready.insert(s.ready.end(), more.data(), more.data() + n);
}

/// Whether the run is to be given up now: by find_simulated(), on the native stack, where there is room for it.
bool scheduler::count_step() noexcept {
  simulation& s = *sim_;
  if (++s.steps <= s.most_steps) return false;
  if (s.steps / 2 > std::max(s.most_steps, least_for_unwinding))
    report_stuck("a simulated run that was cancelled for its length does not end");
  return !s.too_long;
}

/// Time could go on for ever, by ticks that nobody receives: that is standing still.
bool scheduler::only_ticks(processor const& p) noexcept {
  constexpr std::uint32_t asked_each = 1024;
  return ++sim_->moves_in_vain % asked_each == 0 && p.timers.only_idles();
}

namespace {

void note_yield(simulation& s, bool yielded) {
  s.yields = yielded ? s.yields + 1 : 0;
  if (yielded) s.interrupted.erase(s.running);
  else s.interrupted.clear();
}

/// Before the tasks are cancelled, since some may be in a deadlock while others go on.
void give_up(simulation& s, scheduler& of) {
  s.too_long = true;
  s.given_up = "weft: the simulated run made more choices than sim::options::max_steps allows\n" +
               observer_in_use.load(std::memory_order_acquire)->describe(of);
}

/// Whether a task that was preempted long ago has not yielded since, while others poll.
bool somebody_computes(simulation const& s) noexcept {
  return std::any_of(s.interrupted.begin(), s.interrupted.end(), [&](auto const& one) {
    return s.yields > one.second && s.yields - one.second > polls_before_time_moves / 2;
  });
}

}  // namespace

task* scheduler::find_simulated(worker& w, processor& p) {
  simulation& s = *sim_;
  for (;;) {
    gather_ready(p);
    if (!s.ending && s.first->ended().done.load(std::memory_order_acquire)) {
      s.ending = true;
      cancel(*root_, cancel_kind::cancelled, nullptr);
      continue;
    }
    task* t = std::exchange(s.chosen, nullptr);
    if (t == nullptr && !s.ready.empty()) {
      bool const yielded = s.ready.back()->id == s.running &&
                           s.ready.back()->phase.load(std::memory_order_relaxed) == task_phase::yielded;
      note_yield(s, yielded);
      if (s.yields > polls_before_time_moves && somebody_computes(s)) note_yield(s, false);
      if (s.yields > polls_before_time_moves) {
        // Nothing but polling for long: a program that yields until it is late would never end.
        s.yields -= polls_a_millisecond;
        if (advance_simulated(w, p, s.now.load(std::memory_order_relaxed) + 1'000'000)) continue;
      }
      if (count_step()) {
        give_up(s, *this);
        cancel(*root_, cancel_kind::cancelled, nullptr);
        continue;
      }
      std::uint32_t const i = s.by.choose_next(s.running, yielded, s.ready);
      t = s.ready[i];
      s.ready.erase(s.ready.begin() + i);
    }
    if (t != nullptr) {
      s.moves_in_vain = 0;
      s.running = t->id;
      s.by.goes_on(t->id);
      if (s.unwinding) s.to_unwind.emplace(t->id, t);
      return t;
    }
    s.running = 0;
    if (all_ended()) return nullptr;
    bool const goes_wrong = s.failure != nullptr || s.unwinding;
    bool const now_is_over = s.fired == s.due.size();
    if (!goes_wrong && now_is_over && wake_idle_waiters()) continue;
    if (!goes_wrong && (!now_is_over || !only_ticks(p)) && advance_simulated(w, p, never)) continue;
    if (goes_wrong || !s.ending || !call_detached()) unwind_simulated(w, p);  // Z5
    // Both have found them by walking through memory.
    gather_ready(p);
    std::sort(s.ready.begin(), s.ready.end(), [](task const* a, task const* b) { return a->id < b->id; });
  }
}

void scheduler::preempt_simulated(worker& w, task& t) noexcept {
  simulation& s = *sim_;
  processor* const p = w.enter();
  if (s.kept != 0) return w.leave();
  gather_ready(*p);
  if (count_step()) return yield_task(w, p, t);
  std::uint32_t const i = s.ready.empty() ? 0 : s.by.choose_preemption(t.id, s.ready);
  if (i == 0) return w.leave();
  s.chosen = s.ready[i - 1];
  s.ready.erase(s.ready.begin() + (i - 1));
  if (s.yields != 0) s.interrupted.try_emplace(t.id, s.yields);
  yield_task(w, p, t);
}

// ---- time -----------------------------------------------------------------------------------------------------------

// Timers due at one instant fire together, or one after the other with what they wake in between: on a machine they are never due at the very
// same, and what the first one wakes may stop the second.
bool scheduler::advance_simulated(worker& w, processor& p, std::int64_t until) {
  simulation& s = *sim_;
  std::vector<due_entry> dead;
  auto const take_due = [&](std::int64_t now) {
    std::array<due_entry, 64> batch;
    std::size_t n = 0;
    do {
      n = p.timers.collect(now, batch.data(), batch.size());
      for (std::size_t i = 0; i < n; ++i) (batch[i].fire == nullptr ? dead : s.due).push_back(batch[i]);
    } while (n == batch.size() || p.timers.needs_collect(now));
  };
  std::int64_t now = s.now.load(std::memory_order_relaxed);
  take_due(now);  // dead ones on top: their deadlines are nobody's
  std::int64_t const next = std::min(p.timers.next_deadline(), until);
  bool const moves = s.fired == s.due.size() && next != never && next > now;
  if (moves) {
    now = next;
    s.now.store(now, std::memory_order_relaxed);
    s.by.time_is(now - simulation::begin_ns);
    note_time(w, p, now);
    take_due(now);
  }
  bool const goes_on = moves || s.fired != s.due.size() || !dead.empty();
  for (due_entry const& e : dead) e.release(e.owner);
  while (s.fired != s.due.size()) {
    auto const at = s.due.begin() + static_cast<std::ptrdiff_t>(s.fired++);
    if (s.due.end() - at > 1)
      std::iter_swap(at, at + s.by.choose(choice::timer, static_cast<std::uint32_t>(s.due.end() - at)));
    due_entry const e = *at;
    e.fire(*e.node, e.owner, e.generation);
    e.release(e.owner);
    if (s.fired != s.due.size() && s.by.choose_rarely(choice::apart, 2) != 0) return true;
  }
  s.due.clear();
  s.fired = 0;
  return goes_on;
}

// ---- nothing can move -----------------------------------------------------------------------------------------------

bool scheduler::wake_idle_waiters() noexcept {
  simulation& s = *sim_;
  ready_list woken;
  s.idle_lock.lock();
  while (wait_record* r = pop_claimed(s.idle_waiters, how::partner)) woken.push(*r->who);
  s.idle_lock.unlock();
  bool const any = !woken.empty();
  ready_all(woken);
  return any;
}

namespace {

/// Whether a cancellation can end the wait of a parked task, as far as it waits in lock() only to unwind a deadlocked program.
bool can_be_unwound(task& t) noexcept {
  std::uint64_t const word = t.word.load(std::memory_order_acquire);
  if ((word & wait_word::state_mask) != wait_word::waiting) return false;
  if ((word & wait_word::cancellable) != 0) return true;
  park_request const& r = *t.request;
  return !r.cancellable && t.shield == 0 && t.own_stack->exec.exceptions.uncaught == 0 && is_lock(r.reason);
}

bool is_to_be_unwound(task& t, simulation const& s) noexcept {
  return t.sched == s.first->sched && &t != s.first && t.phase.load(std::memory_order_relaxed) == task_phase::parked &&
         can_be_unwound(t);
}

struct look {
  task_id id;
  simulation const& s;
  bool fits(task& t) const noexcept { return t.id == id && is_to_be_unwound(t, s); }  // it may have ended
};

/// A walk over all tasks for each of them would take the square of their number.
void note_who_waits(simulation& s) {
  for_each_task(
      [](task& t, void* arg) {
        auto& to = *static_cast<simulation*>(arg);
        if (is_to_be_unwound(t, to)) to.to_unwind.emplace(t.id, &t);
        return true;
      },
      &s);
}

task* youngest_to_unwind(simulation& s) {
  while (!s.to_unwind.empty()) {
    auto const [id, t] = s.to_unwind.extract(std::prev(s.to_unwind.end())).value();
    if (look now{id, s};
        visit_task(*t, [](task& found, void* arg) { return static_cast<look*>(arg)->fits(found); }, &now))
      return t;
  }
  return nullptr;
}

}  // namespace

// Of a deadlock, or after a failure, once nothing is ready any more. The youngest task first, one at a time, and the first task last: what tasks refer to lies in the frames of those that spawned them, and
// is still there while they unwind. (An ordinary run goes by what they wait for, since its ids do not tell who
// came first: quiescence.cpp.) What
// one lets go may well let others go on.
void scheduler::unwind_simulated(worker& w, processor& p) {
  simulation& s = *sim_;
  bool const begins = !std::exchange(s.unwinding, true);
  if (begins) note_who_waits(s);
  if (begins && s.failure == nullptr) {
    std::string report = s.ending ? "weft: deadlock: f has ended, and these tasks never will\n"
                                  : "weft: deadlock: all tasks wait, and nothing is left that could wake one\n";
    report += observer_in_use.load(std::memory_order_acquire)->describe(*this);
    guard hold(lock_);
    deadlock_report_ = std::move(report);
    note_unwinding();
    deadlocked_.store(true, std::memory_order_release);
  }
  if (task* t = youngest_to_unwind(s)) {
    if (claim(*t, wait_word::generation(t->word.load(std::memory_order_relaxed)), how::cancel, true)) make_ready(t);
  } else if (!root_->is_cancelled()) {
    cancel(*root_, cancel_kind::cancelled, nullptr);
  } else if ((only_ticks(p) || !advance_simulated(w, p, never)) && !unwind_some()) {
    report_stuck("deadlock: these tasks could not be unwound, since they wait uncancellably");
  }
}

// ---- what the calls ask for -----------------------------------------------------------------------------------------

void choose_waiter(wait_list& list) noexcept {
  simulation* const s = current_simulation();
  if (s == nullptr) return;
  std::uint32_t n = 0;
  for (wait_record* r = list.head; r != nullptr && n != waiters_to_choose_from; r = r->next) ++n;
  if (n < 2) return;
  tsan_ignore const run_data;
  std::uint32_t const i = s->by.choose(choice::waiter, n);
  if (i == 0) return;
  wait_record* r = list.head;
  for (std::uint32_t k = 0; k < i; ++k) r = r->next;
  unlink(list, *r);
  r->prev = nullptr;
  r->next = list.head;
  list.head->prev = r;
  list.head = r;
  r->linked = true;
}

void wait_until_idle() WEFT_NO_THREAD_SAFETY_ANALYSIS {  // wait_in unlocks
  simulation* const s = current_simulation();
  if (s == nullptr || current_task() == nullptr) fatal("sim::wait_idle called outside of a simulated run");
  waiter& self = cancellation_point();
  wait_record record;
  s->idle_lock.lock();
  if (wait_in(self, s->idle_waiters, s->idle_lock, record, never, wait_reason::idle, nullptr) == how::cancel)
    throw_cancelled();
}

}  // namespace weft::rt

namespace weft::detail {

void preempt() noexcept {
  rt::worker* const w = rt::current_worker();
  if (w == nullptr || w->sched->simulated() == nullptr || (w->seq.load(std::memory_order_relaxed) & 1) != 0) return;
  if (rt::task* const t = w->current.get()) w->sched->preempt_simulated(*w, *t);
}

}  // namespace weft::detail
