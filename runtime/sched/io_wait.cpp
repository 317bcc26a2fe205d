// Step 5 of io.hpp: waiting for an edge as a task, or for the level as a plain thread.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/platform/descriptor.hpp"
#include "runtime/platform/fault.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/io.hpp"
#include "runtime/sched/io_thread_wait.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::rt {

namespace {

[[nodiscard]] std::error_code timed_out() noexcept { return std::make_error_code(std::errc::timed_out); }

[[nodiscard]] std::int64_t earlier(std::int64_t a, std::int64_t b) noexcept { return a < b ? a : b; }

/// Registers at the first wait. The table stays the same until its runtime is shut down, whichever runtime's tasks wait later.
[[nodiscard]] std::error_code register_locked(io_slot& s) noexcept WEFT_REQUIRES(s.lock) {
  if (is_simulated(s.fd)) return {};  // the run's network knows its slots
  if (current_simulation() != nullptr) return std::make_error_code(std::errc::operation_not_supported);
  if (s.table != nullptr) return {};
  io_table* table = current_io_table();
  WEFT_CHECK(table != nullptr, "a task without a runtime");
  std::uint64_t const tag = (static_cast<std::uint64_t>(s.generation) << 32) | s.index;
  if (std::error_code e = table->poll().add(s.fd, tag)) return e;
  s.table = table;
  return {};
}

/// Parks with the slot's lock held; wait_in releases it. `timeout`: what to say when `deadline` comes.
std::error_code park_locked(io_slot& s, io_direction d, waiter& self, std::int64_t deadline,
                            std::error_code timeout) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  wait_record record;
  wait_reason const reason = d == io_direction::read ? wait_reason::io_read : wait_reason::io_write;
  switch (wait_in(self, s.side(d).waiters, s.lock, record, deadline, reason, &s)) {
    case how::close: return errc::closed;
    case how::timeout: return timeout;
    case how::cancel: throw_cancelled();
    default: return {};
  }
}

int make_eventfd() noexcept {
  return fault(fault_kind::eventfd) ? -1 : above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

// Not a thread_local object: one that has gone would leave its number, which is another descriptor's by then, to a wait in a destructor that
// runs later at the thread's end. There it is made anew.
constinit thread_local int made_eventfd = -1;

int own_eventfd() noexcept {
  if (made_eventfd < 0) {
    made_eventfd = make_eventfd();  // -1: there are no descriptors now; the next wait tries again
    if (made_eventfd >= 0) at_thread_exit([](void*) { ::close(std::exchange(made_eventfd, -1)); }, nullptr);
  }
  return made_eventfd;
}

/// `interest` 0: only close, deadlines and `until` end it.
std::error_code wait_as_thread(io_slot& s, io_direction d, short interest, std::int64_t until) {
  io_thread_wait self{own_eventfd(), nullptr};
  s.lock.lock();
  if (s.closing()) {
    s.lock.unlock();
    return errc::closed;
  }
  std::int64_t deadline = interest == 0 ? until : earlier(until, s.side(d).deadline.load(std::memory_order_relaxed));
  self.next = s.threads;
  s.threads = &self;
  s.lock.unlock();

  pollfd fds[2] = {{self.wake_fd, POLLIN, 0}, {s.fd, interest, 0}};
  timespec left{};
  bool early = false;
  if (self.wake_fd <
      0) {  // out of descriptors (poll(2) passes over this one): nobody can break the wait, so look often
    std::int64_t const soon = clock_ns() + 5'000'000;
    early = soon < deadline;
    deadline = earlier(deadline, soon);
  }
  if (deadline != never) {
    std::int64_t const ns = deadline - clock_ns();
    if (ns > 0) left = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  }
  int const got = ::ppoll(fds, interest == 0 ? 1 : 2, deadline == never ? nullptr : &left, nullptr);

  s.lock.lock();
  io_thread_wait** link = &s.threads;
  while (*link != &self) link = &(*link)->next;
  *link = self.next;
  s.lock.unlock();
  if (got > 0 && fds[0].revents != 0) {
    std::uint64_t count = 0;
    [[maybe_unused]] ssize_t const ignored = ::read(self.wake_fd, &count, sizeof count);
  }
  if (s.closing()) return errc::closed;
  return got == 0 && !early ? timed_out() : std::error_code();  // a signal, or early: look again
}

}  // namespace

void wake_threads_locked(io_slot& s) noexcept {
  std::uint64_t const one = 1;
  for (io_thread_wait* t = s.threads; t != nullptr; t = t->next) {
    [[maybe_unused]] ssize_t const ignored = ::write(t->wake_fd, &one, sizeof one);
  }
}

std::error_code io_wait(io_slot& s, io_direction d, waiter& self, std::uint32_t seen,
                        std::int64_t until) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (self.is_thread) return wait_as_thread(s, d, d == io_direction::read ? POLLIN | POLLRDHUP : POLLOUT, until);
  io_side& side = s.side(d);
  s.lock.lock();
  std::error_code error;
  std::int64_t const deadline = earlier(until, side.deadline.load(std::memory_order_relaxed));
  if (s.closing()) {
    error = errc::closed;  // io_close has set the bit and will find nobody in the list
  } else if (deadline != never && deadline <= clock_ns()) {
    error = timed_out();
  } else if (side.edges.load(std::memory_order_relaxed) == seen && !(error = register_locked(s))) {
    return park_locked(s, d, self, deadline, timed_out());
  }
  s.lock.unlock();
  return error;
}

std::error_code io_pause(io_slot& s, io_direction d, waiter& self, std::int64_t until) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (self.is_thread) {
    std::error_code const e = wait_as_thread(s, d, 0, until);
    return e == std::errc::timed_out ? std::error_code() : e;
  }
  s.lock.lock();
  if (s.closing()) {
    s.lock.unlock();
    return errc::closed;
  }
  return park_locked(s, d, self, until, {});
}

}  // namespace weft::rt
