// The biased lock as the explorer has it: one access. What is inside of it has a check of its own (tests/model/bias.cpp).
#pragma once

#include "runtime/base/bias.hpp"
#include "runtime/base/lock.hpp"

namespace weft::rt {

class WEFT_CAPABILITY("mutex") biased_lock {
 public:
  void lock(lock_owner, model::where at = model::where::current()) noexcept
      WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    inner_.lock(at);
  }
  void unlock(model::where at = model::where::current()) noexcept WEFT_RELEASE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    inner_.unlock(at);
  }

  /// Its caller is always the owner.
  using owners_hold = biased_lock*;
  owners_hold lock_as_owner(lock_owner,
                            model::where at = model::where::current()) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
    inner_.lock(at);
    return this;
  }
  void lock_by_inner(lock_owner, model::where at = model::where::current()) noexcept
      WEFT_ACQUIRE() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    inner_.lock(at);
  }
  static void unlock_as_owner(owners_hold held,
                              model::where at = model::where::current()) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
    held->inner_.unlock(at);
  }

 private:
  object_lock inner_;
};

}  // namespace weft::rt
