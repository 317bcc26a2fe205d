// Endpoints as text and back. What is taken for an address is strict: four decimal numbers, or what RFC 4291 says in
// brackets. A name of digits and dots alone is a mistyped address and not worth a look-up.
#include "runtime/net/address.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "runtime/net/operation.hpp"

namespace weft::net {

namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_name_character(char c) noexcept {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
}

bool is_host_name(std::string_view host) noexcept {
  if (host.empty() || host.size() > 253 || host.front() == '.' || host.find("..") != host.npos) return false;
  // 0x7f.1 is no name: the resolver would take it for an address, and who filters addresses would not.
  char text[254] = {};
  in_addr other_notation{};
  host.copy(text, host.size());
  if (::inet_aton(text, &other_notation) != 0) return false;
  return std::ranges::all_of(host, is_name_character) &&
         !std::ranges::all_of(host, [](char c) { return is_digit(c) || c == '.'; });
}

endpoint from_ipv4(in_addr address, std::uint16_t port) noexcept {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr = address;
  return endpoint::from_sockaddr(&a, sizeof a);
}

endpoint from_ipv6(in6_addr const& address, std::uint16_t port, std::uint32_t scope) noexcept {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  a.sin6_addr = address;
  a.sin6_scope_id = scope;
  return endpoint::from_sockaddr(&a, sizeof a);
}

/// "eth0" or "3"; 0 if there is no such interface.
std::uint32_t scope_of(std::string const& zone) noexcept {
  if (unsigned const index = ::if_nametoindex(zone.c_str())) return index;
  std::uint32_t number = 0;
  auto const [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), number);
  return error == std::errc() && end == zone.data() + zone.size() ? number : 0;
}

template <class Sockaddr>
Sockaddr as(endpoint const& e) noexcept {
  Sockaddr a{};
  std::memcpy(&a, e.data(), std::min<std::size_t>(sizeof a, e.size()));
  return a;
}

sa_family_t family_of(endpoint const& e) noexcept {
  return e.size() < sizeof(sa_family_t) ? sa_family_t{AF_UNSPEC} : as<sockaddr>(e).sa_family;
}

std::string unix_to_string(endpoint const& e) {
  auto const a = as<sockaddr_un>(e);
  // The kernel counts a null behind a path that fills it.
  std::size_t const length = std::min(e.size() - offsetof(sockaddr_un, sun_path), sizeof a.sun_path);
  if (length == 0) return "unnamed";
  if (a.sun_path[0] == 0) return "@" + std::string(a.sun_path + 1, length - 1);
  return {a.sun_path, ::strnlen(a.sun_path, length)};
}

}  // namespace

result<host_and_port> split_address(std::string_view text) {
  host_and_port to;
  std::string_view port;
  bool const bracketed = text.starts_with('[');
  if (bracketed) {
    std::size_t const end = text.find(']');
    if (end == text.npos || end + 1 >= text.size() || text[end + 1] != ':') return fail(std::errc::invalid_argument);
    to.host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  } else {
    std::size_t const colon = text.find(':');
    if (colon == text.npos) return fail(std::errc::invalid_argument);
    to.host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  auto const [end, error] = std::from_chars(port.data(), port.data() + port.size(), to.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    return fail(std::errc::invalid_argument);
  }
  to.numeric = static_cast<bool>(numeric_endpoint(to.host, to.port));
  bool const is_ipv6 = to.host.find(':') != to.host.npos;
  bool const good = bracketed ? to.numeric && is_ipv6 : to.numeric || to.host.empty() || is_host_name(to.host);
  if (!good) return fail(std::errc::invalid_argument);
  return to;
}

endpoint numeric_endpoint(std::string const& host, std::uint16_t port) noexcept {
  if (host.find('\0') != host.npos) return {};
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return from_ipv4(v4, port);
  char text[INET6_ADDRSTRLEN] = {};
  std::size_t const percent = host.find('%');
  std::size_t const length = std::min(percent, host.size());
  if (length >= sizeof text) return {};
  host.copy(text, length);
  std::uint32_t scope = 0;
  if (percent != host.npos && (scope = scope_of(host.substr(percent + 1))) == 0) return {};
  in6_addr v6{};
  return ::inet_pton(AF_INET6, text, &v6) == 1 ? from_ipv6(v6, port, scope) : endpoint();
}

result<endpoint> endpoint::parse(std::string_view address) {
  auto const parts = split_address(address);
  if (!parts) return fail(parts.error());
  if (!parts->numeric) return fail(std::errc::invalid_argument);
  return numeric_endpoint(parts->host, parts->port);
}

result<endpoint> endpoint::unix_path(std::string_view path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  bool const abstract = path.starts_with('@');
  // A path ends with a null, an abstract name begins with one instead of the '@'.
  if (path.size() < (abstract ? 2u : 1u) || path.size() + (abstract ? 0 : 1) > sizeof a.sun_path ||
      path.find('\0') != path.npos) {
    return fail(std::errc::invalid_argument);
  }
  path.copy(a.sun_path, path.size());
  if (abstract) a.sun_path[0] = 0;
  return from_sockaddr(&a, offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
}

endpoint endpoint::from_sockaddr(void const* address, std::size_t length) noexcept {
  endpoint e;
  if (length < sizeof(sa_family_t) || length > capacity) return e;
  std::memcpy(e.bytes_.data(), address, length);
  e.length_ = static_cast<std::uint32_t>(length);
  return e;
}

std::uint16_t endpoint::port() const noexcept {
  switch (family_of(*this)) {
    case AF_INET: return ntohs(as<sockaddr_in>(*this).sin_port);
    case AF_INET6: return ntohs(as<sockaddr_in6>(*this).sin6_port);
    default: return 0;
  }
}

std::string endpoint::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  switch (family_of(*this)) {
    case AF_INET: {
      auto const a = as<sockaddr_in>(*this);
      ::inet_ntop(AF_INET, &a.sin_addr, text, sizeof text);
      return std::string(text) + ":" + std::to_string(port());
    }
    case AF_INET6: {
      auto const a = as<sockaddr_in6>(*this);
      ::inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text);
      std::string host(text);
      char zone[IF_NAMESIZE] = {};
      if (a.sin6_scope_id != 0) {
        host += "%";
        host += ::if_indextoname(a.sin6_scope_id, zone) != nullptr ? zone : std::to_string(a.sin6_scope_id);
      }
      return "[" + host + "]:" + std::to_string(port());
    }
    case AF_UNIX: return unix_to_string(*this);
    default: return {};
  }
}

}  // namespace weft::net
