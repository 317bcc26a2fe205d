// What accepts connections, and datagrams.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <weft/net/stream.hpp>

namespace weft::detail {
class serving;
}
namespace weft::rt {
struct http_server;
}

namespace weft::net {

struct listen_options {
  int backlog = 4096;       // connections that wait for accept; the kernel caps it at net.core.somaxconn
  bool reuse_port = false;  // several listeners may share the port, the kernel spreads connections over them
};

class tcp_listener {
 public:
  tcp_listener(tcp_listener&&) noexcept = default;
  tcp_listener& operator=(tcp_listener&&) noexcept = default;

  /// "127.0.0.1:0" (port 0: any free one), "[::1]:80", "name:80", ":80" (all addresses). SO_REUSEADDR is set.
  [[nodiscard]] static result<tcp_listener> bind(std::string_view address, listen_options options = {});

  /// A TCP socket that listens already: inherited, from a service manager (systemd's first one is 3) or from the predecessor in a restart
  /// without a gap. Takes ownership of fd, unless it returns an error, and makes it non-blocking, which all who share it notice, and close-on-exec. close()
  /// ends nobody else's listening. std::errc::invalid_argument: it is another kind of socket, or does not listen. Not in a simulated run.
  [[nodiscard]] static result<tcp_listener> adopt(int fd);

  /// The address it got.
  [[nodiscard]] endpoint local_endpoint() const noexcept;

  /// Waits for the next connection; a cancellation point. Connections that died in the queue are passed over. While the process
  /// or the system is out of descriptors or memory it tries again, at growing intervals up to a second. errc::closed once
  /// this side has closed.
  [[nodiscard]] result<tcp_stream> accept();

  /// Wakes who waits in accept with errc::closed. Idempotent; never waits.
  void close() noexcept;

  /// The descriptor, still owned by the listener; -1 if closed.
  [[nodiscard]] int native_handle() const noexcept;

 private:
  friend detail::serving;  // waits for its close
  friend rt::http_server;  // takes what waits before it closes

  explicit tcp_listener(detail::io_handle handle) noexcept : handle_(std::move(handle)) {}
  /// A connection that is there already. Never waits.
  [[nodiscard]] std::optional<tcp_stream> take_waiting() noexcept;

  detail::io_handle handle_;
};

class unix_listener {
 public:
  unix_listener(unix_listener&&) noexcept = default;
  unix_listener& operator=(unix_listener&& other) noexcept {
    unix_listener const old(std::move(*this));
    handle_ = std::move(other.handle_);
    path_ = std::move(other.path_);
    return *this;
  }
  ~unix_listener();

  /// By path; '@' at its start means the abstract namespace. An existing path is std::errc::address_in_use, even if nobody listens
  /// there any more. close() removes the path, unless it is another's by then.
  [[nodiscard]] static result<unix_listener> bind(std::string_view path, listen_options options = {});
  /// As tcp_listener's. The path belongs to who bound it: close() leaves it.
  [[nodiscard]] static result<unix_listener> adopt(int fd);

  [[nodiscard]] endpoint local_endpoint() const noexcept;
  [[nodiscard]] result<unix_stream> accept();  // as tcp_listener's
  void close() noexcept;
  [[nodiscard]] int native_handle() const noexcept;

 private:
  friend detail::serving;  // as tcp_listener's
  friend rt::http_server;

  struct bound_path;
  unix_listener(detail::io_handle handle, std::shared_ptr<bound_path> path) noexcept
      : handle_(std::move(handle)), path_(std::move(path)) {}
  [[nodiscard]] std::optional<unix_stream> take_waiting() noexcept;

  detail::io_handle handle_;
  std::shared_ptr<bound_path> path_;
};

/// Datagrams. One task may receive while another sends.
class udp_socket {
 public:
  udp_socket(udp_socket&&) noexcept = default;
  udp_socket& operator=(udp_socket&&) noexcept = default;

  [[nodiscard]] static result<udp_socket> bind(std::string_view address);  // as tcp_listener's

  [[nodiscard]] endpoint local_endpoint() const noexcept;

  /// Sends one datagram. std::errc::message_size if it is too long for one.
  [[nodiscard]] result<std::size_t> send_to(const_buffer from, endpoint const& to);

  /// Waits for one datagram; what does not fit into the buffer is lost. A length of 0 is an empty datagram, not an end.
  [[nodiscard]] result<std::pair<std::size_t, endpoint>> recv_from(mutable_buffer to);

  void set_read_deadline(time_point at) noexcept;  // as stream_base's
  void set_write_deadline(time_point at) noexcept;
  void close() noexcept;
  [[nodiscard]] int native_handle() const noexcept;

 private:
  explicit udp_socket(detail::io_handle handle) noexcept : handle_(std::move(handle)) {}

  detail::io_handle handle_;
};

}  // namespace weft::net
