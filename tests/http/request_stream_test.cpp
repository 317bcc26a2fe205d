// Handlers that read their request's body as it comes: what they see, what the client is told, and what becomes of the rest.
#include "tests/http/given_back.hpp"
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"

#include <atomic>
#include <memory>
#include <span>
#include <vector>

using namespace http_test;

namespace {

std::string error_name(std::error_code e) { return std::string(e.category().name()) + ": " + e.message(); }

/// All of a body in pieces of `room`, or what went wrong.
std::string read_by(http::body_reader body, std::size_t room) {
  std::string all;
  std::vector<char> some(room);
  for (;;) {
    auto const n = body.read_some(some);
    if (!n) return error_name(n.error());
    if (*n == 0) return all;
    all.append(some.data(), *n);
  }
}

http::router routes() {
  http::router r;
  r.post("/echo/{room}", [](http::request& q, http::body_reader& body) {
    std::string const all = read_by(body, std::stoul(std::string(q.param("room"))));
    return http::response(200, all).header("X-Trailer", body.trailer("x-sum").value_or("none"));
  });
  r.post("/length", [](http::request&, http::body_reader body) {
    return body.length() ? std::to_string(*body.length()) : std::string("unknown");
  });
  r.post("/ignore", [](http::request& q, http::body_reader&) { return http::response(403, "no " + q.body()); });
  r.post("/must", [](http::request&, http::body_reader& body) {
    std::vector<char> some(100);
    while (body.read_some(some).value() != 0) {
    }
  });
  r.post("/all/{most}", [](http::request& q, http::body_reader& body) {
    auto const all = body.read_all(std::stoul(std::string(q.param("most"))));
    return all ? *all : error_name(all.error());
  });
  r.post("/throw", [](http::request&, http::body_reader&) -> http::response { throw http::error(409, "not now"); });
  r.post("/back", given_back);
  r.post("/whole", [](http::request& q) {
    http::body_reader body = q.reader();
    return std::to_string(*body.length()) + " " + read_by(body, 3) + " " +
           std::string(body.trailer("X-Sum").value_or("none"));
  });
  r.get("/hello", [] { return "hello"; });
  return r;
}

std::string post(std::string_view path, std::string_view body, std::string_view fields = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\n" + std::string(fields) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}
std::string chunks(std::string_view path, std::string_view body, std::string_view fields = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\n" + std::string(fields) +
         "Transfer-Encoding: chunked\r\n\r\n" + std::string(body);
}
constexpr char const* expects = "Expect: 100-continue\r\n";

}  // namespace

TEST_CASE("a streamed body is read whole, by length and in chunks, in small and in large pieces") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string const big(300'000, 'b');
    for (char const* room : {"1", "7", "100000"}) {
      std::string const path = "/echo/" + std::string(room);
      CHECK(body_of(w.send(post(path, "")).response()) == "");
      CHECK(body_of(w.send(post(path, "hello world")).response()) == "hello world");
      CHECK(body_of(w.send(post(path, big)).response()) == big);
      std::string const r = w.send(chunks(path, "3\r\nabc\r\n2;e=x\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")).response();
      CHECK(body_of(r) == "abcde");
      CHECK(has(r, "X-Trailer: 5\r\n"));
      CHECK(body_of(w.send(chunks(path, "493e0\r\n" + big + "\r\n0\r\n\r\n")).response()) == big);
    }
    for (char c : chunks("/echo/5", "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n")) w.send(std::string(1, c));
    CHECK(body_of(w.response()) == "abcde");
    w.send(post("/echo/9", "one") + chunks("/echo/9", "3\r\ntwo\r\n0\r\n\r\n") + get("/hello"));
    for (char const* body : {"one", "two", "hello"}) CHECK(body_of(w.response()) == body);
    CHECK(body_of(w.send(post("/length", "12345")).response()) == "5");
    CHECK(body_of(w.send(chunks("/length", "0\r\n\r\n")).response()) == "unknown");
    CHECK(status_of(w.send("POST /length HTTP/1.0\r\nContent-Length: 0\r\n\r\n").rest()) == 200);
  });
}

