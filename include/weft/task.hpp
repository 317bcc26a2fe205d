// Tasks: go, spawn, join_handle, yield, sleep.
//
//     weft::go([] { ... });                                   // fire and forget
//     auto h = weft::spawn([](int x) { return x * 2; }, 21);  // result or exception through the handle
//     int y = h.join();
//
// Arguments are decay-copied, as std::thread does; closures and arguments may be move-only. A callable that takes a
// std::stop_token first gets its task's. Tasks run in no particular order and on any worker.
#pragma once

#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <weft/detail/deadline.hpp>
#include <weft/detail/task_api.hpp>
#include <weft/error.hpp>

namespace weft {

class context;
template <class T>
class join_handle;

/// What can be spawned: f(args...) or f(stop_token, args...), with decay-copied arguments.
template <class F, class... A>
concept task_callable = std::is_invocable_v<std::decay_t<F>, std::decay_t<A>...> ||
                        std::is_invocable_v<std::decay_t<F>, std::stop_token, std::decay_t<A>...>;

namespace detail {

/// What the place of a spawn is declared as. Of a parameter that is simply one, compilers find only after they have looked at constraints (GCC) and
/// the type of the result (Clang) that an argument does not become it; and neither can be told for a generic f that wants that argument.
template <class P>
concept place_of_spawn = std::same_as<P, std::source_location>;
/// The same of task options, beside which the callable of another overload, and a generic f that is its argument, would be looked at.
template <class O>
concept task_options_or_alike = std::convertible_to<O, task_options>;

/// A call operator that is no template can be asked whether it takes a stop_token that it could do without (by a default argument), and
/// gets one then, as from std::jthread. Of a template the body would be looked at, which need not compile with one; and what can be made of
/// anything (std::any) is no stop_token.
struct anything_else {};
template <class F, class... A>
concept takes_stop_token_too = requires { &F::operator(); } && std::is_invocable_v<F, std::stop_token, A...> &&
                               !std::is_invocable_v<F, anything_else, A...>;

template <class F, class... A>
struct task_result {
  static auto pick() {
    if constexpr (takes_stop_token_too<std::decay_t<F>, std::decay_t<A>...>)
      return std::type_identity<std::invoke_result_t<std::decay_t<F>, std::stop_token, std::decay_t<A>...>>{};
    else if constexpr (std::is_invocable_v<std::decay_t<F>, std::decay_t<A>...>)
      return std::type_identity<std::invoke_result_t<std::decay_t<F>, std::decay_t<A>...>>{};
    else if constexpr (std::is_invocable_v<std::decay_t<F>, std::stop_token, std::decay_t<A>...>)
      return std::type_identity<std::invoke_result_t<std::decay_t<F>, std::stop_token, std::decay_t<A>...>>{};
    else return std::type_identity<void>{};  // another overload's arguments: the constraint refuses them
  }
  using type = typename decltype(pick())::type;
};
/// A member of an object that is the task's own copy goes with the task: of spawn(&point::x, p) the value is kept.
template <class F, class... A>
using task_result_t =
    std::conditional_t<std::is_member_object_pointer_v<std::decay_t<F>> &&
                           std::is_rvalue_reference_v<typename task_result<F, A...>::type>,
                       std::remove_cvref_t<typename task_result<F, A...>::type>, typename task_result<F, A...>::type>;

/// What spawn returns where its other arguments fit. Where they do not, nothing may be asked of F: Clang finds the type of the result before it
/// looks at constraints.
template <bool Fits, class F, class... A>
struct handle_of {};
template <class F, class... A>
struct handle_of<true, F, A...> {
  using type = join_handle<task_result_t<F, A...>>;
};
template <bool Fits, class F, class... A>
using handle_if = typename handle_of<Fits, F, A...>::type;

/// The current task's stop_token: that of its context.
[[nodiscard]] std::stop_token task_stop_token();

/// Decay-copied callable and arguments, invoked once.
template <class F, class... A>
struct closure {
  std::decay_t<F> f;
  [[no_unique_address]] std::tuple<std::decay_t<A>...> args;

  template <class G, class... B>
  explicit closure(std::in_place_t, G&& g, B&&... b) : f(std::forward<G>(g)), args(std::forward<B>(b)...) {}

