// Datagrams.
#include <weft/net/listener.hpp>

#include <netinet/in.h>

#include "runtime/net/operation.hpp"

namespace weft::net {

using rt::io_direction;

result<udp_socket> udp_socket::bind(std::string_view address) {
  auto const places = resolve_until(address, true, rt::never);
  if (!places) return fail(places.error());
  std::error_code error;
  for (endpoint const& place : *places) {
    sa_family_t const place_family = static_cast<sockaddr const*>(place.data())->sa_family;
    int fd = system::socket(place_family, SOCK_DGRAM);
    if (fd < 0) {
      error = system::error(fd);
      continue;
    }
    auto handle = own_descriptor(fd, rt::io_kind::other);
    if (!handle) return fail(handle.error());
    // As listen_at has it: [::] takes IPv4 too, and 0.0.0.0 is no second try at a port that is taken.
    int e = 0;
    if (place_family == AF_INET6) e = system::set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (e == 0) e = system::bind(fd, place.data(), place.size());
    if (e < 0) {
      error = system::error(e);
      if (error == std::errc::address_in_use) break;
      continue;
    }
    return udp_socket(std::move(*handle));
  }
  return fail(error);
}

result<std::size_t> udp_socket::send_to(const_buffer from, endpoint const& to) {
  auto const sent = operate(handle_.slot(), io_direction::write, [&](int fd) {
    return system::send_to(fd, from.bytes.data(), from.bytes.size(), to.data(), to.size());
  });
  detail::preemption_point();
  return sent;
}

result<std::pair<std::size_t, endpoint>> udp_socket::recv_from(mutable_buffer to) {
  endpoint sender;
  auto const n = operate(handle_.slot(), io_direction::read, [&](int fd) {
    sockaddr_storage address;
    socklen_t length = 0;
    std::ptrdiff_t const got = system::recv_from(fd, to.bytes.data(), to.bytes.size(), address, length);
    if (got >= 0) sender = endpoint_of(address, length);
    return got;
  });
  if (!n) return fail(n.error());
  return std::pair(*n, sender);
}

void udp_socket::set_read_deadline(time_point at) noexcept { set_deadline(handle_, io_direction::read, at); }
void udp_socket::set_write_deadline(time_point at) noexcept { set_deadline(handle_, io_direction::write, at); }

void udp_socket::close() noexcept { close_handle(handle_); }

endpoint udp_socket::local_endpoint() const noexcept { return socket_name(handle_.slot(), false); }
int udp_socket::native_handle() const noexcept { return expose(handle_.slot()); }

}  // namespace weft::net
