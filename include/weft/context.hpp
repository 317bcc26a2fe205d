// Contexts: what a task waits under. A tree; cancelling a node wakes every task that waits under it or below, and makes their
// next waits throw weft::cancelled.
//
//     auto [ctx, cancel] = weft::with_timeout(300ms);
//     weft::scoped_context in(ctx);               // waits in this block end after 300 ms
//     auto r = ch.recv();                         // throws weft::cancelled when they have passed
//
// Each task has a current context, inherited by what it spawns. Every call of weft that can wait is a cancellation point, but
// yield() and the locks. Cancellation is sticky. While an exception unwinds the stack, waiting is uncancellable, and what is
// spawned starts under without_cancel, so that destructors can clean up. At the end of a block that no exception leaves, a
// destructor of yours that waits is a cancellation point like any other: an exception may not leave it, so use weft::uncancellable
// there, or weft::defer.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <weft/chan.hpp>
#include <weft/detail/deadline.hpp>
#include <weft/error.hpp>
#include <weft/task.hpp>
#include <weft/unit.hpp>

namespace weft {

namespace detail {
/// Names a key by its address; by its type, too, since libraries whose symbols are hidden, or that are loaded as plug-ins, have one each. Types that are
/// local to a file or a function, and those of templates, are told apart by the address alone.
struct context_key_name {
  std::type_info const* type;  // null without RTTI
};
template <class K>
#if defined(__GXX_RTTI)
inline constexpr context_key_name context_key{&typeid(K)};
#else
inline constexpr context_key_name context_key{nullptr};
#endif

[[nodiscard]] rt::cancel_node* context_with_value(rt::cancel_node* parent, context_key_name const* key,
                                                  std::shared_ptr<void> value);
[[nodiscard]] void* context_value(rt::cancel_node* from, context_key_name const* key) noexcept;
void retain_context(rt::cancel_node*) noexcept;
void release_context(rt::cancel_node*) noexcept;
}  // namespace detail

/// A cheap copyable handle to a node of the tree. Default-constructed: background(). All members may be called from any thread;
/// none blocks.
class context {
 public:
  /// The current runtime's root; outside of any runtime one that is never cancelled.
  context() : context(background()) {}
  context(context const& other) noexcept : node_(other.node_) { detail::retain_context(node_); }
  context(context&& other) noexcept : context(static_cast<context const&>(other)) {}
  context& operator=(context other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~context() { detail::release_context(node_); }

  /// Closed when the context is cancelled (and when neither a handle to it nor a task under it is left). recv() of it returns even in a task
  /// that is cancelled, if this is the task's context or one above.
  [[nodiscard]] receiver<unit> done() const;
  [[nodiscard]] bool cancelled() const noexcept;
  void throw_if_cancelled() const;
  /// None, std::errc::operation_canceled or std::errc::timed_out. Who sees it set finds done() closed.
  [[nodiscard]] std::error_code err() const;
  /// Null until cancelled; then what was given to cancel(), else a weft::cancelled. It is this context's own too where a weft::cancelled
  /// of a context below was given.
  [[nodiscard]] std::exception_ptr cause() const;
  /// The earliest deadline of the context and those above it.
  [[nodiscard]] std::optional<time_point> deadline() const;
  /// A copy of the value that with_value<K> set nearest above.
  template <class K>
  [[nodiscard]] std::optional<typename K::type> value() const {
    void* at = detail::context_value(node_, &detail::context_key<K>);
    if (at == nullptr) return std::nullopt;
    return *static_cast<typename K::type const*>(at);
  }

  /// The runtime's root: cancelled when the runtime shuts down.
  [[nodiscard]] static context background();
  /// A context that is cancelled when stop is requested; one that is never cancelled if the token cannot be.
  [[nodiscard]] static context from(std::stop_token);
  /// A token for which stop is requested when the context is cancelled.
  [[nodiscard]] std::stop_token stop_token() const;

  friend bool operator==(context const& a, context const& b) noexcept { return a.node_ == b.node_; }

  explicit context(rt::cancel_node* counted) noexcept : node_(counted) {}  // for weft itself: adopts a reference
  [[nodiscard]] rt::cancel_node* node() const noexcept { return node_; }   // the same

 private:
  rt::cancel_node* node_;
};

/// Cancels one context: copyable, idempotent, callable from any thread. Wakes all tasks that wait under it. Does not block.
class cancel_fn {
 public:
  /// Does nothing.
  cancel_fn() noexcept = default;
  explicit cancel_fn(context const& of) noexcept : of_(of.node()) { detail::retain_context(of_); }
  cancel_fn(cancel_fn const& other) noexcept : of_(other.of_) { detail::retain_context(of_); }
  cancel_fn& operator=(cancel_fn other) noexcept {
    std::swap(of_, other.of_);
    return *this;
  }
  ~cancel_fn() { detail::release_context(of_); }

