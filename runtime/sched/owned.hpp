// A plain field of a worker or a processor: read and written by its holder alone, one thread at a time, with the hand-over
// protocol (worker.hpp) ordering one holder's writes before the next one's reads.
//
// It is a relaxed atomic, which costs nothing, for two readers that must not be undefined behaviour: counters and ticks are
// looked at by others (metrics, thieves, monitor), and to ThreadSanitizer each task is a thread of its own, so that two
// tasks that use their common worker's fields one after the other would seem to race.
#pragma once

#include <atomic>

#include "runtime/base/count_up.hpp"

namespace weft::rt {

template <class T>
class owned {
 public:
  constexpr owned() noexcept = default;
  constexpr owned(T v) noexcept : value_(v) {}
  owned(owned const&) = delete;
  owned& operator=(owned const&) = delete;

  operator T() const noexcept { return value_.load(std::memory_order_relaxed); }
  T get() const noexcept { return value_.load(std::memory_order_relaxed); }
  T operator->() const noexcept { return get(); }
  owned& operator=(T v) noexcept {
    value_.store(v, std::memory_order_relaxed);
    return *this;
  }
  owned& operator+=(T v) noexcept { return *this = static_cast<T>(get() + v); }
  /// += 1, in one instruction where there is one.
  void count_up(std::memory_order order = std::memory_order_relaxed) noexcept { rt::count_up(value_, order); }
  owned& operator-=(T v) noexcept { return *this = static_cast<T>(get() - v); }
  /// For a reader that goes by this value to others written before (acquire).
  T published() const noexcept { return value_.load(std::memory_order_acquire); }
  void publish(T v) noexcept { value_.store(v, std::memory_order_release); }
  T take() noexcept {
    T v = get();
    *this = T{};
    return v;
  }

 private:
  std::atomic<T> value_{};
};

}  // namespace weft::rt
