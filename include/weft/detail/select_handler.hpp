// What a handler of select gets and gives: decided by its first parameter, and by what it returns.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include <weft/detail/chan_elem.hpp>
#include <weft/error.hpp>

namespace weft::detail {

/// The handler that was left out.
struct no_handler {
  void operator()() const noexcept {}
};

/// Converts to std::optional<T> and to nothing else. Not copyable, so that std::any and the like do not take it.
template <class T>
struct optional_probe {
  optional_probe(optional_probe const&) = delete;
  operator std::optional<T>() const;
};

/// One operator(), not a template: then its parameter can be asked for without making its body's instance.
template <class F>
concept one_call_operator = requires { &std::remove_cvref_t<F>::operator(); };

template <class>
inline constexpr bool is_one_shot = false;  // a call operator for rvalues
template <class R, class C, class... A>
inline constexpr bool is_one_shot<R (C::*)(A...) &&> = true;
template <class R, class C, class... A>
inline constexpr bool is_one_shot<R (C::*)(A...) && noexcept> = true;
template <class R, class C, class... A>
inline constexpr bool is_one_shot<R (C::*)(A...) const&&> = true;
template <class R, class C, class... A>
inline constexpr bool is_one_shot<R (C::*)(A...) const && noexcept> = true;

/// How a handler kept as an F is called: as an rvalue if it can be called in no other way (std::move_only_function<void() &&>).
template <class F>
consteval auto how_it_is_called() {
  if constexpr (std::is_class_v<F> && one_call_operator<F>) {
    if constexpr (is_one_shot<decltype(&F::operator())>) return std::type_identity<F&&>{};
    else return std::type_identity<F&>{};
  } else {
    return std::type_identity<F&>{};
  }
}
template <class F>
using called = typename decltype(how_it_is_called<F>())::type;

enum class gets : unsigned char { optional, value, reference, optional_reference, nothing };

/// What the first parameter is declared as, of a call operator or a function.
template <class R, class C, class A, class... B>
std::type_identity<A> first_parameter(R (C::*)(A, B...));
template <class R, class C, class A, class... B>
std::type_identity<A> first_parameter(R (C::*)(A, B...) const);
template <class R, class C, class A, class... B>
std::type_identity<A> first_parameter(R (C::*)(A, B...) &);
template <class R, class C, class A, class... B>
std::type_identity<A> first_parameter(R (C::*)(A, B...) const&);
template <class R, class C, class A, class... B>
std::type_identity<A> first_parameter(R (C::*)(A, B...) &&);
template <class R, class C, class A, class... B>
std::type_identity<A> first_parameter(R (C::*)(A, B...) const&&);
template <class R, class A, class... B>
std::type_identity<A> first_parameter(R (*)(A, B...));

/// Whether that is a T, by value or by a reference that a T is given to. It must be asked for: a T that can be made of anything (boost::any)
/// could be made of an optional, too.
template <class F, class T>
consteval bool takes_just() {
  using handler = std::remove_cvref_t<F>;
  if constexpr (!std::is_invocable_v<called<F>, T>) return false;
  else if constexpr (requires { first_parameter(&handler::operator()); })
    return std::is_same_v<std::remove_cvref_t<typename decltype(first_parameter(&handler::operator()))::type>, T>;
  else if constexpr (requires { first_parameter(std::declval<handler>()); })
    return std::is_same_v<std::remove_cvref_t<typename decltype(first_parameter(std::declval<handler>()))::type>, T>;
  else return false;
}

/// What F takes when a T was received. A generic or overloaded one gets the optional if it can take it.
template <class F, class T>
consteval gets what_it_gets() {
  if constexpr (std::is_class_v<std::remove_cvref_t<F>> && !one_call_operator<F>) {
    if constexpr (std::is_invocable_v<called<F>, std::optional<T>>) return gets::optional;
    else if constexpr (std::is_invocable_v<called<F>, T>) return gets::value;
    else if constexpr (std::is_invocable_v<called<F>, T&>) return gets::reference;
    else if constexpr (std::is_invocable_v<called<F>, std::optional<T>&>) return gets::optional_reference;
    else return gets::nothing;
  } else {
    if constexpr (takes_just<F, T>()) return gets::value;
    else if constexpr (std::is_invocable_v<called<F>, optional_probe<T>>) return gets::optional;
    else if constexpr (std::is_invocable_v<called<F>, T>) return gets::value;
    else if constexpr (std::is_invocable_v<called<F>, T&>) return gets::reference;
    else if constexpr (std::is_invocable_v<called<F>, std::optional<T>&>) return gets::optional_reference;
    else return gets::nothing;
  }
}

/// What F returns for a T. What a pointer to a member gives by reference is mostly a part of its T, and goes with it: it is copied.
template <class F, class T, class R = std::invoke_result_t<called<F>, T>>
using result_for = std::conditional_t<std::is_member_pointer_v<std::remove_cvref_t<F>> &&
                                          std::is_constructible_v<std::remove_cvref_t<R>, R>,
                                      std::remove_cvref_t<R>, R>;

template <class F, class T>
consteval auto recv_result() {
  constexpr gets what = what_it_gets<F, T>();
  if constexpr (what == gets::optional) return std::type_identity<std::invoke_result_t<called<F>, std::optional<T>>>{};
  else if constexpr (what == gets::value) return std::type_identity<result_for<F, T>>{};
  else if constexpr (what == gets::reference) return std::type_identity<result_for<F, T&>>{};
  else if constexpr (what == gets::optional_reference)
    return std::type_identity<std::invoke_result_t<called<F>, std::optional<T>&>>{};
  else if constexpr (std::is_invocable_v<called<F>>) return std::type_identity<std::invoke_result_t<called<F>>>{};
  else static_assert(!sizeof(F*), "a receive's handler takes T, T&, std::optional<T> or nothing; T is the channel's");
}
template <class F, class T>
using recv_result_t = typename decltype(recv_result<F, T>())::type;

/// Runs the handler of a receive. The value is made right in its parameter: there is one move that may throw, and if it
/// does the value goes back to `home`.
template <class F, class T>
recv_result_t<F, T> run_recv_handler(F& f, recv_slot<T>& slot, bool ok, chan_core* home) {
  constexpr gets what = what_it_gets<F, T>();
  if constexpr (what == gets::optional) {
    return static_cast<called<F>>(f)(ok ? slot.template take_as<std::optional<T>>(home) : std::optional<T>());
  } else if constexpr (what == gets::optional_reference) {
    std::optional<T> v = ok ? slot.template take_as<std::optional<T>>(home) : std::optional<T>();
    return static_cast<called<F>>(f)(v);
  } else if constexpr (what == gets::nothing) {
    if (ok) slot.discard();
    return static_cast<called<F>>(f)();
  } else {
    if (!ok) throw closed_channel();
    if constexpr (what == gets::value && !std::is_member_pointer_v<std::remove_cvref_t<F>>) {
      return static_cast<called<F>>(f)(slot.take(home));
    } else {
      T v = slot.take(home);
      if constexpr (what == gets::value) return std::invoke(f, std::move(v));
      else return std::invoke(static_cast<called<F>>(f), v);
    }
  }
}

template <class F, class T>
consteval auto join_result() {
  if constexpr (std::is_void_v<T>) return std::type_identity<std::invoke_result_t<called<F>>>{};
  else if constexpr (std::is_invocable_v<called<F>, T>) return std::type_identity<result_for<F, T>>{};
  else if constexpr (std::is_invocable_v<called<F>, T&>) return std::type_identity<result_for<F, T&>>{};
  else if constexpr (std::is_invocable_v<called<F>>) return std::type_identity<std::invoke_result_t<called<F>>>{};
  else static_assert(!sizeof(F*), "on_join's handler takes the task's result or nothing");
}
template <class F, class T>
using join_result_t = typename decltype(join_result<F, T>())::type;

// ---- what select returns --------------------------------------------------------------------------------------------

template <class>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class... T>
struct types {};

template <class Kept, class... Rest>
struct without_void {
  using type = Kept;
};
template <class... Kept, class First, class... Rest>
struct without_void<types<Kept...>, First, Rest...>
    : without_void<std::conditional_t<std::is_void_v<First>, types<Kept...>, types<Kept..., First>>, Rest...> {};

template <class List>
struct common_of;
template <>
struct common_of<types<>> {
  using type = std::size_t;  // no handler returns anything: the index of the case
};
template <class... T>
struct common_of<types<T...>> {
  static_assert(
      requires { typename std::common_type<T...>::type; },
      "what the handlers of a select return, where not void, needs a common type (std::common_type)");
  using type = std::common_type_t<T...>;
};

template <class... R>
struct select_result {
  static constexpr bool all_void = (std::is_void_v<R> && ...);
  static constexpr bool any_void = (std::is_void_v<R> || ...);
  using common = typename common_of<typename without_void<types<>, R...>::type>::type;
  using type = std::conditional_t<any_void && !all_void && !is_optional<common>, std::optional<common>, common>;
};

}  // namespace weft::detail
