// leaks() and leak_guard: what can be said of tasks that wait, while the one that asks goes on.
//
// The search for deadlocks (deadlock.cpp) asks when everything is idle; here the asking task runs. So the same steps, Q1 to Q6, with
// one worker that is not counted and one task that is not looked at. What they prove: in the moment T of Q4 every other task waited
// for something that only a task or a thread that waits in weft could do, and no other thread existed. Hence nothing but the
// caller can make a move, and nobody does until it has returned: the census that follows is of the same standstill.
//
// Tasks below the caller on its stack (whose join() runs it) and those that wait to join it, or each other and so on, wait for the caller's end,
// which comes by itself: they are left out. Of a task group, a latch and the like nobody knows who will count it down.
//
// While others go on, one thing is certain: a wait on the nil channel is ended by nobody, and so a join of such a task. Those are
// stable: what is seen of them at different moments holds at once.
//
// Rejected: a search of all memory for pointers to the channel (Go's collector does that; without one, the dead copies in stack frames and
// freed memory are many, so that most leaks would be missed, and a handle in a register, or one that is just being moved, would be a
// false report).

#include <weft/leaks.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <tuple>
#include <unordered_set>
#include <utility>

#include <weft/context.hpp>
#include <weft/error.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/message.hpp"
#include "runtime/observe/report.hpp"
#include "runtime/observe/standstill.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

