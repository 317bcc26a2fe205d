// An exception has left a task that nobody joins.

#include <exception>
#include <optional>

#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/exception_text.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/terminate.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::detail {

using namespace weft::rt;

void escaped_from_go() noexcept {
  task* t = current_task();
  char const* what = "an exception that is not a std::exception";
  std::optional<exception_text> text;
  bool const is_cancelled = t->current_context()->is_cancelled_for_all() || t->inherited->is_cancelled_for_all() ||
                            t->sched->last_call() || is_given_up(t->sched->simulated());
  try {
    throw;
  } catch (cancelled const&) {
    if (is_cancelled) return;
    what = "weft::cancelled, although its context is not cancelled";
  } catch (closed_channel const& e) {
    if (is_cancelled) return;  // a neighbour was cancelled too, and let go of its end before this task was woken
    what = text.emplace(e).c_str();
  } catch (std::exception const& e) {
    what = text.emplace(e).c_str();
  } catch (...) {
  }
  if (simulation* s = t->sched->simulated()) {  // the run has failed, not the process
    if (s->failure == nullptr && !s->unwinding) s->failure = std::current_exception();
    return;
  }
  warn_of(*t, "ended by an exception: ", what);
  told_why_it_ends();
  std::terminate();
}

}  // namespace weft::detail
