// task_group: a nursery. What it spawns ends before it does.
//
//     weft::task_group g;
//     for (auto& url : urls) g.spawn([&] { fetch(url); });
//     g.wait();                       // rethrows the first exception, which has cancelled the others
//
// Its tasks run under a context of its own, a child of the given or current one. A weft::cancelled that escapes a task of a group
// that is being cancelled is no error, nor is a closed_channel there: a neighbour may have let go of its end first. A group keeps nothing for a task that has ended well.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include <weft/context.hpp>
#include <weft/detail/guest.hpp>
#include <weft/task.hpp>

namespace weft {

struct group_options {
  std::size_t limit = 0;        ///< so many tasks at once; 0: any number
  bool cancel_on_error = true;  ///< the first exception cancels the others
  std::function<void(std::exception_ptr)>
      on_error{};  ///< takes the exceptions if not; one at a time, in the tasks that threw
};

namespace detail {

class group_core;

/// A task that has its place, under the group's context. Waits for a place if the group has a limit, and is a cancellation point then. `in` is to
/// live until it has started.
[[nodiscard]] rt::task* create_in_group(group_core&, std::optional<guest>& in, body_ops const&, task_options*,
                                        std::source_location place);
/// The exception being handled escaped a task of the group.
void failed_in_group(group_core&) noexcept;
/// A task of the group, or what was to become one, is over. The group may be gone afterwards.
void leave_group(group_core&) noexcept;

template <class C>
struct group_body {
  using closure_type = C;
  group_core& group;
  alignas(C) std::byte storage[sizeof(C)];

  explicit group_body(group_core& g) noexcept : group(g) {}

  static void invoke(void* task) noexcept {
    auto* self = static_cast<group_body*>(body_of<false>(task));
    try {
      C* c = std::launder(reinterpret_cast<C*>(self->storage));
      destroyed_at_end<C> const end{c};
      (void)(*c)();
    } catch (...) {
      failed_in_group(self->group);
    }
    leave_group(self->group);
  }
};
template <class C>
struct group_ops {
  using in_block = group_body<C>;
  using body =
      std::conditional_t<body_fits(sizeof(in_block), alignof(in_block), false), in_block, group_body<kept_apart<C>>>;
  static constexpr body_ops ops = body_ops_of<body, false>(&body::invoke, nullptr, nullptr);
};

template <class F, class... A>
void spawn_in_group(group_core& g, task_options* options, std::source_location place, F&& f, A&&... a) {
  using made = group_ops<closure<F, A...>>;
  using body_t = typename made::body;
  static_assert(std::is_trivially_destructible_v<body_t>);
  std::optional<guest> in;
  rt::task* t = create_in_group(g, in, made::ops, options, place);
  auto* body = ::new (body_of<false>(t)) body_t(g);
  try {
    ::new (static_cast<void*>(body->storage))
        typename body_t::closure_type(std::in_place, std::forward<F>(f), std::forward<A>(a)...);
  } catch (...) {
    abandon(t);
    leave_group(g);
    throw;
  }
  start(t);
}

}  // namespace detail

/// Made and destroyed by one task; the other members may be called by any, also by tasks of the group.
class task_group {
 public:
  task_group();
  explicit task_group(group_options options);
  explicit task_group(context parent, group_options options = {});
  /// Cancels if wait() was not reached; waits in any case, ignoring cancellation. Never throws: an exception that nobody has seen
  /// is written to stderr.
  ~task_group();
  task_group(task_group const&) = delete;
  task_group& operator=(task_group const&) = delete;

  /// Runs f(a...) as a task of the group. With a limit: waits while that many run, and is a cancellation point. Throws as weft::go.
  template <class F, class... A>
    requires(sizeof...(A) > 0 && task_callable<F, A...>)
  void spawn(F&& f, A&&... a) {
    detail::spawn_in_group(*core_, nullptr, {}, std::forward<F>(f), std::forward<A>(a)...);
  }
  template <class F, detail::place_of_spawn P = std::source_location>
    requires task_callable<F>
  void spawn(F&& f, P place = std::source_location::current()) {
    detail::spawn_in_group(*core_, nullptr, place, std::forward<F>(f));
  }
  template <class F, detail::place_of_spawn P = std::source_location, detail::task_options_or_alike O = task_options>
    requires task_callable<F>
  void spawn(O options, F&& f, P place = std::source_location::current()) {
    task_options with = std::move(options);
    detail::spawn_in_group(*core_, &with, place, std::forward<F>(f));
  }
  template <class F, class... A, detail::task_options_or_alike O = task_options>
    requires(sizeof...(A) > 0 && task_callable<F, A...>)
  void spawn(O options, F&& f, A&&... a) {
    task_options with = std::move(options);
    detail::spawn_in_group(*core_, &with, {}, std::forward<F>(f), std::forward<A>(a)...);
  }

  /// At most n at once from now on; 0: any number. Does not block.
  void limit(std::size_t n);
  /// Waits until every task of the group has ended. Rethrows the first exception that cancelled the others, or that nobody took; a
  /// closed_channel only if there was no other: where a stage fails its channels close, and its neighbours with them.
  /// The group can be used again, under a fresh context if the old one was cancelled. Blocks; a cancellation point.
  void wait();
  /// The exceptions that the last wait() found beside the one that it rethrew, in the order in which they came; the first
  /// most_other_errors of them. Those of tasks that the group's cancellation ended are none. Does not block.
  [[nodiscard]] std::vector<std::exception_ptr> other_errors() const;
  static constexpr std::size_t most_other_errors = 100;
  /// Cancels the group's context. Does not block.
  void cancel();
  /// The context of its tasks.
  [[nodiscard]] context ctx() const;

 private:
  std::unique_ptr<detail::group_core> core_;
};

/// f(group), then group.wait(). An exception of f's own cancels the group and wins. Returns what f returns.
/// The tasks outlive f's own locals: what they refer to stands outside of f.
template <class F>
  requires std::is_invocable_v<F, task_group&>
auto scope(F&& f) -> std::invoke_result_t<F, task_group&> {
  using out = std::invoke_result_t<F, task_group&>;
  task_group group;
  if constexpr (std::is_void_v<out>) {
    std::invoke(std::forward<F>(f), group);
    group.wait();
  } else if constexpr (std::is_reference_v<out>) {
    out r = std::invoke(std::forward<F>(f), group);
    group.wait();
    return static_cast<out>(r);
  } else {
    out r = std::invoke(std::forward<F>(f), group);
    group.wait();
    return r;
  }
}

}  // namespace weft
