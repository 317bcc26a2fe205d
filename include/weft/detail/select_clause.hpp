// The clauses of select: what on_recv, on_send and the others return. A clause says what is waited for and what is done
// then; it can be moved around until select uses it. What the operation needs meanwhile is its `store`, which lies in
// select's own frame (or in the selector).
//
// A clause has
//   result                          what its handler returns
//   describe(case, store)           fills its entry of the table
//   looks_ready()                   a peek without locks: false means it cannot happen now
//   settle(store, happened)         after select_run, also when that threw
//   finish(store, ok)               runs the handler
//   off()                           never ready
//
// A channel handle given as an lvalue is not counted again, just as on_send keeps a reference to its value: both must
// outlive the call of select. One given as an rvalue is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <weft/chan.hpp>
#include <weft/detail/select_case.hpp>
#include <weft/detail/select_handler.hpp>

namespace weft {
template <class T>
class join_handle;
}

namespace weft::detail {

struct no_store {};

/// A handle to use for the length of a select: borrowed from an lvalue, or kept.
template <class Handle>
class used_handle {
 public:
  template <class H>
  used_handle(H&& h, bool keep) {
    core_ = core_of(h);
    check_not_moved(core_, "select");
    if (!std::is_lvalue_reference_v<H> || keep) kept_ = std::forward<H>(h);
  }
  [[nodiscard]] chan_core* core() const noexcept { return core_; }
  void off() noexcept { core_ = nullptr; }

 private:
  chan_core* core_ = nullptr;
  Handle kept_;
};

template <class T, class F>
class recv_clause {
 public:
  using result = recv_result_t<F, T>;
  using store = recv_slot<T>;

  template <class H>
  recv_clause(H&& source, F&& f) : from_(std::forward<H>(source), is_boxed<T>), handler_(std::forward<F>(f)) {}

  void describe(select_case& c, store& s) noexcept {
    c.kind = select_kind::recv;
    c.core = from_.core();
    c.slot = s.place();
  }
  [[nodiscard]] bool looks_ready() const noexcept { return from_.core() != nullptr && from_.core()->may_receive(); }
  void settle(store&, bool) noexcept {}
  result finish(store& s, bool ok) { return run_recv_handler<F, T>(handler_, s, ok, from_.core()); }
  void off() noexcept { from_.off(); }

 private:
  used_handle<receiver<T>> from_;
  F handler_;
};

/// `Moving`: v is moved from if the case happens, else copied.
template <class T, class F, bool Moving>
class send_clause {
 public:
  using result = std::invoke_result_t<called<F>>;
  using value = std::conditional_t<Moving, T, T const>;

  // Inline values that are moved, and plain bytes, are sent from where they are. A copy is made when it is needed, into
  // a T or a box: before the lock, and before a wait, for a partner takes it while this task is parked.
  static constexpr bool in_place = !is_boxed<T> && (Moving || std::is_trivially_copyable_v<T>);
  struct copy_store {
    send_clause* clause = nullptr;
    std::optional<T> formed;
  };
  // Another case may have moved the object into its box by then: that is what is copied.
  struct box_copy_store {
    send_clause* clause = nullptr;
    send_box<T> formed;
    send_box<T>* const* moved_to = nullptr;
  };
  // Several cases may offer one object, to be moved to whoever comes first: the box that it is moved into is then all of theirs.
  struct box_store {
    send_clause* clause = nullptr;
    send_box<T> formed;
    send_box<T>* box = nullptr;
  };
  static constexpr bool moves_into_box = is_boxed<T> && Moving;
  static constexpr bool copies_into_box = is_boxed<T> && !Moving;
  using store = std::conditional_t<
      in_place, no_store,
      std::conditional_t<moves_into_box, box_store, std::conditional_t<copies_into_box, box_copy_store, copy_store>>>;

  template <class H>
  send_clause(H&& dest, value& v, F&& f)
      : to_(std::forward<H>(dest), false), value_(std::addressof(v)), handler_(std::forward<F>(f)) {}

