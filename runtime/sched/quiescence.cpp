// When everything is idle: who asks whether that is for ever, and how a deadlocked program is unwound. What is asked, and why the
// answer is exact, stands in runtime/observe/deadlock.cpp.
//
// The worker that goes idle last asks, after it has slept for first_pause_ns with nothing happening; so a program that is idle between
// two requests pays for a time-out in that sleep at most, and one that has been found to wait for the outside not even that: the
// answer names a *witness*, a task in a wait that only the outside can end, and while its wait word stands nobody asks. Where the
// answer may change without notice (a foreign thread ends), it is asked again after twice as long, up to a minute.
//
// Unwinding  X1 the report is kept for run(), the root is cancelled: what can be cancelled unwinds
//            X2 everything is idle again, and some tasks are left: those in lock(), lock_shared(), call_once(), which ignore
//               cancellation, are claimed all the same, and throw; but not in an uncancellable block, or while an exception
//               unwinds that stack. As often as it takes
//            X3 none was left to claim, and nobody else is there: the runtime's tasks are named, as at the end of a shutdown's grace

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

scheduler::quiet_look scheduler::look_quiet() noexcept {
  guard hold(lock_);
  // A worker that runs a task without a processor (adrift) is in no idle list either; spares that have left have no thread.
  unsigned asleep = 0;
  for (auto const& w : storage_) asleep += w->in_idle_list ? 1 : 0;
  return {.quiet = idle_.load(std::memory_order_relaxed) == processor_count_ &&
                   asleep == threads_.load(std::memory_order_relaxed) && adrift() == 0 && blocking_calls() == 0 &&
                   !stopping_.load(std::memory_order_relaxed),
          .taken = taken_};
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
  if (v.taken != taken_) return;
  if (v.is == idle_verdict::what::later) {
    ask_pause_ = std::min(ask_pause_ * 2, longest_pause_ns);
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
    deadlock_report_ = std::move(report);
  }
  deadlocked_.store(true, std::memory_order_release);
  cancel(*root_, cancel_kind::cancelled, nullptr);  // X1
}

bool scheduler::wake_locks() noexcept {
  struct search {
    scheduler* of;
    ready_list woken;
  } s{this, {}};
  for_each_task(
      [](task& t, void* arg) {
        auto& to = *static_cast<search*>(arg);
        if (t.sched != to.of || !freeze(t)) return true;
        wait_reason const why = t.request->reason;
        bool const may_throw = !t.request->cancellable && t.shield == 0 && t.own_stack->exec.exceptions.uncaught == 0;
        std::uint64_t const generation = wait_word::generation(t.word.load(std::memory_order_relaxed));
        if (thaw(t)) {
          ready(t);
        } else if (may_throw &&
                   (why == wait_reason::mutex || why == wait_reason::shared_mutex || why == wait_reason::call_once) &&
                   claim(t, generation, how::cancel, true)) {
          to.woken.push(t);
        }
        return true;
      },
      &s);
  bool const any = !s.woken.empty();
  ready_all(s.woken);
  return any;
}

std::string scheduler::deadlock_report() {
  guard hold(lock_);
  return deadlock_report_;
}

}  // namespace weft::rt
