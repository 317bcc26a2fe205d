// The seam at which tests let system calls fail: call k of a kind, and the n - 1 after it, with an errno of theirs.
//
// It is in every build: a relaxed load of a word that never changes, before calls that cost a microsecond and more. What every kind's failure
// comes to stands in docs/testing.md; tests/net/faults_test.cpp lets each call of each kind fail in turn.
//
//     if (fault(fault_kind::map)) return nullptr;      // errno is set
//     fd = fault(fault_kind::eventfd) ? -1 : ::eventfd(0, EFD_CLOEXEC);
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::rt {

enum class fault_kind : std::uint8_t {
  none,
  map,    // mmap of stacks and signal stacks
  guard,  // a stack's guard, of whatever kind
  epoll_create,
  epoll_add,   // epoll_ctl(EPOLL_CTL_ADD)
  epoll_wait,  // EINTR alone: no other error can happen to it
  eventfd,
  accept,
  socket,
  thread,  // workers, monitor, the threads for signals and the resolver's
  count_
};

struct fault_plan {
  fault_kind kind = fault_kind::none;
  std::uint32_t from = 1;   // the first call that fails, counted from arm_fault on
  std::uint32_t times = 1;  // and how many in a row
  int error = 0;
};

/// For tests: one plan at a time, for the process; before the threads that it is meant for.
void arm_fault(fault_plan const& plan) noexcept;
/// How many calls of that kind there were.
std::uint32_t disarm_fault() noexcept;

extern std::atomic<fault_kind> armed_fault;
[[nodiscard]] bool fault_now() noexcept;

/// True: this call is to fail, and errno says how.
[[nodiscard]] inline bool fault(fault_kind kind) noexcept {
  return armed_fault.load(std::memory_order_relaxed) == kind && fault_now();
}

}  // namespace weft::rt
