// The loop that every call on a socket is: steps 1 to 5 of runtime/sched/io.hpp.
#pragma once

#include <cerrno>
#include <cstddef>
#include <expected>

#include <weft/detail/simulated.hpp>
#include <weft/error.hpp>
#include <weft/net/endpoint.hpp>
#include <weft/net/handle.hpp>

#include "runtime/net/system.hpp"
#include "runtime/sched/io.hpp"

namespace weft::net {

[[nodiscard]] inline std::unexpected<std::error_code> fail(std::error_code e) noexcept { return std::unexpected(e); }
[[nodiscard]] inline std::unexpected<std::error_code> fail(std::errc e) noexcept {
  return std::unexpected(std::make_error_code(e));
}
[[nodiscard]] inline std::unexpected<std::error_code> fail(weft::errc e) noexcept {
  return std::unexpected(make_error_code(e));
}
[[nodiscard]] inline std::unexpected<std::error_code> system_failure(std::ptrdiff_t negative) noexcept {
  return std::unexpected(system::error(negative));
}

/// A write has failed by -negative.
inline void note_failed_write(rt::io_slot& slot, std::ptrdiff_t negative) noexcept {
  if (negative == -ECONNRESET || negative == -ETIMEDOUT || negative == -EHOSTUNREACH || negative == -ENETUNREACH)
    slot.gone_by.store(static_cast<std::uint8_t>(-negative), std::memory_order_relaxed);
}

/// Calls attempt(fd), which returns at least 0 or -errno, until it returns anything but -EAGAIN, and waits in between.
template <class Attempt>
[[nodiscard]] result<std::size_t> operate(rt::io_slot* slot, rt::io_direction direction, Attempt attempt) {
  rt::waiter& self = rt::cancellation_point();
  rt::io_use const use(slot);
  if (!use) return fail(errc::closed);
  rt::io_side& side = slot->side(direction);
  for (;;) {
    if (rt::io_past_deadline(side)) return fail(std::errc::timed_out);
    std::uint32_t const seen = side.edges.load(std::memory_order_acquire);  // pairs with the dispatch of an edge
    std::ptrdiff_t const n = attempt(slot->fd);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (n != -EAGAIN) {
      if (slot->closing()) return fail(errc::closed);  // it was our close that broke the call
      if (direction == rt::io_direction::write) note_failed_write(*slot, n);
      return system_failure(n);
    }
    if (std::error_code e = rt::io_wait(*slot, direction, self, seen)) return fail(e);
  }
}

/// A handle on a fresh descriptor; closes it if there is no memory for one.
[[nodiscard]] result<detail::io_handle> own_descriptor(int fd, rt::io_kind kind) noexcept;

/// The close() and the set_..._deadline() of all sockets; nothing for one that was moved from.
void close_handle(detail::io_handle const& handle) noexcept;
void set_deadline(detail::io_handle const& handle, rt::io_direction direction, time_point at) noexcept;

/// What the kernel gives. An IPv4 peer of a socket that takes both kinds is one of IPv4, not of ::ffff:0:0/96: it compares equal to its own name.
[[nodiscard]] endpoint endpoint_of(sockaddr_storage const& address, socklen_t length) noexcept;

/// What the kernel says of an open socket's ends; none if it says nothing.
[[nodiscard]] endpoint socket_name(rt::io_slot* slot, bool remote) noexcept;

/// The descriptor for the user, -1 if closed. From then on it may have duplicates.
[[nodiscard]] int expose(rt::io_slot* slot) noexcept;

/// For calls that cannot be told to leave SIGPIPE out: write(2), sendfile(2).
void survive_broken_pipes() noexcept;

/// Connects a fresh socket and waits until `until`.
[[nodiscard]] result<detail::io_handle> connect_to(endpoint const& target, rt::io_kind kind, std::int64_t until);

/// The addresses of "host:port". `listening` decides what an empty host means: every address, or this machine.
[[nodiscard]] result<std::vector<endpoint>> resolve_until(std::string_view address, bool listening, std::int64_t until);

/// The next connection: see tcp_listener::accept.
[[nodiscard]] result<detail::io_handle> accept_from(rt::io_slot* listener, rt::io_kind kind);

}  // namespace weft::net
