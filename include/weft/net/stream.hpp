// Byte streams: TCP, unix sockets, and descriptors that are neither (pipes, standard input).
//
// Threads: one task may read while another writes; any task may close or move a deadline at any time. Two readers (or two
// writers) at once do no harm but get, or send, their bytes in an order that nobody knows.
// Cancellation: every call here that can wait is a cancellation point and throws weft::cancelled; all else that can happen is
// an error code. errc::closed means that this side has closed; std::errc::timed_out that a deadline has passed.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <weft/detail/deadline.hpp>
#include <weft/error.hpp>
#include <weft/net/buffer.hpp>
#include <weft/net/endpoint.hpp>
#include <weft/net/handle.hpp>

namespace weft::rt {
struct stream_access;
}

namespace weft::net {

/// What all streams can do. Not made by itself: see the types below.
class stream_base {
 public:
  stream_base() noexcept = default;

  /// Waits for at least one byte; says how many there were. 0: end of stream (or a buffer without room).
  [[nodiscard]] result<std::size_t> read_some(mutable_buffer to);

  /// Fills the buffer. errc::eof if the stream ends before; what had come by then is in the buffer and lost to the stream.
  [[nodiscard]] result<void> read_exact(mutable_buffer to);

  /// Writes all of the buffers, one after the other, in as few system calls as the kernel allows. On an error an unknown part
  /// of them has been written.
  template <std::convertible_to<const_buffer>... B>
    requires(sizeof...(B) > 0)
  [[nodiscard]] result<void> write_all(B const&... from) {
    const_buffer const buffers[] = {const_buffer(from)...};
    return write_all(std::span<const_buffer const>(buffers));
  }
  [[nodiscard]] result<void> write_all(std::span<const_buffer const> from);

  /// Writes `length` bytes of a file from `offset` on, without a copy through the program (sendfile). errc::eof if the file
  /// ends before. The file's own offset stays. Reading from the disk may block: the other tasks go on. std::errc::invalid_argument for
  /// what sendfile cannot read, a file that is open for appending to be written to, terminals and the standard descriptors.
  [[nodiscard]] result<void> write_file(int file, std::uint64_t offset, std::uint64_t length);

  /// Tells the peer that no more will come; reading goes on.
  result<void> shutdown_write();

  /// Closes both directions, for all halves. Wakes every waiter with errc::closed. Idempotent; never waits.
  void close() noexcept;

  /// From then on reads (writes) fail with timed_out, those that wait now included; a past deadline beats data that is
  /// ready. time_point::max(): none. Stays until it is set again.
  void set_read_deadline(time_point at) noexcept;
  void set_write_deadline(time_point at) noexcept;

  /// TCP: send small writes at once. On by default.
  void set_nodelay(bool on) noexcept;

  /// None if closed, or if the kernel knows none.
  [[nodiscard]] endpoint local_endpoint() const noexcept;
  [[nodiscard]] endpoint remote_endpoint() const noexcept;

  /// The descriptor, non-blocking, still owned by the stream; -1 if closed.
  [[nodiscard]] int native_handle() const noexcept;

 protected:
  explicit stream_base(detail::io_handle handle) noexcept : handle_(std::move(handle)) {}

  detail::io_handle handle_;

 private:
  friend struct rt::stream_access;
};

/// The ends of a stream that was split: one for the reading task, one for the writing one. Copies share the stream, which is
/// closed when the last half is gone. close() on either closes both.
class read_half : public stream_base {
 public:
  read_half() noexcept = default;

 private:
  using stream_base::stream_base;
  friend class tcp_stream;
  friend class unix_stream;
};

class write_half : public stream_base {
 public:
  write_half() noexcept = default;

 private:
  using stream_base::stream_base;
  friend class tcp_stream;
  friend class unix_stream;
};

class tcp_stream : public stream_base {
 public:
  tcp_stream(tcp_stream&&) noexcept = default;
  tcp_stream& operator=(tcp_stream&&) noexcept = default;

  /// "127.0.0.1:80", "[::1]:80", "name:80". Tries the addresses of a name in turn; std::errc::timed_out when `patience`, which
  /// covers the look-up too, has run out; else the last address's error.
  [[nodiscard]] static result<tcp_stream> connect(std::string_view address,
                                                  weft::detail::patience patience = std::chrono::nanoseconds::max());

  [[nodiscard]] std::pair<read_half, write_half> split() &&;

 private:
  using stream_base::stream_base;
  friend class tcp_listener;
};

class unix_stream : public stream_base {
 public:
  unix_stream(unix_stream&&) noexcept = default;
  unix_stream& operator=(unix_stream&&) noexcept = default;

  /// By path; '@' at its start means the abstract namespace. Waits while the listener's backlog is full.
  [[nodiscard]] static result<unix_stream> connect(std::string_view path,
                                                   weft::detail::patience patience = std::chrono::nanoseconds::max());

  [[nodiscard]] std::pair<read_half, write_half> split() &&;

 private:
  using stream_base::stream_base;
  friend class unix_listener;
};

/// A descriptor that the program already has: a pipe, a socket, a terminal, a file. Copies share it.
class fd_stream : public stream_base {
 public:
  fd_stream() noexcept = default;

  /// Takes ownership of fd, unless it returns an error. Pipes and sockets become non-blocking. Standard descriptors 0, 1, 2 do
  /// not, because other programs share that setting, and are never closed for real. A terminal is opened anew, for the same reason
  /// (as libuv does); the new one takes fd's place above 2. A regular file is read and written as it is.
  /// Writing to a pipe that nobody reads gives std::errc::broken_pipe: where SIGPIPE would end the process, adopt installs an
  /// empty handler for it.
  [[nodiscard]] static result<fd_stream> adopt(int fd);

 private:
  using stream_base::stream_base;
};

/// Waits until a descriptor of the caller's can be read from (has hung up, has failed), whatever else waits for it.
[[nodiscard]] result<void> wait_readable(int fd, weft::detail::patience patience = std::chrono::nanoseconds::max());
/// The same for writing.
[[nodiscard]] result<void> wait_writable(int fd, weft::detail::patience patience = std::chrono::nanoseconds::max());

}  // namespace weft::net
