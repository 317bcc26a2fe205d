// An HTTP/1.1 server: a task a connection.
#pragma once

#include <weft/detail/deadline.hpp>
#include <weft/error.hpp>
#include <weft/http/router.hpp>
#include <weft/net.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>

namespace weft::rt {
struct http_server;
}

namespace weft::http {

/// Time-outs are kept by one sweep over all connections, and come late by at most an eighth of the shortest of them or a second.
struct server_options {
  /// From a request's first byte to the end of its header: then the connection is closed, with 408.
  weft::detail::patience header_timeout = std::chrono::seconds(10);
  /// Without a byte: between requests, within a body, and for a client that does not read its response.
  weft::detail::patience idle_timeout = std::chrono::seconds(60);
  /// Then the context of the handler is cancelled, and the answer is 503. It is the time of a streamed response's
  /// callback too: if some of that has been sent, the connection is cut.
  weft::detail::patience request_timeout = std::chrono::nanoseconds::max();
  std::size_t max_header_bytes = 64 * 1024;      // 431 beyond
  std::size_t max_body_bytes = 8 * 1024 * 1024;  // 413 beyond
  std::size_t max_connections = 100000;          // no more are accepted until one has ended
  std::size_t max_target_bytes = 8 * 1024;       // 414 beyond
  /// Of a body that its handler reads as it comes, which is never held in memory: 413 beyond.
  std::uint64_t max_streamed_bytes = std::numeric_limits<std::uint64_t>::max();
  /// How long requests in progress may go on when serve(context) ends by its context.
  weft::detail::patience shutdown_grace = std::chrono::seconds(5);
};

/// Members may be called from any task. A handler's context is cancelled when its client has gone away. A handler that throws gets the client a 500 (http::error: its status), and a line
/// on stderr; nothing but the end of the process ends the server.
class server {
 public:
  explicit server(router routes, server_options options = {});
  ~server();  // closes what is open; a serve() in progress goes on to its end
  /// What was moved from may be assigned to or destroyed, no more.
  server(server&&) noexcept = default;
  server& operator=(server&& other) noexcept {  // closes what was open here
    server now(std::move(other));
    impl_.swap(now.impl_);
    return *this;
  }

  /// Binds and listens; the port 0 takes a free one, which the endpoint names. May be called for several addresses.
  [[nodiscard]] result<net::endpoint> listen(std::string_view address);
  /// The same with a listener that is there: one of other options (reuse_port), or adopted (a restart without a gap).
  [[nodiscard]] result<net::endpoint> listen(net::tcp_listener listener);
  /// The same by path, for clients on this machine: a proxy before this server, a companion beside it.
  [[nodiscard]] result<net::endpoint> listen(net::unix_listener listener);

  /// Serves until shutdown() is done. Parks. If the calling task is cancelled: shuts down with
  /// `shutdown_grace`, then throws weft::cancelled. std::logic_error without a listen().
  void serve();
  /// Serves until `until` is cancelled, then shuts down with `shutdown_grace` and returns. If the calling task is cancelled: as above.
  void serve(context until);

  /// Accepts what has connected (called in the runtime that serves; nothing at max_connections, or without descriptors or memory), then no
  /// more. Closes idle connections, lets requests in progress end and answers them with Connection: close.
  /// After `grace` the contexts of the remaining handlers are cancelled and their connections closed. Parks until all have
  /// ended or are closed, whether the caller is cancelled or not; may be called twice and from several tasks: the earliest end counts.
  void shutdown(weft::detail::patience grace);

 private:
  std::shared_ptr<rt::http_server> impl_;
};

}  // namespace weft::http
