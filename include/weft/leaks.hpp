// Tasks that nothing will wake any more, and tasks that outlive the scope that a test gave them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <vector>

#include <weft/detail/deadline.hpp>

namespace weft {

/// Tasks that were spawned at one place.
struct leak {
  std::string file;  // of the spawn; empty: not known
  unsigned line = 0;
  std::size_t tasks = 0;  // how many
  std::string report;     // what each waits on, its name, and the calls that led there: as dump()
};

/// The tasks of the caller's runtime that nothing can wake but the caller, or the cancellation of their context; by place of spawn, the most
/// tasks first. Two kinds:
///
///   - what waits without a time-out, at a moment in which no other task of the runtime runs, is ready, or waits for time, a socket or a
///     signal, and the process has no other thread that could do something. Call it where all that was begun ought to have ended,
///     as at the end of a test: what waits for the caller's own end, other than by join(), is listed as well
///   - at any time: what waits without a time-out on the nil channel, in a select of nothing, or to join such a task
///
/// Never one that another task could still wake. Where others go on, or sleep, or wait for sockets, it waits for them to come to rest,
/// `patience` at most, and then knows only the second kind. A cancellation point. Throws weft::no_runtime outside of a task,
/// std::bad_alloc.
///
///     for (weft::leak const& l : weft::leaks()) std::cerr << l.report;
[[nodiscard]] std::vector<leak> leaks(detail::patience patience = std::chrono::seconds(1));

/// A scope that no task begun in it may outlive: for tests.
///
///     TEST_CASE("the cache ends its refreshers") {
///       weft::run([] {
///         weft::leak_guard const no_leaks([](std::string const& report) { FAIL_CHECK(report); });
///         cache c;
///         c.get("a");
///       });
///     }
///
/// At its end it waits for the tasks of the runtime that were begun since its beginning, by whomever: till they have ended, or wait for each
/// other alone (as leaks() knows it), `patience` at most. Then on_leak is called with the list of those that are left, by place of
/// spawn; without one the list goes to stderr and the process is aborted. Not while an exception unwinds: the test has failed already.
/// Made and destroyed in a task; nested ones are allowed. Throws weft::no_runtime, std::bad_alloc.
class leak_guard {
 public:
  [[nodiscard]] explicit leak_guard(std::function<void(std::string const& report)> on_leak = {},
                                    detail::patience patience = std::chrono::seconds(1),
                                    std::source_location made_at = std::source_location::current());
  leak_guard(leak_guard const&) = delete;
  leak_guard& operator=(leak_guard const&) = delete;
  /// As said above, uncancellable. What on_leak throws ends the process.
  ~leak_guard();

  /// The same now, for who asks before the end; the destructor asks again. A cancellation point.
  [[nodiscard]] std::vector<leak> check() const;

 private:
  std::function<void(std::string const&)> on_leak_;
  std::chrono::nanoseconds patience_;
  std::source_location made_at_;
  int uncaught_;
  std::vector<std::uint64_t> before_;  // ids of the tasks that were there, sorted
};

}  // namespace weft
