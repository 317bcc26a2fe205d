// The system calls of sockets and descriptors. Each returns what the kernel returned, or -errno.
//
// They are out of line on purpose: the caller loops over waits, after which it may run on another thread, and a compiler
// that saw two uses of errno in one function would keep its address (the function that yields it is declared const).
// EINTR is retried here, but where a comment says otherwise.
//
// The sockets of a simulated run are in memory: these functions are where they part from the kernel's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <system_error>

#include <sys/socket.h>
#include <sys/uio.h>

namespace weft::net::system {

[[nodiscard]] std::ptrdiff_t recv(int fd, void* to, std::size_t n) noexcept;
[[nodiscard]] std::ptrdiff_t read(int fd, void* to, std::size_t n) noexcept;
/// Looks whether fd is ready before it reads, or writes at most PIPE_BUF bytes; -EAGAIN if it is not. For descriptors that block.
[[nodiscard]] std::ptrdiff_t read_if_ready(int fd, void* to, std::size_t n) noexcept;
[[nodiscard]] std::ptrdiff_t write_if_ready(int fd, void const* from, std::size_t n) noexcept;

[[nodiscard]] std::ptrdiff_t send(int fd, void const* from, std::size_t n) noexcept;    // no SIGPIPE
[[nodiscard]] std::ptrdiff_t send_parts(int fd, iovec* parts, std::size_t n) noexcept;  // no SIGPIPE
[[nodiscard]] std::ptrdiff_t write_parts(int fd, iovec* parts, std::size_t n) noexcept;
[[nodiscard]] std::ptrdiff_t send_file(int fd, int file, std::uint64_t offset, std::size_t n) noexcept;
[[nodiscard]] std::ptrdiff_t send_to(int fd, void const* from, std::size_t n, void const* address,
                                     socklen_t length) noexcept;
[[nodiscard]] std::ptrdiff_t recv_from(int fd, void* to, std::size_t n, sockaddr_storage& address,
                                       socklen_t& length) noexcept;

[[nodiscard]] int accept(int listener) noexcept;          // non-blocking, close-on-exec
[[nodiscard]] int socket(int family, int type) noexcept;  // the same
[[nodiscard]] int bind(int fd, void const* address, socklen_t length) noexcept;
[[nodiscard]] int listen(int fd, void const* address, socklen_t length, int backlog) noexcept;  // bind(2) and listen(2)
[[nodiscard]] int duplicate(int fd) noexcept;                                                   // close-on-exec
[[nodiscard]] int connect(int fd, void const* address, socklen_t length) noexcept;  // EINTR counts as EINPROGRESS
[[nodiscard]] int pending_error(int fd) noexcept;                                   // SO_ERROR as -errno, or 0
[[nodiscard]] int set_option(int fd, int level, int option, int value) noexcept;
[[nodiscard]] int shutdown_write(int fd) noexcept;
/// The address family of a stream socket that listens; -EINVAL of any other.
[[nodiscard]] int family_of_listener(int fd) noexcept;
[[nodiscard]] int close_on_exec(int fd) noexcept;
/// getsockname(2), or getpeername(2) if `remote`.
[[nodiscard]] int name(int fd, bool remote, sockaddr_storage& address, socklen_t& length) noexcept;
void close(int fd) noexcept;
[[nodiscard]] int file_mode(int fd) noexcept;  // st_mode
[[nodiscard]] int make_non_blocking(int fd) noexcept;
/// Another open file of the same terminal, non-blocking; whose setting nobody shares. The end that a terminal program holds has none.
[[nodiscard]] int reopen_terminal(int fd) noexcept;
[[nodiscard]] bool is_terminal_master(int fd) noexcept;
/// poll(2) without waiting: 1 ready, 0 not, -errno. `events` as there; hang-ups and errors count as ready.
[[nodiscard]] int is_ready(int fd, short events) noexcept;

/// What poll(2) says of a socket without waiting: of POLLRDHUP, POLLHUP and POLLERR what holds; 0 if it cannot tell.
[[nodiscard]] short hang_up(int fd) noexcept;
/// How many bytes the other side of a TCP connection, or of a simulated run's, has acknowledged; 0 if the kernel does not say.
[[nodiscard]] std::uint64_t bytes_acked(int fd) noexcept;
/// How many of the `written` bytes of a connection the other side has not acknowledged (a unix socket's: read), its end included; 0 if the
/// kernel does not say, which counts by itself: `written` is for simulated runs.
[[nodiscard]] std::uint64_t unacknowledged(int fd, std::uint64_t written) noexcept;
/// Closing the socket will break the connection with a reset, and drop what has not been sent.
void reset_on_close(int fd) noexcept;

/// For a negative result of the above.
[[nodiscard]] inline std::error_code error(std::ptrdiff_t negative) noexcept {
  return {static_cast<int>(-negative), std::system_category()};
}

}  // namespace weft::net::system
