// Taking "host:port" apart, without looking any name up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <weft/net/endpoint.hpp>

struct sockaddr;

namespace weft::net {

struct host_and_port {
  std::string host;  // without brackets; may be empty
  std::uint16_t port = 0;
  bool numeric = false;  // an IPv4 or IPv6 address, not a name
};

/// std::errc::invalid_argument for all that is neither "address:port" nor "name:port" nor ":port".
[[nodiscard]] result<host_and_port> split_address(std::string_view text);

/// The endpoint of a numeric host; none if it is not one.
[[nodiscard]] endpoint numeric_endpoint(std::string const& host, std::uint16_t port) noexcept;

}  // namespace weft::net
