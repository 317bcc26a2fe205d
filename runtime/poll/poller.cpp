// The steps P1 to P4 are those of poller.hpp.

#include "runtime/poll/poller.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/descriptor.hpp"
#include "runtime/platform/fault.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

namespace weft::rt {

namespace {

constexpr std::int64_t ns_a_second = 1'000'000'000;
constexpr std::int64_t ns_a_millisecond = 1'000'000;
constexpr std::size_t events_a_wait = 512;  // 6 KiB of native stack

// Cleared once, by the first call that finds the system call missing (before Linux 5.11) or forbidden.
std::atomic<bool> have_pwait2{true};

bool watch(int epoll_fd, int fd, epoll_event& event) noexcept {
  return !fault(fault_kind::epoll_add) && ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/// A close(2) of a number that is no longer the caller's, or of all that there may be, can meet these. Without a word nobody would be
/// woken any more.
[[noreturn]] void fatal_closed(char const* what) noexcept {
  fatal("the program has closed a descriptor of weft's (%s, errno %d)", what, errno);
}

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

// The kernel may delay a time-out by the thread's slack, 50 us unless told otherwise.
void want_exact_timeouts() noexcept {
  static thread_local bool told = false;  // native threads only: no task switches away inside
  if (told) return;
  told = true;
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);  // a refusal only costs precision
}

// As epoll_wait with nanoseconds. Never returns before the time-out for the clock's sake.
int wait_for(int epoll_fd, epoll_event* events, int max, std::int64_t timeout_ns) noexcept {
  if (fault(fault_kind::epoll_wait)) return -1;
  if (timeout_ns == 0) return ::epoll_wait(epoll_fd, events, max, 0);
  if (timeout_ns < 0) return ::epoll_wait(epoll_fd, events, max, -1);
  want_exact_timeouts();
  if (have_pwait2.load(std::memory_order_relaxed)) {
    timespec timeout{};
    timeout.tv_sec = static_cast<std::time_t>(timeout_ns / ns_a_second);
    timeout.tv_nsec = static_cast<long>(timeout_ns % ns_a_second);
    long const n = ::syscall(SYS_epoll_pwait2, epoll_fd, events, max, &timeout, nullptr, std::size_t{0});
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(n);
    have_pwait2.store(false, std::memory_order_relaxed);
  }
  std::int64_t const ms = timeout_ns / ns_a_millisecond + (timeout_ns % ns_a_millisecond != 0 ? 1 : 0);
  return ::epoll_wait(epoll_fd, events, max, static_cast<int>(std::min<std::int64_t>(ms, INT_MAX)));
}

}  // namespace

std::error_code poller::open() noexcept {
  WEFT_CHECK(epoll_fd_ < 0, "the poller is open already");
  epoll_fd_ = fault(fault_kind::epoll_create) ? -1 : above_standard(::epoll_create1(EPOLL_CLOEXEC));
  if (epoll_fd_ < 0) return last_error();
  event_fd_ = fault(fault_kind::eventfd) ? -1 : above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;  // level-triggered: only a blocking wait takes it away
  event.data.u64 = reserved_tag;
  if (event_fd_ < 0 || !watch(epoll_fd_, event_fd_, event)) {
    std::error_code const error = last_error();
    close();
    return error;
  }
  return {};
}

void poller::close() noexcept {
  if (event_fd_ >= 0) ::close(event_fd_);
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
  event_fd_ = epoll_fd_ = -1;
  wake_pending_.store(0, std::memory_order_relaxed);
}

std::error_code poller::add(int fd, std::uint64_t tag) noexcept {
  WEFT_CHECK(tag != reserved_tag, "this tag names the eventfd");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = tag;
  if (!watch(epoll_fd_, fd, event)) return last_error();
  return {};
}

void poller::remove(int fd) noexcept {
  epoll_event event{};
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &event);  // already closed by the user: then the kernel has removed it
}

std::size_t poller::wait(std::int64_t timeout_ns, poll_event* out, std::size_t max) noexcept {
  epoll_event events[events_a_wait];
  int const room = static_cast<int>(std::min(max, events_a_wait));
  if (room == 0) return 0;
  int const got = wait_for(epoll_fd_, events, room, timeout_ns);
  if (got < 0) {
    if (errno != EINTR) fatal_closed("epoll");
    return 0;
  }
  std::size_t n = 0;
  for (int i = 0; i < got; ++i) {
    epoll_event const& event = events[i];
    if (event.data.u64 == reserved_tag) {
      if (timeout_ns == 0) continue;  // the sleeper's, not ours
      std::uint64_t count = 0;
      [[maybe_unused]] ssize_t const ignored = ::read(event_fd_, &count, sizeof count);  // P3
      wake_pending_.exchange(0, std::memory_order_acq_rel);                              // P4: pairs with P1, both ways
      continue;
    }
    poll_event& to = out[n++];
    to.tag = event.data.u64;
    to.readable = (event.events & EPOLLIN) != 0;
    to.writable = (event.events & EPOLLOUT) != 0;
    to.hangup = (event.events & (EPOLLRDHUP | EPOLLHUP)) != 0;
    to.error = (event.events & EPOLLERR) != 0;
    to.urgent = (event.events & EPOLLPRI) != 0;
  }
  return n;
}

namespace {
/// Keeps errno, whose memory all tasks of a thread share: ThreadSanitizer takes them for strangers and may not look.
WEFT_NO_TSAN void signal_eventfd(int fd) noexcept {
  int const saved = errno;
  std::uint64_t const one = 1;
  if (::write(fd, &one, sizeof one) < 0 && errno != EAGAIN) fatal_closed("eventfd");
  errno = saved;
}
}  // namespace

void poller::wake() noexcept {
  if (wake_pending_.exchange(1, std::memory_order_acq_rel) != 0) return;  // P1: pairs with P4
  signal_eventfd(event_fd_);                                              // P2
}

}  // namespace weft::rt
