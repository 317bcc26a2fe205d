// What the scheduler reaches this layer through.

#include <new>

#include "runtime/observe/census.hpp"
#include "runtime/observe/report.hpp"
#include "runtime/observe/reports.hpp"
#include "runtime/observe/runtime_list.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {

namespace {

std::string describe_stuck(scheduler& s) noexcept {
  try {
    census c = take_census(&s);
    add_running_calls(c, s);
    return describe(c);
  } catch (std::bad_alloc const&) {
    return {};
  }
}

void begins(scheduler& s) {
  begin_watching_quit(s);
  runtime_list::of_process().add(s);
}

void ended(scheduler& s) noexcept {
  runtime_list::of_process().remove(s);
  end_watching_quit(s);
}

constexpr observer reports{.runtime_begins = begins,
                           .runtime_lasts = listen_for_quit,
                           .runtime_ended = ended,
                           .all_idle = all_idle,
                           .describe = describe_stuck,
                           .keeps_thread = say_keeps_thread,
                           .locks_in_circle = say_locks_in_circle};

// Threads do not come along into a child that fork makes: what counts them begins anew there.
[[maybe_unused]] bool const watches_forks = (call_after_fork([] {
                                               sources.threads.store(0, std::memory_order_relaxed);
                                               sources.forked.store(true, std::memory_order_relaxed);
                                               runtime_list::of_process().begin_anew();
                                               scheduler::forget_all_known();
                                             }),
                                             true);

}  // namespace

void install_observer() noexcept {
  (void)debugger_layout();
  observer_in_use.store(&reports, std::memory_order_release);
}

}  // namespace weft::rt
