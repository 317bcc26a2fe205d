// selector: a select whose cases are put together at run time.
//
//     weft::selector s;
//     for (auto& in : inputs) s.recv(in, [&](std::optional<int> v) { ... });
//     s.timeout(1s, [&] { ... });
//     while (running) s.wait();
//
// The rules are select's; handlers and handles are kept. A send case that happened stays off until rearm() gives it the
// next value. Handlers may call the selector: add cases, rearm, clear; not wait().
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <weft/select.hpp>

namespace weft {

namespace detail {

/// Tells element types apart without RTTI: one address a type.
template <class T>
inline constexpr char type_tag = 0;

/// A case of a selector.
class selector_entry {
 public:
  virtual ~selector_entry() = default;
  virtual void describe(select_case& c) = 0;
  virtual void settle(bool happened) = 0;
  virtual void finish(bool ok) = 0;
  /// The place of a send case's value, null for any other case or type.
  virtual void* value_place(char const*) noexcept { return nullptr; }
};

template <class Clause>
class clause_entry final : public selector_entry {
 public:
  explicit clause_entry(Clause&& c) : clause_(std::move(c)) {}
  void describe(select_case& c) override { clause_.describe(c, store_); }
  void settle(bool happened) override { clause_.settle(store_, happened); }
  void finish(bool ok) override { (void)clause_.finish(store_, ok); }

 private:
  Clause clause_;
  [[no_unique_address]] typename Clause::store store_;
};

/// Holds the value too. Between a send and rearm() there is none.
template <class T, class F>
class send_entry final : public selector_entry {
 public:
  using clause_type = send_clause<T, F, true>;

  template <class G>
  send_entry(sender<T> to, T&& v, G&& f)
      : value_(std::move(v)), clause_(std::move(to), *value_, F(std::forward<G>(f))) {}

  void describe(select_case& c) override {
    if (value_) clause_.describe(c, store_);
  }
  void settle(bool happened) override { clause_.settle(store_, happened); }
  void finish(bool ok) override {
    if (ok) value_.reset();
    (void)clause_.finish(store_, ok);
  }
  void* value_place(char const* tag) noexcept override { return tag == &type_tag<T> ? &value_ : nullptr; }

 private:
  std::optional<T> value_;
  clause_type clause_;
  [[no_unique_address]] typename clause_type::store store_;
};

[[noreturn]] void fatal_rearm(std::size_t index, std::size_t count) noexcept;

}  // namespace detail

/// Not safe for use by two threads at once. Each member that adds a case returns its index.
class selector {
 public:
  template <detail::recv_end Source, class F = detail::no_handler>
  std::size_t recv(Source&& source, F&& f = {}) {
    using T = typename std::remove_cvref_t<Source>::value_type;
    return add_clause(
        detail::recv_clause<T, std::decay_t<F>>(receiver<T>(std::forward<Source>(source)), copy(std::forward<F>(f))));
  }
  template <detail::selectable Source, class F = detail::no_handler>
  std::size_t recv(Source&& source, F&& f = {}) {
    return recv(source.channel(), std::forward<F>(f));
  }
  template <class T, class F = detail::no_handler>
    requires std::is_object_v<T>
  std::size_t recv(std::type_identity_t<receiver<T>> source, F&& f = {}) {
    return recv(std::move(source), std::forward<F>(f));
  }

