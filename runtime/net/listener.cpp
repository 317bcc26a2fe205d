// Listening and accepting.
//
// TCP_NODELAY is set on the listener: accepted sockets inherit it, which saves a system call a connection.
#include <weft/net/listener.hpp>

#include <algorithm>
#include <atomic>
#include <string>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/net/operation.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::net {

using rt::io_direction;
using rt::io_kind;

namespace {

enum class after_failure { wait, again, back_off, give_up };

/// What accept(2)'s errors mean for who accepts. Linux hands on what has happened to the connection itself.
after_failure judge(int error) noexcept {
  switch (error) {
    case EAGAIN: return after_failure::wait;
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET: return after_failure::again;
    case EMFILE:
    case ENFILE:
    case EPERM:  // a firewall's, or a filter's of system calls, which would refuse the next one as soon
    case ENOBUFS:
    case ENOMEM: return after_failure::back_off;
    default: return after_failure::give_up;
  }
}

result<detail::io_handle> listen_at(endpoint const& at, io_kind kind, listen_options const& options) {
  int const family = static_cast<sockaddr const*>(at.data())->sa_family;
  int const fd = system::socket(family, SOCK_STREAM);
  if (fd < 0) return system_failure(fd);
  auto handle = own_descriptor(fd, io_kind::listener);
  if (!handle) return handle;
  int e = 0;
  if (kind == io_kind::tcp) {
    e = system::set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (e == 0 && options.reuse_port) e = system::set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (e == 0) e = system::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (e == 0 && family == AF_INET6) {
      // [::] takes IPv4 too, whatever net.ipv6.bindv6only says; it has no meaning for other addresses.
      e = system::set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    }
  }
  if (e == 0) e = system::listen(fd, at.data(), at.size(), options.backlog);
  if (e < 0) return system_failure(e);
  return handle;
}

result<detail::io_handle> adopt_listener(int fd, bool local) {
  if (rt::current_simulation() != nullptr) return fail(std::errc::operation_not_supported);
  int const family = system::family_of_listener(fd);
  if (family < 0) return system_failure(family);
  if (local != (family == AF_UNIX) || (!local && family != AF_INET && family != AF_INET6))
    return fail(std::errc::invalid_argument);
  int e = system::make_non_blocking(fd);
  if (e == 0) e = system::close_on_exec(fd);
  if (e == 0 && !local) e = system::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);  // as listen_at
  if (e < 0) return system_failure(e);
  rt::io_slot* const slot = rt::io_open(fd, io_kind::listener);
  if (slot == nullptr) return fail(std::errc::not_enough_memory);
  (void)expose(slot);  // others have it, too
  return detail::io_handle(slot);
}

/// A connection that is there already; without a slot: none.
detail::io_handle take_from(rt::io_slot* listener, io_kind kind) noexcept {
  rt::io_use const use(listener);
  if (!use) return {};
  int fd;
  do fd = system::accept(listener->fd);
  while (fd < 0 && judge(-fd) == after_failure::again);
  if (fd < 0) return {};
  return own_descriptor(fd, kind).value_or(detail::io_handle());
}

}  // namespace

result<detail::io_handle> accept_from(rt::io_slot* listener, io_kind kind) {
  constexpr std::int64_t shortest = 5'000'000, longest = 1'000'000'000;
  rt::waiter& self = rt::cancellation_point();
  rt::io_use const use(listener);
  if (!use) return fail(errc::closed);
  rt::io_side& side = listener->side(io_direction::read);
  for (std::int64_t pause = shortest;;) {
    std::uint32_t const seen = side.edges.load(std::memory_order_acquire);  // pairs with the dispatch of an edge
    int fd = system::accept(listener->fd);
    if (fd >= 0) {
      auto handle = own_descriptor(fd, kind);
      if (handle) {
        rt::expect_handler();
        return handle;
      }
      fd = -ENOMEM;
    }
    if (listener->closing()) return fail(errc::closed);
    std::error_code error;
    switch (judge(-fd)) {
      case after_failure::wait: error = rt::io_wait(*listener, io_direction::read, self, seen); break;
      case after_failure::again: break;
      case after_failure::back_off:
        error = rt::io_pause(*listener, io_direction::read, self, rt::clock_ns() + pause);
        pause = std::min(2 * pause, longest);
        break;
      case after_failure::give_up: return system_failure(fd);
    }
    if (error) return fail(error);
  }
}

