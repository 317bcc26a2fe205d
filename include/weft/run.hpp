// Runtimes: weft::run for a whole program, class runtime for programs that own their threads.
#pragma once

#include <chrono>
#include <memory>
#include <source_location>
#include <utility>

#include <weft/options.hpp>
#include <weft/task.hpp>

namespace weft {

namespace detail {
struct one_run {};
}  // namespace detail

/// Workers, processors and queues. Several may live in one process. Usable from any thread.
class runtime {
 public:
  /// Starts it. Throws std::system_error when the system refuses what it needs, or options::workers or WEFT_WORKERS is
  /// not a number that it takes. Fatal inside a task.
  explicit runtime(options o = {});
  runtime(options o, detail::one_run);  // for weft::run: what only a program that lasts needs is left to run()
  /// = shutdown(). Fatal inside a task, as shutdown() is.
  ~runtime();
  runtime(runtime const&) = delete;
  runtime& operator=(runtime const&) = delete;

  /// From a plain thread: runs f as a task, sleeps until it has ended, returns its result or rethrows its exception. Fatal inside
  /// a task. Other tasks go on until shutdown().
  /// Throws weft::deadlock, whose what() lists every task, when all tasks wait for each other and nothing else is left in the process
  /// that could wake one: by then they have been cancelled, and f has ended. The runtime's root context stays cancelled.
  template <class F, class... A>
    requires task_callable<F, A...>
  auto run(F&& f, A&&... a) -> detail::task_result_t<F, A...> {
    prepare_to_run();
    auto handle = spawn_first(std::forward<F>(f), std::forward<A>(a)...);
    {
      presence const here(*this);
      if (may_be_brief() && !handle.wait_for(std::chrono::milliseconds(1))) note_lasting();
      handle.wait();
    }
    throw_if_deadlocked();
    return handle.join();
  }

  /// As weft::go and weft::spawn, from any thread. After shutdown() has begun they throw no_runtime.
  template <class F, class... A>
    requires(sizeof...(A) > 0) && task_callable<F, A...>
  void go(F&& f, A&&... a) {
    acceptance const in(*this);
    detail::go_on(in.scheduler(), nullptr, {}, std::forward<F>(f), std::forward<A>(a)...);
  }
  template <class F, detail::place_of_spawn P = std::source_location>
    requires task_callable<F>
  void go(F&& f, P place = std::source_location::current()) {
    acceptance const in(*this);
    detail::go_on(in.scheduler(), nullptr, place, std::forward<F>(f));
  }
  template <class F, detail::place_of_spawn P = std::source_location, detail::task_options_or_alike O = task_options>
    requires task_callable<F>
  void go(O options, F&& f, P place = std::source_location::current()) {
    task_options with = std::move(options);
    acceptance const in(*this);
    detail::go_on(in.scheduler(), &with, place, std::forward<F>(f));
  }
  template <class F, class... A, detail::task_options_or_alike O = task_options>
    requires(sizeof...(A) > 0) && task_callable<F, A...>
  void go(O options, F&& f, A&&... a) {
    task_options with = std::move(options);
    acceptance const in(*this);
    detail::go_on(in.scheduler(), &with, {}, std::forward<F>(f), std::forward<A>(a)...);
  }
  template <class F, class... A>
    requires(sizeof...(A) > 0) && task_callable<F, A...>
  join_handle<detail::task_result_t<F, A...>> spawn(F&& f, A&&... a) {
    acceptance const in(*this);
    return join_handle<detail::task_result_t<F, A...>>(
        detail::spawn_on(in.scheduler(), nullptr, {}, std::forward<F>(f), std::forward<A>(a)...));
  }
  template <class F, detail::place_of_spawn P = std::source_location>
    requires task_callable<F>
  detail::handle_if<detail::place_of_spawn<P>, F> spawn(F&& f, P place = std::source_location::current()) {
    acceptance const in(*this);
    return join_handle<detail::task_result_t<F>>(detail::spawn_on(in.scheduler(), nullptr, place, std::forward<F>(f)));
  }
  template <class F, detail::place_of_spawn P = std::source_location, detail::task_options_or_alike O = task_options>
    requires task_callable<F>
  detail::handle_if<detail::place_of_spawn<P> && detail::task_options_or_alike<O>, F> spawn(
      O options, F&& f, P place = std::source_location::current()) {
    task_options with = std::move(options);
    acceptance const in(*this);
    return join_handle<detail::task_result_t<F>>(detail::spawn_on(in.scheduler(), &with, place, std::forward<F>(f)));
  }
  template <class F, class... A, detail::task_options_or_alike O = task_options>
    requires(sizeof...(A) > 0) && task_callable<F, A...>
  detail::handle_if<detail::task_options_or_alike<O>, F, A...> spawn(O options, F&& f, A&&... a) {
    task_options with = std::move(options);
    acceptance const in(*this);
    return join_handle<detail::task_result_t<F, A...>>(
        detail::spawn_on(in.scheduler(), &with, {}, std::forward<F>(f), std::forward<A>(a)...));
  }

