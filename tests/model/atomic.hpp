// What std::atomic is in code under a model check (seam.hpp): the same interface, on the explorer's memory.
#pragma once

#include <atomic>
#include <cstring>
#include <type_traits>

#include "tests/model/memory.hpp"

namespace model {

template <class T>
class modelled_atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);

 public:
  constexpr modelled_atomic() noexcept : modelled_atomic(T{}) {}
  constexpr modelled_atomic(T v) noexcept : first_(v) {
    if (!std::is_constant_evaluated()) born(handle_);
  }
  constexpr ~modelled_atomic() {
    if (!std::is_constant_evaluated()) died(handle_);
  }
  modelled_atomic(modelled_atomic const&) = delete;
  modelled_atomic& operator=(modelled_atomic const&) = delete;

  T load(order o = order::seq_cst, where at = where::current()) const noexcept {
    return value(model::load(handle_, bits(first_), o, at));
  }
  void store(T v, order o = order::seq_cst, where at = where::current()) noexcept {
    model::store(handle_, bits(first_), bits(v), o, at);
  }
  T exchange(T v, order o = order::seq_cst, where at = where::current()) noexcept {
    return value(update(handle_, bits(first_), [](std::uint64_t, std::uint64_t b) { return b; }, bits(v), o, at));
  }
  bool compare_exchange_strong(T& expected, T desired, order success, order failure,
                               where at = where::current()) noexcept {
    std::uint64_t e = bits(expected);
    bool const done = compare_exchange(handle_, bits(first_), e, bits(desired), success, failure, at);
    expected = value(e);
    return done;
  }
  bool compare_exchange_strong(T& expected, T desired, order o = order::seq_cst, where at = where::current()) noexcept {
    return compare_exchange_strong(expected, desired, o,
                                   o == order::acq_rel   ? order::acquire
                                   : o == order::release ? order::relaxed
                                                         : o,
                                   at);
  }
  bool compare_exchange_weak(T& expected, T desired, order success, order failure,
                             where at = where::current()) noexcept {
    return compare_exchange_strong(expected, desired, success, failure, at);
  }
  bool compare_exchange_weak(T& expected, T desired, order o = order::seq_cst, where at = where::current()) noexcept {
    return compare_exchange_strong(expected, desired, o, at);
  }
  T fetch_add(T v, order o = order::seq_cst, where at = where::current()) noexcept {
    return value(update(
        handle_, bits(first_),
        [](std::uint64_t a, std::uint64_t b) { return bits(static_cast<T>(value(a) + value(b))); }, bits(v), o, at));
  }
  T fetch_sub(T v, order o = order::seq_cst, where at = where::current()) noexcept {
    return value(update(
        handle_, bits(first_),
        [](std::uint64_t a, std::uint64_t b) { return bits(static_cast<T>(value(a) - value(b))); }, bits(v), o, at));
  }
  T fetch_and(T v, order o = order::seq_cst, where at = where::current()) noexcept {
    return value(update(handle_, bits(first_), [](std::uint64_t a, std::uint64_t b) { return a & b; }, bits(v), o, at));
  }
  T fetch_or(T v, order o = order::seq_cst, where at = where::current()) noexcept {
    return value(update(handle_, bits(first_), [](std::uint64_t a, std::uint64_t b) { return a | b; }, bits(v), o, at));
  }

  void sleep_while(T expected, where at) noexcept { futex_wait(handle_, bits(first_), bits(expected), at); }
  void wake(int count, where at) const noexcept { futex_wake(handle_, bits(first_), count, at); }

 private:
  static std::uint64_t bits(T v) noexcept {
    std::uint64_t b = 0;
    std::memcpy(&b, &v, sizeof v);
    return b;
  }
  static T value(std::uint64_t b) noexcept {
    T v;
    std::memcpy(&v, &b, sizeof v);
    return v;
  }

  T first_;  // what it holds when an execution begins to use it
  mutable handle handle_;
};

}  // namespace model
