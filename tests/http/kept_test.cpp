// The client's kept connections: which are used again, and when they are closed.
#include "tests/http/harness.hpp"

#include <stdexcept>
#include <string>
#include <string_view>

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

using namespace http_test;

namespace {

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";

/// The client's kernel has acknowledged all that was sent, the end included.
void wait_until_arrived(net::tcp_stream& s) {
  for (weft::time_point const until = weft::now() + 20s; weft::now() < until; weft::sleep_for(1ms)) {
    int left = 0;
    REQUIRE(::ioctl(s.native_handle(), SIOCOUTQ, &left) == 0);
    if (left == 0) return;
  }
  FAIL("nothing is acknowledged");
}

void answer(net::tcp_stream& s, std::string_view with) {
  char some[4096];
  if (s.read_some(some).value_or(0) == 0 || !s.write_all(with))
    throw std::runtime_error("no request, or nobody who takes the answer");  // no REQUIRE: it runs beside the client
}

/// A server of three connections: after its first answer each does what `then` says.
template <class Then>
void kept(std::string_view method, Then then) {
  weft::run([&] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const url = "http://" + listener.local_endpoint().to_string();
    http::client c;
    for (int i = 0; i != 3; ++i) {
      auto accepted = weft::spawn([&] {
        auto s = listener.accept().value();
        answer(s, ok);
        return s;
      });
      auto const r = c.send(http::request(method, url, method == "POST" ? "x" : ""));
      REQUIRE(r);
      CHECK(r->body() == "1");
      auto s = accepted.join();
      then(s);
      wait_until_arrived(s);
    }
  });
}

}  // namespace

TEST_CASE("bytes that came on a kept connection are not the answer to the next request") {
  kept("GET", [](net::tcp_stream& s) { REQUIRE(s.write_all("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")); });
}

TEST_CASE("a POST meets no connection that its server has closed before") {
  kept("POST", [](net::tcp_stream& s) { REQUIRE(s.shutdown_write()); });
}

TEST_CASE("connections that are kept for too long are closed, whichever host is asked next") {
  weft::run([] {
    auto first = net::tcp_listener::bind("127.0.0.1:0").value(),
         second = net::tcp_listener::bind("127.0.0.1:0").value();
    http::client c({.idle_timeout = 10ms});
    auto served = weft::spawn([&] {
      auto s = first.accept().value();
      answer(s, ok);
      char some[16];
      return s.read_some(some).value_or(99);  // the client's end
    });
    REQUIRE(c.get("http://" + first.local_endpoint().to_string()));
    auto other = weft::spawn([&] {
      while (auto s = second.accept()) answer(*s, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    for (weft::time_point const until = weft::now() + 20s; !served.done() && weft::now() < until; weft::sleep_for(5ms))
      REQUIRE(c.get("http://" + second.local_endpoint().to_string()));
    REQUIRE(served.done());
    CHECK(served.join() == 0);
    second.close();
    other.join();
  });
}