  /// Cancels the root context, waits until no task is left, and stops the threads; may be called again. Tasks that have not ended
  /// after the grace (options::shutdown_grace) are named on stderr and the process ends with status 70. Then what after() and tick() gave
  /// is closed, and what after_func() keeps for later is destroyed, by the caller. From a plain thread.
  void shutdown();
  void shutdown(detail::patience grace);

  /// A snapshot; walks all tasks, so not for hot paths.
  [[nodiscard]] runtime_metrics metrics() const;

 private:
  static void refuse_inside_task(char const* what);
  /// The same, and makes what this thread needs to wait: want of memory for it must not come out while the task runs.
  static void prepare_to_run();
  void throw_if_deadlocked() const;
  [[nodiscard]] bool may_be_brief() const noexcept;
  static void note_lasting() noexcept;  // starts the thread that answers SIGQUIT
  /// Without a place of spawn: it would be the line above.
  template <class F, class... A>
  join_handle<detail::task_result_t<F, A...>> spawn_first(F&& f, A&&... a) {
    acceptance const in(*this);
    return join_handle<detail::task_result_t<F, A...>>(
        detail::spawn_on(in.scheduler(), nullptr, {}, std::forward<F>(f), std::forward<A>(a)...));
  }
  struct state;
  /// While a thread waits in run(): somebody whom a deadlock's report reaches.
  class presence {
   public:
    explicit presence(runtime const&) noexcept;
    ~presence();
    presence(presence const&) = delete;
    presence& operator=(presence const&) = delete;

   private:
    state* of_;
  };
  /// Around a spawn: throws no_runtime once shutdown has begun, which then waits for those under way.
  class acceptance {
   public:
    explicit acceptance(runtime const&);
    ~acceptance();
    [[nodiscard]] rt::scheduler* scheduler() const noexcept;

   private:
    state* of_;
  };
  std::unique_ptr<state> state_;
};

/// Metrics of the runtime that the calling task runs in. Throws no_runtime elsewhere. Does not block. `parked` is counted: a look at every
/// task, about a millisecond for 100,000.
[[nodiscard]] runtime_metrics current_metrics();

/// Starts a runtime, runs f(a...) as its first task, and returns what it returns or rethrows what it throws. No task outlives it:
/// when the first has ended, the others are cancelled and unwound. Throws weft::deadlock as runtime::run. Fatal inside a task. `return weft::run(app, argc, argv);` is a
/// whole main().
template <class F, class... A>
  requires task_callable<F, A...>
auto run(options o, F&& f, A&&... a) -> detail::task_result_t<F, A...> {
  runtime r(std::move(o), detail::one_run());
  return r.run(std::forward<F>(f), std::forward<A>(a)...);
}
template <class F, class... A>
  requires task_callable<F, A...>
auto run(F&& f, A&&... a) -> detail::task_result_t<F, A...> {
  return run(options{}, std::forward<F>(f), std::forward<A>(a)...);
}

}  // namespace weft