namespace weft {
namespace rt {
namespace {

constexpr std::int64_t first_nap_ns = 100'000, longest_nap_ns = 10'000'000;

scheduler& here() {
  if (current_task() == nullptr) throw no_runtime();
  return *current_worker()->sched;
}

bool rests_now(scheduler& s) {
  worker const& w = *current_worker();
  task const* const self = current_task();
  if (s.simulated() != nullptr) {  // one thread, and no other task runs while the caller does
    parked_pass all{.of = &s, .reasons = true, .caller = self};
    all.run();
    return all.all_wait && s.armed_timers() == 0;
  }
  scheduler::quiet_look const before = s.look_quiet(&w);
  if (!before.quiet || may_come_from_outside(s)) return false;
  parked_pass first{.of = &s, .reasons = true, .caller = self};
  first.run();
  if (!first.all_wait || !no_other_thread(own_threads(s), first.threads)) return false;
  parked_pass second{.of = &s, .reasons = false, .caller = self};
  second.run();
  if (!second.all_wait || second.tasks != first.tasks || second.generations != first.generations) return false;
  scheduler::quiet_look const after = s.look_quiet(&w);
  return after.quiet && after.taken == before.taken && !may_come_from_outside(s);
}

/// The timer that woke the caller has made its worker wake another, which looks around in vain for some microseconds: so it is asked more
/// than once, on the thread, since a wait of the task's would do the same again.
bool at_rest(scheduler& s) {
  std::atomic<std::uint32_t> never_woken{0};
  for (int looks = s.single() || s.simulated() != nullptr ? 1 : 50;;) {
    if (rests_now(s)) return true;
    if (--looks == 0) return false;
    (void)futex_wait_until(never_woken, 0, monotonic_ns() + 50'000);
  }
}

/// Of a census at rest: takes out the caller and who waits for its end.
void leave_out_caller(std::vector<task_entry>& tasks) {
  std::unordered_set<void const*> out{current_task()};
  std::unordered_set<task_id> ids{current_task()->id};
  for (bool more = true; more;) {
    more = false;
    for (task_entry const& e : tasks)
      if ((out.contains(e.above) || (e.joins != 0 && ids.contains(e.joins))) && ids.insert(e.id).second) {
        out.insert(e.self);
        more = true;
      }
  }
  std::erase_if(tasks, [&](task_entry const& e) { return ids.contains(e.id); });
}

/// Of any census: keeps what nobody can wake.
void keep_forlorn(std::vector<task_entry>& tasks) {
  std::unordered_set<task_id> kept;
  for (bool more = true; more;) {
    more = false;
    for (task_entry const& e : tasks)
      if (e.state == task_state::parked && e.trace != task_entry::no_trace && e.left_ns == never &&
          (waits_on_nil(e) || (e.joins != 0 && kept.contains(e.joins))))
        more |= kept.insert(e.id).second;
  }
  std::erase_if(tasks, [&](task_entry const& e) { return !kept.contains(e.id); });
}

std::vector<leak> by_place(census&& all) {
  auto const place_of = [](task_entry const& e) {
    return std::pair(std::string(e.file != nullptr ? e.file : ""), e.line);
  };
  std::sort(all.tasks.begin(), all.tasks.end(), [&](task_entry const& a, task_entry const& b) {
    return std::pair(place_of(a), a.id) < std::pair(place_of(b), b.id);
  });
  std::vector<leak> result;
  for (auto first = all.tasks.begin(); first != all.tasks.end();) {
    auto const place = place_of(*first);
    auto const last = std::find_if(first, all.tasks.end(), [&](task_entry const& e) { return place_of(e) != place; });
    census const of_place{.tasks = {first, last}, .traces = all.traces};
    result.push_back({place.first, place.second, of_place.tasks.size(), describe(of_place)});
    first = last;
  }
  std::sort(result.begin(), result.end(), [](leak const& a, leak const& b) {
    return std::tie(b.tasks, a.file, a.line) < std::tie(a.tasks, b.file, b.line);
  });
  return result;
}

/// Until done() or the patience is over; done() is asked at least once.
template <class Done>
bool wait_until(std::chrono::nanoseconds patience, Done done) {
  std::int64_t const deadline = detail::deadline_in(patience.count());
  // A simulated run's time costs nothing, but each nap is a choice.
  std::int64_t const longest = here().simulated() != nullptr ? never / 4 : longest_nap_ns;
  for (std::int64_t nap = first_nap_ns;; nap = std::min(2 * nap, longest)) {
    if (done()) return true;
    std::int64_t const left = deadline - clock_ns();
    if (left <= 0) return false;
    sleep_for(std::chrono::nanoseconds(std::min(nap, left)));
  }
}

std::string as_text(std::vector<leak> const& all) {
  std::string text;
  for (leak const& l : all) text += l.report;
  return text;
}

}  // namespace
}  // namespace rt

std::vector<leak> leaks(detail::patience patience) {
  rt::scheduler& s = rt::here();
  (void)rt::cancellation_point();  // whoever need not wait, too
  bool const rests = rt::wait_until(patience, [&] { return rt::at_rest(s); });
  rt::census all = rt::take_census(&s);
  if (rests) rt::leave_out_caller(all.tasks);
  else rt::keep_forlorn(all.tasks);
  return rt::by_place(std::move(all));
}

leak_guard::leak_guard(std::function<void(std::string const&)> on_leak, detail::patience patience,
                       std::source_location made_at)
    : on_leak_(std::move(on_leak)), patience_(patience), made_at_(made_at), uncaught_(std::uncaught_exceptions()) {
  for (rt::task_entry const& e : rt::take_census(&rt::here()).tasks) before_.push_back(e.id);  // by id
}

std::vector<leak> leak_guard::check() const {
  rt::scheduler& s = rt::here();
  (void)rt::cancellation_point();
  task_id const self = this_task::id();
  rt::census all;
  auto const look = [&] {
    all = rt::take_census(&s);
    std::erase_if(all.tasks, [&](rt::task_entry const& e) {
      return e.id == self || std::binary_search(before_.begin(), before_.end(), e.id);
    });
    return all.tasks.empty();
  };
  (void)rt::wait_until(patience_, [&] { return look() || (rt::at_rest(s) && (look(), true)); });
  return rt::by_place(std::move(all));
}

leak_guard::~leak_guard() {
  if (std::uncaught_exceptions() > uncaught_) return;
  uncancellable const shield;
  std::vector<leak> const left = check();
  if (left.empty()) return;
  std::string const text = rt::as_text(left);
  if (on_leak_) {
    on_leak_(text);
    return;
  }
  rt::warn("these tasks outlive the leak_guard made at %s:%u:", made_at_.file_name(),
           static_cast<unsigned>(made_at_.line()));
  rt::write_error(text);
  std::abort();
}

}  // namespace weft
