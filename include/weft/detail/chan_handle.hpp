// The counted handle under chan, sender and receiver, and the iterator that makes them ranges.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <weft/detail/chan_core.hpp>
#include <weft/detail/chan_elem.hpp>

namespace weft::detail {

inline constexpr std::uint64_t both_ends = chan_core::one_sender | chan_core::one_receiver;

/// A handle to a channel of T that counts as the ends named by `Ends`. Null: the nil channel.
template <class T, std::uint64_t Ends>
class chan_handle {
  // Here, since of what handles are made of this comes first: before the members that cannot be declared for void.
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>,
                "a channel carries plain objects; the channel of pure signals is chan<weft::unit>");

 public:
  using value_type = T;

  chan_handle() noexcept = default;
  chan_handle(chan_handle const& other) noexcept : core_(other.core_) {
    check_not_moved(core_, "copying a channel handle");
    if (core_ != nullptr) add_ends(*core_, Ends);
  }
  chan_handle(chan_handle&& other) noexcept : core_(std::exchange(other.core_, moved_from())) {}
  chan_handle& operator=(chan_handle other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~chan_handle() {
    if (is_channel(core_)) drop_ends(*core_, Ends);
  }

  /// Values in the buffer now, and how many fit. 0 for the nil channel. Neither blocks.
  [[nodiscard]] std::size_t size() const noexcept {
    check_not_moved(core_, "size");
    if (core_ == nullptr) return 0;
    // What a receiver could not move out and put back is in none of the ring's places, but it is there.
    if ((core_->state.load(std::memory_order_acquire) & chan_core::returned_bit) != 0) [[unlikely]]
      return chan_size(*core_);
    return core_->count.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::size_t capacity() const noexcept {
    check_not_moved(core_, "capacity");
    return core_ == nullptr ? 0 : core_->capacity;
  }
  /// Whether no more can be sent: by close(), or because one side has no handle left. There may be values to receive.
  [[nodiscard]] bool closed() const noexcept {
    check_not_moved(core_, "closed");
    return core_ != nullptr && core_->is_closed();
  }
  /// False for the nil channel.
  explicit operator bool() const noexcept {
    check_not_moved(core_, "operator bool");
    return core_ != nullptr;
  }

 protected:
  /// Adopts `Ends` that are counted already.
  explicit chan_handle(chan_core* counted) noexcept : core_(counted) {}
  /// Shares another handle's channel.
  template <std::uint64_t Other>
  explicit chan_handle(chan_handle<T, Other> const& other) noexcept : core_(core_of(other)) {
    check_not_moved(core_, "converting a channel handle");
    if (core_ != nullptr) add_ends(*core_, Ends);
  }

 private:
  template <class U, std::uint64_t E>
  friend chan_core* core_of(chan_handle<U, E> const&) noexcept;

  chan_core* core_ = nullptr;
};

/// Null or moved_from() where there is no channel.
template <class T, std::uint64_t Ends>
[[nodiscard]] chan_core* core_of(chan_handle<T, Ends> const& h) noexcept {
  return h.core_;
}

/// Whether two handles mean the same channel. Two nil ones do.
template <class T, std::uint64_t A, std::uint64_t B>
[[nodiscard]] bool operator==(chan_handle<T, A> const& a, chan_handle<T, B> const& b) noexcept {
  check_not_moved(core_of(a), "comparing a channel handle");
  check_not_moved(core_of(b), "comparing a channel handle");
  return core_of(a) == core_of(b);
}

/// Equal handles have equal ones. By address: what is kept by it has no order, in simulated runs neither.
struct chan_hash {
  template <class T, std::uint64_t Ends>
  [[nodiscard]] std::size_t operator()(chan_handle<T, Ends> const& of) const noexcept {
    check_not_moved(core_of(of), "hashing a channel handle");
    return std::hash<void const*>{}(core_of(of));
  }
};

/// One handle's share of the channel while it lives, without a type of handle: what an iterator holds. For the member `of` of chan.
class counted_receiver {
 public:
  counted_receiver(chan_core* c, char const* of) noexcept : core_(c) {
    check_not_moved(c, of);
    if (c != nullptr) add_ends(*c, chan_core::one_receiver);
  }
  counted_receiver(counted_receiver const& other) noexcept : counted_receiver(other.core_, "copying an iterator") {}
  counted_receiver(counted_receiver&& other) noexcept : core_(std::exchange(other.core_, moved_from())) {}
  counted_receiver& operator=(counted_receiver other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~counted_receiver() {
    if (is_channel(core_)) drop_ends(*core_, chan_core::one_receiver);
  }
  [[nodiscard]] chan_core* get() const noexcept { return core_; }

 private:
  chan_core* core_;
};

/// Receives when it is compared or dereferenced, not when it is incremented: `break` loses no value. The value lives in
/// the iterator until the next one, and in a copy of it a copy. A cancellation point whenever it receives.
template <class T>
class recv_iterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  explicit recv_iterator(chan_core* c) noexcept : from_(c, "begin") {}
  /// Looks first, so that both have the same value: a cancellation point, too.
  recv_iterator(recv_iterator const& other)
    requires std::copy_constructible<T>
      : from_((other.fetch(), other.from_)), value_(other.value_), ended_(other.ended_) {}
  recv_iterator(recv_iterator&&) = default;
  recv_iterator& operator=(recv_iterator const& other)
    requires std::copy_constructible<T>
  {
    return *this = recv_iterator(other);
  }
  recv_iterator& operator=(recv_iterator&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      value_.reset();
      if (other.value_) value_.emplace(std::move(*other.value_));
      from_ = std::move(other.from_);
      skip_ = other.skip_;
      ended_ = other.ended_;
    }
    return *this;
  }

  [[nodiscard]] T& operator*() const {
    fetch();
    return *value_;
  }
  T* operator->() const { return std::addressof(**this); }
  recv_iterator& operator++() noexcept {
    if (!value_ && !ended_) ++skip_;
    value_.reset();
    return *this;
  }
  void operator++(int) { ++*this; }
  [[nodiscard]] friend bool operator==(recv_iterator const& i, std::default_sentinel_t) {
    i.fetch();
    return i.ended_;
  }

 private:
  void fetch() const {
    while (!value_ && !ended_) {
      recv_slot<T> slot;
      if (chan_recv(from_.get(), slot.place()) != chan_status::ok) ended_ = true;
      else if (skip_ == 0) slot.take_into(value_, from_.get());
      else --skip_, slot.discard();
    }
  }

  // Receiving is what looking at an input iterator means, so const members do it.
  counted_receiver from_;
  mutable std::optional<T> value_;
  mutable std::size_t skip_ = 0;  // incremented past without a look: to be received and dropped
  mutable bool ended_ = false;
};

}  // namespace weft::detail
