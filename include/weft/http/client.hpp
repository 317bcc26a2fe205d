// An HTTP/1.1 client: keeps connections alive and uses them again, host by host.
#pragma once

#include <weft/detail/deadline.hpp>
#include <weft/error.hpp>
#include <weft/http/errc.hpp>
#include <weft/http/message.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace weft::rt {
struct http_client;
}

namespace weft::http {

struct client_options {
  weft::detail::patience connect_timeout = std::chrono::seconds(30);
  /// An unused connection is not used again after this, and closed in one of the calls that follow.
  weft::detail::patience idle_timeout = std::chrono::seconds(30);
  /// Of one exchange, from the connection to the end of the response: then std::errc::timed_out.
  weft::detail::patience request_timeout = std::chrono::nanoseconds::max();
  std::size_t max_idle_per_host = 64;
  std::size_t max_idle = 1024;  // of all hosts
  /// How many redirections one call follows; errc::too_many_redirects beyond. 0: none, the response is returned as it is.
  /// 303, and a POST's 301 and 302, become a GET, without what fields say of the body; 307 and 308 are sent again as they were.
  /// Authorization, Proxy-Authorization, Cookie and the like go to host and port of the first request alone, and a Host of the caller's
  /// own holds as long as no redirection names a host. The body of one that is followed is dropped, whatever its size.
  unsigned max_redirects = 0;
  std::size_t max_header_bytes = 64 * 1024;
  std::size_t max_body_bytes = 64 * 1024 * 1024;
  /// If set: all connections go to the unix socket of this path ('@': abstract), and a URL's host is only named in the request, as with
  /// curl's --unix-socket.
  std::string unix_socket = {};
};

/// May be used by many tasks at once; copies share the pool. Every call parks until the whole response is there, and is
/// a cancellation point: a request that is cancelled on its way closes its connection. Redirects are followed if the
/// options say so. "https://" is errc::unsupported_scheme; the method CONNECT, of whose tunnel nothing could be had here,
/// std::errc::operation_not_supported.
class client {
 public:
  client();
  explicit client(client_options options);

  [[nodiscard]] result<response> get(std::string_view url);
  [[nodiscard]] result<response> post(std::string_view url, std::string body);
  /// Sends a request made with a full URL. A request whose kept connection turns out to be closed is sent once more on a
  /// new one, if its method may be repeated (RFC 9110, 9.2.2) and nothing of a response had come.
  [[nodiscard]] result<response> send(request q);
  /// The same, with the response's body given to `sink` piece by piece as it comes; the response has none then, and max_body_bytes does
  /// not count; that of a redirection which is followed is not given. The next piece is read when `sink` returns. What it throws
  /// comes out of the call, and closes the connection. An error may come behind some pieces.
  [[nodiscard]] result<response> send(request q, std::function<void(std::string_view)> sink);

 private:
  std::shared_ptr<rt::http_client> impl_;
};

/// One GET on a connection of its own.
[[nodiscard]] result<response> get(std::string_view url);

}  // namespace weft::http
