#include "tests/net/everywhere.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace weft::test;
namespace net = weft::net;

TEST_CASE("what is written to one end comes out of the other") {
  everywhere([](auto where) {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto server = where.start([&] {
      auto s = listener.accept().value();
      char room[64];
      std::string seen;
      for (;;) {
        auto n = s.read_some(room);
        if (!n || *n == 0) return seen;
        seen.append(room, *n);
        if (!s.write_all(std::string_view(room, *n))) return seen;
      }
    });
    auto client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    for (int i = 0; i != 200; ++i) {
      std::string const message = "message " + std::to_string(i);
      REQUIRE(client.write_all(message));
      std::string back(message.size(), 0);
      REQUIRE(client.read_exact(back));
      REQUIRE(back == message);
    }
    REQUIRE(client.shutdown_write());
    char end[1];
    CHECK(client.read_some(end).value() == 0);
    CHECK(server.get().starts_with("message 0message 1"));
  });
}

TEST_CASE("TCP_NODELAY is on at both ends of a connection until set_nodelay turns it off there") {
  on_the_machine([](auto) {
    auto const sends_at_once = [](net::stream_base const& s) {
      int on = -1;
      socklen_t size = sizeof on;
      REQUIRE(::getsockopt(s.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0);
      return on != 0;
    };
    auto [connected, accepted] = tcp_pair();
    CHECK(sends_at_once(connected));
    CHECK(sends_at_once(accepted));
    accepted.set_nodelay(false);
    CHECK(sends_at_once(connected));
    CHECK_FALSE(sends_at_once(accepted));
    connected.set_nodelay(false);
    CHECK_FALSE(sends_at_once(connected));
    accepted.set_nodelay(true);
    CHECK(sends_at_once(accepted));
    CHECK_FALSE(sends_at_once(connected));

    auto [unix_end, other_end] = unix_pair();
    unix_end.set_nodelay(false);  // means nothing there, and does no harm
    REQUIRE(unix_end.write_all("x"));
    char room[1];
    CHECK(other_end.read_some(room).value() == 1);
    unix_end.close();
    unix_end.set_nodelay(true);
  });
}

TEST_CASE("both ends know their addresses, and a closed stream knows none") {
  auto [a, b] = tcp_pair();
  CHECK(a.local_endpoint() == b.remote_endpoint());
  CHECK(a.remote_endpoint() == b.local_endpoint());
  CHECK(a.native_handle() >= 0);
  a.close();
  a.close();
  CHECK_FALSE(a.local_endpoint());
  CHECK_FALSE(a.remote_endpoint());
  CHECK(a.native_handle() == -1);
}

TEST_CASE("after shutdown_write the peer reads the end and can still answer") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto peer = where.start([&] {
      std::string got = read_all(b);
      (void)b.write_all("got ", got);
      b.close();
    });
    REQUIRE(a.write_all("all"));
    REQUIRE(a.shutdown_write());
    CHECK(read_all(a) == "got all");
    peer.get();
    CHECK_FALSE(a.write_all("more"));
  });
}

TEST_CASE("an end that arrives together with the last data is read after it, in one read each") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    char room[100];
    // The first read waits, so that the descriptor is registered before data and FIN come as one event.
    auto first = where.start([&] { return b.read_some(room).value(); });
    REQUIRE(a.write_all("x"));
    CHECK(first.get() == 1);
    REQUIRE(a.write_all("last words"));
    a.close();
    auto rest = where.start([&] {
      std::string got;
      char some[100];
      for (;;) {
        auto const n = b.read_some(some).value();
        if (n == 0) return got;
        got.append(some, n);
      }
    });
    CHECK(rest.get() == "last words");
  });
}

TEST_CASE("an end that follows each short read is never missed") {
  on_the_machine([](auto where) {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    constexpr int rounds = 200;
    auto clients = where.start([&] {
      for (int i = 0; i != rounds; ++i) {
        auto c = net::tcp_stream::connect(address).value();
        (void)c.write_all("ping");
        char room[10];
        (void)c.read_some(room);
        (void)c.write_all("pong");
      }
    });
    for (int i = 0; i != rounds; ++i) {
      auto s = listener.accept().value();
      char room[100];
      REQUIRE(s.read_some(room).value() == 4);
      REQUIRE(s.write_all("!"));
      REQUIRE(read_all(s) == "pong");
    }
    clients.get();
  });
}

