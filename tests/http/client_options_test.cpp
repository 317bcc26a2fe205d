// The client's options: redirections, time-outs, bodies that come and go in pieces, how many connections are kept.
#include "runtime/http/parser.hpp"
#include "runtime/http/url.hpp"

#include "tests/http/upstream.hpp"

#include "weft/chan.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

using namespace http_test;
namespace rt = weft::rt;

namespace {

constexpr std::size_t response_size = 2 * rt::response_parser::most_dropped;

http::router routes() {
  http::router r;
  r.handle("*", "/to/{status}/{path...}", [](http::request& q) {
    std::string const location = "/" + std::string(q.param("path")) + "?" + std::string(q.query("q").value_or(""));
    return http::response(std::stoi(std::string(q.param("status"))), "moved").header("Location", location);
  });
  r.get("/loop", [] { return http::response(302).header("Location", "loop"); });
  r.get("/away", [](http::request& q) { return http::response(302).header("Location", *q.query("url")); });
  r.get("/nowhere", [] { return http::response(302).header("Location", "http://a b/"); });
  r.get("/https", [] { return http::response(301).header("Location", "https://example.org/"); });
  r.get("/plain302", [] { return http::response(302, "no location"); });
  r.handle("*", "/show", [](http::request& q) {
    return std::string(q.method()) + " " + q.body() + " " + std::string(q.header("Authorization").value_or("-")) + " " +
           std::string(q.header("Content-Type").value_or("-")) + " " + std::string(q.header("X-A").value_or("-"));
  });
  r.get("/big", [] {
    return http::response(200, "text/plain", [](http::body_writer& w) {
      for (int i = 0; i < 100; ++i) w.write(std::string(10'000, static_cast<char>('a' + i % 26)));
    });
  });
  r.post("/count", [](http::request&, http::body_reader& body) {
    std::size_t n = 0;
    std::vector<char> some(4096);
    while (std::size_t const got = body.read_some(some).value()) n += got;
    return std::to_string(n);
  });
  r.post("/refuse", [](http::request&, http::body_reader&) { return http::response(403, "no"); });
  r.get("/never", []() -> http::response {
    weft::chan<int>().recv();
    return 200;
  });
  return r;
}

}  // namespace

TEST_CASE("redirections are followed as far as the options say, with the method that the status asks for") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::string const url = "http://" + at;
    CHECK(http::client().get(url + "/to/302/show")->status() == 302);  // off by default
    http::client_options o;
    o.max_redirects = 3;
    http::client c(o);
    CHECK(c.get(url + "/to/301/show")->body() == "GET  - - -");
    CHECK(c.get(url + "/to/302/to/307/to/308/show")->body() == "GET  - - -");
    CHECK(error_of(c.get(url + "/to/302/to/302/to/302/to/302/show")) == http::errc::too_many_redirects);
    CHECK(error_of(c.get(url + "/loop")) == http::errc::too_many_redirects);
    CHECK(error_of(c.get(url + "/nowhere")) == http::errc::bad_url);
    CHECK(error_of(c.get(url + "/https")) == http::errc::unsupported_scheme);
    CHECK(c.get(url + "/plain302")->body() == "no location");
    auto const post = [&](int status) {
      http::request q("POST", url + "/to/" + std::to_string(status) + "/show", "body");
      q.header("Content-Type", "x/y").header("Authorization", "secret").header("X-A", "1");
      return c.send(q)->body();
    };
    CHECK(post(301) == "GET  secret - 1");
    CHECK(post(302) == "GET  secret - 1");
    CHECK(post(303) == "GET  secret - 1");
    CHECK(post(307) == "POST body secret x/y 1");
    CHECK(post(308) == "POST body secret x/y 1");
    CHECK(c.send(http::request("HEAD", url + "/to/303/show"))->body().empty());
  });
}

TEST_CASE("a redirection to another host takes no secrets along") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::string const other = "localhost" + at.substr(at.find(':'));
    http::client_options o;
    o.max_redirects = 3;
    http::client c(o);
    http::request q("GET", "http://" + at + "/away?url=http://" + other + "/show");
    q.header("Authorization", "secret").header("X-A", "1").header("Host", at);
    CHECK(c.send(q)->body() == "GET  - - 1");
  });
}

