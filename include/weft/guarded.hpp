// weft::guarded: a value that can only be reached with its mutex held.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include <weft/mutex.hpp>

namespace weft {

/// A T and the mutex that guards it.
///
///     weft::guarded<std::map<std::string, int>> counts;
///     counts.with([&](auto& map) { ++map[word]; });
///     auto locked = counts.lock();  // until the end of the block
///     locked->clear();
///
/// Both ways block, and are no cancellation points; order is as weft::mutex gives it. Keep no reference beyond the
/// lock.
template <class T>
class guarded {
 public:
  using value_type = T;

  guarded()
    requires std::is_default_constructible_v<T>
      : value_() {}

  /// Constructs the value from `args`.
  template <class... A>
    requires(sizeof...(A) > 0 && std::is_constructible_v<T, A...>)
  explicit guarded(A&&... args) : value_(std::forward<A>(args)...) {}

  guarded(guarded const&) = delete;
  guarded& operator=(guarded const&) = delete;

  /// Holds the mutex as long as it lives.
  class [[nodiscard]] ptr {
   public:
    /// A ptr that holds nothing, as one that was moved from, may only be destroyed.
    ptr(ptr&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    ptr& operator=(ptr&&) = delete;
    ~ptr() WEFT_NO_THREAD_SAFETY_ANALYSIS {
      if (owner_ != nullptr) owner_->mutex_.unlock();
    }

    /// Before the end of the block. From then on it holds nothing.
    void unlock() WEFT_NO_THREAD_SAFETY_ANALYSIS { std::exchange(owner_, nullptr)->mutex_.unlock(); }

    [[nodiscard]] T& operator*() const noexcept { return owner_->value_; }
    [[nodiscard]] T* operator->() const noexcept { return std::addressof(owner_->value_); }

   private:
    friend class guarded;
    explicit ptr(guarded& owner) WEFT_NO_THREAD_SAFETY_ANALYSIS : owner_(&owner) { owner.mutex_.lock(); }
    guarded* owner_;
  };

  [[nodiscard]] ptr lock() { return ptr(*this); }

  /// f(value) with the mutex held; returns what it returns, by value or by reference as f says.
  template <class F>
    requires std::is_invocable_v<F, T&>
  std::invoke_result_t<F, T&> with(F&& f) {
    ptr const held(*this);
    return std::invoke(std::forward<F>(f), *held);
  }

 private:
  mutex mutex_;
  T value_;  // guarded by mutex_
};

}  // namespace weft
