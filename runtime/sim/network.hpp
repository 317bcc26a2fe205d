// The network of a simulated run: the descriptors of its sockets, who is bound to which address, and datagrams under way.
//
// Addresses. All of them are this run's: whoever binds one has it. TCP and UDP have ports of their own, 0 is the next free one from 49152 on.
// A socket of all addresses (0.0.0.0 for IPv4, [::] for both) gets what no socket of the very address takes. To connect to all
// addresses means this machine. Names are 10.0.0.1, 10.0.0.2, ... in the order in which they are first looked up. A unix path is a name
// without a file.
//
// Of the run's thread alone. To ThreadSanitizer the tasks are threads: their accesses in here are not shown to it, and what a socket
// hands on is ordered as it takes it to be of the kernel's, all senders before all receivers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/sched/simulated_network.hpp"
#include "runtime/sim/connection.hpp"

namespace weft::sim {

class network final : public rt::simulated_network, private connection::destination {
 public:
  explicit network(rt::chooser& by) noexcept : weather_(by) {}

  int socket(int family, int type) noexcept override;
  int bind(int fd, void const* address, socklen_t length) noexcept override;
  int listen(int fd, int backlog) noexcept override;
  int accept(int fd) noexcept override;
  int connect(int fd, void const* address, socklen_t length) noexcept override;
  int pending_error(int fd) noexcept override;
  int set_option(int fd, int level, int option, int value) noexcept override;
  std::ptrdiff_t recv(int fd, void* to, std::size_t n) noexcept override;
  std::ptrdiff_t send(int fd, iovec const* parts, std::size_t n) noexcept override;
  std::ptrdiff_t send_to(int fd, void const* from, std::size_t n, void const* address,
                         socklen_t length) noexcept override;
  std::ptrdiff_t recv_from(int fd, void* to, std::size_t n, sockaddr_storage& address,
                           socklen_t& length) noexcept override;
  int shutdown(int fd, int how) noexcept override;
  short poll(int fd, short events) noexcept override;
  std::uint64_t bytes_acked(int fd) noexcept override;
  void reset_on_close(int fd) noexcept override;
  int name(int fd, bool remote, sockaddr_storage& address, socklen_t& length) noexcept override;
  void close(int fd) noexcept override;
  in_addr address_of(std::string_view host) noexcept override;
  void opened(int fd, rt::io_slot& slot) noexcept override;
  rt::io_slot* slot_of(int fd) noexcept override;
  void end() noexcept override;

 private:
  struct datagram {
    net::endpoint from;
    std::string bytes;
  };
  struct open_socket {
    int family = 0;
    bool datagrams = false;
    bool listening = false;
    bool shares_port = false;
    bool resets = false;  // when closed
    rt::io_slot* slot = nullptr;
    net::endpoint bound;
    // A stream's:
    std::shared_ptr<connection> stream;
    connection::side side = connection::side::client;
    // A listener's:
    std::size_t backlog = 0;
    std::deque<std::shared_ptr<connection>> accepted;  // and not yet taken
    std::deque<std::shared_ptr<connection>> beyond;    // the backlog: not answered
    // Of datagrams:
    std::deque<datagram> received;
    std::size_t received_bytes = 0;
  };
  class flying;  // a datagram under way

  void arrived(std::shared_ptr<connection> who) noexcept override;
  void arrived(net::endpoint const& to, datagram what) noexcept;
  [[nodiscard]] open_socket* find(int fd) noexcept;
  [[nodiscard]] open_socket* receiver(net::endpoint const& of, bool datagrams) noexcept;
  [[nodiscard]] bool is_taken(net::endpoint const& place, open_socket const& by) noexcept;
  void stop_listening(open_socket& s) noexcept;
  void bound_to(int fd, open_socket& s, net::endpoint const& place) noexcept;
  void unbind(int fd, open_socket& s) noexcept;
  [[nodiscard]] bool is_name_of_client(net::endpoint const& place) noexcept;
  /// Calls f(socket) for what is bound, in the order of the descriptors, but for what is bound to other ports or paths; until it is true.
  template <class F>
  bool any_bound(net::endpoint const& place, F f) noexcept {
    std::size_t const key = key_of(place);
    for (auto at = bound_.lower_bound({key, 0}); at != bound_.end() && at->first.first == key; ++at)
      if (f(*at->second)) return true;
    return false;
  }
  [[nodiscard]] static std::size_t key_of(net::endpoint const& place) noexcept;
  [[nodiscard]] bool give_port(net::endpoint& place, open_socket const& to) noexcept;  // false: all are taken
  [[nodiscard]] net::endpoint sender_name(open_socket& from, net::endpoint const& to) noexcept;

  weather weather_;
  int next_fd_ = first_fd;
  std::uint16_t next_port_ = 49152;
  std::map<int, open_socket> open_;
  std::map<std::pair<std::size_t, int>, open_socket*> bound_;        // by key_of() and descriptor
  std::multimap<std::uint16_t, std::weak_ptr<connection>> clients_;  // by their port
  std::map<std::string, std::uint32_t, std::less<>> hosts_;
};

}  // namespace weft::sim
