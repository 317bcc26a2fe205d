// What public headers must know about waiting: the type of a wait list, to be embedded in mutexes and the like.
// The protocol itself is private (runtime/sched/wait.hpp); nothing here is for applications.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::rt {
struct wait_record;
struct waiter;
}  // namespace weft::rt

namespace weft::detail {

/// First come, first served list of wait records. Guarded by the lock of the object it is embedded in.
struct wait_list {
  rt::wait_record* head = nullptr;
  rt::wait_record* tail = nullptr;
};

}  // namespace weft::detail
