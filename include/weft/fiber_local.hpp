// weft::fiber_local: one value for each task, or for each plain thread, that asks for it.
//
// What thread_local is for threads: a `thread_local` variable belongs to the thread, and a task goes on on another one whenever it has
// waited.
//
//     weft::fiber_local<std::string> request_id;               // at namespace scope, or wherever it lives long enough
//     weft::fiber_local<std::mt19937> rng([] { return std::mt19937(std::random_device{}()); });
//     ...
//     *request_id = "a7";                                      // this task's alone
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weft {

namespace detail {

/// What every value has in front of it.
struct local_value {
  virtual ~local_value() = default;
  std::uint64_t key = 0;
  local_value* made_before = nullptr;
};

template <class T>
struct local_of final : local_value {
  template <class Make>
  explicit local_of(Make const& make) : value(make()) {}
  local_of() : value() {}
  T value;
};

/// Never given twice.
[[nodiscard]] std::uint64_t new_local_key() noexcept;

/// The caller's value under that key, made by make(owner) if there is none. Throws what that throws, and std::bad_alloc.
[[nodiscard]] local_value& local_here(std::uint64_t key, std::unique_ptr<local_value> (*make)(void const* owner),
                                      void const* owner);

template <class F, class T>
concept local_factory =
    std::is_invocable_v<F const&> &&
    (std::same_as<std::invoke_result_t<F const&>, T> ||
     (std::convertible_to<std::invoke_result_t<F const&>, T> && !std::constructible_from<T, F const&>));

}  // namespace detail

/// A task's T is made when the task first uses it, and destroyed with the task: after its code has returned, before who joins it goes
/// on, the last made first. On a plain thread it is the thread's, and goes with that. Nobody inherits one.
///
/// Blocks only if T's constructor does. Using one is safe from any number of tasks and threads; a reference is its task's, and may be
/// handed on like one to a local variable.
///
/// Life: the values do not need the fiber_local. If it goes first, they stay until their tasks end, and one that is made later, even in
/// the same place, finds none of them. A loop that makes fiber_locals and uses each in one task therefore keeps all those values. At the
/// end of a task waiting is uncancellable; the destructor of a value may use other fiber_locals, also those whose values have gone:
/// they are made once more.
template <class T>
class fiber_local {
  static_assert(std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T>,
                "a fiber_local holds a plain object");

 public:
  using value_type = T;

  /// Each value is T().
  fiber_local()
    requires std::default_initializable<T>
  = default;

  /// Each value is make(). Many tasks may call it at once.
  template <class F>
    requires detail::local_factory<F, T>
  explicit fiber_local(F make) : make_([f = std::move(make)]() -> T { return f(); }) {}

  /// Each value is T(args...), from copies of `args` that are kept.
  template <class... A>
    requires(sizeof...(A) > 0 && std::constructible_from<T, std::decay_t<A> const&...> &&
             !(sizeof...(A) == 1 && (detail::local_factory<std::decay_t<A>, T> && ...)) &&
             !(sizeof...(A) == 1 && (std::same_as<std::decay_t<A>, fiber_local> && ...)))
  explicit fiber_local(A&&... args)
      : make_([kept = std::tuple<std::decay_t<A>...>(std::forward<A>(args)...)]() -> T {
          return std::make_from_tuple<T>(kept);
        }) {}

  fiber_local(fiber_local const&) = delete;
  fiber_local& operator=(fiber_local const&) = delete;

  /// The caller's value. Throws what making it throws; then there is none, and the next use makes it anew. Fatal if the constructor of a
  /// value uses the fiber_local that it is made for.
  [[nodiscard]] T& operator*() const {
    return static_cast<detail::local_of<T>&>(detail::local_here(key_, make, this)).value;
  }
  [[nodiscard]] T* operator->() const { return std::addressof(**this); }

 private:
  static std::unique_ptr<detail::local_value> make(void const* owner) {
    auto const& self = *static_cast<fiber_local const*>(owner);
    if constexpr (std::default_initializable<T>) {
      if (!self.make_) return std::make_unique<detail::local_of<T>>();
    }
    return std::make_unique<detail::local_of<T>>(self.make_);
  }

  std::uint64_t const key_ = detail::new_local_key();
  std::move_only_function<T() const> make_;  // null: T()
};

}  // namespace weft
