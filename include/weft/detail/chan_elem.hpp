// How a T is represented inside a channel, and how it gets in and out.
//
// Inline: the T itself stands in the ring and is moved under the channel's lock. That is right for what moves without
// throwing and without code that could reach weft again:
//   - trivially copyable types (bytes are copied; empty ones take no storage at all),
//   - types whose move and destructor are noexcept and whose move is known not to be a copy in disguise: a copy that
//     may throw tells the two apart,
//   - standard types known to move a pointer or two, and weft's own handles.
// Boxed: everything else. The sender moves the value into a box on the heap before any lock, the core moves the
// pointer, the receiver moves the value out after all locks: a move that throws does so on the side whose move it is,
// and copies and destructors never run under a lock. A receiver's move that throws puts the box back.
//
// Rejected: boxing all that is not trivially copyable (an allocation for each std::string), and moving back into the
// sender's object by destroying and remaking it where it can be assigned (it may be a base class of something).
#pragma once

#include <cstddef>
#include <exception>
#include <expected>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <weft/detail/chan_core.hpp>

namespace weft::detail {

/// Moves without throwing and without running anybody's code but the library's. Open for weft's own types.
template <class T>
inline constexpr bool moves_quietly =
    std::is_trivially_copyable_v<T> || (std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T> &&
                                        !std::is_nothrow_copy_constructible_v<T>);
template <class C, class R>
inline constexpr bool moves_quietly<std::basic_string<C, R, std::allocator<C>>> = true;
template <class T>
inline constexpr bool moves_quietly<std::vector<T, std::allocator<T>>> = true;
template <class T>
inline constexpr bool moves_quietly<std::unique_ptr<T, std::default_delete<T>>> = true;
template <class T>
inline constexpr bool moves_quietly<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool moves_quietly<std::weak_ptr<T>> = true;
template <>
inline constexpr bool moves_quietly<std::exception_ptr> = true;
template <>
inline constexpr bool moves_quietly<std::monostate> = true;
template <class T>
inline constexpr bool moves_quietly<std::optional<T>> = moves_quietly<T>;
template <class A, class B>
inline constexpr bool moves_quietly<std::pair<A, B>> = moves_quietly<A> && moves_quietly<B>;
template <class... T>
inline constexpr bool moves_quietly<std::tuple<T...>> = (moves_quietly<T> && ...);
template <class... T>
inline constexpr bool moves_quietly<std::variant<T...>> = (moves_quietly<T> && ...);
template <class T, class E>
inline constexpr bool moves_quietly<std::expected<T, E>> = (std::is_void_v<T> || moves_quietly<T>) && moves_quietly<E>;

template <class T>
struct box : box_link {
  template <class U>
  explicit box(U&& v) : value(std::forward<U>(v)) {}
  T value;
};

template <class T>
inline constexpr bool is_boxed = !moves_quietly<T>;

/// How T moves inside the core.
template <class T>
struct elem {
  static_assert(std::is_move_constructible_v<T>, "a channel's values must be movable");

  static void move(void* to, void* from) noexcept {
    std::construct_at(static_cast<T*>(to), std::move(*static_cast<T*>(from)));
  }
  static void relocate(void* to, void* from) noexcept {
    move(to, from);
    destroy(from);
  }
  static void destroy(void* at) noexcept { std::destroy_at(static_cast<T*>(at)); }
  static void destroy_box(void* at) noexcept { delete static_cast<box<T>*>(*static_cast<box_link**>(at)); }

  static constexpr elem_ops ops() noexcept {
    if constexpr (is_boxed<T>) return {sizeof(box_link*), alignof(box_link*), nullptr, nullptr, &destroy_box};
    else if constexpr (!std::is_trivially_copyable_v<T>) return {sizeof(T), alignof(T), &move, &relocate, &destroy};
    else return {std::is_empty_v<T> ? 0 : sizeof(T), alignof(T), nullptr, nullptr, nullptr};
  }
};

template <class T>
inline constexpr elem_ops ops_of = elem<T>::ops();

/// A receiver's place for one element. Once the core has filled it, exactly one of the functions below place() is due.
/// `home`: where a box goes back to if the move out of it throws; kept alive by the caller (keep_receiver).
template <class T>
class recv_slot {
 public:
  recv_slot() noexcept {}
  recv_slot(recv_slot const&) = delete;
  recv_slot& operator=(recv_slot const&) = delete;

  [[nodiscard]] void* place() noexcept {
    if constexpr (is_boxed<T>) return &box_;
    else return bytes_;
  }

