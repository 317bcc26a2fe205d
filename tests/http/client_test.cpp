// The client: what it sends, how it keeps connections, and what it makes of bad servers.
#include "tests/http/upstream.hpp"

#include <atomic>
#include <map>
#include <string>

using namespace http_test;

namespace {

http::router routes() {
  http::router r;
  r.handle("*", "/show", [](http::request& q) {
    return http::response(200, std::string(q.method()) + " " + std::string(q.target()) + " [" + q.body() + "] " +
                                   std::string(q.header("Host").value_or("-")) + " " +
                                   std::string(q.header("X-A").value_or("-")));
  });
  r.get("/close", [] { return http::response(200, "bye").header("Connection", "close"); });
  r.get("/big", [] { return std::string(10'000, 'b'); });
  r.get("/moved", [] { return http::response(302).header("Location", "/show"); });
  return r;
}

/// A server that gives each connection its answers, one a read, and closes behind the last.
struct script {
  explicit script(std::vector<std::vector<std::string>> all)
      : listener(std::move(*net::tcp_listener::bind("127.0.0.1:0"))) {
    at = "http://" + listener.local_endpoint().to_string();
    task = weft::spawn([this, all = std::move(all)] {
      for (auto const& answers : all) {
        auto s = listener.accept();
        if (!s) return;
        ++accepted;
        for (auto const& a : answers) {
          char buffer[4096];
          if (s->read_some(buffer).value_or(0) == 0 || !s->write_all(a)) break;
        }
      }
    });
  }
  net::tcp_listener listener;
  std::string at;
  std::atomic<int> accepted{0};
  weft::join_handle<void> task;
};

}  // namespace

TEST_CASE("the client sends method, target, fields and body, and reads the answer") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    http::client c;
    std::string const url = "http://" + at;
    auto r = c.get(url + "/show?a=b#frag");
    REQUIRE(r);
    CHECK(r->status() == 200);
    CHECK(r->body() == "GET /show?a=b [] " + at + " -");
    CHECK(r->header("content-type") == "text/plain; charset=utf-8");
    CHECK(c.post(url + "/show", "text")->body() == "POST /show [text] " + at + " -");
    http::request q("PUT", url + "/show", std::string(100'000, 'x'));
    q.header("X-A", "1").header("Host", "other");
    CHECK(c.send(q)->body() == "PUT /show [" + std::string(100'000, 'x') + "] other 1");
    auto const head = c.send(http::request("HEAD", url + "/big"));
    REQUIRE(head);
    CHECK(head->header("Content-Length") == "10000");
    CHECK(head->body().empty());
    CHECK(c.get(url + "/moved")->status() == 302);  // not followed
    CHECK(c.get("HTTP://" + at)->status() == 404);
    CHECK(http::get(url + "/close")->body() == "bye");
  });
}

TEST_CASE("a URL that is none, or not http, is an error before anything is sent") {
  weft::run([] {
    http::client c;
    CHECK(error_of(c.get("https://example.org/")) == http::errc::unsupported_scheme);
    CHECK(error_of(c.get("ftp://example.org/")) == http::errc::unsupported_scheme);
    for (char const* bad : {"", "/x", "example.org", "http://", "http:///x", "http://a b/", "http://u@h/",
                            "http://h:x/", "http://h:999999/", "http://h:65536/", "http://h/\r\nX: y", "http://[::1/",
                            "http://::1/", "http://[]/", "http://[::1]x/", "http://[[::1]]/", "http://a[b]/"}) {
      CAPTURE(bad);
      CHECK(error_of(c.get(bad)) == http::errc::bad_url);
    }
    CHECK(error_of(c.send(http::request("CONNECT", "http://127.0.0.1:1/"))) == std::errc::operation_not_supported);
    CHECK(make_error_code(http::errc::unsupported_scheme).message() == "only http:// URLs are supported (no TLS)");
    CHECK_FALSE(c.get("http://127.0.0.1:1/"));
  });
}

TEST_CASE("connections are kept and used again, but not after the server said close") {
  std::string const ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
                    last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n2";
  weft::run([&] {
    script s({{ok, ok, last}, {ok}});
    http::client c;
    CHECK(c.get(s.at)->body() == "1");
    CHECK(c.get(s.at)->body() == "1");
    CHECK(c.get(s.at)->body() == "2");
    CHECK(s.accepted == 1);
    CHECK(c.get(s.at)->body() == "1");
    CHECK(s.accepted == 2);
  });
}

TEST_CASE("a connection is not used again when the request said close, or HTTP/1.0 sent chunks") {
  weft::run(weft::options{.workers = 1}, [] {
    std::string const ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
    upstream s({ok,
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
                ok, ok});
    http::client c;
    http::request q("GET", s.url());
    q.header("Connection", "x, Close");
    CHECK(c.send(q)->body() == "1");
    CHECK(c.get(s.url())->body() == "1");
    CHECK(s.accepted == 2);
    CHECK(c.get(s.url())->body() == "1");
    CHECK(c.get(s.url())->body() == "1");
    CHECK(s.accepted == 3);
  });
}

TEST_CASE("a response that is malformed ends the call although its connection stays open") {
  weft::run(weft::options{.workers = 1}, [] {
    std::string const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    std::vector<std::string> const all = {head + "2\nok\n0\n\n",
                                          head + "2\r\nok\r\n0\r\n\n",
                                          head + "zz\r\n",
                                          head + "2;a=\"\r\nok\r\n0\r\n\r\n",
                                          head + "2\r\nok\r\n0;a=\"\r\n\r\n",
                                          "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"};
    upstream s(all);
    http::client c({.request_timeout = 30s});
    for (std::string const& bytes : all) {
      CAPTURE(bytes);
      CHECK(error_of(c.get(s.url())) == http::errc::bad_response);
    }
  });
}

TEST_CASE("a kept connection that the server has closed is replaced if the request may be repeated") {
  std::string const ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
  weft::run([&] {
    script s({{ok}, {ok}, {}});
    http::client c;
    CHECK(c.get(s.at)->body() == "1");
    CHECK(c.get(s.at)->body() == "1");  // on the second connection
    CHECK(s.accepted == 2);
    CHECK_FALSE(c.post(s.at, "x"));  // that one is closed by now, and a POST is not sent twice
  });
}

TEST_CASE("bad, cut, over-long and interim responses") {
  auto const interims = [](int n) {
    std::string out;
    while (n-- > 0) out += "HTTP/1.1 103 Early Hints\r\n\r\n";
    return out;
  };
  std::string extended;  // chunks' extensions, each of which is short
  for (int i = 0; i < 20; ++i) extended += "1;" + std::string(90, 'e') + "\r\nx\r\n";
  http::client_options o;
  o.max_body_bytes = 100;
  o.max_header_bytes = 1000;
  weft::run([&] {
    script s({{"nonsense\r\n\r\n"},
              {"HTTP/1.1 024 No\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"},
              {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\n\r\n" + std::string(101, 'x')},
              {"HTTP/1.1 200 OK\r\nX: " + std::string(1000, 'x') + "\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + extended + "0\r\n\r\n"},
              {"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
              {interims(16) + "HTTP/1.1 204 No Content\r\n\r\n"},
              {interims(17) + "HTTP/1.1 204 No Content\r\n\r\n"},
              {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"},
              {"HTTP/1.0 200 OK\r\n\r\nto the end"},
              {"HTTP/1.1 204 No Content\r\n\r\n"}});
    http::client c(o);
    CHECK(error_of(c.get(s.at)) == http::errc::bad_response);
    CHECK(error_of(c.get(s.at)) == http::errc::bad_response);
    CHECK(error_of(c.get(s.at)) == http::errc::bad_response);
    CHECK(error_of(c.get(s.at)) == http::errc::bad_response);
    CHECK(error_of(c.get(s.at)) == http::errc::response_too_large);
    CHECK(error_of(c.get(s.at)) == http::errc::response_too_large);
    CHECK(error_of(c.get(s.at)) == http::errc::response_too_large);
    CHECK(error_of(c.get(s.at)) == http::errc::response_too_large);
    CHECK(c.get(s.at)->body() == "ok");
    CHECK(http::client(o).get(s.at)->status() == 204);
    CHECK(error_of(http::client(o).get(s.at)) == http::errc::bad_response);
    CHECK(error_of(http::client(o).get(s.at)) == http::errc::bad_response);
    s.accepted = 0;
    CHECK(http::client().get(s.at)->body() == "to the end");
    CHECK(http::client().get(s.at)->status() == 204);
  });
}

TEST_CASE("a body in a coding that was not asked for is an error, not the body") {
  weft::run([] {
    script s({{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabcde"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"}});
    for (int i = 0; i < 4; ++i) CHECK(error_of(http::get(s.at)) == http::errc::bad_response);
    auto const head = http::client().send(http::request("HEAD", s.at));  // which has no body
    REQUIRE(head);
    CHECK(head->status() == 200);
    CHECK(http::get(s.at)->body() == "abcde");
  });
}

TEST_CASE("a cancelled task's request throws, also where its URL is none") {
  weft::run([] {
    auto [cancelled, cancel] = weft::with_cancel(weft::this_task::context());
    cancel();
    weft::scoped_context const in(cancelled);
    http::client c;
    CHECK_THROWS_AS(c.get("no URL"), weft::cancelled);
    CHECK_THROWS_AS(c.get("https://example.org/"), weft::cancelled);
  });
}

TEST_CASE("a request that is cancelled on its way ends at once") {
  weft::run([] {
    auto listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
    http::client c;
    std::string const url = "http://" + listener.local_endpoint().to_string();
    auto const r = weft::within(30ms, [&] { return c.get(url); });
    REQUIRE_FALSE(r);
    CHECK(r.error() == std::errc::timed_out);
  });
}
