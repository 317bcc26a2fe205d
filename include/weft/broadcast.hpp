// weft::broadcast: what is sent goes to everyone who has subscribed.
//
//     weft::broadcast<event> events(64);
//     weft::go([sub = events.subscribe()] {
//       while (auto e = sub.recv()) show(*e);       // until the broadcast is closed
//       log("missed", sub.missed());
//     });
//     events.send(event{...});
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <weft/chan.hpp>
#include <weft/detail/topic.hpp>

namespace weft {

/// Each subscriber has a channel of its own, with room for `capacity` values. One that is slower loses the oldest, and is told how many;
/// it never holds up the sender or the others. All subscribers get the values in the same order. For tasks and plain threads.
///
/// A cheap handle: copies mean the same broadcast, which is closed with the last of them; use of a moved-from one is fatal. A
/// subscription ends with the last of its handles and receivers; what it had not received is then destroyed. T must be copyable.
///
/// Cost: a send makes a copy of the value for each subscriber, and destroys what had to make room, both with no lock held; then, with
/// the broadcast's mutex held, it locks one channel after another and moves a copy in. Only other sends and subscribes wait for that, and
/// they park; receivers do not wait. Of a large T send a std::shared_ptr<T const>. A subscriber's room is allocated when it subscribes.
/// Order: a send happens before the return of each receive that gets its value.
template <class T>
class broadcast {
  static_assert(std::is_copy_constructible_v<T>, "each subscriber of a broadcast gets a copy of its own");

 public:
  using value_type = T;

  /// A handle: copies mean the same subscription, and each value goes to one of them. Default-constructed: never receives anything.
  class subscriber {
   public:
    using value_type = T;

    subscriber() noexcept = default;
    subscriber(subscriber const&) = default;
    subscriber(subscriber&& other) noexcept
        : values_(std::move(other.values_)), from_(std::exchange(other.from_, nullptr)) {}
    subscriber& operator=(subscriber other) noexcept {
      values_ = std::move(other.values_);
      from_ = other.from_;
      return *this;
    }

    /// The next value; nullopt once the broadcast is closed and all was received. Blocks; a cancellation point, which loses no value.
    std::optional<T> recv() const { return values_.recv(); }

    /// How many values this subscription has lost so far, because it was slow. Those before the value that was received last are
    /// counted. Does not block.
    [[nodiscard]] std::uint64_t missed() const noexcept {
      return from_ != nullptr ? from_->missed.load(std::memory_order_relaxed) : 0;
    }

    /// Where the values come; the same channel each time. For select, and for the receiver's other operations.
    [[nodiscard]] receiver<T> channel() const noexcept { return values_; }

   private:
    friend class broadcast;
    explicit subscriber(detail::subscription& from) noexcept : values_(from.out), from_(&from) {}

    receiver<T> values_;  // keeps *from_ alive
    detail::subscription const* from_ = nullptr;
  };

  /// Throws std::invalid_argument if the capacity is 0: nobody could get anything.
  explicit broadcast(std::size_t capacity)
      : topic_(std::make_shared<detail::topic>(detail::ops_of<T>, checked(capacity))) {}

  /// Gets what is sent from now on. Of a closed broadcast: nothing, and closed. No cancellation point. Throws std::bad_alloc,
  /// std::length_error.
  [[nodiscard]] subscriber subscribe() const {
    return subscriber(detail::topic_of(topic_, "broadcast::subscribe").subscribe());
  }

  /// Does not wait for subscribers; no cancellation point. Throws closed_channel after close(), and what copying T throws: then nobody
  /// has got the value.
  void send(T const& v) const { detail::send_to_all(detail::topic_of(topic_, "broadcast::send"), v); }

  /// Subscribers receive what is left, then nullopt. May be called again. Does not wait for subscribers.
  void close() const noexcept { detail::topic_of(topic_, "broadcast::close").close(); }

 private:
  static std::size_t checked(std::size_t capacity) {
    if (capacity == 0) throw std::invalid_argument("weft::broadcast: the capacity must be at least 1");
    return capacity;
  }

  std::shared_ptr<detail::topic> topic_;
};

}  // namespace weft