TEST_CASE("the handler runs before the body has come, and an earlier answer is not held back by it") {
  auto entered = weft::make_chan<std::string>();
  auto const make = [entered] {
    http::router r;
    r.get("/hello", [] { return "hello"; });
    r.post("/slow", [entered](http::request&, http::body_reader& body) {
      entered.send("entered");
      char one[1];
      while (body.read_some(std::span(one)).value() != 0) entered.send(std::string(1, one[0]));
    });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, auto&) {
    wire w(at);
    w.send(get("/hello") + "POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n");
    CHECK(entered.recv() == "entered");
    CHECK(body_of(w.response()) == "hello");
    w.send("a");
    CHECK(entered.recv() == "a");
    w.send("b");
    CHECK(entered.recv() == "b");
    CHECK(status_of(w.response()) == 204);
  });
}

TEST_CASE(
    "an earlier answer waits neither for a handler that has not begun to read nor for the callback of a response") {
  auto const go_on = weft::make_chan<weft::unit>();
  auto const make = [go_on] {
    http::router r;
    r.get("/hello", [] { return "hello"; });
    r.post("/handler", [go_on](http::request&, http::body_reader&) {
      go_on.recv();
      return "done";
    });
    r.post("/callback", [go_on](http::request&) {
      return http::response(200, "text/plain", [go_on](http::body_writer& w) {
        go_on.recv();
        w.write("done");
      });
    });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, auto&) {
    for (std::string const path : {"/handler", "/callback"}) {
      CAPTURE(path);
      wire w(at);
      w.send(get("/hello") + "POST " + path + " HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab");
      CHECK(body_of(w.response()) == "hello");
      go_on.send({});
      CHECK(has(w.until("done"), "done"));
    }
  });
}

TEST_CASE("who expects 100-continue is told to go on by the first read, or gets the final answer alone and is closed") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string const head =
        "POST /echo/10 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n" + std::string(expects) + "\r\n";
    CHECK(w.send(head).response() == "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(body_of(w.send("abc").response()) == "abc");
    CHECK(body_of(w.send(head + "abc").response()) == "abc");  // it did not wait
    CHECK(w.send(chunks("/echo/10", "", expects)).response() == "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(body_of(w.send("1\r\nx\r\n0\r\n\r\n").response()) == "x");
    for (char const* path : {"/ignore", "/throw"}) {
      std::string const r =
          wire(at)
              .send("POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n" + expects + "\r\n")
              .rest();
      CHECK(status_of(r) == (std::string_view(path) == "/ignore" ? 403 : 409));
      CHECK(has(r, "Connection: close\r\n"));
      CHECK_FALSE(has(r, "100 Continue"));
    }
  });
}

TEST_CASE(
    "what a handler leaves of a body is dropped if it is little, and else the connection ends so that the answer "
    "arrives") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    for (int i = 0; i < 3; ++i) {
      std::string const r = w.send(post("/ignore", std::string(100'000, 'x'))).response();
      CHECK(status_of(r) == 403);
      CHECK_FALSE(has(r, "Connection: close"));
      CHECK(body_of(w.send(get("/hello")).response()) == "hello");
      CHECK(status_of(w.send(chunks("/ignore", "4\r\nabcd\r\n0\r\nX: y\r\n\r\n") + get("/hello")).response()) == 403);
      CHECK(body_of(w.response()) == "hello");
    }
    std::string const close = wire(at).send(post("/ignore", std::string(3'000'000, 'x')) + get("/hello")).rest();
    CHECK(status_of(close) == 403);
    CHECK(has(close, "Connection: close\r\n"));
    CHECK_FALSE(has(close, "hello"));
    std::string endless;
    for (int i = 0; i < 20; ++i) endless += "10000\r\n" + std::string(65536, 'y') + "\r\n";
    std::string const cut = wire(at).send(chunks("/ignore", endless + "0\r\n\r\n") + get("/hello")).rest();
    CHECK(status_of(cut) == 403);  // how long it is was not known when it was sent
    CHECK_FALSE(has(cut, "hello"));
  });
}