  void describe(select_case& c, store& s) noexcept {
    c.kind = select_kind::send;
    c.core = to_.core();
    if constexpr (in_place) {
      c.slot = const_cast<T*>(value_);
    } else {
      s.clause = this;
      if constexpr (moves_into_box) s.box = &s.formed;
      c.ready_slot = false;
      c.self = &s;
      c.prepare = [](void* self) { return static_cast<store*>(self)->clause->form_value(*static_cast<store*>(self)); };
    }
  }
  /// After describe() of both, if they offer one object, which one of them moves: one box, or the copy is made of what is in it.
  template <class G>
  void share_box(store& s, send_clause<T, G, true> const& other, typename send_clause<T, G, true>::store& of) noexcept
    requires is_boxed<T>
  {
    if (value_ != other.value_) return;
    if constexpr (Moving) s.box = of.box;
    else s.moved_to = &of.box;
  }
  template <class G>
  void share_box(store& s, send_clause<T, G, false> const& other, typename send_clause<T, G, false>::store& of) noexcept
    requires moves_into_box
  {
    if (value_ == other.value_) of.moved_to = &s.box;
  }
  [[nodiscard]] bool looks_ready() const noexcept { return to_.core() != nullptr && to_.core()->may_send(); }
  void settle(store& s, bool sent) {
    if constexpr (moves_into_box) {
      if (sent) s.box->sent();
      if (s.formed.is_full()) s.formed.give_back(*value_);
      s.formed.clear();
    } else if constexpr (is_boxed<T>) {
      if (sent) s.formed.sent();
      s.formed.clear();
    } else if constexpr (!in_place) {
      s.formed.reset();
    }
  }
  result finish(store&, bool ok) {
    if (!ok) throw closed_channel();
    return static_cast<called<F>>(handler_)();
  }
  void off() noexcept { to_.off(); }

 private:
  template <class, class, bool>
  friend class send_clause;

  void* form_value(store& s) {
    if constexpr (moves_into_box) {
      if (!s.box->is_full()) s.box->fill(std::move(*value_));
      return s.box->place();
    } else if constexpr (is_boxed<T>) {
      s.formed.fill(s.moved_to != nullptr && (*s.moved_to)->is_full() ? (*s.moved_to)->value() : *value_);
      return s.formed.place();
    } else {
      return std::addressof(s.formed.emplace(*value_));
    }
  }

  used_handle<sender<T>> to_;
  value* value_;
  F handler_;
};

/// on_done: a receive from a context's done channel. Of the caller's own context, or one above, it is preferred to the cancellation.
template <class F>
class done_clause {
 public:
  using result = std::invoke_result_t<called<F>>;
  using store = recv_slot<unit>;

  done_clause(receiver<unit> done, F&& f) : done_(std::move(done)), handler_(std::forward<F>(f)) {}

  void describe(select_case& c, store& s) noexcept {
    c.kind = select_kind::done;
    c.core = core_of(done_);
    c.slot = s.place();
  }
  [[nodiscard]] bool looks_ready() const noexcept { return core_of(done_) != nullptr && core_of(done_)->may_receive(); }
  void settle(store&, bool) noexcept {}
  result finish(store&, bool) { return static_cast<called<F>>(handler_)(); }
  void off() noexcept { done_ = {}; }

 private:
  receiver<unit> done_;
  F handler_;
};

template <class T, class F>
class join_clause {
 public:
  using result = join_result_t<F, T>;
  using store = no_store;

  join_clause(join_handle<T>& h, F&& f) : handle_(std::addressof(h)), handler_(std::forward<F>(f)) {}