TEST_CASE("a redirection that writes the port out leads to the same origin, and another port does not") {
  weft::run([] {  // by a unix socket, where no port has to be free
    std::string const path = "@weft_http_origin_" + std::to_string(::getpid());
    http::server server(routes());
    REQUIRE(server.listen(std::move(*net::unix_listener::bind(path))));
    auto serving = weft::spawn([&] { server.serve(); });
    http::client c({.max_redirects = 1, .unix_socket = path});
    auto const authorization_at = [&](std::string const& host) {
      http::request q("GET", "http://h/away?url=http://" + host + "/show");
      q.header("Authorization", "secret");
      return c.send(q)->body();
    };
    for (char const* same : {"h", "h:80", "H:"}) CHECK(authorization_at(same) == "GET  secret - -");
    for (char const* other : {"h:81", "i", "i:80"}) CHECK(authorization_at(other) == "GET  - - -");
    server.shutdown(1s);
    serving.join();
  });
}

TEST_CASE("the zone of an IPv6 address is this machine's, and not said to the server") {
  auto const parts = [](std::string_view url) { return rt::split_url(url).value(); };
  CHECK(parts("http://[fe80::1%25eth0]/x").address == "[fe80::1%eth0]:80");
  CHECK(parts("http://[fe80::1%eth0]:81/x").address == "[fe80::1%eth0]:81");
  CHECK(parts("http://[fe80::1%25]/x").address == "[fe80::1%25]:80");  // a zone by its number
  CHECK(rt::host_field(parts("http://[fe80::1%25eth0]:81/x")) == "[fe80::1]:81");
  CHECK(rt::host_field(parts("http://[fe80::1%eth0]/x")) == "[fe80::1]");
  CHECK(rt::host_field(parts("http://[::1]:81/x%25")) == "[::1]:81");
  CHECK(rt::host_field(parts("http://h:81/")) == "h:81");
}

TEST_CASE("what a location refers to") {
  rt::url_parts const base{"h:1", "h:1", "/a/b/c?q=1"};
  auto const to = [&](std::string_view location) { return rt::resolve_url(base, location); };
  CHECK(to("/a b?c d") == "http://h:1/a%20b?c%20d");
  CHECK(to("/a//b c") == "http://h:1/a//b%20c");
  CHECK(to("http://g/a b") == "http://g/a%20b");
  CHECK(to("http://a b/c d") == "http://a b/c%20d");  // which is no URL
  CHECK(to("http://x/y#z") == "http://x/y");
  CHECK(to("//x/y") == "http://x/y");
  CHECK(to("/y?z=/../") == "http://h:1/y?z=/../");
  CHECK(to("y") == "http://h:1/a/b/y");
  CHECK(to("./y/") == "http://h:1/a/b/y/");
  CHECK(to("../y") == "http://h:1/a/y");
  CHECK(to("../../../../y/..") == "http://h:1/");
  CHECK(to("y/.") == "http://h:1/a/b/y/");
  CHECK(to("?z") == "http://h:1/a/b/c?z");
  CHECK(to("#z") == "http://h:1/a/b/c?q=1");
  CHECK(to("y:z") == "y:z");
  CHECK(to("/y:z") == "http://h:1/y:z");
  CHECK(to("http://x/a/../b/./c?q=/../") == "http://x/b/c?q=/../");
  CHECK(to("//x/../a/..") == "http://x/");
  CHECK(to("http://x") == "http://x");
  CHECK(to("http://x?a/../b") == "http://x?a/../b");
  for (char const* here : {"/y", "y", "?z=http://x", "", "y/a:b", "#a:b"}) CHECK(rt::is_relative(here));
  for (char const* away : {"http://h:1/", "//x", "y:z"}) CHECK_FALSE(rt::is_relative(away));
}

