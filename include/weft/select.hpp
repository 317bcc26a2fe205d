// select: waits until one of several things can happen, and makes exactly one happen.
//
//     weft::select(
//         weft::on_recv(lines, [&](std::optional<std::string> l) { ... }),    // nullopt: closed
//         weft::on_send(out, next, [&] { ... }),                             // next is sent if this case is chosen
//         weft::on_timeout(1s, [&] { ... }));
//
// Among the cases that are ready the choice is uniformly random, also while it waits; select(weft::biased, ...) takes
// the first in the order written. With otherwise(f) it never waits and is no cancellation point. The nil channel's case
// is never ready; select of nothing blocks for ever. on_send to a closed channel throws closed_channel.
//
// What the first parameter of a receive's handler is declared as decides what it gets: T, T&, or std::optional<T>, also by
// reference, which is nullopt when the channel is closed and drained; a generic lambda gets the optional. Without a
// parameter it runs on close as well; one that needs a value where the channel is closed makes select throw closed_channel.
//
// Returns: if all handlers return void, the index of the case that happened, counting every case; if none does, their
// common type; else std::optional of that, nullopt from the void ones.
//
// Handlers run in the calling task after select has let go of everything; what they throw comes out of select. Every
// handler may be left out. Handles, values and join handles that are passed as lvalues are not copied: they must outlive
// the call. An lvalue is copied into the channel by on_send (moved, if T cannot be copied): the copy is made when the
// case is about to happen, or before select has to wait. What may throw when it is moved is moved out of the object before a wait
// and back behind it; if the way back throws, that comes out of select when the handler of the case that happened has run.
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include <weft/detail/select_clause.hpp>

