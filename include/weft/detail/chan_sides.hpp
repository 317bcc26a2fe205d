// What chan and sender share, and what chan and receiver share: the typed operations over the untyped core.
//
// Each send first brings the value into the form in which the core moves it (chan_elem.hpp): by its address where it
// stands inline, as a copy of a const value, in a box where moves may throw. The rule that `v` is untouched unless the
// send happened then comes from the core, which moves only what it sends, and from giving a box's value back.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include <weft/detail/chan_elem.hpp>
#include <weft/detail/chan_handle.hpp>
#include <weft/detail/deadline.hpp>
#include <weft/detail/simulated.hpp>
#include <weft/error.hpp>

namespace weft::detail {

template <class T>
[[nodiscard]] chan_status send_moving(chan_core* c, T& v, std::int64_t wait_ns) {
  if constexpr (!is_boxed<T>) {
    return chan_send(c, std::addressof(v), wait_ns);
  } else {
    if (is_channel(c) && c->is_closed())
      return chan_send(c, nullptr, wait_ns);  // closed it stays: no value is looked at
    send_box<T> b(std::move(v));
    chan_status status = chan_status::closed;
    try {
      status = chan_send(c, b.place(), wait_ns);
    } catch (...) {
      b.give_back(v);
      throw;
    }
    if (status == chan_status::ok) b.sent();
    else b.give_back(v);
    return status;
  }
}

template <class T>
[[nodiscard]] chan_status send_copying(chan_core* c, T const& v, std::int64_t wait_ns) {
  if constexpr (std::is_trivially_copyable_v<T>) {
    return chan_send(c, const_cast<T*>(std::addressof(v)), wait_ns);  // the core only reads it
  } else if constexpr (!is_boxed<T>) {
    T copy(v);
    return chan_send(c, std::addressof(copy), wait_ns);
  } else {
    send_box<T> b(v);
    chan_status const status = chan_send(c, b.place(), wait_ns);
    if (status == chan_status::ok) b.sent();
    return status;
  }
}

/// Whether a try_send can be answered without looking at the value. `ok` here means: it looks possible.
[[nodiscard]] inline chan_status peek_send(chan_core* c) noexcept {
  check_not_moved(c, "try_send");
  if (c == nullptr || !c->may_send()) return chan_status::full;
  return c->is_closed() ? chan_status::closed : chan_status::ok;
}

template <class T>
[[nodiscard]] chan_status try_send_moving(chan_core* c, T& v) {
  if constexpr (!is_boxed<T>) {
    return chan_try_send(c, std::addressof(v));
  } else {
    if (chan_status const status = peek_send(c); status != chan_status::ok) return status;
    send_box<T> b(std::move(v));
    chan_status const status = chan_try_send(c, b.place());
    if (status == chan_status::ok) b.sent();
    else b.give_back(v);
    return status;
  }
}

template <class T>
[[nodiscard]] chan_status try_send_copying(chan_core* c, T const& v) {
  if constexpr (std::is_trivially_copyable_v<T>) {
    return chan_try_send(c, const_cast<T*>(std::addressof(v)));
  } else {
    if (chan_status const status = peek_send(c); status != chan_status::ok) return status;
    if constexpr (!is_boxed<T>) {
      T copy(v);
      return chan_try_send(c, std::addressof(copy));
    } else {
      send_box<T> b(v);
      chan_status const status = chan_try_send(c, b.place());
      if (status == chan_status::ok) b.sent();
      return status;
    }
  }
}

/// The members of what can send. `Self` is a chan_handle.
template <class Self, class T>
class sending {
 public:
  /// Sends `v`; waits while there is no room, or no receiver on a rendezvous channel. Blocks; a cancellation point.
  /// Throws closed_channel if the channel is closed before or while it waits; `v` is then untouched.
  void send(T const& v) const
    requires std::copy_constructible<T>
  {
    if (send_copying<T>(core(), v, never) != chan_status::ok) throw closed_channel();
  }
  void send(T&& v) const {
    if (send_moving<T>(core(), v, never) != chan_status::ok) throw closed_channel();
  }

  /// send, with false instead of closed_channel.
  [[nodiscard]] bool push(T v) const { return send_moving<T>(core(), v, never) == chan_status::ok; }

  /// ok, full or closed. Never blocks, no cancellation point. The value is moved from only if ok.
  [[nodiscard]] chan_status try_send(T const& v) const
    requires std::copy_constructible<T>
  {
    preemption_point();
    return try_send_copying<T>(core(), v);
  }
  [[nodiscard]] chan_status try_send(T&& v) const {
    preemption_point();
    return try_send_moving<T>(core(), v);
  }
  [[nodiscard]] chan_status try_send(T& v) const
    requires(!std::copy_constructible<T>)
  {
    preemption_point();
    return try_send_moving<T>(core(), v);
  }

  /// ok, timeout or closed. Blocks for at most `d`; a cancellation point. The value is moved from only if ok.
  template <class R, class P>
  [[nodiscard]] chan_status send_for(T const& v, std::chrono::duration<R, P> d) const
    requires std::copy_constructible<T>
  {
    return send_copying<T>(core(), v, saturated_ns(d));
  }
  template <class R, class P>
  [[nodiscard]] chan_status send_for(T&& v, std::chrono::duration<R, P> d) const {
    return send_moving<T>(core(), v, saturated_ns(d));
  }
  template <class R, class P>
  [[nodiscard]] chan_status send_for(T& v, std::chrono::duration<R, P> d) const
    requires(!std::copy_constructible<T>)
  {
    return send_moving<T>(core(), v, saturated_ns(d));
  }

