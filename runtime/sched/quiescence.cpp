// When everything is idle: who asks whether that is for ever, and how a deadlocked program is unwound. What is asked, and why the
// answer is exact, stands in runtime/observe/deadlock.cpp.
//
// The worker that goes idle last asks, after it has slept for first_pause_ns with nothing happening; so a program that is idle between
// two requests pays for a time-out in that sleep at most, and one that has been found to wait for the outside not even that: the
// answer names a *witness*, a task in a wait that only the outside can end, and while its wait word stands nobody asks. Where the
// answer may change without notice (a foreign thread ends), it is asked again after twice as long, up to a minute.
//
// Unwinding. What tasks wait on lies mostly in the frames of others: two tasks that lock two mutexes in opposite order do so with mutexes of
// the task that waits for both. Woken all at once, that one would be gone, and the mutexes with it, before they are. So:
//   X1 the report is kept for run(), and the root is cancelled: what begins to wait now throws; but nobody who waits is woken
//   X2 everything is idle, and some tasks are left: the contexts that X1 does not reach are cancelled like it (last_call.cpp);
//      those of the first kind that is there are claimed and throw. In lock(),
//      lock_shared(), call_once() and at other objects of sync; then all others but those who wait for tasks to end; then these. The oldest
//      task, whose frames are everybody's, only if there is no other. As often as it takes: who waits for tasks that have ended goes on
//   X3 none was left to claim, and nobody else is there: the runtime's tasks are named, as at the end of a shutdown's grace
// Locks ignore cancellation otherwise. A wait in an uncancellable block, or while an exception unwinds its stack, is left alone.

#include <algorithm>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

namespace {
constexpr std::int64_t longest_pause_ns = 60'000'000'000;
}

std::size_t scheduler::armed_timers() const noexcept {
  std::size_t armed = 0;
  for (unsigned i = 0; i < processor_count_; ++i) {
    timer_heap const& timers = processors_[i].timers;
    std::size_t const dead = timers.dead();
    std::size_t const all = timers.size();
    if (all > dead) armed += all - dead;
  }
  return armed;
}

scheduler::quiet_look scheduler::look_quiet(worker const* but) noexcept {
  guard hold(lock_);
  // A worker that runs a task without a processor (adrift) is in no idle list either; spares that have left have no thread.
  unsigned asleep = 0;
  for (auto const& w : storage_) asleep += w->in_idle_list ? 1 : 0;
  unsigned const others = threads_.load(std::memory_order_relaxed) - (but != nullptr ? 1 : 0);
  unsigned const held = but != nullptr && but->held() != nullptr ? 1 : 0;
  unsigned const drifts = but != nullptr && held == 0 ? 1 : 0;
  return {.quiet = idle_.load(std::memory_order_relaxed) == processor_count_ - held && asleep == others &&
                   adrift() == drifts && blocking_calls() == 0 && !stopping_.load(std::memory_order_relaxed),
          .taken = taken_.get()};
}

std::int64_t scheduler::time_to_ask_locked(worker& w) noexcept {
  if (idle_.load(std::memory_order_relaxed) != processor_count_ || asker_ != nullptr || ask_pause_ == never)
    return never;
  if (adrift() != 0 || blocking_calls() != 0)
    return never;  // who comes back from there without work goes idle, and asks
  if (observer_in_use.load(std::memory_order_relaxed) == nullptr) return never;
  if (witness_ != nullptr) {
    if (witness_->word.load(std::memory_order_relaxed) == witness_word_) return never;
    witness_ = nullptr;
  }
  if (armed_timers() != 0 || all_ended()) return never;
  asker_ = &w;
  return clock_ns() + ask_pause_;
}

void scheduler::ask_whether_dead() noexcept {
  idle_verdict const v = observer_in_use.load(std::memory_order_acquire)->all_idle(*this);
  if (v.is == idle_verdict::what::changed) return;
  guard hold(lock_);
  if (v.taken != taken_.get()) return;
  if (v.is == idle_verdict::what::later) {
    ask_pause_ = std::min(ask_pause_ * 2, starving() ? patience_with_starving_ns : longest_pause_ns);
  } else {
    ask_pause_ = never;  // till a processor is taken again
    witness_ = v.witness;
    witness_word_ = v.word;
  }
}

// ---- unwinding ------------------------------------------------------------------------------------------------------

void scheduler::unwind_deadlocked(std::string report) noexcept {
  {
    guard hold(lock_);
    if (deadlocked_.load(std::memory_order_relaxed)) return;
    deadlock_report_ = std::move(report);
    note_unwinding();
    deadlocked_.store(true, std::memory_order_release);  // before the cancellation, which asks
  }
  cancel(*root_, cancel_kind::cancelled, nullptr);  // X1
  unwind_some();
}

namespace {

enum class turn : std::uint8_t { sync, other, ends, never };  // X2's order

/// Of a frozen task.
turn turn_of(task& t) noexcept {
  if (t.shield != 0 || t.own_stack->exec.exceptions.uncaught != 0) return turn::never;
  park_request const& wait = *t.request;
  // A context from outside of the runtime is cancelled by nobody any more.
  bool const cancelled = wait.cancellable && t.waits_under != nullptr &&
                         (t.waits_under->is_cancelled() || t.waits_under->sched != t.sched);
  if (is_lock(wait.reason) && (cancelled || !wait.cancellable)) return turn::sync;
  if (!cancelled) return turn::never;
  switch (wait.reason) {
    case wait_reason::condition_variable:
    case wait_reason::semaphore:
    case wait_reason::latch:
    case wait_reason::barrier: return turn::sync;
    case wait_reason::join:
    case wait_reason::wait_group:
    case wait_reason::task_group: return turn::ends;
    default: return turn::other;
  }
}

}  // namespace

bool scheduler::unwind_some() noexcept {
  call_detached();
  struct search {
    scheduler* of;
    turn now = turn::sync;
    task_id oldest = ~task_id{0};
    std::size_t alive = 0;
    bool spares_oldest = true;
    ready_list woken;
  } s{.of = this, .woken = {}};
  for_each_task(
      [](task& t, void* arg) {
        auto& to = *static_cast<search*>(arg);
        task_phase const phase = t.phase.load(std::memory_order_relaxed);
        if (t.sched != to.of || phase == task_phase::free || phase == task_phase::ended) return true;
        to.oldest = std::min(to.oldest, t.id);
        ++to.alive;
        return true;
      },
      &s);
  for (bool const spares_oldest : {true, false})
    for (s.now = turn::sync; s.now != turn::never && s.woken.empty();
         s.now = static_cast<turn>(static_cast<int>(s.now) + 1)) {
      s.spares_oldest = spares_oldest && s.alive > 1;
      for_each_task(
          [](task& t, void* arg) {
            auto& to = *static_cast<search*>(arg);
            if (t.sched != to.of || (t.id == to.oldest && to.spares_oldest) || !freeze(t)) return true;
            turn const its = turn_of(t);
            std::uint64_t const generation = wait_word::generation(t.word.load(std::memory_order_relaxed));
            if (thaw(t)) {
              ready(t);
            } else if (its == to.now && claim(t, generation, how::cancel, true)) {
              to.woken.push(t);
            }
            return true;
          },
          &s);
    }
  bool const any = !s.woken.empty();
  ready_all(s.woken);
  return any;
}

std::string scheduler::deadlock_report() {
  guard hold(lock_);
  return deadlock_report_;
}

}  // namespace weft::rt