  decltype(auto) operator()() {
    return std::apply(
        [this](auto&&... a) -> decltype(auto) {
          if constexpr (!takes_stop_token_too<std::decay_t<F>, std::decay_t<A>...> &&
                        std::is_invocable_v<std::decay_t<F>, std::decay_t<A>...>)
            return std::invoke(std::move(f), std::forward<decltype(a)>(a)...);
          else return std::invoke(std::move(f), task_stop_token(), std::forward<decltype(a)>(a)...);
        },
        std::move(args));
  }
};

/// Destroys the closure inside the try block, so that an exception is still on its way then: channel ends in it tell an end by an
/// exception from an ordinary one.
template <class C>
struct destroyed_at_end {
  C* c;
  ~destroyed_at_end() { std::destroy_at(c); }
};

/// A closure for which a block has no room.
template <class C>
struct kept_apart {
  std::unique_ptr<C> c;

  template <class... A>
  explicit kept_apart(std::in_place_t, A&&... a) : c(std::make_unique<C>(std::in_place, std::forward<A>(a)...)) {}
  decltype(auto) operator()() { return (*c)(); }
};

/// The body of a task nobody waits for.
template <class C>
struct go_body {
  static C* closure_of(void* task) noexcept { return static_cast<C*>(body_of<false>(task)); }
  static void invoke(void* task) noexcept {
    C* c = closure_of(task);
    try {
      destroyed_at_end<C> const end{c};
      (void)(*c)();
    } catch (...) {
      escaped_from_go();
    }
  }
  static void discard(void* task) noexcept { std::destroy_at(closure_of(task)); }
  static constexpr body_ops ops = body_ops_of<C, false>(&invoke, nullptr, &discard);
};
template <class C>
using go_closure = std::conditional_t<body_fits(sizeof(C), alignof(C), false), C, kept_apart<C>>;

/// The result of a task, until the handle takes it.
template <class R>
struct result_box {
  using stored =
      std::conditional_t<std::is_void_v<R>, std::monostate,
                         std::conditional_t<std::is_reference_v<R>, std::add_pointer_t<R>, std::remove_cv_t<R>>>;
  std::optional<stored> value;
  std::exception_ptr error;

  template <class C>
  void run(C& c) noexcept {
    try {
      destroyed_at_end<C> const end{&c};
      if constexpr (std::is_void_v<R>) {
        c();
        value.emplace();
      } else if constexpr (std::is_reference_v<R>) {
        R r = c();
        value.emplace(std::addressof(r));
      } else {
        struct from_call {  // elides the move: results need not be movable to be stored
          C& call;
          operator stored() { return call(); }
        };
        if constexpr (std::is_move_constructible_v<stored>) value.emplace(c());
        else value.emplace(from_call{c});
      }
    } catch (...) {
      error = std::current_exception();
    }
  }
  void rethrow() {
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }
  R take() {
    rethrow();
    if constexpr (std::is_reference_v<R>) return static_cast<R>(**value);
    else if constexpr (!std::is_void_v<R>) return std::move(*value);
  }
  void clear() noexcept {
    value.reset();
    if (error) error = nullptr;
  }
};

/// Where it lies: in the block, or apart if that has no room for it and a pointer besides.
template <class R, bool InBlock = body_fits(sizeof(result_box<R>) + sizeof(void*), alignof(result_box<R>), true)>
struct result_place {
  result_box<R> box;
  [[nodiscard]] result_box<R>& get() noexcept { return box; }
};
template <class R>
struct result_place<R, false> {
  std::unique_ptr<result_box<R>> box = std::make_unique<result_box<R>>();
  [[nodiscard]] result_box<R>& get() noexcept { return *box; }
};

/// The body of a task with a handle: first the result, so that a handle finds it without knowing the closure.
template <class R, class C>
struct spawn_body {
  result_place<R> result;
  alignas(C) std::byte storage[sizeof(C)];

  template <class... A>
  explicit spawn_body(std::in_place_t, A&&... a) {
    ::new (static_cast<void*>(storage)) C(std::in_place, std::forward<A>(a)...);
  }
  C* closure() noexcept { return std::launder(reinterpret_cast<C*>(storage)); }

