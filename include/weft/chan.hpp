// Channels: typed queues between tasks, plain threads, or both.
//
//     auto jobs = weft::make_chan<job>(16);         // 0: a rendezvous, a send returns when a receiver has the value
//     weft::go([jobs] { jobs.send(job{1}); jobs.close(); });
//     for (job& j : jobs) work(j);                  // until closed and drained
//
// As in Go: values come out in the order in which they went in; what a sender did before a send is visible to who
// receives the value; blocked senders, and receivers, are served first come, first served; operations on the nil channel
// block for ever; after close what is buffered can still be received.
//
// Handles are cheap to copy (one atomic addition), all their operations are const, and one handle must not be assigned
// to while another thread uses it. A chan counts as an end on both sides; sender and receiver count as theirs. When no
// sender is left the channel closes, when no receiver is left sends throw closed_channel, when both are gone what is
// buffered is destroyed. Using a handle that was moved from ends the process with a message.
//
// T may be move-only, over-aligned and without default constructor. A move that throws leaves the channel usable, comes
// out on the side whose move it was, and loses no value if it leaves its source intact. One that cannot throw, and the
// destructor of what was moved from, may run under the channel's lock: there they must not wait, for a weft::mutex neither.
#pragma once

#include <cstddef>
#include <functional>
#include <ranges>

#include <weft/detail/chan_sides.hpp>
#include <weft/error.hpp>
#include <weft/unit.hpp>

namespace weft {

template <class T>
class sender;
template <class T>
class receiver;

/// A handle that can send and receive. Default-constructed: the nil channel.
template <class T>
class chan : public detail::chan_handle<T, detail::both_ends>,
             public detail::sending<chan<T>, T>,
             public detail::receiving<chan<T>, T> {
 public:
  using value_type = T;

  chan() noexcept = default;
  /// A new channel with a buffer of `capacity` values; 0: a rendezvous. Throws std::bad_alloc, std::length_error.
  explicit chan(std::size_t capacity)
      : detail::chan_handle<T, detail::both_ends>(detail::make_core(detail::ops_of<T>, capacity)) {}

  [[nodiscard]] sender<T> tx() const noexcept { return sender<T>(*this); }
  [[nodiscard]] receiver<T> rx() const noexcept { return receiver<T>(*this); }
};

/// A handle that can only send.
template <class T>
class sender : public detail::chan_handle<T, detail::chan_core::one_sender>, public detail::sending<sender<T>, T> {
 public:
  using value_type = T;

  sender() noexcept = default;
  sender(chan<T> const& c) noexcept : detail::chan_handle<T, detail::chan_core::one_sender>(c) {}
  /// For runtime code: adopts a sender that is counted already.
  explicit sender(detail::chan_core* counted) noexcept
      : detail::chan_handle<T, detail::chan_core::one_sender>(counted) {}
};

/// A handle that can only receive; a view.
template <class T>
class receiver : public detail::chan_handle<T, detail::chan_core::one_receiver>,
                 public detail::receiving<receiver<T>, T> {
 public:
  using value_type = T;

  receiver() noexcept = default;
  receiver(chan<T> const& c) noexcept : detail::chan_handle<T, detail::chan_core::one_receiver>(c) {}
  /// For runtime code: adopts a receiver that is counted already.
  explicit receiver(detail::chan_core* counted) noexcept
      : detail::chan_handle<T, detail::chan_core::one_receiver>(counted) {}
};

/// A new channel with a buffer of `capacity` values; 0: a rendezvous. Throws std::bad_alloc, std::length_error.
template <class T>
[[nodiscard]] chan<T> make_chan(std::size_t capacity = 0) {
  return chan<T>(capacity);
}

template <class T>
struct chan_ends {
  sender<T> tx;
  receiver<T> rx;
};

/// The two ends of a new channel, and no chan: it closes when the last of either goes.
template <class T>
[[nodiscard]] chan_ends<T> make_ends(std::size_t capacity = 0) {
  detail::chan_core* c = detail::make_core(detail::ops_of<T>, capacity);
  return {sender<T>(c), receiver<T>(c)};
}

namespace detail {
template <class T>
inline constexpr bool moves_quietly<chan<T>> = true;
template <class T>
inline constexpr bool moves_quietly<sender<T>> = true;
template <class T>
inline constexpr bool moves_quietly<receiver<T>> = true;
}  // namespace detail

}  // namespace weft

template <class T>
inline constexpr bool std::ranges::enable_view<weft::receiver<T>> = true;
// size() is what the buffer holds, not how many values are still to come: views::take would go by it.
template <class T>
inline constexpr bool std::ranges::disable_sized_range<weft::receiver<T>> = true;
template <class T>
inline constexpr bool std::ranges::disable_sized_range<weft::chan<T>> = true;

// For std::unordered_map and the like, of clients by their channels.
template <class T>
struct std::hash<weft::chan<T>> : weft::detail::chan_hash {};
template <class T>
struct std::hash<weft::sender<T>> : weft::detail::chan_hash {};
template <class T>
struct std::hash<weft::receiver<T>> : weft::detail::chan_hash {};
