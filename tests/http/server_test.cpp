// A server end to end: one connection, made by hand, and what comes back.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"

#include <atomic>
#include <stdexcept>
#include <vector>

using namespace http_test;

namespace {

http::router routes() {
  http::router r;
  r.get("/hello", [] { return http::json({{"message", "hello world"}}); });
  r.get("/hello/{name}",
        [](http::request& q) { return http::json({{"message", "hello " + std::string(q.param("name"))}}); });
  r.post("/echo", [](http::request& q) {
    std::string const type(q.header("Content-Type").value_or("application/octet-stream"));
    return http::response(200, std::move(q).body()).header("Content-Type", type);
  });
  r.get("/throw", []() -> http::response { throw std::runtime_error("secret"); });
  r.get("/throw-int", []() -> http::response { throw 7; });
  r.get("/teapot", []() -> http::response { throw http::error(418, "short and stout"); });
  r.get("/overload", []() -> http::response { throw http::error(503, "secret"); });
  r.get("/interim", [] { return http::response(102); });
  r.get("/close", [] { return http::response(200, "bye").header("Connection", "close"); });
  r.get("/big", [] { return std::string(3'000'000, 'b'); });
  r.get("/stream", [](http::request&) {
    return http::response(200, "text/plain", [](http::body_writer& w) {
      w.write("one ");
      w.flush();
      w.write(std::string(40'000, 'x'));
      w.write("");
      w.write(" two");
    });
  });
  r.get("/trailers", [](http::request&) {
    return http::response(200, "text/plain", [](http::body_writer& w) {
      w.write("body");
      w.trailer("X-Sum", "4");
      w.trailer("X-Other", "y");
      for (auto [name, value] :
           {std::pair("Content-Length", "1"), {"transfer-encoding", "x"}, {"a b", "1"}, {"", "1"}, {"X", "a\r\nb"}}) {
        try {
          w.trailer(name, value);
          w.write(" accepted");
        } catch (std::invalid_argument const&) {
          w.write(" refused");
        }
      }
    });
  });
  r.get("/error/{status}", [](http::request& q) -> http::response {
    throw http::error(std::stoi(std::string(q.param("status"))), "text");
  });
  r.get("/stream-cancelled/{when}", [](http::request& q) {
    return http::response(200, "text/plain", [late = q.param("when") == "late"](http::body_writer& w) {
      w.write("begun");
      if (late) w.flush();
      auto other = weft::spawn([] { weft::sleep_for(1h); });
      other.cancel();
      other.join();
    });
  });
  r.get("/stream-throw/{when}", [](http::request& q) {
    return http::response(200, "text/plain", [late = q.param("when") == "late"](http::body_writer& w) {
      w.write("begun");
      if (late) w.flush();
      throw std::runtime_error("secret");
    });
  });
  return r;
}

}  // namespace

TEST_CASE("a request is answered, and the connection goes on") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string const first = w.send(get("/hello")).response();
    CHECK(first.starts_with("HTTP/1.1 200 OK\r\nDate: "));
    CHECK(has(first, "\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n"));
    CHECK(body_of(first) == "{\"message\":\"hello world\"}");
    CHECK(body_of(w.send(get("/hello/%22you%22")).response()) == "{\"message\":\"hello \\\"you\\\"\"}");
    CHECK(status_of(w.send(get("/nowhere")).response()) == 404);
    std::string const wrong = w.send("PUT /hello HTTP/1.1\r\nHost: t\r\n\r\n").response();
    CHECK(status_of(wrong) == 405);
    CHECK(has(wrong, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    CHECK(status_of(w.send(get("/hello")).response()) == 200);
  });
}

TEST_CASE("HEAD has the header of GET and no body") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string const head = w.send("HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n").response(false);
    CHECK(has(head, "Content-Length: 25\r\n"));
    CHECK(has(w.send("HEAD /stream HTTP/1.1\r\nHost: t\r\n\r\n").response(false), "Transfer-Encoding: chunked\r\n"));
    CHECK(body_of(w.send(get("/hello")).response()) == "{\"message\":\"hello world\"}");
  });
}

TEST_CASE("bodies come by length and in chunks, in one piece or byte by byte") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    for (std::size_t size : {0, 1, 1000, 70'000, 1'000'000}) {
      std::string const body(size, 'e');
      w.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Type: x/y\r\nContent-Length: " + std::to_string(size) +
             "\r\n\r\n" + body);
      std::string const r = w.response();
      REQUIRE(body_of(r) == body);
      CHECK(has(r, "Content-Type: x/y\r\n"));
    }
    std::string const chunked =
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nX: y\r\n\r\n";
    for (char c : chunked) w.send(std::string(1, c));
    CHECK(body_of(w.response()) == "abcd");
    CHECK(body_of(w.send(chunked + chunked).response()) == "abcd");
    CHECK(body_of(w.response()) == "abcd");
  });
}

