// Requests are read into memory of the thread's (runtime/net/scratch.hpp): what is left there must have been taken out before others read.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"
#include "weft/task.hpp"

#include <memory>
#include <string>
#include <string_view>

using namespace http_test;

namespace {

constexpr std::string_view mark = "kept by its connection";

/// Where the handlers say that they have begun, and wait for leave to go on; of the run that is in progress.
weft::chan<int> entered, go_on;

http::router waiting_routes() {
  entered = weft::make_chan<int>(1);
  go_on = weft::make_chan<int>(1);
  http::router r;
  r.get("/wait", [] {
    entered.send(1);
    (void)go_on.recv();
    return http::response(200, "waited");
  });
  r.get("/hello/{name}", [](http::request& q) { return http::response(200, std::string(q.param("name"))); });
  r.post("/echo", [](http::request& q) { return http::response(200, std::move(q).body()); });
  r.post("/late", [](http::request&, http::body_reader& body) {
    entered.send(1);
    (void)go_on.recv();
    return http::response(200, body.read_all(1000).value());
  });
  return r;
}

/// Others' requests, as long as what is to be kept, and longer.
void serve_others(std::string const& at) {
  wire other(at);
  for (std::size_t n : {100, 1000, 6000}) {
    other.send(get("/hello/other", "X: " + std::string(n, 'z') + "\r\n"));
    CHECK(body_of(other.response()) == "other");
  }
}

std::string post(std::string_view path, std::size_t length, std::string_view bytes) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(length) +
         "\r\n\r\n" + std::string(bytes);
}

}  // namespace

TEST_CASE("what has come behind a request stays while its handler waits and others are served") {
  with_server(waiting_routes, {}, [](std::string const& at, http::server&) {
    wire w(at);
    w.send(get("/wait") + get("/hello/second") + post("/echo", mark.size(), mark.substr(0, 5)));
    (void)entered.recv();
    serve_others(at);
    go_on.send(1);
    CHECK(body_of(w.response()) == "waited");
    CHECK(body_of(w.response()) == "second");
    serve_others(at);
    w.send(mark.substr(5));
    CHECK(body_of(w.response()) == mark);
  });
}

TEST_CASE("half a request stays while the connection waits for the rest and others are served") {
  with_server(waiting_routes, {}, [](std::string const& at, http::server&) {
    std::string const whole = get("/hello/second", "A: " + std::string(300, 'a') + "\r\n");
    for (std::size_t n : {std::size_t{1}, std::size_t{20}, whole.size() - 1}) {
      wire w(at);
      w.send(get("/hello/first") + whole.substr(0, n));
      CHECK(body_of(w.response()) == "first");  // so the half behind it has been read, unless the network has split it
      serve_others(at);
      w.send(whole.substr(n));
      CHECK(body_of(w.response()) == "second");
    }
  });
}

TEST_CASE("a body that a handler reads late stays while others are served") {
  with_server(waiting_routes, {}, [](std::string const& at, http::server&) {
    wire w(at);
    w.send(post("/late", mark.size(), mark) + get("/hello/second"));
    (void)entered.recv();
    serve_others(at);
    go_on.send(1);
    CHECK(body_of(w.response()) == mark);
    CHECK(body_of(w.response()) == "second");
  });
}

TEST_CASE("what a handler has put in the place of its request goes with it, and does not wait for the next one") {
  auto const captured = std::make_shared<int>(1);
  with_server_on_the_machine(
      [captured] {
        http::router r;
        r.get("/", [weak = std::weak_ptr(captured)](http::request& q) {
          auto const held = weak.lock();
          q = http::request("POST", "http://127.0.0.1:1/", [held](http::body_writer&) {});
          return http::response(200, "x");
        });
        return r;
      },
      {},
      [&](std::string const& at, http::server&) {
        long const held_by_nobody = captured.use_count();
        wire w(at);
        w.send(get("/"));
        CHECK(body_of(w.response()) == "x");
        for (weft::time_point const until = weft::now() + 20s; captured.use_count() != held_by_nobody;) {
          REQUIRE(weft::now() < until);
          weft::yield();
        }
      });
}
