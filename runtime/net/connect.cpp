// Opening sockets: connecting, and what all of them share.
#include <algorithm>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <weft/net/stream.hpp>

#include "runtime/net/operation.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::net {

using rt::io_direction;
using rt::io_kind;

namespace {

int family_of(endpoint const& e) noexcept { return e ? static_cast<sockaddr const*>(e.data())->sa_family : AF_UNSPEC; }

/// A unix socket says EAGAIN while the listener's backlog is full and gives no sign when it no longer is.
result<void> connect_when_there_is_room(rt::io_slot& slot, rt::waiter& self, endpoint const& target,
                                        std::int64_t until) {
  for (std::int64_t pause = 500'000;; pause = std::min<std::int64_t>(2 * pause, 50'000'000)) {
    int const e = system::connect(slot.fd, target.data(), target.size());
    if (e == 0) return {};
    if (e != -EAGAIN) return system_failure(e);
    std::int64_t const now = rt::clock_ns();
    if (now >= until) return fail(std::errc::timed_out);
    std::int64_t const next = until - now < pause ? until : now + pause;
    if (std::error_code error = rt::io_pause(slot, io_direction::write, self, next)) return fail(error);
  }
}

result<void> connect_now(rt::io_slot& slot, rt::waiter& self, endpoint const& target, std::int64_t until) {
  std::uint32_t const fresh = slot.side(io_direction::write).edges.load(std::memory_order_acquire);
  int const e = system::connect(slot.fd, target.data(), target.size());
  if (e == 0) return {};
  if (e != -EINPROGRESS) return system_failure(e);
  for (std::uint32_t seen = fresh;;) {
    if (std::error_code error = rt::io_wait(slot, io_direction::write, self, seen, until)) return fail(error);
    seen = slot.side(io_direction::write).edges.load(std::memory_order_acquire);
    if (system::is_ready(slot.fd, POLLOUT) == 0) continue;  // an edge for nothing
    if (int const failed = system::pending_error(slot.fd); failed < 0) return system_failure(failed);
    return {};
  }
}

/// Where nobody listens at a port of this machine the kernel may have chosen that very port for the socket, which is then connected to itself
/// (a simultaneous open, RFC 9293), and holds the port against who would listen there.
bool has_met_itself(rt::io_slot& slot, endpoint const& target) noexcept {
  endpoint const local = socket_name(&slot, false);
  return local.port() == target.port() && local == socket_name(&slot, true);
}

}  // namespace

result<detail::io_handle> own_descriptor(int fd, io_kind kind) noexcept {
  if (rt::is_simulated(fd) && kind == io_kind::tcp) kind = io_kind::socket;  // their short reads mean nothing
  rt::io_slot* slot = rt::io_open(fd, kind);
  if (slot == nullptr) {
    system::close(fd);
    return fail(std::errc::not_enough_memory);
  }
  return detail::io_handle(slot);
}

void close_handle(detail::io_handle const& handle) noexcept {
  detail::preemption_point();
  if (handle.slot() != nullptr) rt::io_close(*handle.slot());
  detail::preemption_point();
}

void set_deadline(detail::io_handle const& handle, rt::io_direction direction, time_point at) noexcept {
  detail::preemption_point();
  if (handle.slot() != nullptr) rt::io_set_deadline(*handle.slot(), direction, detail::deadline_at(at));
  detail::preemption_point();
}

endpoint endpoint_of(sockaddr_storage const& address, socklen_t length) noexcept {
  auto const& mapped = reinterpret_cast<sockaddr_in6 const&>(address);
  if (address.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&mapped.sin6_addr))
    return endpoint::from_sockaddr(&address, length);
  sockaddr_in plain{};
  plain.sin_family = AF_INET;
  plain.sin_port = mapped.sin6_port;
  std::memcpy(&plain.sin_addr, mapped.sin6_addr.s6_addr + 12, sizeof plain.sin_addr);
  return endpoint::from_sockaddr(&plain, sizeof plain);
}

endpoint socket_name(rt::io_slot* slot, bool remote) noexcept {
  rt::io_use const use(slot);
  if (!use) return {};
  sockaddr_storage a{};
  socklen_t length = 0;
  return system::name(slot->fd, remote, a, length) == 0 ? endpoint_of(a, length) : endpoint();
}

int expose(rt::io_slot* slot) noexcept {
  rt::io_use const use(slot);
  if (!use) return -1;
  slot->named.store(true, std::memory_order_relaxed);
  slot->exposed.store(true, std::memory_order_relaxed);  // read by io_close; who uses the number must not race with it
  return slot->fd;
}

result<detail::io_handle> connect_to(endpoint const& target, io_kind kind, std::int64_t until) {
  rt::waiter& self = rt::cancellation_point();
  int const fd = system::socket(family_of(target), SOCK_STREAM);
  if (fd < 0) return system_failure(fd);
  auto handle = own_descriptor(fd, kind);
  if (!handle) return handle;
  rt::io_slot& slot = *handle->slot();
  rt::io_use const use(&slot);
  result<void> done;
  if (kind == io_kind::tcp) {
    [[maybe_unused]] int const ignored = system::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    done = connect_now(slot, self, target, until);
    if (done && has_met_itself(slot, target)) return fail(std::errc::connection_refused);
  } else if (rt::is_simulated(fd)) {
    done = connect_now(slot, self, target, until);  // whose network tells
  } else {
    done = connect_when_there_is_room(slot, self, target, until);
  }
  if (!done) return fail(done.error());
  return handle;
}

result<tcp_stream> tcp_stream::connect(std::string_view address, detail::patience patience) {
  (void)rt::cancellation_point();  // also for what is no address
  std::int64_t const until = detail::deadline_after(patience);
  auto const targets = resolve_until(address, false, until);
  if (!targets) return fail(targets.error());
  std::error_code error;
  for (endpoint const& target : *targets) {
    auto handle = connect_to(target, io_kind::tcp, until);
    if (handle) return tcp_stream(std::move(*handle));
    error = handle.error();
    if (until != rt::never && rt::clock_ns() >= until) return fail(std::errc::timed_out);
  }
  return fail(error);
}

result<unix_stream> unix_stream::connect(std::string_view path, detail::patience patience) {
  (void)rt::cancellation_point();
  std::int64_t const until = detail::deadline_after(patience);
  auto const target = endpoint::unix_path(path);
  if (!target) return fail(target.error());
  auto handle = connect_to(*target, io_kind::socket, until);
  if (!handle) return fail(handle.error());
  return unix_stream(std::move(*handle));
}

}  // namespace weft::net
