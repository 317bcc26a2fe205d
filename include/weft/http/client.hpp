// An HTTP/1.1 client: keeps connections alive and uses them again, host by host.
#pragma once

#include <weft/error.hpp>
#include <weft/http/errc.hpp>
#include <weft/http/message.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace weft::rt {
struct http_client;
}

namespace weft::http {

struct client_options {
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(30);
  /// An unused connection is not used again after this.
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(30);
  std::size_t max_idle_per_host = 64;
  std::size_t max_header_bytes = 64 * 1024;
  std::size_t max_body_bytes = 64 * 1024 * 1024;
};

/// May be used by many tasks at once; copies share the pool. Every call parks until the whole response is there, and is
/// a cancellation point: a request that is cancelled on its way closes its connection. Redirects are not
/// followed. "https://" is errc::unsupported_scheme.
class client {
 public:
  explicit client(client_options options = {});

  [[nodiscard]] result<response> get(std::string_view url);
  [[nodiscard]] result<response> post(std::string_view url, std::string body);
  /// Sends a request made with a full URL. A request whose kept connection turns out to be closed is sent once more on a
  /// new one, if its method may be repeated (RFC 9110, 9.2.2) and nothing of a response had come.
  [[nodiscard]] result<response> send(request q);

 private:
  std::shared_ptr<rt::http_client> impl_;
};

/// One GET on a connection of its own.
[[nodiscard]] result<response> get(std::string_view url);

}  // namespace weft::http
