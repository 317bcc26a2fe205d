#include <weft/net/listener.hpp>

#include <chrono>
#include <cstring>
#include <string>
#include <unordered_set>

#include <sys/socket.h>
#include <sys/un.h>

#include "tests/support/catch.hpp"

using weft::net::endpoint;

TEST_CASE("an endpoint's text is what it was parsed from") {
  for (std::string text : {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:8080", "[2001:db8::7]:443"}) {
    INFO(text);
    auto const e = endpoint::parse(text);
    REQUIRE(e);
    CHECK(e->to_string() == text);
    CHECK(*e);
  }
  CHECK(endpoint::parse("[::1]:8080")->port() == 8080);
  CHECK(endpoint::parse("1.2.3.4:5")->port() == 5);
}

TEST_CASE("equal addresses are equal endpoints and hash alike, others differ") {
  endpoint const a = endpoint::parse("127.0.0.1:80").value(), b = endpoint::parse("127.0.0.1:80").value();
  CHECK(a == b);
  CHECK(a != endpoint::parse("127.0.0.1:81").value());
  CHECK(a != endpoint::parse("127.0.0.2:80").value());
  CHECK(std::unordered_set<endpoint>{a, b, endpoint()}.size() == 2);
}

TEST_CASE("no endpoint is false, without text and port") {
  endpoint const none;
  CHECK_FALSE(none);
  CHECK(none.to_string().empty());
  CHECK(none.port() == 0);
}

TEST_CASE("unix paths become endpoints, too long or empty ones do not") {
  CHECK(endpoint::unix_path("/tmp/x.sock")->to_string() == "/tmp/x.sock");
  CHECK(endpoint::unix_path("@name")->to_string() == "@name");
  CHECK(endpoint::unix_path(std::string(107, 'x'))->to_string() == std::string(107, 'x'));
  for (std::string bad : {std::string(), std::string("@"), std::string(108, 'x'), std::string("a\0b", 3)}) {
    CHECK(endpoint::unix_path(bad).error() == std::errc::invalid_argument);
  }
}

TEST_CASE("a path that fills its sockaddr is read to its end and no further") {
  sockaddr_un full{};
  full.sun_family = AF_UNIX;
  std::memset(full.sun_path, 'x', sizeof full.sun_path);
  sockaddr_storage room{};  // the kernel says 111 of such a peer: the path, and a null behind it
  std::memcpy(&room, &full, sizeof full);
  for (socklen_t size : {socklen_t{sizeof full}, socklen_t{sizeof full + 1}, socklen_t{sizeof full + 2}})
    CHECK(endpoint::from_sockaddr(&room, size).to_string() == std::string(sizeof full.sun_path, 'x'));
  reinterpret_cast<sockaddr_un*>(&room)->sun_path[0] = 0;
  CHECK(endpoint::from_sockaddr(&room, sizeof full + 1).to_string() ==
        "@" + std::string(sizeof full.sun_path - 1, 'x'));
}

TEST_CASE("a malformed address is invalid_argument wherever one is taken") {
  for (std::string bad : {"",
                          ":",
                          "127.0.0.1",
                          "127.0.0.1:",
                          "127.0.0.1:http",
                          "127.0.0.1:65536",
                          "127.0.0.1:-1",
                          "127.0.0.1: 80",
                          "127.0.0.1:80 ",
                          "1.2.3:80",
                          "1.2.3.4.5:80",
                          "256.0.0.1:80",
                          "::1:80",
                          "[::1]",
                          "[::1]80",
                          "[::1:80",
                          "[127.0.0.1]:80",
                          "[]:80",
                          "[:::]:80",
                          "[::1%nosuch]:80",
                          "a b:80",
                          "a..b:80",
                          "-\n:80",
                          ".a:80",
                          "host:80:90",
                          "0x7f.1:80",
                          "0X7F.0.0.1:80",
                          "0x7f000001:80",
                          "\xff:80"}) {
    INFO("'" << bad << "'");
    CHECK(weft::net::resolve(bad).error() == std::errc::invalid_argument);
    CHECK(weft::net::tcp_stream::connect(bad).error() == std::errc::invalid_argument);
    CHECK(weft::net::tcp_listener::bind(bad).error() == std::errc::invalid_argument);
    CHECK(weft::net::udp_socket::bind(bad).error() == std::errc::invalid_argument);
    CHECK(endpoint::parse(bad).error() == std::errc::invalid_argument);
  }
  std::string const with_null("127.0.0.1\0:80", 13);
  CHECK(weft::net::resolve(with_null).error() == std::errc::invalid_argument);
  CHECK(weft::net::resolve(std::string(300, 'a') + ":80").error() == std::errc::invalid_argument);
}

TEST_CASE("a malformed path of a unix socket is invalid_argument wherever one is taken") {
  std::string const nul("\0", 1);
  for (std::string const& bad :
       {std::string(), std::string("@"), std::string(108, 'x'), std::string(4000, 'x'), "@" + std::string(108, 'x'),
        nul, "/tmp/a" + nul + "b", "/tmp/a" + nul, "@a" + nul + "b"}) {
    CAPTURE(bad);
    CHECK(weft::net::unix_stream::connect(bad).error() == std::errc::invalid_argument);
    CHECK(weft::net::unix_stream::connect(bad, std::chrono::seconds(0)).error() == std::errc::invalid_argument);
    CHECK(weft::net::unix_listener::bind(bad).error() == std::errc::invalid_argument);
  }
  std::string const longest = "@" + std::string(107, 'w');
  auto listener = weft::net::unix_listener::bind(longest);
  REQUIRE(listener);
  CHECK(weft::net::unix_stream::connect(longest));
  CHECK(weft::net::unix_listener::bind("/no/such/folder/at/all").error() == std::errc::no_such_file_or_directory);
  CHECK(weft::net::unix_stream::connect("/no/such/folder/at/all").error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("resolving a number or localhost asks nobody") {
  CHECK(weft::net::resolve("10.1.2.3:4").value() == std::vector{endpoint::parse("10.1.2.3:4").value()});
  CHECK(weft::net::resolve("localhost:9").value().front() == endpoint::parse("127.0.0.1:9").value());
  CHECK(weft::net::resolve(":9").value().front() == endpoint::parse("127.0.0.1:9").value());
}

TEST_CASE("a name is not an endpoint") {
  CHECK(endpoint::parse("localhost:80").error() == std::errc::invalid_argument);
}
