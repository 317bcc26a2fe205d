// Simulated runs: any program of tasks, one seed, the same run again.
//
//     auto r = weft::sim::explore(10'000, transfer_money);         // seeds 0, 1, 2, ... until one fails
//     if (r.failed) std::cerr << r.what << "\nchoices: " << r.choices << '\n';
//     weft::sim::replay("w1-12p1/3", transfer_money);              // that run again
//
// A simulated run has all its tasks on the calling thread. Whatever an ordinary run leaves to chance (which task is next, whether
// another goes first at a call of weft, which ready case a select takes, whom notify_one wakes, the order of timers due at one
// instant) follows from the seed. Time is virtual: it stands still while a task can run and jumps to the next timer when none can.
// A deadlock is found at once. The same seed gives the same events in the same order on every machine, as long as f depends on nothing
// else: no real clock, no plain threads, no addresses.
//
// In it: weft::now() is the virtual clock; blocking(f) calls f in place; no task is handed over; sockets are in memory, between the run's
// own tasks, and end with it; other descriptors answer std::errc::operation_not_supported; signals never come; an exception that escapes a task which
// nobody joins ends the run and is thrown by it; task numbers begin at 1. A plain thread that wakes one of the run's tasks is a fatal
// misuse. An atomic is not seen: a task is preempted at calls of weft alone.
//
// The seed delays what is sent, by up to a millisecond a time, and reads and writes in parts. With options::loss_one_in it also loses
// connections: by a reset, or by a silence that only time-outs notice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <weft/weft.hpp>

namespace weft::sim {

/// Who goes on, where several could. random: any; each run draws how often it preempts. pct: tasks have random priorities, which change
/// `depth` - 1 times: finds a bug that needs `depth` events in one order with a probability that can be computed. round_robin: each
/// in turn, a call of weft at a time.
enum class policy { random, pct, round_robin };

struct options {
  std::uint64_t seed = 0;
  policy pick = policy::random;
  unsigned depth = 3;                    // of pct
  std::uint64_t max_steps = 10'000'000;  // choices after which a run counts as one that does not end, and fails
  std::string* trace = nullptr;          // where to append a line for each event
  unsigned loss_one_in = 0;  // one in so many calls on sockets loses its connection, or its datagram; 0: none
};

/// What explore has found.
struct result {
  bool failed = false;
  std::uint64_t seed = 0;  // of the run that failed
  std::string choices;  // of a run that fails like it, with as few deviations from the ordinary order as could be found
  std::string what;     // the exception's what()
  unsigned runs = 0;    // made, without those that shortened the choices
};

/// The choices given to replay are not those of this program with this input.
struct mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace detail {
using body = void (*)(void*);
void run(options const& o, body f, void* arg);
[[nodiscard]] result explore(unsigned runs, body f, void* arg, options const& o);
[[nodiscard]] result explore_apart(unsigned runs, body f, void* arg, options const& o);
void replay(std::string_view choices, body f, void* arg);

/// Hands with_body(b, arg) a body that calls `f` and keeps what it returns.
template <class F, class With>
auto keeping_result(F&& f, With with_body) -> std::invoke_result_t<F> {
  using R = std::invoke_result_t<F>;
  if constexpr (std::is_void_v<R>) {
    auto call = [&f] { std::invoke(std::forward<F>(f)); };
    with_body([](void* c) { (*static_cast<decltype(call)*>(c))(); }, &call);
  } else {
    std::optional<std::conditional_t<std::is_reference_v<R>, std::add_pointer_t<R>, std::remove_cv_t<R>>> value;
    auto call = [&f, &value] {
      if constexpr (std::is_reference_v<R>) {
        auto&& got = std::invoke(std::forward<F>(f));
        value.emplace(std::addressof(got));
      } else {
        value.emplace(std::invoke(std::forward<F>(f)));
      }
    };
    with_body([](void* c) { (*static_cast<decltype(call)*>(c))(); }, &call);
    if constexpr (std::is_reference_v<R>) return static_cast<R>(**value);
    else return std::move(*value);
  }
}
}  // namespace detail

/// As weft::run, simulated: runs f as the first task and returns what it returns, or rethrows; the others are then cancelled and
/// unwound. Throws weft::deadlock when nothing can move any more, and std::runtime_error after max_steps choices; both list the tasks. Blocks the calling
/// thread, which must not be in a task (fatal). Several threads may each have a run of their own.
template <class F>
auto run(options o, F&& f) -> std::invoke_result_t<F> {
  return detail::keeping_result<F>(std::forward<F>(f), [&](detail::body b, void* arg) { detail::run(o, b, arg); });
}
template <class F>
auto run(std::uint64_t seed, F&& f) -> std::invoke_result_t<F> {
  return sim::run(options{.seed = seed}, std::forward<F>(f));
}

/// Runs f with the seeds o.seed, o.seed + 1, ... until one fails (f, or a task that nobody joins, ends by an exception; a deadlock; too
/// many steps), `runs` times at most. Then drops choices as long as the run still fails with an exception of the same type. f is
/// called many times and must begin afresh each time. What f returns is dropped. As for threads and tasks: see run.
/// A task that refers to what f owns must have ended, or be waited for by a destructor (a join_handle, a task_group), when f is left by
/// an exception. Of a deadlock, or after a failure in another task, the youngest task is unwound first and f last.
template <class F>
result explore(unsigned runs, F&& f, options o = {}) {
  auto call = [&f] { (void)std::invoke(f); };
  return detail::explore(runs, [](void* c) { (*static_cast<decltype(call)*>(c))(); }, &call, o);
}

/// explore in a child process made by fork, whose output is dropped. A run that ends the process (a crash, std::terminate, exit) is a
/// failure too: with its seed, and without choices. Throws std::system_error if there is no process to be had.
template <class F>
result explore_apart(unsigned runs, F&& f, options o = {}) {
  auto call = [&f] { (void)std::invoke(f); };
  return detail::explore_apart(runs, [](void* c) { (*static_cast<decltype(call)*>(c))(); }, &call, o);
}

/// Runs f with the choices that explore gave; throws what that run threw, or returns. Throws std::invalid_argument for what is no list of
/// choices, and mismatch if the program comes to other choices than those of the list.
template <class F>
auto replay(std::string_view choices, F&& f) -> std::invoke_result_t<F> {
  return detail::keeping_result<F>(std::forward<F>(f),
                                   [&](detail::body b, void* arg) { detail::replay(choices, b, arg); });
}

/// In a simulated run: waits until every other task waits, before time moves on. Cancellation point. Fatal elsewhere.
void wait_idle();

}  // namespace weft::sim