result<tcp_listener> tcp_listener::bind(std::string_view address, listen_options options) {
  auto const places = resolve_until(address, true, rt::never);
  if (!places) return fail(places.error());
  std::error_code error;
  for (endpoint const& place : *places) {
    auto handle = listen_at(place, io_kind::tcp, options);
    if (handle) return tcp_listener(std::move(*handle));
    error = handle.error();
    // [::] stands for all addresses; 0.0.0.0 is for machines without IPv6, not a second try at a port that is taken.
    if (error == std::errc::address_in_use) break;
  }
  return fail(error);
}

result<tcp_listener> tcp_listener::adopt(int fd) {
  auto handle = adopt_listener(fd, false);
  if (!handle) return fail(handle.error());
  return tcp_listener(std::move(*handle));
}

result<tcp_stream> tcp_listener::accept() {
  auto handle = accept_from(handle_.slot(), io_kind::tcp);
  if (!handle) return fail(handle.error());
  return tcp_stream(std::move(*handle));
}

std::optional<tcp_stream> tcp_listener::take_waiting() noexcept {
  auto handle = take_from(handle_.slot(), io_kind::tcp);
  return handle.slot() != nullptr ? std::optional(tcp_stream(std::move(handle))) : std::nullopt;
}

endpoint tcp_listener::local_endpoint() const noexcept { return socket_name(handle_.slot(), false); }
int tcp_listener::native_handle() const noexcept { return expose(handle_.slot()); }
void tcp_listener::close() noexcept { close_handle(handle_); }

/// The path, which a simulated run has not made, is removed once, by whoever closes first, if what is there is still what bind made. Before
/// the socket, which keeps its inode: nobody else's can have the same number.
struct unix_listener::bound_path {
  std::string path;  // constant, as the rest is; empty: abstract
  dev_t device = 0;
  ino_t inode = 0;
  std::atomic<bool> removed{false};

  void remember(std::string_view at) {
    struct stat made{};
    path = at;
    if (::lstat(path.c_str(), &made) != 0) return path.clear();  // somebody has removed it
    device = made.st_dev;
    inode = made.st_ino;
  }

  void remove() noexcept {
    if (path.empty() || removed.exchange(true, std::memory_order_relaxed)) return;
    struct stat there{};
    if (::lstat(path.c_str(), &there) != 0 || there.st_dev != device || there.st_ino != inode) return;
    ::unlink(path.c_str());
  }
};

result<unix_listener> unix_listener::bind(std::string_view path, listen_options options) {
  auto const place = endpoint::unix_path(path);
  if (!place) return fail(place.error());
  auto bound = std::make_shared<bound_path>();
  bound->path.reserve(path.size());  // nothing throws once the path is there
  auto handle = listen_at(*place, io_kind::socket, options);
  if (!handle) return fail(handle.error());
  if (!path.starts_with('@') && !rt::is_simulated(handle->slot()->fd)) bound->remember(path);
  return unix_listener(std::move(*handle), std::move(bound));
}

result<unix_listener> unix_listener::adopt(int fd) {
  auto none = std::make_shared<bound_path>();
  auto handle = adopt_listener(fd, true);
  if (!handle) return fail(handle.error());
  return unix_listener(std::move(*handle), std::move(none));
}

unix_listener::~unix_listener() { close(); }

result<unix_stream> unix_listener::accept() {
  auto handle = accept_from(handle_.slot(), io_kind::socket);
  if (!handle) return fail(handle.error());
  return unix_stream(std::move(*handle));
}

endpoint unix_listener::local_endpoint() const noexcept { return socket_name(handle_.slot(), false); }
std::optional<unix_stream> unix_listener::take_waiting() noexcept {
  auto handle = take_from(handle_.slot(), io_kind::socket);
  return handle.slot() != nullptr ? std::optional(unix_stream(std::move(handle))) : std::nullopt;
}

int unix_listener::native_handle() const noexcept { return expose(handle_.slot()); }
void unix_listener::close() noexcept {
  if (handle_.slot() == nullptr) return;
  path_->remove();
  close_handle(handle_);
}

}  // namespace weft::net
