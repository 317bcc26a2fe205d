// Responses and requests that are passed on: a handler returns what a client has received, or sends what its server has.
#include "tests/http/upstream.hpp"

#include <string>

using namespace http_test;

namespace {

/// A proxy for `to`: what it answers goes back as it is.
auto back_from(std::string to) {
  return [to] {
    http::router r;
    r.get("/{path...}", [to](http::request& q) {
      http::client c;
      return c.send(http::request(q.method(), to + std::string(q.path()))).value();
    });
    return r;
  };
}

template <class F>
void in_a_task(F f) {
  weft::options o;
  o.workers = 1;
  weft::run(o, f);
}

/// What a client of a proxy is sent for `request` when the server behind that answers so.
std::string passed_on(std::string const& answer, std::string const& request = get("/x")) {
  std::string got;
  in_a_task([&] {
    upstream behind({answer, answer});
    auto f = [&](std::string const& at, auto&) { got = wire(at).send(request).rest(); };
    auto make = back_from(behind.url());
    beside_server(make, {}, f);
  });
  return got;
}

/// A request whose answer is the connection's last, so that all of that can be awaited.
std::string const last = get("/x", "Connection: close\r\n");

}  // namespace

TEST_CASE("a response that a client has received goes out in a frame of the server's own") {
  std::string const inner = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nSMUGGLE";
  std::string const body =
      "2\r\nok\r\n0\r\n\r\n" + inner;  // to one who takes the upstream's fields for ours: a response, and another
  std::string const chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nX-A: 1\r\n\r\n39\r\n" + body +
      "\r\n0\r\nX-Sum: 1\r\n\r\n";
  REQUIRE(body.size() == 0x39);
  std::string const got = passed_on(chunked, last);
  CHECK(status_of(got) == 200);
  CHECK(has(got, "Content-Length: 57\r\n"));
  CHECK(has(got, "X-A: 1\r\n"));
  CHECK_FALSE(has(got, "Transfer-Encoding"));
  CHECK_FALSE(has(got, "Trailer"));
  CHECK(body_of(got) == body);
}

TEST_CASE("what a received response says of its connection is not said of the next one") {
  std::string const got = passed_on(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
      "Proxy-Connection: close\r\nTE: x\r\nX-Hop: 1\r\nDate: then\r\nX-End: 2\r\n\r\nok",
      get("/x") + last);
  std::size_t const second = got.find("HTTP/1.1 200", 1);
  std::string const first = got.substr(0, second);
  CHECK(second != got.npos);  // the connection went on
  for (char const* of_the_hop : {"Connection:", "Keep-Alive", "Upgrade", "TE:", "X-Hop"}) {
    CAPTURE(of_the_hop);
    CHECK_FALSE(has(first, of_the_hop));
  }
  CHECK(has(first, "Date: then\r\n"));
  CHECK(first.find("Date:") == first.rfind("Date:"));
  CHECK(first.find("Content-Length:") == first.rfind("Content-Length:"));
  CHECK(has(first, "X-End: 2\r\n"));
  CHECK(body_of(first) == "ok");
}

TEST_CASE("the client's caller sees all fields of a response") {
  in_a_task([] {
    upstream behind({"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nUpgrade: h2c\r\n\r\nok"});
    auto const r = http::get(behind.url());
    REQUIRE(r);
    CHECK(r->header("Content-Length") == "2");
    CHECK(r->header("Connection") == "close");
    CHECK(r->header("Upgrade") == "h2c");
  });
}

TEST_CASE("a HEAD that is passed on is answered without a length that nobody here knows") {
  in_a_task([] {
    upstream behind({"HTTP/1.1 200 OK\r\nContent-Length: 4711\r\nX-A: 1\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"});
    auto f = [&](std::string const& at, auto&) {
      wire w(at);
      std::string const head = w.send("HEAD /x HTTP/1.1\r\nHost: t\r\n\r\n").response(false);
      CHECK(status_of(head) == 200);
      CHECK(has(head, "X-A: 1\r\n"));
      CHECK_FALSE(has(head, "Content-Length"));
      CHECK(status_of(w.send(get("/y")).response()) == 204);  // and that is what comes next on the connection
    };
    auto make = back_from(behind.url());
    beside_server(make, {}, f);
  });
}

TEST_CASE("a request for a whole URL is sent on without what it says of its connection") {
  in_a_task([] {
    upstream behind({"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"});
    http::client c;
    auto make = [&] {
      http::router r;
      r.handle("*", "/{path...}", [&](http::request& q) { return c.send(q).value(); });
      return r;
    };
    auto f = [&](std::string const& at, auto&) {
      for (char const* body : {"1", "2"}) {
        std::string const got = wire(at)
                                    .send("GET " + behind.url() +
                                          "/p HTTP/1.1\r\nHost: t\r\nConnection: close, X-Hop\r\nX-Hop: "
                                          "1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                                          "Upgrade: h2c\r\nTrailer: X\r\nX-End: 2\r\n\r\n")
                                    .rest();
        CHECK(body_of(got) == body);
      }
    };
    beside_server(make, {}, f);
    REQUIRE(behind.requests.size() == 2);
    CHECK(behind.requests[0] == "GET /p HTTP/1.1\r\nHost: " + behind.address() + "\r\nX-End: 2\r\n\r\n");
    CHECK(behind.accepted == 1);  // whose client asked to close is not the server behind
  });
}

TEST_CASE("what a handler says of its own is no field of the connection that the message came by, and Host never is") {
  in_a_task([] {
    upstream behind({"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: X-Own, X-Hop\r\nX-Hop: 1\r\n\r\n1"});
    http::client c;
    auto make = [&] {
      http::router r;
      r.handle("*", "/{path...}", [&](http::request& q) {
        q.header("X-User", "ann");
        auto answer = c.send(q).value();
        answer.add_header("X-Own", "2").add_header("Connection", "Upgrade").add_header("Connection", "close");
        return answer;
      });
      return r;
    };
    std::string got;
    auto f = [&](std::string const& at, auto&) {
      got =
          wire(at)
              .send("GET " + behind.url() + "/p HTTP/1.1\r\nHost: t\r\nConnection: Host, X-User\r\nX-User: eve\r\n\r\n")
              .rest();
    };
    beside_server(make, {}, f);
    REQUIRE(behind.requests.size() == 1);
    CHECK(behind.requests[0] == "GET /p HTTP/1.1\r\nHost: " + behind.address() + "\r\nX-User: ann\r\n\r\n");
    CHECK(has(got, "X-Own: 2\r\n"));
    CHECK_FALSE(has(got, "X-Hop"));
    CHECK(has(got, "Connection: close\r\n"));
    CHECK(has(got, "Connection: Upgrade\r\n"));
    CHECK_FALSE(has(got, "Content-Type"));  // the server behind did not say
  });
}
