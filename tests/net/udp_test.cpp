#include "tests/net/everywhere.hpp"

#include <chrono>
#include <cstring>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

TEST_CASE("a datagram arrives whole, with its sender's address") {
  everywhere([](auto where) {
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    auto b = net::udp_socket::bind("127.0.0.1:0").value();
    auto echo = where.start([&] {
      char room[100];
      for (int i = 0; i != 20; ++i) {
        auto got = b.recv_from(room).value();
        (void)b.send_to(std::string_view(room, got.first), got.second);
      }
    });
    char room[100];
    for (int i = 0; i != 20; ++i) {
      std::string const message(static_cast<std::size_t>(i), 'x');  // the empty one too
      REQUIRE(a.send_to(message, b.local_endpoint()).value() == message.size());
      auto const [n, from] = a.recv_from(room).value();
      CHECK(std::string_view(room, n) == message);
      CHECK(from == b.local_endpoint());
    }
    echo.get();
  });
}

TEST_CASE("what does not fit is cut off, and what is too long is not sent") {
  auto a = net::udp_socket::bind("127.0.0.1:0").value();
  REQUIRE(a.send_to("12345", a.local_endpoint()));
  REQUIRE(a.send_to("67", a.local_endpoint()));
  char room[3];
  CHECK(a.recv_from(room)->first == 3);
  CHECK(a.recv_from(room)->first == 2);
  CHECK(a.send_to(std::string(70'000, 'x'), a.local_endpoint()).error() == std::errc::message_size);
}

TEST_CASE("a UDP socket of all addresses takes IPv4 too, and is not opened beside one that has the port for IPv6") {
  weft::run([] {
    auto all = net::udp_socket::bind(":0").value();
    int only = -1;
    socklen_t size = sizeof only;
    if (::getsockopt(all.native_handle(), IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) != 0)
      return;  // a machine without IPv6
    CHECK(only == 0);
    int const other = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    size = sizeof any;
    REQUIRE(::setsockopt(other, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0);
    REQUIRE(::bind(other, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    REQUIRE(::getsockname(other, reinterpret_cast<sockaddr*>(&any), &size) == 0);
    CHECK(net::udp_socket::bind(":" + std::to_string(ntohs(any.sin6_port))).error() == std::errc::address_in_use);
    ::close(other);
  });
}

TEST_CASE("deadlines and close end a receive") {
  everywhere([](auto where) {
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    char room[3];
    a.set_read_deadline(weft::now() + 10ms);
    CHECK(a.recv_from(room).error() == std::errc::timed_out);
    a.set_read_deadline(weft::time_point::max());
    auto receiving = where.start([&] { return error_of(a.recv_from(room)); });
    a.close();
    CHECK(receiving.get() == weft::errc::closed);
    CHECK(a.send_to("x", a.local_endpoint()).error() == weft::errc::closed);
  });
}

TEST_CASE("a past deadline beats a datagram that is there, and loses none") {
  everywhere([](auto) {
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    REQUIRE(a.send_to("one", a.local_endpoint()));
    REQUIRE(net::wait_readable(a.native_handle()));
    char room[8];
    for (weft::time_point const past : {weft::now() - 1s, weft::time_point(), weft::time_point::min(), weft::now()}) {
      a.set_read_deadline(past);
      CHECK(a.recv_from(room).error() == std::errc::timed_out);
    }
    a.set_write_deadline(weft::now() - 1s);
    CHECK(a.send_to("two", a.local_endpoint()).error() == std::errc::timed_out);
    a.set_write_deadline(weft::time_point::max());
    a.set_read_deadline(weft::now() + 1h);
    CHECK(a.recv_from(room)->first == 3);
    CHECK(net::wait_readable(a.native_handle(), 0s).error() == std::errc::timed_out);  // "two" was not sent
  });
}

TEST_CASE("moving a deadline wakes who receives under the old one") {
  everywhere([](auto where) {
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    a.set_read_deadline(weft::now() + 1h);
    auto receiving = where.start([&] {
      char room[1];
      return error_of(a.recv_from(room));
    });
    until_parked(1);
    a.set_read_deadline(weft::now());
    CHECK(receiving.get() == std::errc::timed_out);
  });
}

TEST_CASE("an unreachable receiver does not keep the sender's task busy or break its socket") {
  everywhere([](auto) {
    net::endpoint nobody;
    {
      auto gone = net::udp_socket::bind("127.0.0.1:0").value();
      nobody = gone.local_endpoint();
    }
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    (void)a.send_to("x", nobody);
    a.set_read_deadline(weft::now() + 20ms);
    char room[3];
    CHECK(a.recv_from(room).error() == std::errc::timed_out);
  });
}

TEST_CASE("what no IPv4 socket can reach is refused as such") {
  everywhere([](auto) {
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    CHECK(a.send_to("x", net::endpoint::parse("[::1]:9").value()).error() == std::errc::address_family_not_supported);
    CHECK(a.send_to("x", net::endpoint::unix_path("/a/path/of/a/unix/socket").value()).error() ==
          std::errc::address_family_not_supported);
  });
}

TEST_CASE("no IPv4 address can be reached from an IPv6 one") {
  everywhere([](auto) {
    auto a = net::udp_socket::bind("[::1]:0");
    if (!a) return;  // a machine without IPv6
    for (auto const* const text : {"127.0.0.1:9", "[::ffff:127.0.0.1]:9"})
      CHECK(a->send_to("x", net::endpoint::parse(text).value()).error() == std::errc::network_unreachable);
  });
}

TEST_CASE("an IPv4 address in its form of IPv6 is that address") {
  everywhere([](auto) {
    auto a = net::udp_socket::bind("[::ffff:127.0.0.1]:0");
    if (!a) return;  // a machine without IPv6
    auto const port = std::to_string(a->local_endpoint().port());
    CHECK(net::udp_socket::bind("127.0.0.1:" + port).error() == std::errc::address_in_use);
    auto b = net::udp_socket::bind("127.0.0.1:0").value();
    REQUIRE(b.send_to("plain", a->local_endpoint()));
    char room[16];
    auto const [n, from] = a->recv_from(room).value();
    CHECK(n == 5);
    CHECK(from == b.local_endpoint());
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto const client =
        net::tcp_stream::connect("[::ffff:127.0.0.1]:" + std::to_string(listener.local_endpoint().port()));
    REQUIRE(client);
    CHECK(client->remote_endpoint() == listener.local_endpoint());
  });
}

TEST_CASE("what is nobody's address is refused as such") {
  everywhere([](auto) {
    auto a = net::udp_socket::bind("127.0.0.1:0").value();
    for (net::endpoint const& nobody : {net::endpoint(), net::endpoint::parse("127.0.0.1:0").value()})
      CHECK(a.send_to("x", nobody).error() == std::errc::invalid_argument);
    auto b = net::udp_socket::bind("[::1]:0");
    if (!b) return;  // a machine without IPv6
    for (net::endpoint const& nobody : {net::endpoint(), net::endpoint::parse("[::1]:0").value(),
                                        net::endpoint::unix_path("/a/path/of/a/unix/socket").value()})
      CHECK(b->send_to("x", nobody).error() == std::errc::invalid_argument);
  });
}

namespace {

constexpr int no_such_network = 77;

/// A network of this process's own with one interface, 10.9.8.1/8, behind which nobody answers: the kernel asks for a
/// neighbour's address for seconds, and holds the sender's datagrams meanwhile. (Over loopback no sender ever waits.)
class silent_network {
 public:
  silent_network() {
    if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return;
    int const tap = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    control_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq r = request();
    r.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (::ioctl(tap, TUNSETIFF, &r) != 0) return;
    r = request();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ::inet_pton(AF_INET, "10.9.8.1", &address.sin_addr);
    std::memcpy(&r.ifr_addr, &address, sizeof address);
    if (::ioctl(control_, SIOCSIFADDR, &r) != 0) return;
    good_ = set_up(IFF_UP | IFF_RUNNING);
  }
  explicit operator bool() const { return good_; }
  void take_down() { set_up(0); }  // drops what it holds

 private:
  static ifreq request() {
    ifreq r{};
    std::strcpy(r.ifr_name, "weft-test");
    return r;
  }
  bool set_up(short flags) {
    ifreq r = request();
    r.ifr_flags = flags;
    return ::ioctl(control_, SIOCSIFFLAGS, &r) == 0;
  }

  int control_ = -1;
  bool good_ = false;
};

/// In a process of its own, with that network. The number of the step that went wrong.
int wait_for_room_to_send(silent_network& network) {
  auto socket = net::udp_socket::bind("10.9.8.1:0").value();
  auto const nobody = net::endpoint::parse("10.9.8.2:9").value();
  int const small = 1;  // the kernel makes it the least there is
  if (::setsockopt(socket.native_handle(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small) != 0) return 1;
  auto const send_on = [&] {
    for (;;)
      if (auto const n = socket.send_to(std::string(1000, 'x'), nobody); !n) return n.error();
  };
  auto cancelled = weft::spawn(send_on);
  until_parked(1);
  cancelled.cancel();
  try {
    (void)cancelled.join();
    return 2;
  } catch (weft::cancelled const&) {
  }
  auto late = weft::spawn(send_on);
  until_parked(1);
  socket.set_write_deadline(weft::now());
  if (late.join() != std::errc::timed_out) return 3;
  socket.set_write_deadline(weft::time_point::max());
  auto woken = weft::spawn([&] { return error_of(socket.send_to("x", nobody)); });
  until_parked(1);
  network.take_down();
  std::error_code const then = woken.join();  // what the kernel says of a network that has just gone is its affair
  if (then == std::errc::timed_out || then == weft::errc::closed) return 4;
  return 0;
}

}  // namespace

TEST_CASE(
    "a task that waits for room to send a datagram is cancelled, ends by its deadline, and goes on when there is "
    "room") {
  if (!can_fork) return;
  for (unsigned const workers : worker_counts) {
    INFO("with " << workers << " workers");
    ::pid_t const child = ::fork();
    if (child == 0) {
      ::alarm(60);
      silent_network network;
      weft::options options;
      options.workers = workers;
      ::_exit(network ? weft::run(options, [&] { return wait_for_room_to_send(network); }) : no_such_network);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == no_such_network) {
      WARN("this process may not make a network of its own: not tested");
      return;
    }
    CHECK(status == 0);
  }
}

TEST_CASE("a sender over IPv4 to a socket of all addresses has the name that it has at its own end") {
  with_worker_count(2, [] {
    auto here = net::udp_socket::bind(":0").value();
    auto there = net::udp_socket::bind("127.0.0.1:0").value();
    auto const port = std::to_string(here.local_endpoint().port());
    REQUIRE(there.send_to("hello", net::resolve("127.0.0.1:" + port).value().front()));
    char room[16];
    auto const [n, from] = here.recv_from(room).value();
    CHECK(n == 5);
    CHECK(from == there.local_endpoint());
    REQUIRE(here.send_to("back", from));  // and can be sent to
    CHECK(there.recv_from(room).value().first == 4);
  });
}