TEST_CASE("what is not of ASCII goes out escaped, and is no host") {
  CHECK(rt::split_url("http://h/\xc3\xa9?\xff%20")->target == "/%C3%A9?%FF%20");
  CHECK_FALSE(rt::split_url("http://h\xc3\xa9/"));
  weft::run(weft::options{.workers = 1}, [] {
    upstream s(
        {"HTTP/1.1 302 Found\r\nLocation: /\xc3\xa9\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"});
    http::client c({.max_redirects = 1});
    CHECK(c.get(s.url() + "/\xe2\x82\xac")->status() == 204);
    REQUIRE(s.requests.size() == 2);
    CHECK(s.requests[0].starts_with("GET /%E2%82%AC HTTP/1.1\r\n"));
    CHECK(s.requests[1].starts_with("GET /%C3%A9 HTTP/1.1\r\n"));
  });
}

TEST_CASE("a redirection takes along what holds for the request that follows, and no more") {
  auto const moved = [](int status, std::string const& to) {
    return "HTTP/1.1 " + std::to_string(status) + " Moved\r\nLocation: " + to + "\r\nContent-Length: 0\r\n\r\n";
  };
  weft::run(weft::options{.workers = 1}, [&] {
    upstream other({"HTTP/1.1 204 No Content\r\n\r\n"});
    upstream s({moved(307, "/b"), moved(303, "c"), moved(302, other.url() + "/d")});
    http::client c({.max_redirects = 3});
    http::request q("POST", s.url() + "/a", "body");
    for (char const* name :
         {"Content-Type", "Content-Language", "content-foo", "Digest", "Last-Modified", "Trailer", "Expect"})
      q.header(name, "of-body");
    for (char const* name : {"Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "Www-Authenticate"})
      q.header(name, "secret");
    q.header("Host", "mine").header("X-A", "1");
    CHECK(c.send(q)->status() == 204);
    REQUIRE(s.requests.size() == 3);
    REQUIRE(other.requests.size() == 1);
    auto const count = [](std::string_view text, std::string_view what) {
      int n = 0;
      for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
      return n;
    };
    CHECK(count(s.requests[1], "of-body") == 7);
    CHECK(count(s.requests[2], "of-body") == 0);
    for (auto const& r : s.requests) {
      CHECK(has(r, "Host: mine\r\n"));
      CHECK(count(r, "secret") == 5);
      CHECK(has(r, "X-A: 1\r\n"));
    }
    CHECK(other.requests[0] == "GET /d HTTP/1.1\r\nHost: " + other.address() + "\r\nX-A: 1\r\n\r\n");
  });
}

TEST_CASE("the body of a redirection that is followed is dropped, and the sink's if it is not") {
  std::string const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  weft::run(weft::options{.workers = 1}, [&] {
    std::string const big(5000, 'x'), endless(response_size, 'x');
    upstream s({"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 5000\r\n\r\n" + big, ok,
                "HTTP/1.1 302 Found\r\nContent-Length: 5000\r\n\r\n" + big,
                "HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n" + endless, ok});
    http::client c({.request_timeout = 30s, .max_redirects = 1, .max_body_bytes = 1000});
    CHECK(c.get(s.url())->body() == "ok");
    CHECK(s.accepted == 1);
    std::string all;
    auto const sink = [&](std::string_view piece) { all += piece; };
    auto const unfollowed = c.send(http::request("GET", s.url()), sink);
    REQUIRE(unfollowed);
    CHECK(unfollowed->status() == 302);
    CHECK(all == big);
    CHECK(std::exchange(all, {}).size() == 5000);
    CHECK(c.send(http::request("GET", s.url()), sink)->status() == 200);  // although that body never ends
    CHECK(all == "ok");
    CHECK(s.accepted == 2);
  });
}

TEST_CASE("a response that does not come in time is an error, and the next call is served on a new connection") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    http::client_options o;
    for (std::chrono::nanoseconds const never :
         {std::chrono::nanoseconds::max(), std::chrono::nanoseconds::max() - 1ns}) {
      http::client patient({.connect_timeout = never, .idle_timeout = never, .request_timeout = never});
      CHECK(patient.get("http://" + at + "/plain302")->status() == 302);
      CHECK(patient.get("http://" + at + "/plain302")->status() == 302);
    }
    http::client patient({.connect_timeout = std::chrono::hours::max(), .request_timeout = std::chrono::hours::max()});
    CHECK(patient.get("http://" + at + "/plain302")->status() == 302);
    o.request_timeout = 500ms;
    http::client c(o);
    CHECK(c.get("http://" + at + "/plain302")->status() == 302);
    CHECK(error_of(c.get("http://" + at + "/never")) == std::errc::timed_out);  // on the kept connection, and not again
    CHECK(c.get("http://" + at + "/plain302")->status() == 302);
    weft::sleep_for(550ms);  // the deadline of the last call is not that of the next
    CHECK(c.get("http://" + at + "/plain302")->status() == 302);
  });
}

