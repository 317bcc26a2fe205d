// The last response of a connection arrives whole, whatever the client has sent behind its request.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"

#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <sys/socket.h>

using namespace http_test;

namespace {

struct large_routes {
  std::size_t size;
  weft::chan<weft::unit> entered = weft::make_chan<weft::unit>(1), go_on = weft::make_chan<weft::unit>(1);

  http::router operator()() const {
    http::router r;
    r.get("/large", [*this] {
      entered.send(weft::unit{});
      go_on.recv();
      return std::string(size, 'b');
    });
    r.get("/cut", [] {
      return http::response(200, "text/plain", [](http::body_writer& out) {
        out.write("half");
        out.flush();
        throw std::runtime_error("a fault");
      });
    });
    return r;
  }
};

/// All up to the end, with a client that takes its time: 4 KB, and then others run.
std::string slowly(wire& w) {
  std::string all;
  char some[4096];
  for (;;) {
    auto const n = w.stream().read_some(some);
    if (!n) return all + "<" + n.error().message() + ">";
    if (*n == 0) return all;
    all.append(some, *n);
    for (int i = 0; i < 4; ++i) weft::yield();
  }
}

constexpr char const* upload_header = "POST /large HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000\r\n\r\n";

/// Of that upload; what then forbids to write more.
std::error_code write_all_that_goes(wire& w) {
  std::string const piece(1'000'000, 'x');
  weft::result<void> written;
  for (int i = 0; i != 1000 && written; ++i) {
    w.stream().set_write_deadline(weft::now() + 200ms);
    written = w.stream().write_all(piece);
  }
  return written ? std::error_code() : written.error();
}

}  // namespace

TEST_CASE(
    "a response with Connection: close keeps its tail although the client has sent something behind its request") {
  large_routes const routes{600'000};
  with_server(routes, {}, [&](std::string const& at, auto&) {
    for (std::string_view const behind : {"\r\n", "GET / HTTP/1.1\r\nHost: t\r\n\r\n"}) {
      wire w(at);
      int const small = 16 * 1024;
      if (w.stream().native_handle() < 1 << 30)  // a real one
        REQUIRE(::setsockopt(w.stream().native_handle(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
      w.send(get("/large", "Connection: close\r\n"));
      routes.entered.recv();
      w.send(behind);  // in the server's kernel, or on its way there, when the response goes out
      routes.go_on.send(weft::unit{});
      CHECK(body_of(slowly(w)).size() == routes.size);
    }
  });
}

TEST_CASE("a response keeps its tail although the next one, to a pipelined request, is cut") {
  large_routes const routes{600'000};
  with_server(routes, {}, [&](std::string const& at, auto&) {
    wire w(at);
    int const small = 16 * 1024;
    if (w.stream().native_handle() < 1 << 30)  // a real one
      REQUIRE(::setsockopt(w.stream().native_handle(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    w.send(get("/large") + get("/cut"));
    routes.entered.recv();
    w.send(std::string(40'000, '\n'));  // more than the server reads at once
    routes.go_on.send(weft::unit{});
    std::string const all = slowly(w);
    CHECK((body_of(all).substr(0, routes.size) == std::string(routes.size, 'b')));  // not to be printed
    CHECK(has(all, "\r\n4\r\nhalf\r\n"));
    CHECK_FALSE(has(all, "\r\n0\r\n"));
  });
}

TEST_CASE("a shutdown waits for the tail of a response although the client goes on sending") {
  large_routes const routes{600'000};
  with_server_on_the_machine(routes, {}, [&](std::string const& at, http::server& server) {
    wire w(at), idle(at);
    (void)idle.send(get("/none")).response();  // so it has been accepted
    int const small = 16 * 1024;
    REQUIRE(::setsockopt(w.stream().native_handle(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    w.send(get("/large"));
    routes.entered.recv();
    auto ending = weft::spawn([&] { server.shutdown(20s); });
    CHECK(idle.rest().empty());  // the shutdown has begun
    routes.go_on.send(weft::unit{});
    std::size_t got = 0;
    char some[4096];
    for (;;) {
      auto const n = w.stream().read_some(some);
      CHECK(n);
      if (n.value_or(0) == 0) break;
      got += *n;
      if (got < routes.size - 100'000) continue;
      weft::sleep_for(20ms);  // so that the tail, which the server's kernel has, takes longer than a poke
      (void)w.stream().write_all("more");
    }
    CHECK(got > routes.size);
    w.stream().close();
    ending.join();
  });
}

TEST_CASE("who writes for as long as that is possible before reading finds the answer to an upload that is refused") {
  with_server_on_the_machine(large_routes{1}, {}, [](std::string const& at, auto&) {
    // The server stays for a second, in which a machine that is busy may not get as far.
    for (int tries_left = 4;; --tries_left) {
      wire w(at);
      w.send(upload_header);
      std::error_code const error = write_all_that_goes(w);
      std::string const answer = w.response();
      if (tries_left != 0 && (error != std::errc::timed_out || status_of(answer) != 413)) continue;
      CHECK(error == std::errc::timed_out);  // and no reset
      CHECK(status_of(answer) == 413);
      return;
    }
  });
}

TEST_CASE("a server may be destroyed while a connection takes no more of an upload that was refused") {
  for (std::uint64_t seed = 0; seed != weft::test::simulated_seeds; ++seed) {
    CAPTURE(seed);
    weft::sim::run(seed, [] {
      std::optional<http::server> server(std::in_place, large_routes{1}());
      std::string const at = server->listen("127.0.0.1:0")->to_string();
      auto serving = weft::spawn([&] { server->serve(); });
      wire w(at);
      w.send(upload_header);
      CHECK(write_all_that_goes(w) == std::errc::timed_out);
      server.reset();
      weft::sleep_for(2s);  // longer than the connection would stay
      serving.cancel();
      CHECK_THROWS_AS(serving.join(), weft::cancelled);
    });
  }
}