  void operator()() const { (*this)(nullptr); }
  void operator()(std::exception_ptr cause) const;

 private:
  rt::cancel_node* of_ = nullptr;
};

/// A child of `parent` (without: of the current context) and the way to cancel it.
[[nodiscard]] std::pair<context, cancel_fn> with_cancel(context parent);
[[nodiscard]] std::pair<context, cancel_fn> with_cancel();
/// The same, which cancels itself with std::errc::timed_out at the deadline. Needs a runtime: throws no_runtime elsewhere.
[[nodiscard]] std::pair<context, cancel_fn> with_deadline(context parent, time_point at);
[[nodiscard]] std::pair<context, cancel_fn> with_deadline(time_point at);
template <class R, class P>
[[nodiscard]] std::pair<context, cancel_fn> with_timeout(context parent, std::chrono::duration<R, P> d) {
  return with_deadline(std::move(parent), detail::time_after(d));
}
template <class R, class P>
[[nodiscard]] std::pair<context, cancel_fn> with_timeout(std::chrono::duration<R, P> d) {
  return with_deadline(detail::time_after(d));
}

/// A child that carries a value. K names it: a type with a member `type`.
template <class K>
[[nodiscard]] context with_value(context const& parent, typename K::type v) {
  return context(detail::context_with_value(parent.node(), &detail::context_key<K>,
                                            std::make_shared<typename K::type>(std::move(v))));
}

/// The parent's values without its cancellation and deadline.
[[nodiscard]] context without_cancel(context const& parent);

/// The current task's context for a block: what it waits for, and what it spawns, is under this one. Blocks nest. Fatal outside of a
/// task; must be destroyed by the task that made it, innermost first.
class scoped_context {
 public:
  [[nodiscard]] explicit scoped_context(context c);
  ~scoped_context();
  scoped_context(scoped_context const&) = delete;
  scoped_context& operator=(scoped_context const&) = delete;

 private:
  context in_force_;
  rt::cancel_node* before_;
};

/// Waiting in this block ignores cancellation.
struct uncancellable {
  [[nodiscard]] uncancellable() noexcept;
  ~uncancellable();
  uncancellable(uncancellable const&) = delete;
  uncancellable& operator=(uncancellable const&) = delete;
};

namespace detail {
/// A destructor of weft's that runs the user's code: waiting is uncancellable, and what is spawned starts under without_cancel.
struct cleaning_up {
  cleaning_up() noexcept;
  ~cleaning_up();
  cleaning_up(cleaning_up const&) = delete;
  cleaning_up& operator=(cleaning_up const&) = delete;

 private:
  uncancellable shield_;
};

/// What a spawn would inherit here, for groups that are given no context: the current one; while the caller cleans up,
/// without_cancel of it.
[[nodiscard]] context inherited_context();

/// Whether `e`, of this context or of one below, comes from this one's own deadline, not from one above or below.
[[nodiscard]] bool ended_by_deadline_of(context const& c, cancelled const& e) noexcept;

template <class T>
struct flat_result {
  using type = result<T>;
};
template <class T>
struct flat_result<std::expected<T, std::error_code>> {
  using type = result<T>;
};
}  // namespace detail

/// Runs f under a deadline. std::errc::timed_out exactly if the deadline's cancellation ended f; a late value is a value, and other
/// exceptions and cancellations pass. An f that returns a result<T> is not nested. Only inside a task.
template <class R, class P, class F>
[[nodiscard]] auto within(std::chrono::duration<R, P> d, F&& f) ->
    typename detail::flat_result<std::invoke_result_t<F>>::type {
  using out = typename detail::flat_result<std::invoke_result_t<F>>::type;
  auto [ctx, cancel] = with_timeout(d);
  struct at_end {
    cancel_fn const& cancel;
    ~at_end() { cancel(); }
  } const stop{cancel};
  scoped_context in(ctx);
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      std::invoke(std::forward<F>(f));
      return out();
    } else {
      return out(std::invoke(std::forward<F>(f)));
    }
  } catch (cancelled const& c) {
    if (!detail::ended_by_deadline_of(ctx, c)) throw;
    return std::unexpected(c.code());
  }
}

namespace this_task {
template <class K>
[[nodiscard]] std::optional<typename K::type> value() {
  return context().template value<K>();
}
}  // namespace this_task

}  // namespace weft
