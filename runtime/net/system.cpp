#include "runtime/net/system.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstddef>

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>  // <netinet/tcp.h> has an old tcp_info
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/fault.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::net::system {

using rt::is_simulated;
using rt::network_of_run;

namespace {

/// Reads of errno are not shown to ThreadSanitizer: to it the tasks of one worker are threads that share one errno.
WEFT_NO_TSAN int last_error() noexcept { return errno; }

template <class Call>
auto retried(Call call) noexcept -> decltype(call()) {
  for (;;) {
    auto const got = call();
    if (got >= 0) return got;
    int const error = last_error();
    if (error != EINTR) return error == EWOULDBLOCK ? -EAGAIN : -error;
  }
}

}  // namespace

// recv and send are what a busy server calls all day. The C library's are cancellation points of POSIX threads, which a worker is
// not to be cancelled at: two atomic exchanges a call. syscall() is none. The sanitizers look at the library's calls.
std::ptrdiff_t recv(int fd, void* to, std::size_t n) noexcept {
  if (is_simulated(fd)) [[unlikely]]
    return network_of_run().recv(fd, to, n);
#if defined(SYS_recvfrom) && !WEFT_ASAN && !WEFT_TSAN
  return retried([=] { return ::syscall(SYS_recvfrom, fd, to, n, 0, nullptr, nullptr); });
#else
  return retried([=] { return ::recv(fd, to, n, 0); });
#endif
}

std::ptrdiff_t read(int fd, void* to, std::size_t n) noexcept {
  return retried([=] { return ::read(fd, to, n); });
}

std::ptrdiff_t read_if_ready(int fd, void* to, std::size_t n) noexcept {
  int const ready = is_ready(fd, POLLIN);
  if (ready <= 0) return ready == 0 ? -EAGAIN : ready;
  return read(fd, to, n);
}

std::ptrdiff_t write_if_ready(int fd, void const* from, std::size_t n) noexcept {
  int const ready = is_ready(fd, POLLOUT);
  if (ready <= 0) return ready == 0 ? -EAGAIN : ready;
  std::size_t const some = std::min<std::size_t>(n, PIPE_BUF);  // more could block although the descriptor is writable
  return retried([=] { return ::write(fd, from, some); });
}

std::ptrdiff_t send(int fd, void const* from, std::size_t n) noexcept {
  if (is_simulated(fd)) [[unlikely]] {
    iovec const part{const_cast<void*>(from), n};
    return network_of_run().send(fd, &part, 1);
  }
#if defined(SYS_sendto) && !WEFT_ASAN && !WEFT_TSAN
  return retried([=] { return ::syscall(SYS_sendto, fd, from, n, MSG_NOSIGNAL, nullptr, 0); });
#else
  return retried([=] { return ::send(fd, from, n, MSG_NOSIGNAL); });
#endif
}

std::ptrdiff_t send_parts(int fd, iovec* parts, std::size_t n) noexcept {
  if (is_simulated(fd)) [[unlikely]]
    return network_of_run().send(fd, parts, n);
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = n;
  return retried([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); });
}

std::ptrdiff_t write_parts(int fd, iovec* parts, std::size_t n) noexcept {
  return retried([=] { return ::writev(fd, parts, static_cast<int>(n)); });
}

std::ptrdiff_t send_file(int fd, int file, std::uint64_t offset, std::size_t n) noexcept {
  if (is_simulated(fd)) [[unlikely]] {
    char some[4096];
    std::ptrdiff_t const got =
        retried([&] { return ::pread(file, some, std::min(n, sizeof some), static_cast<off_t>(offset)); });
    return got > 0 ? send(fd, some, static_cast<std::size_t>(got)) : got;
  }
  return retried([=] {
    auto from = static_cast<off_t>(offset);
    return ::sendfile(fd, file, &from, n);
  });
}

std::ptrdiff_t send_to(int fd, void const* from, std::size_t n, void const* address, socklen_t length) noexcept {
  if (is_simulated(fd)) return network_of_run().send_to(fd, from, n, address, length);
  return retried([=] { return ::sendto(fd, from, n, MSG_NOSIGNAL, static_cast<sockaddr const*>(address), length); });
}

std::ptrdiff_t recv_from(int fd, void* to, std::size_t n, sockaddr_storage& address, socklen_t& length) noexcept {
  if (is_simulated(fd)) return network_of_run().recv_from(fd, to, n, address, length);
  return retried([&, fd, to, n] {
    length = sizeof address;
    return ::recvfrom(fd, to, n, 0, reinterpret_cast<sockaddr*>(&address), &length);
  });
}

int accept(int listener) noexcept {
  if (is_simulated(listener)) return network_of_run().accept(listener);
  return retried([=] {
    return rt::fault(rt::fault_kind::accept) ? -1 : ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  });
}