TEST_CASE("pipelined requests are answered in order, an incomplete one when it is complete") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string all;
    for (int i = 0; i < 300; ++i) all += get("/hello/" + std::to_string(i));
    w.send(all + "GET /hello/last HT");
    for (int i = 0; i < 300; ++i) REQUIRE(body_of(w.response()) == "{\"message\":\"hello " + std::to_string(i) + "\"}");
    CHECK(body_of(w.send("TP/1.1\r\nHost: t\r\n\r\n").response()) == "{\"message\":\"hello last\"}");
    // What follows a request that closes the connection is not answered.
    CHECK(w.send(get("/hello", "Connection: close\r\n") + get("/hello")).rest().find("HTTP/1.1", 1) ==
          std::string::npos);
  });
}

TEST_CASE("HTTP/1.0 closes unless it asks to be kept") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::string const closed = wire(at).send("GET /hello HTTP/1.0\r\n\r\n").rest();
    CHECK(has(closed, "Connection: close\r\n"));
    wire kept(at);
    CHECK(has(kept.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").response(),
              "Connection: keep-alive\r\n"));
    CHECK(status_of(kept.send("GET /hello HTTP/1.0\r\n\r\n").rest()) == 200);
    CHECK(has(wire(at).send(get("/close")).rest(), "Connection: close\r\n"));
  });
}

TEST_CASE("a malformed request is answered with its status, and its connection closed") {
  http::server_options small;
  small.max_header_bytes = 2000;
  small.max_body_bytes = 1000;
  small.max_target_bytes = 300;
  with_server(routes, small, [](std::string const& at, auto&) {
    auto const status = [&](std::string const& bytes) {
      std::string const r = wire(at).send(bytes).rest();
      CHECK(has(r, "Connection: close\r\n"));
      return status_of(r);
    };
    CHECK(status("nonsense\r\n\r\n") == 400);
    CHECK(status("GET / HTTP/1.1\r\n\r\n") == 400);
    CHECK(status("GET / HTTP/3.0\r\n\r\n") == 505);
    CHECK(
        status("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
        400);
    CHECK(status("GET /" + std::string(400, 'a') + " HTTP/1.1\r\n\r\n") == 414);
    CHECK(status(get("/", "X: " + std::string(2000, 'x') + "\r\n")) == 431);
    CHECK(status("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x')) == 413);
    CHECK(status("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
                 std::string(500, 'x')) == 413);
    CHECK(status_of(wire(at).send(get("/hello")).response()) == 200);
  });
}

TEST_CASE("a client that expects 100-continue is told to go on, or refused before it sends") {
  http::server_options small;
  small.max_body_bytes = 10;
  with_server(routes, small, [](std::string const& at, auto&) {
    wire w(at);
    w.send("POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    CHECK(w.response() == "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(body_of(w.send("hello").response()) == "hello");
    w.send("POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    CHECK(body_of(w.response()) == "hello");  // the body was there already
    CHECK(status_of(
              w.send("POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n").rest()) ==
          413);
    for (auto const& [path, status] : {std::pair("/nowhere", 404), std::pair("/hello", 405)}) {  // no body is asked for
      std::string const head = "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n";
      for (char const* length :
           {"Content-Length: 5\r\n\r\n", "Content-Length: 50\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"}) {
        std::string const r = wire(at).send(head + length).rest();
        CHECK(status_of(r) == status);
        CHECK(has(r, "Connection: close"));
      }
      CHECK(status_of(wire(at).send(head + "Content-Length: 5\r\n\r\nhello").response()) == status);
    }
  });
}

TEST_CASE("a handler that throws, or has no final status, gives 500, or its status, and the server lives on") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    for (char const* path : {"/throw", "/throw-int", "/interim"}) {
      std::string const r = w.send(get(path)).response();
      CHECK(status_of(r) == 500);
      CHECK_FALSE(has(r, "secret"));
    }
    std::string const teapot = w.send(get("/teapot")).response();
    CHECK(status_of(teapot) == 418);
    CHECK(body_of(teapot) == "short and stout");
    std::string const moved = w.send(get("/error/302")).response();
    CHECK(status_of(moved) == 302);
    CHECK(body_of(moved) == "text");
    for (char const* none : {"/error/204", "/error/600"}) CHECK(status_of(w.send(get(none)).response()) == 500);
    std::string const overload = w.send(get("/overload")).response();
    CHECK(status_of(overload) == 503);
    CHECK_FALSE(has(overload, "secret"));
    CHECK(status_of(w.send(get("/hello")).response()) == 200);
  });
}

TEST_CASE("a streamed body goes out in chunks, or up to the end for HTTP/1.0") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::string const whole = "one " + std::string(40'000, 'x') + " two";
    auto const r = http::get("http://" + at + "/stream");
    REQUIRE(r);
    CHECK(r->header("Transfer-Encoding") == "chunked");
    CHECK(r->body() == whole);
    CHECK(body_of(wire(at).send("GET /stream HTTP/1.0\r\n\r\n").rest()) == whole);
    auto const cut = http::get("http://" + at + "/stream-throw/late");
    REQUIRE_FALSE(cut);
    CHECK(cut.error() == http::errc::bad_response);
    std::string const raw = wire(at).send(get("/stream-throw/late")).rest();
    CHECK_FALSE(has(raw, "secret"));
    CHECK_FALSE(raw.ends_with("0\r\n\r\n"));
    CHECK(http::get("http://" + at + "/stream-throw/early")->status() == 500);  // nothing had been sent
  });
}

