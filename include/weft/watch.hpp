// weft::watch: a value that others can look at, and be told of when it changes.
//
//     weft::watch<config> settings(load());
//     weft::go([sub = settings.subscribe()] {
//       for (apply(sub.get()); auto fresh = sub.changed();) apply(*fresh);   // until the watch has gone
//     });
//     settings.send(load());
#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <weft/chan.hpp>
#include <weft/detail/topic.hpp>
#include <weft/guarded.hpp>

namespace weft {

namespace detail {

/// The latest value of a watch: constant, replaced as a whole, so that a copy of it needs no lock.
template <class T>
class latest {
 public:
  explicit latest(std::shared_ptr<T const> first) : value_(std::move(first)) {}
  [[nodiscard]] std::shared_ptr<T const> get() { return *value_.lock(); }
  void swap(std::shared_ptr<T const>& with) { value_.lock()->swap(with); }

 private:
  guarded<std::shared_ptr<T const>> value_;
};

[[noreturn]] void fatal_no_watch() noexcept;

}  // namespace detail

/// Keeps the latest value. A subscriber is told of a change, not of every value: of several that come while it is busy it sees the last.
/// For tasks and plain threads.
///
/// A cheap handle: copies mean the same watch, which is closed with the last of them; use of a moved-from one is fatal. T must be copyable.
///
/// Cost: a send allocates, and makes a copy for each subscriber, as a broadcast does; a get() is one copy. Neither copies nor destructors
/// run with a lock held.
/// Order: a send happens before the return of each get() and changed() that gives its value, or a later one. Who has got a value from
/// changed() gets no older one from get().
template <class T>
class watch {
  static_assert(std::is_copy_constructible_v<T>, "each look at a watch gives a copy");

 public:
  using value_type = T;

  /// A handle: copies mean the same subscription, and one of them is told of a change. Default-constructed: never told of anything.
  class subscriber {
   public:
    using value_type = T;

    subscriber() noexcept = default;

    /// The latest value, also of a watch that has gone. Does not count as having seen it. Does not block. Fatal if there is no watch.
    [[nodiscard]] T get() const {
      if (latest_ == nullptr) detail::fatal_no_watch();
      return *latest_->get();
    }

    /// Waits for a value that was sent since this was called last (at first, since subscribe()), and gives the latest; nullopt once there
    /// is none and the watch is closed. Blocks; a cancellation point, after which the change is still there to be told.
    std::optional<T> changed() const { return changes_.recv(); }

    /// Where the changes come; the same channel each time. For select, and for the receiver's other operations.
    [[nodiscard]] receiver<T> channel() const noexcept { return changes_; }

   private:
    friend class watch;
    subscriber(receiver<T> changes, std::shared_ptr<detail::latest<T>> of) noexcept
        : changes_(std::move(changes)), latest_(std::move(of)) {}

    receiver<T> changes_;
    std::shared_ptr<detail::latest<T>> latest_;
  };

  explicit watch(T first)
      : latest_(std::make_shared<detail::latest<T>>(std::make_shared<T const>(std::move(first)))),
        topic_(std::make_shared<detail::topic>(detail::ops_of<T>, 1)) {}

  /// The latest value. Does not block.
  [[nodiscard]] T get() const {
    (void)detail::topic_of(topic_, "watch::get");
    return *latest_->get();
  }

  /// Replaces the value and tells the subscribers. Does not wait for them; no cancellation point. Throws closed_channel after close(),
  /// and what copying T throws: then nothing has changed.
  void send(T v) const {
    struct publish : detail::topic_hook {
      publish(detail::latest<T>& in, std::shared_ptr<T const> v)
          : topic_hook{[](topic_hook& h) noexcept {
              auto& self = static_cast<publish&>(h);
              self.to.swap(self.value);
            }},
            to(in),
            value(std::move(v)) {}
      detail::latest<T>& to;
      std::shared_ptr<T const> value;  // afterwards the one before, which goes with no lock held
    };
    detail::topic& to = detail::topic_of(topic_, "watch::send");
    auto const fresh = std::make_shared<T const>(std::move(v));
    publish hook(*latest_, fresh);
    detail::send_to_all(to, *fresh, &hook);
  }

  /// Is told of every change from now on. No cancellation point. Throws std::bad_alloc.
  [[nodiscard]] subscriber subscribe() const {
    return subscriber(receiver<T>(detail::topic_of(topic_, "watch::subscribe").subscribe().out), latest_);
  }

  /// Subscribers are told of a change that they have not seen, then nullopt. May be called again. Does not wait for subscribers.
  void close() const noexcept { detail::topic_of(topic_, "watch::close").close(); }

 private:
  std::shared_ptr<detail::latest<T>> latest_;
  std::shared_ptr<detail::topic> topic_;
};

}  // namespace weft
