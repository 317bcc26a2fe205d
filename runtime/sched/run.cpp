// class runtime: a scheduler and its one shutdown.

#include <weft/run.hpp>

#include <atomic>
#include <mutex>
#include <thread>

#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

namespace weft {

namespace {
constexpr char const* run_in_task = "weft::run or a runtime's run called inside a task: use spawn and join there";
}

struct runtime::state {
  state(options const& o, bool brief) : may_be_brief(brief), sched(o) {
    rt::install_observer();
    rt::observer_in_use.load(std::memory_order_acquire)->runtime_begins(sched);
  }
  ~state() { rt::observer_in_use.load(std::memory_order_acquire)->runtime_ended(sched); }
  bool const may_be_brief;
  rt::scheduler sched;
  std::recursive_mutex
      lock;  // shutdown is called from plain threads; by what it destroys, too, and then there is nothing left to do
  std::atomic<bool> down{false};           // written under lock
  std::atomic<std::uint32_t> spawning{0};  // calls of go and spawn in progress: shutdown waits for them after `down`
};

runtime::runtime(options o)
    : state_((refuse_inside_task("weft::runtime made inside a task: use spawn and join there"),
              std::make_unique<state>(o, false))) {
  note_lasting();
}
runtime::runtime(options o, detail::one_run)
    : state_((refuse_inside_task(run_in_task), std::make_unique<state>(o, true))) {}

runtime::~runtime() {
  refuse_inside_task("weft::runtime destroyed inside a task");
  shutdown();
}

void runtime::refuse_inside_task(char const* what) {
  if (rt::current_task() != nullptr) rt::fatal("%s", what);
}

void runtime::prepare_to_run() {
  refuse_inside_task(run_in_task);
  (void)rt::uncancellable_waiter();
}

runtime::acceptance::acceptance(runtime const& r) : of_(r.state_.get()) {
  // seq_cst on both sides: either this sees `down`, or shutdown sees the count.
  of_->spawning.fetch_add(1, std::memory_order_seq_cst);
  if (!of_->down.load(std::memory_order_seq_cst)) return;
  of_->spawning.fetch_sub(1, std::memory_order_release);
  throw no_runtime();
}
runtime::acceptance::~acceptance() { of_->spawning.fetch_sub(1, std::memory_order_release); }
rt::scheduler* runtime::acceptance::scheduler() const noexcept { return &of_->sched; }

runtime::presence::presence(runtime const& r) noexcept : of_(r.state_.get()) {
  of_->sched.runs.fetch_add(1, std::memory_order_acq_rel);
}
runtime::presence::~presence() { of_->sched.runs.fetch_sub(1, std::memory_order_acq_rel); }

bool runtime::may_be_brief() const noexcept { return state_->may_be_brief; }

void runtime::note_lasting() noexcept { rt::observer_in_use.load(std::memory_order_acquire)->runtime_lasts(); }

void runtime::throw_if_deadlocked() const {
  if (state_->sched.deadlocked()) throw deadlock(state_->sched.deadlock_report());
}

void runtime::shutdown() { shutdown(state_->sched.opts().shutdown_grace); }

void runtime::shutdown(detail::patience grace) {
  refuse_inside_task("runtime::shutdown called inside a task");
  std::lock_guard hold(state_->lock);
  if (state_->down.exchange(true, std::memory_order_seq_cst)) return;
  while (state_->spawning.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  state_->sched.refuse_guests();
  state_->sched.shutdown(grace.count());
}

runtime_metrics runtime::metrics() const { return state_->sched.metrics(); }

runtime_metrics current_metrics() {
  rt::worker* w = rt::current_worker();
  if (w == nullptr) throw no_runtime();
  return w->sched->metrics();
}

}  // namespace weft