  /// Sends `v` once; then the case is off until rearm().
  template <detail::send_end Dest, class F = detail::no_handler>
  std::size_t send(Dest&& dest, typename std::remove_cvref_t<Dest>::value_type v, F&& f = {}) {
    using T = typename std::remove_cvref_t<Dest>::value_type;
    return add(std::make_unique<detail::send_entry<T, std::decay_t<F>>>(sender<T>(std::forward<Dest>(dest)),
                                                                        std::move(v), std::forward<F>(f)));
  }
  template <class T, class F = detail::no_handler>
    requires std::is_object_v<T>
  std::size_t send(std::type_identity_t<sender<T>> dest, std::type_identity_t<T> v, F&& f = {}) {
    return send(std::move(dest), std::move(v), std::forward<F>(f));
  }
  /// The next value of send case number `index`: of the channel's type T, or another number for a number, a text for a std::string
  /// or string_view, one of <chrono>'s durations for another that can hold it, a T for an optional<T>. Fatal if that is no send of
  /// such a value: name its type then.
  template <class T>
  void rearm(std::size_t index, T v) {
    if (rearm_as<T>(index, v)) return;
    if constexpr (std::is_arithmetic_v<T>) {
      if (rearm_as<int, unsigned, long, unsigned long, long long, unsigned long long, double, float, short,
                   unsigned short, char, signed char, unsigned char, bool, long double>(index, v))
        return;
    } else if constexpr (std::is_constructible_v<std::string, T> && !std::is_same_v<T, std::string>) {
      if (rearm_as<std::string>(index, v)) return;
      if constexpr (std::is_pointer_v<T>)  // not of what ends with this call
        if (rearm_as<std::string_view>(index, v)) return;
    } else if constexpr (std::is_convertible_v<T, std::chrono::duration<long double>>) {
      using namespace std::chrono;
      if (rearm_as<nanoseconds, microseconds, milliseconds, seconds, minutes, hours, days, weeks, duration<double>,
                   duration<float>>(index, v))
        return;
    }
    if constexpr (!std::is_same_v<T, std::nullopt_t> && !std::is_same_v<T, std::in_place_t>)
      if (rearm_as<std::optional<T>>(index, v)) return;
    detail::fatal_rearm(index, entries_.size());
  }

  /// Happens when `d` has passed since wait() was called.
  template <class R, class P, class F = detail::no_handler>
  std::size_t timeout(std::chrono::duration<R, P> d, F&& f = {}) {
    return add_clause(on_timeout(d, copy(std::forward<F>(f))));
  }
  template <class F = detail::no_handler>
  std::size_t deadline(time_point at, F&& f = {}) {
    return add_clause(on_deadline(at, copy(std::forward<F>(f))));
  }
  template <class F = detail::no_handler, class Clock, class D>
  std::size_t deadline(std::chrono::time_point<Clock, D> at, F&& f = {}) {
    return add_clause(on_deadline(at, copy(std::forward<F>(f))));
  }
  template <class F = detail::no_handler, class Context>
  std::size_t done(Context const& context, F&& f = {}) {
    return add_clause(on_done(context, copy(std::forward<F>(f))));
  }
  /// The handle must outlive its use here. Off once it is joined.
  template <class T, class F = detail::no_handler>
  std::size_t join(join_handle<T>& handle, F&& f = {}) {
    return add_clause(on_join(handle, copy(std::forward<F>(f))));
  }
  template <class F = detail::no_handler>
  std::size_t otherwise(F&& f = {}) {
    return add_clause(weft::otherwise(copy(std::forward<F>(f))));
  }

  /// Waits for one case, runs its handler, returns its index. Blocks and is a cancellation point unless there is an
  /// otherwise. Throws as select does.
  std::size_t wait();

  /// Removes all cases.
  void clear() noexcept { entries_.clear(); }

 private:
  /// False: the case is no send of any of these types.
  template <class... As, class T>
  bool rearm_as(std::size_t index, T& v) {
    auto const fits = [&]<class A>(std::type_identity<A>) {
      if constexpr (std::is_constructible_v<A, T>) {
        void* place = index < entries_.size() ? entries_[index]->value_place(&detail::type_tag<A>) : nullptr;
        if (place != nullptr) static_cast<std::optional<A>*>(place)->emplace(static_cast<A>(std::move(v)));
        return place != nullptr;
      } else {
        return false;
      }
    };
    return (fits(std::type_identity<As>()) || ...);
  }
  template <class F>
  static std::decay_t<F> copy(F&& f) {
    return std::forward<F>(f);
  }
  template <class Clause>
  std::size_t add_clause(Clause&& c) {
    return add(std::make_unique<detail::clause_entry<std::remove_cvref_t<Clause>>>(std::move(c)));
  }
  std::size_t add(std::unique_ptr<detail::selector_entry> entry);

  std::vector<std::shared_ptr<detail::selector_entry>> entries_;  // shared: a handler may clear() the one that runs it
  std::vector<detail::select_case> table_;  // as many as entries_, so that wait() need not allocate
};

}  // namespace weft
