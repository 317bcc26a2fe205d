// URLs as the client needs them: where to connect, what to ask for, and where a redirection leads.
#pragma once

#include <weft/error.hpp>

#include <string>
#include <string_view>

namespace weft::rt {

struct url_parts {
  std::string host;     // and port, as they were given
  std::string address;  // host:port
  std::string target;   // path and query
};

/// errc::bad_url, errc::unsupported_scheme. Bytes of path and query that are not of ASCII are escaped.
[[nodiscard]] result<url_parts> split_url(std::string_view url);

/// What the Host field says: without the zone of an IPv6 address, which is this machine's matter alone (RFC 6874, 4).
[[nodiscard]] std::string host_field(url_parts const& url);

/// Whether `location` says neither scheme nor host.
[[nodiscard]] bool is_relative(std::string_view location) noexcept;

/// What `location`, of a response to a request for `base`, refers to (RFC 3986, 5.2). Its fragment goes.
[[nodiscard]] std::string resolve_url(url_parts const& base, std::string_view location);

}  // namespace weft::rt
