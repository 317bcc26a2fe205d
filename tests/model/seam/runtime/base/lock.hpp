// weft's locks as the explorer has them: one access, instead of the five of a real one, and blocked instead of spinning.
#pragma once

#include <weft/detail/annotations.hpp>

#include "runtime/base/lock_rank.hpp"

namespace weft::rt {

class WEFT_CAPABILITY("mutex") object_lock {
 public:
  constexpr object_lock() noexcept = default;
  object_lock(object_lock const&) = delete;
  object_lock& operator=(object_lock const&) = delete;
  constexpr ~object_lock() {
    if (!std::is_constant_evaluated()) model::died(handle_);
  }
  void lock(model::where at = model::where::current()) noexcept WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    model::lock(handle_, at);
  }
  void unlock(model::where at = model::where::current()) noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    model::unlock(handle_, at);
  }

 private:
  model::handle handle_;
};

struct ranked_lock : object_lock {
  constexpr explicit ranked_lock(lock_rank) noexcept {}
};

template <class Lock>
class WEFT_SCOPED_CAPABILITY guard {
 public:
  explicit guard(Lock& lock, model::where at = model::where::current()) noexcept WEFT_ACQUIRE(lock)
      : lock_(lock), at_(at) {
    lock_.lock(at);
  }
  ~guard() WEFT_RELEASE() { lock_.unlock(at_); }
  guard(guard const&) = delete;
  guard& operator=(guard const&) = delete;

 private:
  Lock& lock_;
  model::where at_;
};

}  // namespace weft::rt