  /// The value, made right where the caller wants it.
  [[nodiscard]] T take(chan_core* home) {
    return hand_over(home, [](T& v) { return T(std::move(v)); });
  }
  /// The same inside an optional or an expected.
  template <class R>
  [[nodiscard]] R take_as(chan_core* home) {
    return hand_over(home, [](T& v) { return R(std::in_place, std::move(v)); });
  }
  void take_into(std::optional<T>& out, chan_core* home) {
    hand_over(home, [&out](T& v) { out.emplace(std::move(v)); });
  }
  /// Appends it, for which there must be room. Where that throws the element is still here: put_back() is due.
  void take_into(std::vector<T>& out) {
    if constexpr (is_boxed<T>) {
      auto* full = static_cast<box<T>*>(box_);
      out.emplace_back(std::move(full->value));
      delete full;
    } else {
      end_value const guard{value()};
      out.emplace_back(std::move(*guard.at));
    }
  }
  void put_back([[maybe_unused]] chan_core* home) noexcept {
    if constexpr (is_boxed<T>) chan_put_back(*home, box_);
  }
  /// Drops an element that nobody wants.
  void discard() noexcept {
    if constexpr (is_boxed<T>) delete static_cast<box<T>*>(box_);
    else std::destroy_at(value());
  }

 private:
  struct end_value {
    T* at;
    ~end_value() { std::destroy_at(at); }
  };

  template <class F>
  decltype(auto) hand_over([[maybe_unused]] chan_core* home, F f) {
    if constexpr (is_boxed<T>) {
      std::unique_ptr<box<T>> full(static_cast<box<T>*>(box_));
      try {
        return f(full->value);
      } catch (...) {
        chan_put_back(*home, full.release());
        throw;
      }
    } else {
      end_value const guard{value()};
      return f(*guard.at);
    }
  }
  [[nodiscard]] T* value() noexcept { return std::launder(reinterpret_cast<T*>(bytes_)); }

  union {
    box_link* box_;
    alignas(is_boxed<T> ? alignof(box_link*)
                        : alignof(T)) std::byte bytes_[is_boxed<T> ? sizeof(box_link*) : sizeof(T)];
  };
};

/// While it lives the channel has one more receiver, where T is such that an element may have to go back.
template <class T>
class keep_receiver {
 public:
  explicit keep_receiver(chan_core* c) noexcept : core_(is_boxed<T> && is_channel(c) ? c : nullptr) {
    if (core_ != nullptr) add_ends(*core_, chan_core::one_receiver);
  }
  keep_receiver(keep_receiver const&) = delete;
  keep_receiver& operator=(keep_receiver const&) = delete;
  ~keep_receiver() {
    if (core_ != nullptr) drop_ends(*core_, chan_core::one_receiver);
  }

 private:
  chan_core* core_;
};

/// A boxed value on its way in; or nothing, before fill() and after sent().
template <class T>
class send_box {
 public:
  send_box() noexcept = default;
  explicit send_box(T const& v) : link_(new box<T>(v)) {}
  explicit send_box(T&& v) : link_(make(v)) {}
  send_box(send_box const&) = delete;
  send_box& operator=(send_box const&) = delete;
  ~send_box() { delete full(); }

  [[nodiscard]] void* place() noexcept { return &link_; }
  void sent() noexcept { link_ = nullptr; }
  [[nodiscard]] bool is_full() const noexcept { return link_ != nullptr; }
  [[nodiscard]] T const& value() noexcept { return full()->value; }
  void fill(T const& v) { link_ = new box<T>(v); }
  void fill(T&& v) { link_ = make(v); }
  void clear() noexcept {
    delete full();
    link_ = nullptr;
  }

  /// The send did not happen: the value goes back where it came from. If that move throws too, the exception comes out
  /// and the value goes with the box.
  void give_back(T& to) {
    if constexpr (std::is_move_assignable_v<T>) to = std::move(full()->value);
    else if constexpr (!copies) remake(to);
  }

 private:
  // What can be neither assigned nor remade in place, for it may be the base of something, is copied in the first place.
  static constexpr bool copies =
      !std::is_move_assignable_v<T> && std::has_virtual_destructor_v<T> && !std::is_final_v<T>;

  static box<T>* make(T& v) {
    if constexpr (copies) {
      static_assert(std::is_copy_constructible_v<T>, "this type must be assignable, copyable or final to be sent");
      return new box<T>(std::as_const(v));
    } else {
      return new box<T>(std::move(v));
    }
  }
  // noexcept: there is no state to go back to between the two steps.
  void remake(T& to) noexcept {
    std::destroy_at(&to);
    std::construct_at(&to, std::move(full()->value));
  }
  [[nodiscard]] box<T>* full() noexcept { return static_cast<box<T>*>(link_); }

  box_link* link_ = nullptr;
};

}  // namespace weft::detail