TEST_CASE("what stands behind urgent data is read, although the read before it was short") {
  on_the_machine([](auto) {
    auto [receiver, sender] = tcp_pair();
    char room[64];
    receiver.set_read_deadline(weft::now() + std::chrono::milliseconds(5));
    CHECK(receiver.read_some(room).error() == std::errc::timed_out);  // a task's is registered from here on
    int const fd = sender.native_handle();
    REQUIRE(::send(fd, "abc", 3, 0) == 3);
    REQUIRE(::send(fd, "!", 1, MSG_OOB) == 1);
    REQUIRE(::send(fd, "def", 3, 0) == 3);
    weft::sleep_for(std::chrono::milliseconds(20));  // all of it has come, and has been reported at once
    receiver.set_read_deadline(weft::now() + std::chrono::seconds(10));
    std::string seen;
    while (seen.size() < 6) seen.append(room, receiver.read_some(room).value());
    CHECK(seen == "abcdef");
  });
}

TEST_CASE("read_exact says eof when the stream ends before") {
  auto [a, b] = tcp_pair();
  REQUIRE(a.write_all("abc"));
  a.close();
  std::array<char, 4> room{};
  CHECK(b.read_exact(room).error() == weft::errc::eof);
  CHECK(std::string_view(room.data(), 3) == "abc");
}

TEST_CASE("large writes wait for the reader and arrive whole, from any number of buffers") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    std::string large(3'000'000, 0);
    for (std::size_t i = 0; i != large.size(); ++i) large[i] = static_cast<char>(i * 31 >> 3);
    auto writer = where.start([&] {
      std::vector<net::const_buffer> parts;
      for (std::size_t at = 0; at < large.size(); at += 7001)
        parts.emplace_back(std::string_view(large).substr(at, 7001));
      std::string const none;
      bool good = a.write_all(none, large, none, large).has_value();
      good = good && a.write_all(parts).has_value();
      a.close();
      return good;
    });
    std::string const got = read_all(b);
    CHECK(writer.get());
    CHECK(got == large + large + large);
  });
}

TEST_CASE("buffers are taken from strings, literals, vectors, arrays and spans of char and byte") {
  auto [a, b] = tcp_pair();
  std::vector<std::byte> const bytes(2, std::byte{'y'});
  std::byte const raw[2] = {std::byte{'z'}, std::byte{'z'}};
  REQUIRE(a.write_all("lit", std::string("str"), std::string_view("view"), std::array{'a', 'b'}, bytes, raw,
                      std::vector<char>{'v'}));
  a.close();
  CHECK(read_all(b) == "litstrviewabyyzzv");
}

TEST_CASE("one task reads while another writes, over the halves of a split stream") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto [read, write] = std::move(a).split();
    constexpr int rounds = 300;
    auto echo = where.start([&] {
      char room[512];
      for (;;) {
        auto n = b.read_some(room);
        if (!n || *n == 0 || !b.write_all(std::string_view(room, *n))) return;
      }
    });
    auto writer = where.start([&] {
      for (int i = 0; i != rounds; ++i) (void)write.write_all(std::string(100, static_cast<char>('a' + i % 26)));
      (void)write.shutdown_write();
    });
    std::string got(100, 0);
    for (int i = 0; i != rounds; ++i) {
      REQUIRE(read.read_exact(got));
      REQUIRE(got == std::string(100, static_cast<char>('a' + i % 26)));
    }
    writer.get();
    b.shutdown_write().value();
    echo.get();
    CHECK(read.read_some(got).value() == 0);
  });
}

TEST_CASE("a stream lives as long as one of its halves and close on either closes both") {
  auto [a, b] = tcp_pair();
  auto [read, write] = std::move(a).split();
  {
    auto gone = std::move(write);
  }
  REQUIRE(b.write_all("x"));
  char room[1];
  CHECK(read.read_some(room).value() == 1);
  net::read_half copy = read;
  copy.close();
  CHECK(read.read_some(room).error() == weft::errc::closed);
}

TEST_CASE("writing to a peer that has gone is an error and no SIGPIPE") {
  auto [a, b] = tcp_pair();
  b.close();
  std::error_code error;
  for (int i = 0; i != 1000 && !error; ++i) error = error_of(a.write_all(std::string(1000, 'x')));
  CHECK((error == std::errc::broken_pipe || error == std::errc::connection_reset));
}

TEST_CASE("what was moved from and what never was open is closed") {
  auto [a, b] = tcp_pair();
  net::tcp_stream c = std::move(a);
  char room[1];
  CHECK(a.read_some(room).error() == weft::errc::closed);
  CHECK(a.write_all("x").error() == weft::errc::closed);
  a.close();
  a.set_nodelay(true);
  CHECK(net::read_half().read_some(room).error() == weft::errc::closed);
  c.set_nodelay(false);
  CHECK(c.write_all("x"));
}