namespace weft {

struct biased_t {};
inline constexpr biased_t biased{};

/// What on_recv takes beside channels: anything with a receiver.
template <class S>
concept selectable = requires(S& s) {
  typename S::value_type;
  s.channel();
};

/// Receives from a chan or a receiver.
template <detail::recv_end Source, class F = detail::no_handler>
[[nodiscard]] auto on_recv(Source&& source, F&& f = {}) {
  using T = typename std::remove_cvref_t<Source>::value_type;
  return detail::recv_clause<T, F>(std::forward<Source>(source), std::forward<F>(f));
}
/// Receives from anything with channel(): a timer, ticker, oneshot, or subscriber.
template <detail::selectable Source, class F = detail::no_handler>
[[nodiscard]] auto on_recv(Source&& source, F&& f = {}) {
  using T = typename std::remove_cvref_t<decltype(source.channel())>::value_type;
  return detail::recv_clause<T, F>(source.channel(), std::forward<F>(f));
}

/// The same with the type of the value, or of the source, given: on_recv<int>(c), on_recv<timer>(t). What converts to a receiver will do.
template <class T, class F = detail::no_handler>
  requires std::is_object_v<T>
[[nodiscard]] auto on_recv(std::type_identity_t<receiver<T>> source, F&& f = {}) {
  return weft::on_recv(std::move(source), std::forward<F>(f));
}
template <detail::selectable Source, class F = detail::no_handler>
  requires std::is_object_v<Source>
[[nodiscard]] auto on_recv(std::type_identity_t<Source>& source, F&& f = {}) {
  return weft::on_recv(source, std::forward<F>(f));
}

/// Sends `v`: moved from (rvalue) or copied (lvalue) if the case happens.
template <detail::send_end Dest, class F = detail::no_handler>
[[nodiscard]] auto on_send(Dest&& dest, typename std::remove_cvref_t<Dest>::value_type&& v, F&& f = {}) {
  using T = typename std::remove_cvref_t<Dest>::value_type;
  return detail::send_clause<T, F, true>(std::forward<Dest>(dest), v, std::forward<F>(f));
}
template <detail::send_end Dest, class F = detail::no_handler>
  requires std::copy_constructible<typename std::remove_cvref_t<Dest>::value_type>
[[nodiscard]] auto on_send(Dest&& dest, typename std::remove_cvref_t<Dest>::value_type const& v, F&& f = {}) {
  using T = typename std::remove_cvref_t<Dest>::value_type;
  return detail::send_clause<T, F, false>(std::forward<Dest>(dest), v, std::forward<F>(f));
}
template <detail::send_end Dest, class F = detail::no_handler>
  requires(!std::copy_constructible<typename std::remove_cvref_t<Dest>::value_type>)
[[nodiscard]] auto on_send(Dest&& dest, typename std::remove_cvref_t<Dest>::value_type& v, F&& f = {}) {
  using T = typename std::remove_cvref_t<Dest>::value_type;
  return detail::send_clause<T, F, true>(std::forward<Dest>(dest), v, std::forward<F>(f));
}

/// The same with the type of the value given: on_send<int>(c, 1). What converts to a sender will do.
template <class T, class F = detail::no_handler>
  requires std::is_object_v<T>
[[nodiscard]] auto on_send(std::type_identity_t<sender<T>> dest, std::type_identity_t<T>&& v, F&& f = {}) {
  return weft::on_send(std::move(dest), std::move(v), std::forward<F>(f));
}
template <class T, class F = detail::no_handler>
  requires std::is_object_v<T>
[[nodiscard]] auto on_send(std::type_identity_t<sender<T>> dest, std::type_identity_t<T> const& v, F&& f = {}) {
  return weft::on_send(std::move(dest), v, std::forward<F>(f));
}
template <class T, class F = detail::no_handler>
  requires(std::is_object_v<T> && !std::copy_constructible<T>)
[[nodiscard]] auto on_send(std::type_identity_t<sender<T>> dest, std::type_identity_t<T>& v, F&& f = {}) {
  return weft::on_send(std::move(dest), v, std::forward<F>(f));
}

/// Happens when `d` has passed; max(): never, negative or zero: ready at once.
template <class R, class P, class F = detail::no_handler>
[[nodiscard]] auto on_timeout(std::chrono::duration<R, P> d, F&& f = {}) {
  return detail::time_clause<F>(detail::select_kind::timeout, detail::saturated_ns(d), std::forward<F>(f));
}
template <class F = detail::no_handler>
[[nodiscard]] auto on_deadline(time_point at, F&& f = {}) {
  return detail::time_clause<F>(detail::select_kind::deadline, detail::deadline_at(at), std::forward<F>(f));
}
template <class F = detail::no_handler, class Clock, class D>
[[nodiscard]] auto on_deadline(std::chrono::time_point<Clock, D> at, F&& f = {}) {
  return detail::time_clause<F>(detail::select_kind::deadline, detail::deadline_at(at), std::forward<F>(f));
}

/// Happens when the context is cancelled. Where it is the caller's own context or one above, select takes this case
/// instead of throwing weft::cancelled.
template <class F = detail::no_handler, class Context>
  requires requires(Context const& c) {
    { c.done() } -> std::convertible_to<receiver<unit>>;
  }
[[nodiscard]] auto on_done(Context const& context, F&& f = {}) {
  return detail::done_clause<F>(context.done(), std::forward<F>(f));
}

/// Happens when the task has ended, and joins it: the handler gets the result, an exception of the task comes out of
/// select. Never ready if the handle has no task.
template <class T, class F = detail::no_handler>
[[nodiscard]] auto on_join(join_handle<T>& handle, F&& f = {}) {
  return detail::join_clause<T, F>(handle, std::forward<F>(f));
}

/// Happens if nothing else can at once.
template <class F = detail::no_handler>
[[nodiscard]] auto otherwise(F&& f = {}) {
  return detail::otherwise_clause<F>(std::forward<F>(f));
}

/// The clause if `on`, else one that is never ready.
template <detail::clause C>
[[nodiscard]] std::remove_cvref_t<C> when(bool on, C&& clause) {
  if (!on) clause.off();
  return std::forward<C>(clause);
}

namespace detail {

template <class... C>
using select_result_t = typename select_result<typename C::result...>::type;

/// Runs the handler of clause number `index`, counted from I.
template <std::size_t I, class Result, class Clauses, class Stores>
Result finish_select(select_outcome const& outcome, Clauses& clauses, Stores& stores) {
  if constexpr (I + 1 < std::tuple_size_v<Clauses>) {
    if (outcome.index != I) return finish_select<I + 1, Result>(outcome, clauses, stores);
  }
  auto& clause = std::get<I>(clauses);
  if constexpr (!std::is_void_v<typename std::remove_cvref_t<decltype(clause)>::result>) {
    return Result(clause.finish(std::get<I>(stores), outcome.ok));
  } else {
    clause.finish(std::get<I>(stores), outcome.ok);
    if constexpr (is_optional<Result>) return Result();
    else return outcome.index;
  }
}

/// An `otherwise` that is on, with nothing looking ready: its index; else the number of clauses.
///
/// Looked at one by one, what is ready may change places behind the look: hence the second look, which a value that goes from one channel
/// to another must do so three times to pass.
template <class... C>
[[nodiscard]] std::size_t peek_otherwise(C const&... clauses) noexcept {
  std::size_t at = sizeof...(C), i = 0;
  auto const note = [&]<class One>(One const& c) {
    if constexpr (is_otherwise<One>) {
      if (c.is_on()) at = i;
    }
    ++i;
  };
  (note(clauses), ...);
  if (at == sizeof...(C) || (clauses.looks_ready() || ...)) return sizeof...(C);
  if constexpr (sizeof...(C) > 2) {
    if ((clauses.looks_ready() || ...)) return sizeof...(C);
  }
  return at;
}

template <class>
inline constexpr bool moves_into_box = false;
template <class T, class F, bool Moving>
inline constexpr bool moves_into_box<send_clause<T, F, Moving>> = send_clause<T, F, Moving>::moves_into_box;
template <class>
inline constexpr bool copies_into_box = false;
template <class T, class F, bool Moving>
inline constexpr bool copies_into_box<send_clause<T, F, Moving>> = send_clause<T, F, Moving>::copies_into_box;

/// One object that clause I and one before it offer goes into one box, and copies of it are made from there.
template <std::size_t I, class Clauses, class Stores>
void share_box(Clauses& clauses, Stores& stores) noexcept {
  auto const with = [&]<std::size_t J>(std::integral_constant<std::size_t, J>) {
    auto& mine = std::get<I>(clauses);
    auto& other = std::get<J>(clauses);
    if constexpr (requires { mine.share_box(std::get<I>(stores), other, std::get<J>(stores)); })
      mine.share_box(std::get<I>(stores), other, std::get<J>(stores));
  };
  [&]<std::size_t... J>(std::index_sequence<J...>) {
    (with(std::integral_constant<std::size_t, J>()), ...);
  }(std::make_index_sequence<I>());
}

// A table for up to 8 cases stands on the stack: a parked task should fit a page.
template <std::size_t N>
struct select_table {
  std::array<select_case, N> cases;
  select_case* get() noexcept { return cases.data(); }
};
template <std::size_t N>
  requires(N > 8)
struct select_table<N> {
  std::unique_ptr<select_case[]> cases = std::make_unique<select_case[]>(N);
  select_case* get() noexcept { return cases.get(); }
};

template <class... C>
select_result_t<C...> run_select(bool in_order, C&... clause) {
  using result = select_result_t<C...>;
  std::tuple<C&...> clauses(clause...);
  std::tuple<typename C::store...> stores;
  select_outcome outcome{sizeof...(C), false};
  constexpr bool moving = (moves_into_box<C> || ...);
  // What a move back to an object that was not sent has thrown: it comes out behind all else, for what has happened has happened.
  std::conditional_t<moving, std::exception_ptr, no_store> unsettled;
  if constexpr ((is_otherwise<C> || ...)) outcome.index = peek_otherwise(std::as_const(clause)...);
  if (outcome.index == sizeof...(C)) {
    select_table<sizeof...(C)> table;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (clause.describe(table.get()[I], std::get<I>(stores)), ...);
      constexpr bool sharing = moving && ((moves_into_box<C> || copies_into_box<C>)+... + 0) > 1;
      if constexpr (sharing) (share_box<I>(clauses, stores), ...);
      auto const settle = [&](auto& c, auto& store, bool happened) {
        if constexpr (!moving) {
          c.settle(store, happened);
        } else {
          try {
            c.settle(store, happened);
          } catch (...) {
            unsettled = std::current_exception();
          }
        }
      };
      try {
        outcome = select_run(table.get(), sizeof...(C), in_order);
      } catch (...) {
        (settle(clause, std::get<I>(stores), false), ...);
        if constexpr (moving)
          if (unsettled) std::rethrow_exception(unsettled);
        throw;
      }
      // What was sent first: a box that it shares is empty then.
      if constexpr (sharing)
        ((outcome.index == I && outcome.ok ? settle(clause, std::get<I>(stores), true) : void()), ...);
      (settle(clause, std::get<I>(stores), outcome.index == I && outcome.ok), ...);
    }(std::index_sequence_for<C...>());
  }
  if constexpr (moving) {
    if (unsettled) [[unlikely]] {
      (void)finish_select<0, result>(outcome, clauses, stores);
      std::rethrow_exception(unsettled);
    }
  }
  if constexpr (sizeof...(C) == 0) return outcome.index;
  else return finish_select<0, result>(outcome, clauses, stores);
}

/// A constant clause is used by a copy: what happens is noted in it.
template <class C>
[[nodiscard]] C& usable(C& clause) noexcept {
  return clause;
}
template <class C>
[[nodiscard]] C usable(C const& clause) {
  return clause;
}

template <class... C>
auto select_of(bool in_order, C&... clauses) {
  if constexpr ((std::is_const_v<C> || ...)) {
    auto const run = [in_order](auto&&... used) { return run_select(in_order, used...); };
    return run(usable(clauses)...);
  } else {
    return run_select(in_order, clauses...);
  }
}

}  // namespace detail

/// Blocks, and is a cancellation point; with an otherwise() neither.
template <detail::clause... C>
auto select(C&&... clauses) -> detail::select_result_t<std::remove_cvref_t<C>...> {
  return detail::select_of(false, clauses...);
}
template <detail::clause... C>
auto select(biased_t, C&&... clauses) -> detail::select_result_t<std::remove_cvref_t<C>...> {
  return detail::select_of(true, clauses...);
}

}  // namespace weft
