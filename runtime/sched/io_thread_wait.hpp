// A plain thread that waits for a descriptor in poll(2), and the eventfd by which others break its wait.
#pragma once

#include "runtime/sched/io.hpp"

namespace weft::rt {

/// On the waiting thread's stack; the links are guarded by the slot's lock.
struct io_thread_wait {
  int wake_fd;
  io_thread_wait* next;
};

/// Breaks the poll(2) of every plain thread that waits for `s`: they look again at what has changed.
void wake_threads_locked(io_slot& s) noexcept WEFT_REQUIRES(s.lock);

}  // namespace weft::rt