TEST_CASE("connecting where nobody listens is refused") {
  everywhere([](auto) {
    std::string address;
    {
      auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
      address = listener.local_endpoint().to_string();
    }
    CHECK(net::tcp_stream::connect(address).error() == std::errc::connection_refused);
  });
}

TEST_CASE("unix streams connect by path and by abstract name") {
  everywhere([](auto where) {
    std::string const path = "/tmp/weft-net-test-" + std::to_string(::getpid()) + ".sock";
    for (std::string name : {path, "@" + path}) {
      auto listener = net::unix_listener::bind(name).value();
      CHECK(listener.local_endpoint().to_string() == name);
      CHECK(net::unix_listener::bind(name).error() == std::errc::address_in_use);
      auto server = where.start([&] {
        auto s = listener.accept().value();
        return read_all(s);
      });
      auto client = net::unix_stream::connect(name).value();
      REQUIRE(client.write_all("over a path"));
      client.close();
      CHECK(server.get() == "over a path");
      listener.close();
      CHECK(::access(path.c_str(), F_OK) != 0);
      CHECK(net::unix_stream::connect(name).error());
    }
  });
}

TEST_CASE("a connection to a port where nobody listens is refused, and never one to itself") {
  weft::run([] {
    // One of those that the system gives to who connects, which on Linux are the neighbours of those that it gives to who binds.
    std::string nobody;
    while (nobody.empty()) {
      auto const bound = net::tcp_listener::bind("127.0.0.1:0").value();
      auto const beside = "127.0.0.1:" + std::to_string(bound.local_endpoint().port() ^ 1);
      if (net::tcp_listener::bind(beside)) nobody = beside;
    }
    int to_itself = 0;
    for (int i = 0; i != 40'000; ++i) {
      auto const made = net::tcp_stream::connect(nobody);
      if (made)
        to_itself +=
            made->local_endpoint() == made->remote_endpoint() ? 1 : 0;  // else somebody's who listens there by now
      else if (made.error() != std::errc::connection_refused) FAIL(made.error().message());
    }
    CHECK(to_itself == 0);
  });
}

TEST_CASE("where a write finds that the connection was reset, a read does not say that the stream has ended") {
  weft::run([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    auto server = listener.accept().value();
    REQUIRE(client.write_all("unread"));
    REQUIRE(server.write_all("some of it"));
    char room[64];
    REQUIRE(client.read_some(room).value() == 10);
    server.close();  // with what it has not read: the system sends a reset
    weft::result<void> written;
    while ((written = client.write_all("x")));  // until it has come
    CHECK(written.error() == std::errc::connection_reset);
    auto const end = client.read_some(room);
    REQUIRE_FALSE(end);
    CHECK(end.error() == std::errc::connection_reset);
  });
}

TEST_CASE(
    "a duplicate that was made of a stream's descriptor goes on when the stream is closed, whoever reads from that") {
  on_the_machine([](auto where) {
    auto [stream, peer] = tcp_pair();
    int const duplicate = ::dup(stream.native_handle());
    REQUIRE(duplicate >= 0);
    auto reading = where.start([&s = stream] {
      char room[1];
      return error_of(s.read_some(room));
    });
    until_parked(1);
    stream.close();
    CHECK(reading.get() == weft::errc::closed);
    CHECK(::send(duplicate, "on", 2, MSG_NOSIGNAL) == 2);
    ::close(duplicate);
    CHECK(read_all(peer) == "on");
  });
}

TEST_CASE("a connection that both sides have ended has no peer") {
  everywhere([](auto) {
    auto [a, b] = tcp_pair();
    REQUIRE(a.shutdown_write());
    CHECK(read_all(b).empty());
    CHECK(b.remote_endpoint() == a.local_endpoint());
    REQUIRE(b.shutdown_write());
    CHECK(read_all(a).empty());
    for (net::tcp_stream* const s : {&a, &b}) {
      weft::result<void> again;  // the kernel knows the connection until the end has been acknowledged
      for (int i = 0; i != 5000 && (again = s->shutdown_write()); ++i) weft::sleep_for(std::chrono::milliseconds(1));
      REQUIRE_FALSE(again);
      CHECK(again.error() == std::errc::not_connected);
      CHECK_FALSE(s->remote_endpoint());
      CHECK(s->local_endpoint());
    }
  });
}