TEST_CASE("a response's body may be taken piece by piece, beyond what the client would hold") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    http::client_options o;
    o.max_body_bytes = 1000;
    o.max_redirects = 1;
    http::client c(o);
    CHECK(error_of(c.get("http://" + at + "/big")) == http::errc::response_too_large);
    std::size_t pieces = 0;
    std::string all;
    auto const r = c.send(http::request("GET", "http://" + at + "/to/302/big"), [&](std::string_view piece) {
      ++pieces;
      all += piece;
    });
    REQUIRE(r);
    CHECK(r->status() == 200);
    CHECK(r->body().empty());
    CHECK(all.size() == 1'000'000);  // and nothing of the redirection's
    CHECK(all.starts_with("aaa"));
    CHECK(pieces > 1);
    CHECK_THROWS_AS(c.send(http::request("GET", "http://" + at + "/big"),
                           [](std::string_view) { throw std::runtime_error("enough"); }),
                    std::runtime_error);
    CHECK(c.get("http://" + at + "/plain302")->status() == 302);
  });
}

TEST_CASE("a request's body may be written piece by piece") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    http::client c;
    auto const write = [](std::size_t size) {
      return [size](http::body_writer& w) {
        for (std::size_t left = size; left != 0; left -= std::min<std::size_t>(left, 7000))
          w.write(std::string(std::min<std::size_t>(left, 7000), 'x'));
      };
    };
    for (std::size_t const size : {0, 1, 20'000, 3'000'000}) {
      auto const r = c.send(http::request("POST", "http://" + at + "/count", write(size)));
      REQUIRE(r);
      CHECK(r->body() == std::to_string(size));
    }
    auto const early = c.send(http::request("POST", "http://" + at + "/refuse", write(3'000'000)));
    REQUIRE(early);  // answered before it was read
    CHECK(early->status() == 403);
    CHECK_THROWS_AS(c.send(http::request("POST", "http://" + at + "/count",
                                         [](http::body_writer&) { throw std::runtime_error("mine"); })),
                    std::runtime_error);
  });
}

TEST_CASE("no more connections are kept than the options say, of all hosts together") {
  for (std::size_t const most : {1, 2}) {
    weft::run([most] {
      struct host {
        net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
        std::string url = "http://" + listener.local_endpoint().to_string();
        int accepted = 0;
      };
      host hosts[2];
      std::vector<weft::join_handle<void>> servers;
      for (host& h : hosts) {
        servers.push_back(weft::spawn([&h] {
          while (auto s = h.listener.accept()) {  // one connection after the other
            ++h.accepted;
            char some[4096];
            while (s->read_some(some).value_or(0) != 0 &&
                   s->write_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) {
            }
          }
        }));
      }
      {
        http::client_options o;
        o.max_idle = most;
        http::client c(o);
        for (int i = 0; i < 3; ++i) {
          for (host& h : hosts) CHECK(c.get(h.url)->status() == 200);
        }
      }
      for (host& h : hosts) h.listener.close();
      for (auto& s : servers) s.join();
      for (host& h : hosts) CHECK(h.accepted == (most == 1 ? 3 : 1));
    });
  }
}