int socket(int family, int type) noexcept {
  if (rt::current_simulation() != nullptr) return network_of_run().socket(family, type);
  int const fd = rt::fault(rt::fault_kind::socket) ? -1 : ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : -last_error();
}

int bind(int fd, void const* address, socklen_t length) noexcept {
  if (is_simulated(fd)) return network_of_run().bind(fd, address, length);
  return ::bind(fd, static_cast<sockaddr const*>(address), length) == 0 ? 0 : -last_error();
}

int listen(int fd, void const* address, socklen_t length, int backlog) noexcept {
  if (int const e = bind(fd, address, length); e < 0) return e;
  if (is_simulated(fd)) return network_of_run().listen(fd, backlog);
  if (::listen(fd, backlog) == 0) return 0;
  int const error = last_error();
  auto const* path = static_cast<sockaddr_un const*>(address);
  if (path->sun_family == AF_UNIX && path->sun_path[0] != 0) ::unlink(path->sun_path);  // bind(2) has made it
  return -error;
}

int duplicate(int fd) noexcept {
  int const copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return copy >= 0 ? copy : -last_error();
}

int connect(int fd, void const* address, socklen_t length) noexcept {
  if (is_simulated(fd)) return network_of_run().connect(fd, address, length);
  if (::connect(fd, static_cast<sockaddr const*>(address), length) == 0) return 0;
  int const error = last_error();
  return error == EINTR ? -EINPROGRESS : -error;
}

int pending_error(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().pending_error(fd);
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) != 0) return -last_error();
  return -value;
}

int family_of_listener(int fd) noexcept {
  int values[3] = {};
  constexpr int asked[3] = {SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN};
  for (int i = 0; i < 3; ++i) {
    socklen_t size = sizeof values[i];
    if (::getsockopt(fd, SOL_SOCKET, asked[i], &values[i], &size) != 0) return -last_error();
  }
  return values[1] == SOCK_STREAM && values[2] != 0 ? values[0] : -EINVAL;
}

int close_on_exec(int fd) noexcept { return ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? 0 : -last_error(); }

int set_option(int fd, int level, int option, int value) noexcept {
  if (is_simulated(fd)) return network_of_run().set_option(fd, level, option, value);
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -last_error();
}

int shutdown_write(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().shutdown(fd, SHUT_WR);
  return ::shutdown(fd, SHUT_WR) == 0 ? 0 : -last_error();
}

int name(int fd, bool remote, sockaddr_storage& address, socklen_t& length) noexcept {
  if (is_simulated(fd)) return network_of_run().name(fd, remote, address, length);
  length = sizeof address;
  auto* const to = reinterpret_cast<sockaddr*>(&address);
  return (remote ? ::getpeername(fd, to, &length) : ::getsockname(fd, to, &length)) == 0 ? 0 : -last_error();
}

void close(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().close(fd);
  ::close(fd);
}

int file_mode(int fd) noexcept {
  struct stat what{};
  return ::fstat(fd, &what) == 0 ? static_cast<int>(what.st_mode) : -last_error();
}

int make_non_blocking(int fd) noexcept {
  int const flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -last_error();
  return (flags & O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : -last_error();
}

int reopen_terminal(int fd) noexcept {
  int const flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -last_error();
  char path[32] = "/proc/self/fd/";  // the name in /dev may be another mount's
  *std::to_chars(path + 14, path + sizeof path - 1, fd).ptr = '\0';
  int const own = ::open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return own >= 0 ? own : -last_error();
}

bool is_terminal_master(int fd) noexcept {
  int number = 0;
  return ::ioctl(fd, TIOCGPTN, &number) == 0;
}

int is_ready(int fd, short events) noexcept {
  if (is_simulated(fd)) return network_of_run().poll(fd, events) != 0;
  if (fd < 0) return -EBADF;  // poll(2) passes over it
  pollfd one{fd, events, 0};
  int const got = retried([&] { return ::poll(&one, 1, 0); });
  if (got > 0 && (one.revents & POLLNVAL) != 0) return -EBADF;
  return got;
}

std::uint64_t bytes_acked(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().bytes_acked(fd);
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return size >= offsetof(tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked ? info.tcpi_bytes_acked : 0;
}

std::uint64_t unacknowledged(int fd, std::uint64_t written) noexcept {
  if (is_simulated(fd)) return written - std::min(written, network_of_run().bytes_acked(fd));
  int left = 0;
  return ::ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0 ? static_cast<std::uint64_t>(left) : 0;
}

void reset_on_close(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().reset_on_close(fd);
  linger const at_once{1, 0};
  [[maybe_unused]] int const ignored = ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

short hang_up(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().poll(fd, POLLRDHUP);
  pollfd one{fd, POLLRDHUP, 0};
  return ::poll(&one, 1, 0) > 0 && (one.revents & POLLNVAL) == 0 ? one.revents : short{0};
}

}  // namespace weft::net::system
