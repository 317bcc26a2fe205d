// The runtimes of the process, for what must be asked of all of them.
#pragma once

#include "runtime/base/lock.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

/// Of a runtime that begins and has not ended; its tasks have ended before it leaves.
class runtime_list {
 public:
  static runtime_list& of_process() noexcept;

  void add(scheduler& s) noexcept;
  void remove(scheduler& s) noexcept;  // nothing, if it is not in the list
  /// In a child that fork has made, by its only thread: the runtimes of the process before are gone, and so is who held the lock.
  void begin_anew() noexcept;

  /// While it is held nobody begins or ends.
  ranked_lock lock{lock_rank::registry};

  template <class Visit>  // bool(scheduler&); false ends the walk
  bool all(Visit visit) WEFT_REQUIRES(lock) {
    for (scheduler* s = first_; s != nullptr; s = s->next_in_process)
      if (!visit(*s)) return false;
    return true;
  }

 private:
  scheduler* first_ WEFT_GUARDED_BY(lock) = nullptr;
};

}  // namespace weft::rt