TEST_CASE("a cancellation that is not the request's own comes out of a streamed body's callback as any exception") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    CHECK(error_of(http::get("http://" + at + "/stream-cancelled/late")) == http::errc::bad_response);
    wire w(at);
    CHECK(status_of(w.send(get("/stream-cancelled/early")).response()) == 500);
    CHECK(status_of(w.send(get("/hello")).response()) == 200);
  });
}

TEST_CASE("trailers of a streamed body come behind it to HTTP/1.1 and not at all to HTTP/1.0") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string r = w.send(get("/trailers")).until("\r\n0\r\n");
    r += w.until("\r\n\r\n");
    CHECK(body_of(r) == "2c\r\nbody refused refused refused refused refused\r\n0\r\nX-Sum: 4\r\nX-Other: y\r\n\r\n");
    CHECK(status_of(w.send(get("/hello")).response()) == 200);
    CHECK(body_of(wire(at).send("GET /trailers HTTP/1.0\r\n\r\n").rest()).starts_with("body refused"));
  });
}

TEST_CASE("a client of HTTP/1.0 can tell that a streamed body was cut, by the reset") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::string const raw = wire(at).send("GET /stream-throw/late HTTP/1.0\r\n\r\n").rest();
    CHECK(has(raw, "<Connection reset by peer>"));
    CHECK(status_of(wire(at).send("GET /stream-throw/early HTTP/1.0\r\n\r\n").rest()) == 500);
  });
}

TEST_CASE("a large response arrives whole at a client that reads slowly") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    w.send(get("/big") + get("/hello"));
    weft::yield();
    CHECK(body_of(w.response()) == std::string(3'000'000, 'b'));
    CHECK(body_of(w.response()) == "{\"message\":\"hello world\"}");
  });
}

TEST_CASE("many connections at once each get their own answers") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::vector<weft::join_handle<int>> all;
    for (int i = 0; i < 100; ++i) {
      all.push_back(weft::spawn([&at, i] {
        wire w(at);
        int good = 0;
        for (int k = 0; k < 20; ++k) {
          std::string const name = std::to_string(i) + "-" + std::to_string(k);
          good += body_of(w.send(get("/hello/" + name)).response()) == "{\"message\":\"hello " + name + "\"}";
        }
        return good;
      }));
    }
    for (auto& h : all) CHECK(h.join() == 20);
  });
}

TEST_CASE("no more connections are accepted than allowed until one ends") {
  http::server_options o;
  o.max_connections = 2;
  with_server(routes, o, [](std::string const& at, auto&) {
    wire a(at);
    CHECK(status_of(a.send(get("/hello")).response()) == 200);
    {
      wire b(at);
      CHECK(status_of(b.send(get("/hello")).response()) == 200);
      wire waiting(at);  // the kernel has it, the server does not
      waiting.send(get("/hello"));
      waiting.stream().set_read_deadline(weft::now() + 100ms);
      CHECK_FALSE(has(waiting.response(), "HTTP"));
    }
    wire c(at);
    CHECK(status_of(c.send(get("/hello")).response()) == 200);
  });
}

TEST_CASE("a server may be made by a function, and moved while it listens") {
  weft::run([] {
    std::string at;
    auto const make = [&] {
      http::server s(routes());
      at = s.listen("127.0.0.1:0").value().to_string();
      return s;
    };
    http::server first = make();
    http::server server = std::move(first);
    auto serving = weft::spawn([&] { server.serve(); });
    CHECK(status_of(wire(at).send(get("/hello")).response()) == 200);
    server.shutdown(1s);
    serving.join();
    http::server next = make();
    http::server other(routes());
    std::string const open = other.listen("127.0.0.1:0").value().to_string();
    wire waits(open);  // in the queue of a server that is replaced
    other = std::move(next);
    char room[1];
    auto const gone = waits.stream().read_some(room);
    CHECK((!gone && gone.error() == std::errc::connection_reset));
    auto again = weft::spawn([&] { other.serve(); });
    CHECK(status_of(wire(at).send(get("/hello")).response()) == 200);
    other.shutdown(1s);
    again.join();
  });
}
