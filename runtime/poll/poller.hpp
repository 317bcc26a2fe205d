// poller: epoll, edge-triggered, one registration for the life of a descriptor.
//
// What it decides. A descriptor is added once, for both directions, and never modified: a socket costs two system calls
// (add, remove) however often its tasks wait. Edges suffice because the upper layer tries the call first and waits only
// after EAGAIN, having cleared its own ready flag before the call: an edge that comes in between sets the flag again.
//
// Descriptor numbers are reused by the kernel at once, so an event never names one. It carries the tag given to add,
// in which the upper layer puts the index of a slot (in memory that is never unmapped) and the slot's generation:
//   1. open: take a slot, tag = index | generation, add(fd, tag)
//   2. close: generation + 1 under the slot's lock, remove(fd), close(fd)
//   3. event: look up the slot by index, compare generations under its lock; different: drop the event
// An event that was fetched before step 2 and is handled after it fails at step 3, even if the slot and the number have
// been given to another socket meanwhile. remove comes before close because the registration belongs to the open file:
// after fork or dup it would outlive the number.
//
// Waking. wake() breaks the blocking wait that is in progress, or else the next one; wakes that come before that wait
// has returned collapse into one write.
//   waker   P1 pending.exchange(1, acq_rel); was 1: done   P2 write the eventfd
//   waiter  P3 the eventfd is readable: read it            P4 pending.exchange(0, acq_rel), return
// Whoever finds 1 at P1 comes before P4 of a wait that is about to return (or has not begun), and P4 reads what P1 wrote,
// so that all that happened before that wake() is visible after wait(). The eventfd is level-triggered and only blocking
// waits read it: a poll with time-out 0 on another thread cannot swallow the wake-up of the sleeper.
//
// Threads: any number may add, remove, wake and poll with time-out 0; at most one is in a blocking wait. Called on native
// thread stacks only (wait has a large array), except wake, add and remove, which need little stack.
#pragma once

#include "runtime/poll/netpoller.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace weft::rt {

class poller {
 public:
  // Not given to add: it names the eventfd.
  static constexpr std::uint64_t reserved_tag = ~std::uint64_t{0};

  poller() noexcept = default;
  poller(poller const&) = delete;
  poller& operator=(poller const&) = delete;
  ~poller() { close(); }

  std::error_code open() noexcept;
  void close() noexcept;  // idempotent; nobody may be in wait or wake
  bool is_open() const noexcept { return epoll_fd_ >= 0; }

  // Watches fd until remove. Fails with EPERM for what cannot be polled (a regular file), ENOSPC, ENOMEM. What is ready
  // already is reported as an edge.
  std::error_code add(int fd, std::uint64_t tag) noexcept;
  // Before fd is closed. Events fetched earlier may still be on their way: see tags above.
  void remove(int fd) noexcept;

  // Waits for events, at most timeout_ns (< 0: for ever, 0: only looks), stores at most max. 0: time-out, wake or signal.
  // Never returns early by the clock but for those. Changes errno.
  std::size_t wait(std::int64_t timeout_ns, poll_event* out, std::size_t max) noexcept;

  // Safe from any thread; keeps errno.
  void wake() noexcept;

 private:
  int epoll_fd_ = -1;                                       // written by open and close alone
  int event_fd_ = -1;                                       // written by open and close alone
  alignas(64) std::atomic<std::uint32_t> wake_pending_{0};  // P1, P4
};

static_assert(netpoller<poller>);

}  // namespace weft::rt
