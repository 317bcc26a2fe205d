// Many at once: parallel_map, parallel_for, join_all, race. All end with every task that they started ended.
//
//     auto thumbs = weft::parallel_map(files, make_thumb, {.limit = 8});
//     auto answer = weft::race([&] { return ask(a); }, [&] { return ask(b); });
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <weft/detail/countdown.hpp>
#include <weft/mutex.hpp>
#include <weft/task_group.hpp>

namespace weft {

namespace detail {

/// What a task takes along of an element: of a range that can only be gone through once (a receiver) the element itself, since the
/// next one may stand in its place.
template <class T, class Reference>
[[nodiscard]] T keep_element(Reference&& at) {
  if constexpr (std::is_constructible_v<T, Reference>) return T(std::forward<Reference>(at));
  else return T(std::move(at));
}

/// Calls use(element) as a task of the group for every element of the range.
template <class R, class Use>
void spawn_each(task_group& group, context const& of_tasks, R& range, Use make_use) {
  using reference = std::ranges::range_reference_t<R>;
  auto end = std::ranges::end(range);
  for (auto i = std::ranges::begin(range); i != end; ++i) {
    if (of_tasks.cancelled()) break;
    auto use = make_use();
    if constexpr (std::is_lvalue_reference_v<reference> && std::ranges::forward_range<R>) {
      group.spawn([use, at = std::addressof(*i)] { use(*at); });
    } else {
      using value = std::remove_cvref_t<reference>;
      group.spawn([use, kept = keep_element<value>(*i)]() mutable {
        if constexpr (std::is_lvalue_reference_v<reference>) use(static_cast<reference>(kept));
        else use(static_cast<reference>(std::move(kept)));
      });
    }
  }
}

/// The same, then waits. Elements that are references stay where they are, others go along with the task. Once the group is cancelled no
/// more are begun: a range whose next element may be waited for (a receiver; it can be gone through once only) is gone through under the group's
/// context.
template <class R, class Use>
void for_each_in_group(task_group& group, R& range, Use make_use) {
  context const of_tasks = group.ctx();
  try {
    std::optional<scoped_context> in;
    if constexpr (!std::ranges::forward_range<R>)
      if (this_task::id() != task_id{}) in.emplace(of_tasks);
    spawn_each(group, of_tasks, range, make_use);
  } catch (cancelled const&) {
    if (!of_tasks.cancelled()) throw;
  }
  group.wait();
  of_tasks.throw_if_cancelled();  // from above, while this task waits in an uncancellable block: not all has been done
}

/// call(what, i)
struct indexed_call {
  void (*call)(void* what, std::size_t i);
  void* what;
};
/// Calls it for each i below count, as if each were a task of a group with these options, then waits. Calls that do not wait share tasks.
void for_each_index(std::size_t count, indexed_call call, group_options options);

template <class R>
inline constexpr bool is_iota = false;
template <class W, class B>
inline constexpr bool is_iota<std::ranges::iota_view<W, B>> = std::is_integral_v<W> && std::is_integral_v<B>;

/// Its elements can be had by number, at once by many tasks, without running code of the user's.
template <class R>
concept numbered_range =
    std::ranges::sized_range<R> && (std::ranges::contiguous_range<R> || is_iota<std::remove_cvref_t<R>>);

/// use(range[i], i) for each element.
template <class R, class Use>
void for_each_numbered(R& range, Use use, group_options options) {
  auto const begin = std::ranges::begin(range);
  auto at = [&](std::size_t i) { use(begin[static_cast<std::ranges::range_difference_t<R>>(i)], i); };
  for_each_index(static_cast<std::size_t>(std::ranges::size(range)),
                 {[](void* what, std::size_t i) { (*static_cast<decltype(at)*>(what))(i); }, &at}, std::move(options));
}

}  // namespace detail

/// f(x) for every x of the range, each in a task; the results in the order of the range. Calls that do not wait may share a task, so that
/// cheap ones cost little. f is shared and called at the same time by many; of what it returns by reference a copy is kept. The first
/// exception cancels the rest, begins no more, and comes out. Blocks; a cancellation point.
template <class R, class F>
  requires(!std::is_void_v<std::invoke_result_t<F&, std::ranges::range_reference_t<R>>>)  // that is parallel_for
auto parallel_map(R&& range, F&& f, group_options options = {})
    -> std::vector<std::remove_cvref_t<std::invoke_result_t<F&, std::ranges::range_reference_t<R>>>> {
  using out = std::remove_cvref_t<std::invoke_result_t<F&, std::ranges::range_reference_t<R>>>;
  std::deque<std::optional<out>> results;  // a deque: places stay where they are while it grows
  if constexpr (detail::numbered_range<R>) {
    results.resize(static_cast<std::size_t>(std::ranges::size(range)));
    detail::for_each_numbered(
        range, [&](auto&& x, std::size_t i) { results[i].emplace(std::invoke(f, static_cast<decltype(x)>(x))); },
        std::move(options));
  } else {
    task_group group(std::move(options));
    detail::for_each_in_group(group, range, [&] {
      std::optional<out>* place = &results.emplace_back();
      return [&f, place](auto&& x) { place->emplace(std::invoke(f, static_cast<decltype(x)>(x))); };
    });
  }
  std::vector<out> all;
  all.reserve(results.size());
  for (auto& r : results)
    if (r) all.push_back(std::move(*r));  // one is missing only if options let its exception pass
  return all;
}

/// The same without results.
template <class R, class F>
void parallel_for(R&& range, F&& f, group_options options = {}) {
  if constexpr (detail::numbered_range<R>) {
    detail::for_each_numbered(
        range, [&f](auto&& x, std::size_t) { (void)std::invoke(f, static_cast<decltype(x)>(x)); }, std::move(options));
  } else {
    task_group group(std::move(options));
    detail::for_each_in_group(group, range,
                              [&] { return [&f](auto&& x) { (void)std::invoke(f, static_cast<decltype(x)>(x)); }; });
  }
}

/// Joins them all, in order; the results. The first exception comes out and leaves the handles behind it joinable. Blocks; a
/// cancellation point, also where there are none.
template <class T>
std::vector<T> join_all(std::vector<join_handle<T>>& handles) {
  std::vector<T> all;
  if (handles.empty()) detail::countdown::cancellation_point();
  all.reserve(handles.size());
  for (auto& h : handles) all.push_back(h.join());
  return all;
}
inline void join_all(std::vector<join_handle<void>>& handles) {
  if (handles.empty()) detail::countdown::cancellation_point();
  for (auto& h : handles) h.join();
}

/// What the first of them returns; the others are cancelled and joined, their results and exceptions dropped. If all throw, the
/// first exception comes out. Blocks; a cancellation point.
template <class... F>
  requires(sizeof...(F) > 0)
auto race(F&&... f) -> std::common_type_t<std::invoke_result_t<F>...> {
  using out = std::common_type_t<std::invoke_result_t<F>...>;
  using stored = std::conditional_t<std::is_void_v<out>, std::monostate, out>;
  std::optional<stored> won;  // written once, under `winning`; read when all have ended
  std::exception_ptr first;   // written by on_error, which is called by one at a time
  mutex winning;
  context const parent = detail::inherited_context();
  {
    task_group group(parent, {.cancel_on_error = false, .on_error = [&](std::exception_ptr e) {
                                if (first == nullptr) first = std::move(e);
                              }});
    auto const run = [&](auto&& each) {
      auto const win = [&](auto&&... result) {
        std::lock_guard const hold(winning);
        if (!won) won.emplace(std::move(result)...);  // who throws here has no result, and another may win
      };
      if constexpr (std::is_void_v<out>) {
        (void)std::invoke(std::forward<decltype(each)>(each));
        win();
      } else {
        out r = std::invoke(std::forward<decltype(each)>(each));
        win(std::move(r));
      }
      group.cancel();
    };
    (group.spawn([run, &f] { run(std::forward<F>(f)); }),
     ...);  // a copy of `run`, which tasks outlive if a spawn throws
    group.wait();
  }
  if (!won) {
    if (first != nullptr) std::rethrow_exception(first);
    parent.throw_if_cancelled();
  }
  if constexpr (!std::is_void_v<out>) return std::move(*won);
}

}  // namespace weft
