#include "runtime/sim/addresses.hpp"

#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace weft::sim {

namespace {

template <class Sockaddr>
Sockaddr as(net::endpoint const& e) noexcept {
  Sockaddr a{};
  std::memcpy(&a, e.data(), e.size() < sizeof a ? e.size() : sizeof a);
  return a;
}

template <class Sockaddr>
net::endpoint from(Sockaddr const& a) noexcept {
  return net::endpoint::from_sockaddr(&a, sizeof a);
}

}  // namespace

int family_of(net::endpoint const& e) noexcept { return e ? as<sockaddr>(e).sa_family : AF_UNSPEC; }

net::endpoint with_port(net::endpoint const& e, std::uint16_t port) noexcept {
  if (family_of(e) == AF_INET) {
    auto a = as<sockaddr_in>(e);
    a.sin_port = htons(port);
    return from(a);
  }
  auto a = as<sockaddr_in6>(e);
  a.sin6_port = htons(port);
  return from(a);
}

bool is_any(net::endpoint const& e) noexcept {
  switch (family_of(e)) {
    case AF_INET: return as<sockaddr_in>(e).sin_addr.s_addr == INADDR_ANY;
    case AF_INET6: {
      auto const a = as<sockaddr_in6>(e);
      return IN6_IS_ADDR_UNSPECIFIED(&a.sin6_addr);
    }
    default: return false;
  }
}

net::endpoint without_mapping(net::endpoint const& e) noexcept {
  auto const mapped = as<sockaddr_in6>(e);
  if (family_of(e) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&mapped.sin6_addr)) return e;
  sockaddr_in plain{};
  plain.sin_family = AF_INET;
  plain.sin_port = mapped.sin6_port;
  std::memcpy(&plain.sin_addr, mapped.sin6_addr.s6_addr + 12, sizeof plain.sin_addr);
  return from(plain);
}

net::endpoint local_instead_of_any(net::endpoint const& e) noexcept {
  if (!is_any(e)) return e;
  if (family_of(e) == AF_INET) {
    auto a = as<sockaddr_in>(e);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return from(a);
  }
  auto a = as<sockaddr_in6>(e);
  a.sin6_addr = in6addr_loopback;
  return from(a);
}

bool covers(net::endpoint const& place, net::endpoint const& target) noexcept {
  if (place == target) return true;
  return is_any(place) && place.port() == target.port() &&
         (family_of(place) == AF_INET6 || family_of(target) == AF_INET);
}

bool clash(net::endpoint const& a, net::endpoint const& b) noexcept { return covers(a, b) || covers(b, a); }

}  // namespace weft::sim