  void describe(select_case& c, store&) {
    if (!is_on()) return;
    c.kind = select_kind::join;
    c.ended = handle_->completion();
  }
  [[nodiscard]] bool looks_ready() const noexcept { return is_on() && handle_->done(); }
  void settle(store&, bool) noexcept {}
  result finish(store&, bool) {
    if constexpr (std::is_void_v<T>) {
      handle_->take_ended();
      return static_cast<called<F>>(handler_)();
    } else if constexpr (std::is_member_pointer_v<std::remove_cvref_t<F>> && std::is_invocable_v<called<F>, T>) {
      return std::invoke(handler_, handle_->take_ended());
    } else if constexpr (std::is_invocable_v<called<F>, T>) {
      return static_cast<called<F>>(handler_)(handle_->take_ended());
    } else if constexpr (std::is_invocable_v<called<F>, T&>) {
      T v = handle_->take_ended();
      return std::invoke(static_cast<called<F>>(handler_), v);
    } else {
      handle_->drop_ended();
      return static_cast<called<F>>(handler_)();
    }
  }
  void off() noexcept { on_ = false; }

 private:
  [[nodiscard]] bool is_on() const noexcept { return on_ && handle_->joinable(); }

  join_handle<T>* handle_;
  bool on_ = true;
  F handler_;
};

/// on_timeout and on_deadline.
template <class F>
class time_clause {
 public:
  using result = std::invoke_result_t<called<F>>;
  using store = no_store;

  time_clause(select_kind kind, std::int64_t when, F&& f) : kind_(kind), when_(when), handler_(std::forward<F>(f)) {}

  void describe(select_case& c, store&) noexcept {
    c.kind = kind_;
    c.when = when_;
  }
  [[nodiscard]] bool looks_ready() const noexcept {
    return kind_ == select_kind::timeout ? when_ == 0 : kind_ == select_kind::deadline && when_ <= deadline_in(0);
  }
  void settle(store&, bool) noexcept {}
  result finish(store&, bool) { return static_cast<called<F>>(handler_)(); }
  void off() noexcept { kind_ = select_kind::off; }

 private:
  select_kind kind_;
  std::int64_t when_;
  F handler_;
};

template <class F>
class otherwise_clause {
 public:
  using result = std::invoke_result_t<called<F>>;
  using store = no_store;

  explicit otherwise_clause(F&& f) : handler_(std::forward<F>(f)) {}

  [[nodiscard]] bool is_on() const noexcept { return on_; }
  void describe(select_case& c, store&) noexcept { c.kind = on_ ? select_kind::otherwise : select_kind::off; }
  [[nodiscard]] bool looks_ready() const noexcept { return false; }
  void settle(store&, bool) noexcept {}
  result finish(store&, bool) { return static_cast<called<F>>(handler_)(); }
  void off() noexcept { on_ = false; }

 private:
  bool on_ = true;
  F handler_;
};

template <class C>
concept clause = requires(std::remove_cvref_t<C>& c, select_case& e, typename std::remove_cvref_t<C>::store& s) {
  typename std::remove_cvref_t<C>::result;
  c.describe(e, s);
  c.looks_ready();
  c.off();
};
template <class>
inline constexpr bool is_otherwise = false;
template <class F>
inline constexpr bool is_otherwise<otherwise_clause<F>> = true;

template <class H>
inline constexpr bool is_recv_end = false;
template <class T>
inline constexpr bool is_recv_end<chan<T>> = true;
template <class T>
inline constexpr bool is_recv_end<receiver<T>> = true;
template <class H>
inline constexpr bool is_send_end = false;
template <class T>
inline constexpr bool is_send_end<chan<T>> = true;
template <class T>
inline constexpr bool is_send_end<sender<T>> = true;

template <class H>
concept recv_end = is_recv_end<std::remove_cvref_t<H>>;
template <class H>
concept send_end = is_send_end<std::remove_cvref_t<H>>;
/// timer, ticker, oneshot, the subscribers of broadcast and watch: anything with a channel to receive from.
template <class S>
concept selectable = !recv_end<S> && requires(S&& s) {
  { s.channel() } -> recv_end;
};

}  // namespace weft::detail
