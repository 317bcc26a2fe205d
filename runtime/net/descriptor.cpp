// Descriptors that the program brings along.
#include <csignal>
#include <cstdint>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weft/net/stream.hpp>

#include "runtime/net/operation.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::net {

using rt::io_direction;
using rt::io_kind;

/// A handler that does nothing, not SIG_IGN: programs that this one starts would inherit that. A handler of the program's own,
/// or its SIG_IGN, is left alone. Blocking the signal around each write would cost three system calls.
void survive_broken_pipes() noexcept {
  [[maybe_unused]] static bool const once = [] {
    struct sigaction now{};
    if (::sigaction(SIGPIPE, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) {
      return false;
    }
    struct sigaction quiet{};
    quiet.sa_handler = [](int) {};
    quiet.sa_flags = SA_RESTART | SA_ONSTACK;
    return ::sigaction(SIGPIPE, &quiet, nullptr) == 0;
  }();
}

namespace {

/// How to read and write it; or an error.
result<io_kind> kind_of(int fd) noexcept {
  int const mode = system::file_mode(fd);
  if (mode < 0) return system_failure(mode);
  if (fd <= 2 || (S_ISCHR(mode) && ::isatty(fd))) return io_kind::blocking;
  return S_ISSOCK(mode) ? io_kind::socket : io_kind::pipe;
}

result<void> wait_on(rt::io_slot& slot, io_direction direction, rt::waiter& self, std::int64_t until) {
  short const events = direction == io_direction::read ? POLLIN : POLLOUT;
  rt::io_use const use(&slot);
  if (!use) return fail(errc::closed);
  for (;;) {
    std::uint32_t const seen = slot.side(direction).edges.load(std::memory_order_acquire);
    if (slot.closing()) return fail(errc::closed);
    if (system::is_ready(slot.fd, events) != 0) return {};
    if (std::error_code e = rt::io_wait(slot, direction, self, seen, until)) return fail(e);
  }
}

/// No other descriptor is known to a simulated run. No handle is taken: the stream is its owner's to end, and nothing runs between
/// slot_of and the use that keeps the descriptor open.
result<void> wait_in_run(int fd, io_direction direction, std::int64_t until) {
  if (!rt::is_simulated(fd)) return fail(std::errc::operation_not_supported);
  rt::waiter& self = rt::cancellation_point();
  rt::io_slot* const slot = rt::network_of_run().slot_of(fd);
  if (slot == nullptr) return fail(std::errc::bad_file_descriptor);
  return wait_on(*slot, direction, self, until);
}

/// Waits on a duplicate: the number may be registered with the poller already, as somebody's stream, and the caller may close
/// it while we wait.
result<void> wait_ready(int fd, io_direction direction, std::chrono::nanoseconds patience) {
  std::int64_t const until = detail::deadline_after(patience);
  if (rt::current_simulation() != nullptr) return wait_in_run(fd, direction, until);
  short const events = direction == io_direction::read ? POLLIN : POLLOUT;
  rt::waiter& self = rt::cancellation_point();
  if (int const ready = system::is_ready(fd, events); ready != 0) {
    if (ready > 0) return {};
    return system_failure(ready);
  }
  if (until != rt::never && until <= rt::clock_ns()) return fail(std::errc::timed_out);
  detail::io_handle handle;  // outlives the watch, which points into it
  rt::io_watch watch(fd);
  int const duplicate = system::duplicate(fd);
  if (duplicate < 0) return system_failure(duplicate);
  auto made = own_descriptor(duplicate, io_kind::other);
  if (!made) return fail(made.error());
  handle = std::move(*made);
  rt::io_slot& slot = *handle.slot();
  slot.exposed.store(true,
                     std::memory_order_relaxed);  // the open file outlives us: io_close must take it out of the poller
  if (!watch.through(slot)) return fail(errc::closed);
  return wait_on(slot, direction, self, until);
}

}  // namespace

result<fd_stream> fd_stream::adopt(int fd) {
  if (rt::current_simulation() != nullptr) return fail(std::errc::operation_not_supported);
  auto kind = kind_of(fd);
  if (!kind) return fail(kind.error());
  if (*kind != io_kind::socket) survive_broken_pipes();
  if (*kind != io_kind::blocking) {
    if (int const e = system::make_non_blocking(fd); e < 0) return system_failure(e);
  }
  int own = fd;
  if (*kind == io_kind::blocking && ::isatty(fd)) {
    if (system::is_terminal_master(
            fd)) {  // no program but ours has it, and opening it anew would make another terminal
      if (fd > 2 && system::make_non_blocking(fd) == 0) *kind = io_kind::terminal;
    } else if (int const fresh = system::reopen_terminal(fd); fresh >= 0) {
      *kind = io_kind::terminal;
      own = fresh;
      if (fd > 2 && ::dup3(fresh, fd, O_CLOEXEC) >= 0) {  // the number stays the caller's
        ::close(fresh);
        own = fd;
      }
    }
  }
  if (own <= 2 && !rt::io_claim_standard(own)) {
    own = system::duplicate(fd);
    if (own < 0) return system_failure(own);
  }
  rt::io_slot* slot = rt::io_open(own, *kind);
  if (slot == nullptr) {
    if (own <= 2) rt::io_unclaim_standard(own);
    else if (own != fd) ::close(own);
    return fail(std::errc::not_enough_memory);
  }
  slot->keep_open = own <= 2;
  slot->named.store(true, std::memory_order_relaxed);
  slot->exposed.store(true, std::memory_order_relaxed);  // there may be duplicates
  return fd_stream(detail::io_handle(slot));
}

result<void> wait_readable(int fd, detail::patience patience) { return wait_ready(fd, io_direction::read, patience); }

result<void> wait_writable(int fd, detail::patience patience) { return wait_ready(fd, io_direction::write, patience); }

}  // namespace weft::net
