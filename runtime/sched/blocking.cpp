// blocking(f): the hand-over without the wait for the monitor, and the way back in line afterwards.

#include <weft/blocking.hpp>

#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::detail {

blocking_call::blocking_call() : sched_(nullptr) {
  if (rt::current_task() == nullptr) return;
  (void)rt::cancellation_point();
  rt::worker& w = *rt::current_worker();
  rt::current_task()->blocking += 1;
  sched_ = w.sched;
  sched_->begin_blocking(w);
}

blocking_call::~blocking_call() {
  if (sched_ == nullptr) return;
  // Unlike a task whose processor was taken unannounced, this one waits for its turn: any number of such calls may end at once. The
  // calls in progress are counted until then, so that nobody takes the time in between for a standstill.
  rt::current_task()->blocking -= 1;
  rt::worker& w = *rt::current_worker();
  rt::processor* p = w.enter();
  if (p == nullptr) p = sched_->acquire_processor(w);
  if (p != nullptr) {
    w.leave();
  } else {
    rt::yield_task(w, nullptr, *rt::current_task());
  }
  sched_->end_blocking();
}

}  // namespace weft::detail