  static spawn_body* of(void* task) noexcept { return static_cast<spawn_body*>(body_of<true>(task)); }
  static void invoke(void* task) noexcept { of(task)->result.get().run(*of(task)->closure()); }
  static void discard(void* task) noexcept { std::destroy_at(of(task)->closure()); }
  static void destroy_result(void* task) noexcept { std::destroy_at(&of(task)->result); }
};
template <class R, class C>
struct spawn_ops {
  using in_block = spawn_body<R, C>;
  using body =
      std::conditional_t<body_fits(sizeof(in_block), alignof(in_block), true), in_block, spawn_body<R, kept_apart<C>>>;
  static constexpr body_ops ops = body_ops_of<body, true>(&body::invoke, &body::destroy_result, &body::discard);
};

template <class F, class... A>
void go_on(rt::scheduler* s, task_options* options, std::source_location place, F&& f, A&&... a) {
  using closure_t = go_closure<closure<F, A...>>;
  constexpr body_ops const& ops = go_body<closure_t>::ops;
  rt::task* t =
      s == nullptr && options == nullptr ? create_task_to_go(ops, place) : create_task(s, ops, options, place);
  try {
    ::new (body_of<false>(t)) closure_t(std::in_place, std::forward<F>(f), std::forward<A>(a)...);
  } catch (...) {
    abandon(t);
    throw;
  }
  start(t);
}

template <class F, class... A>
rt::task* spawn_on(rt::scheduler* s, task_options* options, std::source_location place, F&& f, A&&... a) {
  using made = spawn_ops<task_result_t<F, A...>, closure<F, A...>>;
  rt::task* t = s == nullptr && options == nullptr ? create_task_to_join(made::ops, place)
                                                   : create_task(s, made::ops, options, place);
  try {
    ::new (body_of<true>(t)) typename made::body(std::in_place, std::forward<F>(f), std::forward<A>(a)...);
  } catch (...) {
    abandon(t);
    throw;
  }
  start(t);
  return t;
}

}  // namespace detail

/// Runs f(a...) as a task. Never blocks or switches. Throws no_runtime outside of a runtime, std::bad_alloc, and
/// std::system_error naming the limit when there is no stack to be had. An exception that escapes f ends the process with a line
/// that names the task; a weft::cancelled or closed_channel where its context is cancelled just ends the task. What the caller did before is visible to f.
template <class F, class... A>
  requires(sizeof...(A) > 0) && task_callable<F, A...>
void go(F&& f, A&&... a) {
  detail::go_on(nullptr, nullptr, {}, std::forward<F>(f), std::forward<A>(a)...);
}
template <class F, detail::place_of_spawn P = std::source_location>
  requires task_callable<F>
void go(F&& f, P place = std::source_location::current()) {
  detail::go_on(nullptr, nullptr, place, std::forward<F>(f));
}
template <class F, detail::place_of_spawn P = std::source_location, detail::task_options_or_alike O = task_options>
  requires task_callable<F>
void go(O options, F&& f, P place = std::source_location::current()) {
  task_options with = std::move(options);
  detail::go_on(nullptr, &with, place, std::forward<F>(f));
}
template <class F, class... A, detail::task_options_or_alike O = task_options>
  requires(sizeof...(A) > 0) && task_callable<F, A...>
void go(O options, F&& f, A&&... a) {
  task_options with = std::move(options);
  detail::go_on(nullptr, &with, {}, std::forward<F>(f), std::forward<A>(a)...);
}

/// The same with a handle that gives the result or the exception.
template <class F, class... A>
  requires(sizeof...(A) > 0) && task_callable<F, A...>
join_handle<detail::task_result_t<F, A...>> spawn(F&& f, A&&... a) {
  return join_handle<detail::task_result_t<F, A...>>(
      detail::spawn_on(nullptr, nullptr, {}, std::forward<F>(f), std::forward<A>(a)...));
}
template <class F, detail::place_of_spawn P = std::source_location>
  requires task_callable<F>
detail::handle_if<detail::place_of_spawn<P>, F> spawn(F&& f, P place = std::source_location::current()) {
  return join_handle<detail::task_result_t<F>>(detail::spawn_on(nullptr, nullptr, place, std::forward<F>(f)));
}
template <class F, detail::place_of_spawn P = std::source_location, detail::task_options_or_alike O = task_options>
  requires task_callable<F>
detail::handle_if<detail::place_of_spawn<P> && detail::task_options_or_alike<O>, F> spawn(
    O options, F&& f, P place = std::source_location::current()) {
  task_options with = std::move(options);
  return join_handle<detail::task_result_t<F>>(detail::spawn_on(nullptr, &with, place, std::forward<F>(f)));
}
template <class F, class... A, detail::task_options_or_alike O = task_options>
  requires(sizeof...(A) > 0) && task_callable<F, A...>
detail::handle_if<detail::task_options_or_alike<O>, F, A...> spawn(O options, F&& f, A&&... a) {
  task_options with = std::move(options);
  return join_handle<detail::task_result_t<F, A...>>(
      detail::spawn_on(nullptr, &with, {}, std::forward<F>(f), std::forward<A>(a)...));
}

/// The right to a task's result. Move-only; one owner. wait(), wait_for(), done() and cancel() of one handle may be called by several threads at
/// once, all else, join() among it, not while another thread is in any of its functions.
/// Default-constructed or moved from: no task.
template <class T>
class [[nodiscard]] join_handle {
 public:
  join_handle() noexcept = default;
  join_handle(join_handle&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  join_handle& operator=(join_handle&& other) noexcept {
    if (this != &other) {
      stop();
      task_ = std::exchange(other.task_, nullptr);
    }
    return *this;
  }
  /// = stop(), like std::jthread.
  ~join_handle() { stop(); }

  /// Waits for the task to end; returns its result or rethrows its exception; the handle then has no task. Cancellation point: a
  /// join that is itself cancelled leaves the handle joinable. It may meet its cancellation only when the task has met its own (it may run on the
  /// caller's stack): the task must not wait, uncancellable, for what the caller does then. std::system_error(invalid_argument) if there is no task.
  T join() {
    wait();
    return take();
  }
  /// join() of a task that has ended: never waits, and so is no cancellation point. std::system_error if it has not ended.
  T take_ended() {
    require_ended();
    return take();
  }
  /// The same, and drops the result, which need not be movable. For weft itself.
  void drop_ended() {
    require_ended();
    release const at_end{std::exchange(task_, nullptr)};
    result_of(at_end.t).rethrow();
  }
  /// Waits for the task to end. Cancellation point.
  void wait() const { detail::task_wait(required()); }
  /// The same for at most d; false: it has not ended. Cancellation point.
  template <class R, class P>
  bool wait_for(std::chrono::duration<R, P> d) const {
    return detail::task_wait_until(required(), detail::deadline_after(d));
  }
  /// Whether join() would return at once.
  [[nodiscard]] bool done() const noexcept { return task_ != nullptr && detail::task_done(task_); }
  [[nodiscard]] bool joinable() const noexcept { return task_ != nullptr; }
  /// Cancels the task's own context, and so whatever it waits for. Does not wait.
  void cancel() {
    if (task_ != nullptr) detail::task_cancel(task_);
  }
  /// Cancels, waits (ignoring the caller's own cancellation), drops the result.
  void stop() noexcept {
    if (task_ == nullptr) return;
    detail::task_stop(task_);
    release const at_end{std::exchange(task_, nullptr)};
  }
  /// Lets the task go its own way.
  void detach() {
    if (task_ != nullptr) detail::task_release(std::exchange(task_, nullptr));
  }

  explicit join_handle(rt::task* t) noexcept : task_(t) {}                                          // for weft itself
  [[nodiscard]] rt::completion* completion() const { return detail::task_completion(required()); }  // the same

 private:
  [[nodiscard]] rt::task* required() const {
    if (task_ == nullptr)
      throw std::system_error(std::make_error_code(std::errc::invalid_argument), "weft: join_handle has no task");
    return task_;
  }
  void require_ended() const {
    if (!done())
      throw std::system_error(std::make_error_code(std::errc::invalid_argument), "weft: the task has not ended");
  }
  /// Of a task that has ended. The result goes now: the task's own reference may go later.
  struct release {
    rt::task* t;
    ~release() {
      result_of(t).clear();
      detail::task_release(t);
    }
  };
  [[nodiscard]] static detail::result_box<T>& result_of(rt::task* t) {
    return static_cast<detail::result_place<T>*>(detail::body_of<true>(t))->get();
  }
  T take() {
    release const at_end{std::exchange(task_, nullptr)};
    return result_of(at_end.t).take();
  }
  rt::task* task_ = nullptr;
};

namespace detail {
template <class T>
[[nodiscard]] rt::completion* completion_of(join_handle<T> const& h) {
  return h.completion();
}
void sleep_until_ns(std::int64_t deadline);
}  // namespace detail

/// Lets other ready tasks run. No cancellation point, but where a simulated run goes on long after its sim::options::max_steps: outside of
/// uncancellable blocks and unwinding it throws cancelled there. On a plain thread: std::this_thread::yield.
void yield();

/// Parks the task, or puts the thread to sleep, until the time has come: never shorter; cancellation point. A time that is past
/// already makes it a yield().
template <class R, class P>
void sleep_for(std::chrono::duration<R, P> d) {
  detail::sleep_until_ns(detail::deadline_after(d));
}
template <class C, class D>
void sleep_until(std::chrono::time_point<C, D> at) {
  detail::sleep_until_ns(detail::deadline_at(at));
}

namespace this_task {
/// A number that no other task of this process has had; 0 on a plain thread.
[[nodiscard]] task_id id();
/// Empty unless it was given one. Valid until set_name or the task's end.
[[nodiscard]] std::string_view name();
/// Fatal outside of a task.
void set_name(std::string);
/// The context in force: the task's own, or that of the innermost scoped_context. Include <weft/context.hpp> to use it.
[[nodiscard]] weft::context context();
}  // namespace this_task

}  // namespace weft