  /// Closes the channel: waiting receivers get nullopt, waiting senders throw, buffered values can still be received.
  /// True if this call closed it. Never blocks. Throws nil_channel on the nil channel.
  bool close() const {
    chan_core* c = core();
    check_not_moved(c, "close");
    if (c == nullptr) throw nil_channel();
    preemption_point();
    return chan_close(*c);
  }

 private:
  [[nodiscard]] chan_core* core() const noexcept { return core_of(static_cast<Self const&>(*this)); }
};

/// The members of what can receive.
template <class Self, class T>
class receiving {
 public:
  /// The next value; nullopt once the channel is closed and drained. Blocks; a cancellation point.
  std::optional<T> recv() const {
    keep_receiver<T> const kept(core());
    chan_core* const c = core();
    recv_slot<T> slot;
    if (chan_recv(c, slot.place()) != chan_status::ok) return std::nullopt;
    return slot.template take_as<std::optional<T>>(c);
  }

  /// The next value, or empty or closed. Never blocks, no cancellation point.
  [[nodiscard]] std::expected<T, chan_status> try_recv() const {
    preemption_point();
    keep_receiver<T> const kept(core());
    chan_core* const c = core();
    recv_slot<T> slot;
    if (chan_status const status = chan_try_recv(c, slot.place()); status != chan_status::ok)
      return std::unexpected(status);
    return slot.template take_as<std::expected<T, chan_status>>(c);
  }

  /// The next value, or timeout or closed. Blocks for at most `d`; a cancellation point.
  template <class R, class P>
  [[nodiscard]] std::expected<T, chan_status> recv_for(std::chrono::duration<R, P> d) const {
    keep_receiver<T> const kept(core());
    chan_core* const c = core();
    recv_slot<T> slot;
    chan_status const status = chan_recv(c, slot.place(), saturated_ns(d));
    if (status != chan_status::ok) return std::unexpected(status);
    return slot.template take_as<std::expected<T, chan_status>>(c);
  }

  /// Appends up to `max` values to `out`: waits for one, then takes what is there. How many; 0 means closed and drained
  /// (or max == 0, which neither waits nor is a cancellation point). Blocks; a cancellation point.
  std::size_t recv_many(std::vector<T>& out, std::size_t max) const {
    counted_receiver const kept(core(), "recv_many");
    if (max == 0) return 0;
    chan_core* const c = kept.get();
    make_room(out, moves_whole ? 1 : std::min(max, is_channel(c) ? std::max(batch_size, size_hint(*c)) : 1));
    {
      recv_slot<T> slot;
      if (chan_recv(c, slot.place()) != chan_status::ok) return 0;
      append(out, &slot, 1, c);
    }
    std::size_t got = 1;
    while (got < max && c->may_receive()) {
      recv_slot<T> batch[batch_size];
      std::size_t room = std::min({batch_size, max - got, std::max<std::size_t>(1, size_hint(*c))});
      if constexpr (!moves_whole) room = std::min(room, out.capacity() - out.size());
      if (room == 0) break;
      make_room(out, room);
      std::size_t const n = chan_take(*c, batch[0].place(), sizeof(recv_slot<T>), room);
      append(out, batch, n, c);
      got += n;
      if (n < room) break;
    }
    return got;
  }

  /// A range over the values until the channel is closed and drained; see detail::recv_iterator.
  [[nodiscard]] recv_iterator<T> begin() const { return recv_iterator<T>(core()); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// Whether it was closed because the last handle that could send went while an exception unwound its owner, or with a
  /// task that an exception ended. What was received is then not all there was to be.
  [[nodiscard]] bool abandoned() const noexcept {
    chan_core* const c = core();
    check_not_moved(c, "abandoned");
    return c != nullptr && (c->state.load(std::memory_order_acquire) & chan_core::abandoned_bit) != 0;
  }

 private:
  // Else a vector that grows loses what it has where a move throws half way: recv_many then lets it grow only before it has received.
  static constexpr bool moves_whole = std::is_nothrow_move_constructible_v<T> || std::is_copy_constructible_v<T>;
  static constexpr std::size_t batch_size = std::clamp<std::size_t>(512 / sizeof(recv_slot<T>), 1, 32);

  [[nodiscard]] chan_core* core() const noexcept { return core_of(static_cast<Self const&>(*this)); }
  [[nodiscard]] static std::size_t size_hint(chan_core const& c) noexcept {
    return c.count.load(std::memory_order_relaxed);
  }

  static void make_room(std::vector<T>& out, std::size_t n) {
    if (out.capacity() - out.size() < n) out.reserve(std::max(out.capacity() * 2, out.size() + n));
  }
  // What cannot be moved out goes back, last first, so that the order stays.
  static void append(std::vector<T>& out, recv_slot<T>* batch, std::size_t n, chan_core* c) {
    std::size_t i = 0;
    try {
      for (; i < n; ++i) batch[i].take_into(out);
    } catch (...) {
      while (n-- > i) batch[n].put_back(c);
      throw;
    }
  }
};

}  // namespace weft::detail