TEST_CASE(
    "a body that is malformed, too long, late or cut short is an error to its handler, and closes the connection") {
  http::server_options o;
  o.max_streamed_bytes = 1000;
  o.max_body_bytes = 10;  // does not count here
  o.idle_timeout = 400ms;
  with_server(routes, o, [](std::string const& at, auto&) {
    struct row {
      std::string body;  // behind the path
      char const* seen;
      int status;  // of a handler that throws for it
    };
    std::string const long_chunk = "3e9\r\n" + std::string(1001, 'x');
    for (auto const& [bytes, seen, status] : std::vector<row>{
             {"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
              "weft.http: the body of the request is malformed", 400},
             {"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "weft.http: the body of the request is malformed", 400},
             {"Transfer-Encoding: chunked\r\n\r\n" + long_chunk,
              "weft.http: the body of the request is larger than the limit", 413},
             {"Content-Length: 5\r\n\r\nabc", "generic: Connection timed out", 408}}) {
      CAPTURE(bytes.substr(0, 60));
      std::string const echo = wire(at).send("POST /echo/100 HTTP/1.1\r\nHost: t\r\n" + bytes).rest();
      CHECK(body_of(echo) == seen);
      CHECK(has(echo, "Connection: close\r\n"));
      std::string const must = wire(at).send("POST /must HTTP/1.1\r\nHost: t\r\n" + bytes).rest();
      CHECK(status_of(must) == status);
      CHECK(has(must, "Connection: close\r\n"));
    }
    wire half(at);
    half.send("POST /echo/9 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nabc");
    REQUIRE(half.stream().shutdown_write());
    CHECK(body_of(half.rest()) == error_name(make_error_code(weft::errc::eof)));
    CHECK(status_of(wire(at).send(post("/echo/9", std::string(1001, 'x'))).rest()) == 413);
    CHECK(body_of(wire(at).send(post("/echo/9", std::string(1000, 'x'))).response()) == std::string(1000, 'x'));
    CHECK(status_of(wire(at).send(post("/whole", std::string(11, 'x'))).rest()) == 413);
  });
}

TEST_CASE("read_all takes as much as it is allowed and no more") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string const too_large = "weft.http: the body of the request is larger than the limit";
    CHECK(body_of(w.send(post("/all/5", "12345")).response()) == "12345");
    CHECK(body_of(w.send(post("/all/5", "123456")).response()) == too_large);
    CHECK(body_of(w.send(chunks("/all/5", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).response()) == "abcde");
    CHECK(body_of(w.send(chunks("/all/5", "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")).response()) == too_large);
    CHECK(body_of(w.send(get("/hello")).response()) == "hello");
  });
}

TEST_CASE("net::copy takes a body_reader for a stream") {
  struct collector {
    std::string all;
    weft::result<void> write_all(std::span<std::byte const> piece) {
      all.append(reinterpret_cast<char const*>(piece.data()), piece.size());
      return {};
    }
  };
  auto const make = [] {
    http::router r;
    r.post("/copy", [](http::request&, http::body_reader& body) {
      collector to;
      auto const n = net::copy(body, to);
      return std::to_string(n.value()) + " " + to.all;
    });
    return r;
  };
  with_server(make, {}, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(body_of(w.send(post("/copy", "abc")).response()) == "3 abc");
    CHECK(body_of(w.send(chunks("/copy", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).response()) == "5 abcde");
    CHECK(status_of(w.send(chunks("/copy", "3\r\nabcde\r\n")).rest()) == 400);
  });
}

TEST_CASE("an ordinary handler may read its body piece by piece too, with the trailers") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(body_of(w.send(post("/whole", "abcdefgh")).response()) == "8 abcdefgh none");
    CHECK(body_of(w.send(chunks("/whole", "4\r\nabcd\r\n0\r\nX-Sum: 4\r\n\r\n")).response()) == "4 abcd 4");
  });
}

TEST_CASE("a body may be read while the response is written") {
  with_server_on_the_machine(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    std::string const head = w.send("POST /back HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nab").until("ab\r\n");
    CHECK(has(head, "Transfer-Encoding: chunked\r\n"));
    CHECK(body_of(head) == "2\r\nab\r\n");
    CHECK(w.send("cd").until("\r\ncd\r\n") == "2\r\ncd\r\n");
    CHECK(w.send("ef").until("0\r\n\r\n") == "2\r\nef\r\n0\r\n\r\n");
    CHECK(body_of(w.send(get("/hello")).response()) == "hello");
  });
}

