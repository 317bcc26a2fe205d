// What the network of a simulated run has to know of an address.
#pragma once

#include <cstdint>

#include <weft/net/endpoint.hpp>

namespace weft::sim {

[[nodiscard]] int family_of(net::endpoint const& e) noexcept;
[[nodiscard]] net::endpoint with_port(net::endpoint const& e, std::uint16_t port) noexcept;

/// 0.0.0.0 or [::].
[[nodiscard]] bool is_any(net::endpoint const& e) noexcept;
/// The IPv4 address that ::ffff:0:0/96 stands for; others as they are.
[[nodiscard]] net::endpoint without_mapping(net::endpoint const& e) noexcept;
/// This machine's address instead of any.
[[nodiscard]] net::endpoint local_instead_of_any(net::endpoint const& e) noexcept;

/// Whether what is sent to `target` may go to a socket bound to `place`.
[[nodiscard]] bool covers(net::endpoint const& place, net::endpoint const& target) noexcept;
/// Whether two sockets cannot both have these.
[[nodiscard]] bool clash(net::endpoint const& a, net::endpoint const& b) noexcept;

}  // namespace weft::sim
