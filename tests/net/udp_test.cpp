#include "tests/net/everywhere.hpp"

#include <chrono>

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