TEST_CASE("a handler that waits for a body is cancelled when its client resets, and ends with the grace") {
  auto entered = weft::make_chan<weft::unit>(4);
  auto ended = weft::make_chan<std::string>(4);
  auto const make = [=] {
    http::router r;
    r.post("/wait", [=](http::request&, http::body_reader& body) {
      entered.send(weft::unit{});
      char some[10];
      try {
        auto const n = body.read_some(std::span(some));
        ended.send(n ? "read" : error_name(n.error()));
      } catch (weft::cancelled const&) {
        weft::uncancellable const stay;
        ended.send("cancelled");
        throw;
      }
    });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, http::server& server) {
    wire gone(at), stays(at);
    gone.send("POST /wait HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n");
    entered.recv();
    gone.stream().close();
    CHECK(ended.recv() == error_name(make_error_code(weft::errc::eof)));
    stays.send("POST /wait HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n");
    entered.recv();
    server.shutdown(10ms);
    CHECK(ended.recv() != "read");
  });
}

TEST_CASE("a body_reader that is kept beyond its handler says closed, also if the request was moved away with it") {
  struct kept {
    std::vector<http::body_reader> readers;
    std::vector<http::request> requests;
  };
  auto const all = std::make_shared<kept>();
  auto const make = [all] {
    http::router r;
    r.post("/keep", [all](http::request& q, http::body_reader& body) {
      all->readers.push_back(body);
      all->requests.push_back(std::move(q));
    });
    r.get("/hello", [] { return "hello"; });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, auto&) {
    wire w(at);
    CHECK(status_of(w.send(post("/keep", "abc")).response()) == 204);
    CHECK(body_of(w.send(get("/hello")).response()) == "hello");
    char some[10];
    CHECK(all->readers.at(0).read_some(std::span(some)).error() == weft::errc::closed);
    CHECK(all->requests.at(0).reader().read_some(std::span(some)).error() == weft::errc::closed);
    CHECK(all->requests.at(0).path() == "/keep");
    all->readers.clear();
    all->requests.clear();
  });
}

TEST_CASE("a body_reader of a body that was whole before its handler ran says closed behind it, too") {
  auto const all = std::make_shared<std::vector<http::body_reader>>();
  auto const make = [all] {
    http::router r;
    r.post("/whole", [all](http::request& q) {
      all->push_back(q.reader());
      all->push_back(q.reader());
      return read_by(q.reader(), 2);
    });
    r.post("/none", [all](http::request&, http::body_reader& body) { all->push_back(body); });
    r.post("/back", [all](http::request& q) {
      all->push_back(q.reader());
      return http::response(200, "text/plain",
                            [body = q.reader()](http::body_writer& w) { w.write(read_by(body, 3)); });
    });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, auto&) {
    wire w(at);
    CHECK(body_of(w.send(post("/whole", "abc")).response()) == "abc");
    CHECK(status_of(w.send(post("/none", "")).response()) == 204);
    CHECK(has(w.send(post("/back", "abcd")).until("0\r\n\r\n"), "\r\n4\r\nabcd\r\n"));
    CHECK(body_of(w.send(post("/whole", "another's")).response()) == "another's");
    REQUIRE(all->size() == 6);
    for (auto& reader : *all) {
      CHECK(read_by(reader, 10) == error_name(make_error_code(weft::errc::closed)));
      CHECK(reader.length() == std::nullopt);
      CHECK(reader.trailer("X") == std::nullopt);
    }
    all->clear();
  });
}

TEST_CASE(
    "a body_reader that another task keeps says closed from the end of the answer on, also before the rest has come") {
  auto const go_on = weft::make_chan<weft::unit>();
  auto const said = weft::make_chan<std::string>();
  auto const read_later = [=](http::body_reader const& body) {
    weft::go([=] {
      go_on.recv();
      said.send(read_by(body, 10));
    });
  };
  auto const make = [=] {
    http::router r;
    r.post("/plain", [=](http::request&, http::body_reader& body) { read_later(body); });
    r.post("/streamed", [=](http::request&, http::body_reader& body) {
      read_later(body);
      return http::response(200, "text/plain", [body](http::body_writer& w) mutable {
        char some[2];
        w.write({some, body.read_some(std::span(some)).value()});
      });
    });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, auto&) {
    for (auto const& [path, mark] : {std::pair("/plain", "\r\n\r\n"), std::pair("/streamed", "2\r\nab\r\n0\r\n\r\n")}) {
      wire w(at);
      w.send("POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc");
      CHECK(has(w.until(mark), mark));
      go_on.send({});
      CHECK(said.recv_for(20s) == error_name(make_error_code(weft::errc::closed)));
    }
  });
}
