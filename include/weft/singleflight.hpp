// weft::singleflight: callers that want the same thing at the same time share one call.
#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>

#include <weft/condition_variable.hpp>
#include <weft/detail/countdown.hpp>
#include <weft/error.hpp>
#include <weft/mutex.hpp>

namespace weft {

/// Calls with one key that overlap in time become one call, whose result, or exception, all of them get. Nothing is
/// kept afterwards: it is no cache. K is hashable or ordered, V copyable or void.
///
///     weft::singleflight<std::string, page> flights;
///     page p = flights.run(url, [&] { return fetch(url); });
template <class K, class V>
class singleflight {
 public:
  /// f(), or the result of the call with this key that is running. Blocks; a cancellation point. If the caller that makes
  /// the call is cancelled, one of those that wait for it makes it anew with its own f.
  template <class F>
    requires std::invocable<F&> && (std::is_void_v<V> || std::convertible_to<std::invoke_result_t<F&>, V>)
  V run(K const& key, F&& f) {
    detail::countdown::cancellation_point();  // who finds no call to wait for, too
    for (;;) {
      std::unique_lock lock(mutex_);
      auto const [at, first] = flights_.try_emplace(key);
      if (first) return lead(at->first, f, at->second, lock);
      std::shared_ptr<flight> const other = at->second;
      other->landed.wait(lock, [&] { return other->over; });
      lock.unlock();  // V's copy constructor is the user's
      if (other->error) std::rethrow_exception(other->error);
      if (other->value) return static_cast<V>(std::as_const(*other->value));
    }
  }

 private:
  using stored = std::conditional_t<std::is_void_v<V>, std::monostate, V>;

  struct flight {  // guarded by mutex_ until over; constant then
    condition_variable landed;
    bool over = false;
    std::optional<stored> value;  // neither this nor error: its caller was cancelled
    std::exception_ptr error;
  };

  // Whatever happens to the call, it must not stay in the table: later ones would wait for it for ever.
  struct landing {
    singleflight& owner;
    K const& key;  // the table's, which stays where it is: the call may change its caller's
    flight& own;
    ~landing() {
      {
        std::lock_guard lock(owner.mutex_);
        own.over = true;
        owner.flights_.erase(key);
      }
      own.landed.notify_all();
    }
  };

  template <class F>
  V lead(K const& key, F& f, std::shared_ptr<flight>& entry, std::unique_lock<mutex>& lock) {
    std::shared_ptr<flight> own;
    try {
      own = entry = std::make_shared<flight>();
    } catch (...) {
      flights_.erase(key);
      throw;
    }
    lock.unlock();
    landing const at_end{*this, key, *own};
    try {
      if constexpr (std::is_void_v<V>) (void)std::invoke(f), own->value.emplace();
      else own->value.emplace(std::invoke(f));
    } catch (cancelled const&) {
      throw;
    } catch (...) {
      own->error = std::current_exception();
      throw;
    }
    return static_cast<V>(std::as_const(*own->value));
  }

  template <class Key>
  static constexpr bool hashable = requires(Key const& key) {
    { std::hash<Key>()(key) } -> std::convertible_to<std::size_t>;
  };
  template <class Key, bool Hashable>
  struct table {
    using type = std::map<Key, std::shared_ptr<flight>>;
  };
  template <class Key>
  struct table<Key, true> {
    using type = std::unordered_map<Key, std::shared_ptr<flight>>;
  };

  mutex mutex_;
  typename table<K, hashable<K>>::type flights_;  // guarded by mutex_
};

}  // namespace weft
