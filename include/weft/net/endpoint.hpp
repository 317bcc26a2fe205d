// Addresses: IPv4, IPv6 and unix paths.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/error.hpp>

namespace weft::net {

/// One end of a connection, or none (default-constructed). A plain value: the kernel's own form of the address, zero-filled.
class endpoint {
 public:
  /// No name is looked up: "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80". Else std::errc::invalid_argument.
  [[nodiscard]] static result<endpoint> parse(std::string_view address);

  /// A unix socket's path; '@' at its start means the abstract namespace. invalid_argument if empty or too long.
  [[nodiscard]] static result<endpoint> unix_path(std::string_view path);

  /// 0 for unix sockets and for none.
  [[nodiscard]] std::uint16_t port() const noexcept;

  /// "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@abstract", "unnamed" for a unix socket without a path, "" for none.
  [[nodiscard]] std::string to_string() const;

  /// False: none.
  [[nodiscard]] explicit operator bool() const noexcept { return length_ != 0; }

  friend bool operator==(endpoint const&, endpoint const&) = default;

  // The kernel's view, for those who make system calls of their own: a sockaddr and its length.
  static constexpr std::size_t capacity = 112;
  [[nodiscard]] void const* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::uint32_t size() const noexcept { return length_; }
  /// Copies a sockaddr; none if it does not fit.
  [[nodiscard]] static endpoint from_sockaddr(void const* address, std::size_t length) noexcept;

 private:
  alignas(8) std::array<unsigned char, capacity> bytes_{};
  std::uint32_t length_ = 0;
};

/// All addresses of "host:port", at least one, best first. Waits without blocking a worker while the system's resolver runs;
/// a cancellation point. Errors: std::errc::invalid_argument for what is no address, else the resolver's.
[[nodiscard]] result<std::vector<endpoint>> resolve(std::string_view host_and_port);

}  // namespace weft::net

template <>
struct std::hash<weft::net::endpoint> {
  std::size_t operator()(weft::net::endpoint const& e) const noexcept {
    return std::hash<std::string_view>{}({static_cast<char const*>(e.data()), e.size()});
  }
};
