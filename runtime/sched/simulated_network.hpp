// The sockets of a simulated run, which stand in for the kernel's. Their descriptors are numbers that no kernel gives: who is about to make
// a system call asks is_simulated() first, one comparison, and calls the run's network instead.
//
// What the network owes its callers is what the kernel owes them: a result or -errno at once, -EAGAIN where it would have to wait, and an
// edge (io_report) for each change after that. It belongs to the run's thread, and its sockets end with the run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "runtime/sched/io.hpp"

namespace weft::rt {

class simulated_network {
 public:
  static constexpr int first_fd = 1 << 30;

  simulated_network() = default;
  simulated_network(simulated_network const&) = delete;
  simulated_network& operator=(simulated_network const&) = delete;
  virtual ~simulated_network() = default;

  // As the functions of these names in runtime/net/system.hpp. Out of memory ends the process, as for all that a run records.
  virtual int socket(int family, int type) noexcept = 0;
  virtual int bind(int fd, void const* address, socklen_t length) noexcept = 0;
  virtual int listen(int fd, int backlog) noexcept = 0;  // listen(2)
  virtual int accept(int fd) noexcept = 0;
  virtual int connect(int fd, void const* address, socklen_t length) noexcept = 0;
  virtual int pending_error(int fd) noexcept = 0;
  virtual int set_option(int fd, int level, int option, int value) noexcept = 0;
  virtual std::ptrdiff_t recv(int fd, void* to, std::size_t n) noexcept = 0;
  virtual std::ptrdiff_t send(int fd, iovec const* parts, std::size_t n) noexcept = 0;
  virtual std::ptrdiff_t send_to(int fd, void const* from, std::size_t n, void const* address,
                                 socklen_t length) noexcept = 0;
  virtual std::ptrdiff_t recv_from(int fd, void* to, std::size_t n, sockaddr_storage& address,
                                   socklen_t& length) noexcept = 0;
  virtual int shutdown(int fd, int how) noexcept = 0;     // SHUT_WR or SHUT_RDWR
  virtual short poll(int fd, short events) noexcept = 0;  // what poll(2) would report, without waiting
  virtual std::uint64_t bytes_acked(int fd) noexcept = 0;
  virtual void reset_on_close(int fd) noexcept = 0;
  virtual int name(int fd, bool remote, sockaddr_storage& address, socklen_t& length) noexcept = 0;
  virtual void close(int fd) noexcept = 0;

  /// The address of a host: each name has one of its own.
  virtual in_addr address_of(std::string_view host) noexcept = 0;
  /// From now on edges of fd are reported to the slot, until close(fd).
  virtual void opened(int fd, io_slot& slot) noexcept = 0;
  /// Whose edges are reported there; null if fd is not open.
  [[nodiscard]] virtual io_slot* slot_of(int fd) noexcept = 0;
  /// The run has ended: closes what is still open, whoever holds it.
  virtual void end() noexcept = 0;
};

[[nodiscard]] inline bool is_simulated(int fd) noexcept { return fd >= simulated_network::first_fd; }

/// The calling thread's run's. Fatal outside of a simulated run.
[[nodiscard]] simulated_network& network_of_run() noexcept;

}  // namespace weft::rt
