// The parsers as functions of bytes: what is accepted, what is refused with which status, and that it does not matter where
// the bytes are split.
#include "runtime/http/parser.hpp"

#include "tests/support/catch.hpp"

#include <limits>
#include <memory>
#include <string>
#include <string_view>

namespace rt = weft::rt;
using namespace std::string_literals;

namespace {

struct parsed {
  int status = 0;  // that it is refused with
  bool done = false;
  std::size_t taken = 0;  // bytes of the input
  bool keep_alive = false;
  bool expects_continue = false;
  rt::request_state state;
};

/// Gives the parser `bytes` in pieces of `piece`, as a client does.
void feed(rt::response_parser& p, std::string_view bytes, std::size_t piece) {
  std::string unread;
  for (std::size_t given = 0; given < bytes.size() && p.state() == rt::response_parser::outcome::more; given += piece) {
    unread += bytes.substr(given, piece);
    unread.erase(0, p.feed(unread));
  }
}

/// Feeds `bytes` in pieces of `piece`, as a connection does: what was not taken comes again.
std::unique_ptr<parsed> parse(std::string_view bytes, std::size_t piece, rt::parse_limits const& limits = {}) {
  auto p = std::make_unique<parsed>();
  rt::request_parser parser(p->state, limits);
  std::string unread;
  for (std::size_t given = 0; parser.refused() == 0 && !parser.done();) {
    std::size_t const n = parser.feed(unread);
    unread.erase(0, n);
    p->taken += n;
    if (n != 0 && !unread.empty()) continue;
    if (parser.refused() != 0 || parser.done() || given == bytes.size()) break;
    auto const more = bytes.substr(given, piece);
    unread += more;
    given += more.size();
  }
  p->status = parser.refused();
  p->done = parser.done();
  if (p->done) {
    p->keep_alive = parser.keep_alive();
    p->expects_continue = parser.expects_continue();
  }
  return p;
}

struct refusal {
  char const* what;
  std::string bytes;
  int status;
};

std::string with(std::string_view fields, std::string_view body = "") {
  return "POST /x HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

std::string times(int n, std::string_view s) {
  std::string all;
  for (int i = 0; i < n; ++i) all += s;
  return all;
}

std::vector<refusal> refusals() {
  return {
      {"no request at all", "\x16\x03\x01\x02\r\n\r\n", 400},
      {"no version", "GET /\r\n\r\n", 400},
      {"no target", "GET  HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a method that is no token", "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a version in lower case", "GET / http/1.1\r\nHost: h\r\n\r\n", 400},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/3.1", "GET / HTTP/3.1\r\nHost: h\r\n\r\n", 505},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"so many Hosts that a byte counts one", "GET / HTTP/1.1\r\n" + times(257, "Host: h\r\n") + "\r\n", 400},
      {"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"a Host that is a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
      {"a Host in quotes", "GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n", 400},
      {"a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400},
      {"a Host with a port that is none", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 400},
      {"a Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
      {"a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a target beyond ASCII", "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"an absolute target without a host", "GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"an absolute target with a user", "GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"an absolute target of another scheme", "GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a blank before the first field", "GET / HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n", 400},
      {"a blank behind the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
      {"a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a line feed before the request line", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"two returns behind a field", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400},
      {"a control character in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n", 400},
      {"a name beyond ASCII", "GET / HTTP/1.1\r\nHost: h\r\nX\xff: a\r\n\r\n", 400},
      {"a bare line feed behind the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
      {"a bare line feed behind a field", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400},
      {"a blank before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"a field without a colon", "GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", 400},
      {"a field without a name", "GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", 400},
      {"a null byte in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"s, 400},
      {"a return in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400},
      {"a target that is no path", "GET hello HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a star for something but OPTIONS", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"an escape that is none", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"an escape that is cut", "GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"an escaped null byte", "GET /a%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"a segment of two dots", "GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"the same, escaped", "GET /a/%2e%2E HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"the same behind an escaped slash", "GET /a%2f..%2fb HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 501},
      {"two lengths that differ", with("Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
      {"a list of lengths that differ", with("Content-Length: 1, 2\r\n"), 400},
      {"a length with a sign", with("Content-Length: +1\r\n"), 400},
      {"a negative length", with("Content-Length: -1\r\n"), 400},
      {"a hexadecimal length", with("Content-Length: 0x1\r\n"), 400},
      {"a length of 2^64", with("Content-Length: 18446744073709551616\r\n"), 400},
      {"an empty length", with("Content-Length: \r\n"), 400},
      {"length, then chunks", with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"chunks, then length", with("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400},
      {"another coding beside a length", with("Transfer-Encoding: gzip\r\nContent-Length: 1\r\n"), 400},
      {"chunked twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"chunked, but not last", with("Transfer-Encoding: chunked, gzip\r\n"), 400},
      {"a coding without chunks", with("Transfer-Encoding: gzip\r\n"), 400},
      {"a coding that is not understood", with("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"no coding", with("Transfer-Encoding:\r\n"), 400},
      {"a coding in quotes", with("Transfer-Encoding: \"chunked\"\r\n"), 400},
      {"a coding behind a vertical tab", with("Transfer-Encoding: \vchunked\r\n"), 400},
      {"a coding with a parameter", with("Transfer-Encoding: chunked;q=1\r\n"), 400},
      {"chunked twice in one field", with("Transfer-Encoding: chunked, chunked\r\n"), 501},
      {"identity", with("Transfer-Encoding: identity\r\nContent-Length: 1\r\n", "a"), 400},
      {"a blank before the colon of the coding", with("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400},
      {"a length with something behind it", with("Content-Length: 1 1\r\n", "a"), 400},
      {"a chunk size with a sign", with("Transfer-Encoding: chunked\r\n", "+1\r\na\r\n0\r\n\r\n"), 400},
      {"a chunk size with a prefix", with("Transfer-Encoding: chunked\r\n", "0x1\r\na\r\n0\r\n\r\n"), 400},
      {"a blank before a chunk size", with("Transfer-Encoding: chunked\r\n", " 1\r\na\r\n0\r\n\r\n"), 400},
      {"a chunk size that ends in a bare line feed", with("Transfer-Encoding: chunked\r\n", "1\na\r\n0\r\n\r\n"), 400},
      {"a chunk that ends in a bare line feed", with("Transfer-Encoding: chunked\r\n", "1\r\na\n0\r\n\r\n"), 400},
      {"a bare line feed in a chunk's extension", with("Transfer-Encoding: chunked\r\n", "1;a\nb\r\na\r\n0\r\n\r\n"),
       400},
      {"a line end in a quoted extension",
       with("Transfer-Encoding: chunked\r\n",
            "1;a=\"\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nX: \"\r\na\r\n0\r\n\r\n"),
       400},
      {"a quoted extension without end", with("Transfer-Encoding: chunked\r\n", "1;a=\"\r\na\r\n0\r\n\r\n"), 400},
      {"one that ends in an escape", with("Transfer-Encoding: chunked\r\n", "1;a=\"\\\r\na\r\n0\r\n\r\n"), 400},
      {"one whose last quote is escaped", with("Transfer-Encoding: chunked\r\n", "1;a=\"\\\"\r\na\r\n0\r\n\r\n"), 400},
      {"one in the last chunk", with("Transfer-Encoding: chunked\r\n", "0;a=\"b\r\n\r\n"), 400},
      {"one in the last chunk behind another", with("Transfer-Encoding: chunked\r\n", "1\r\na\r\n0;a=\"\r\n\r\n"), 400},
      {"a last chunk that ends in a bare line feed", with("Transfer-Encoding: chunked\r\n", "0\r\n\n"), 400},
      {"a short chunk size that is none", with("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400},
      {"a trailer that is none", with("Transfer-Encoding: chunked\r\n", "0\r\nX y\r\n\r\n"), 400},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"HTTP/1.0 without a length, where a body may follow", "POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 411},
      {"the same, put", "PUT / HTTP/1.0\r\n\r\nabc", 411},
      {"a chunk without a size, and no more", with("Transfer-Encoding: chunked\r\n", "\r\n"), 400},
      {"the same behind another", with("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n\r\n"), 400},
      {"a chunk without a size", with("Transfer-Encoding: chunked\r\n", "\r\nabc\r\n"), 400},
      {"a chunk size that is none", with("Transfer-Encoding: chunked\r\n", "xyz\r\nabc\r\n"), 400},
      {"a chunk longer than it says by little", with("Transfer-Encoding: chunked\r\n", "2\r\nabc"), 400},
      {"a chunk that begins wrongly", with("Transfer-Encoding: chunked\r\n", "g"), 400},
      {"a chunk that follows wrongly", with("Transfer-Encoding: chunked\r\n", "1\r\na\r\n;"), 400},
      {"a chunk longer than it says", with("Transfer-Encoding: chunked\r\n", "2\r\nabc\r\n0\r\n\r\n"), 400},
      {"a chunk size beyond 64 bits", with("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), 400},
      {"an expectation that is not understood", with("Expect: tea\r\nContent-Length: 1\r\n"), 417},
  };
}

}  // namespace

TEST_CASE("a malformed request is refused with its status, wherever it is split") {
  for (auto const& r : refusals()) {
    CAPTURE(r.what);
    for (std::size_t piece = 1; piece <= r.bytes.size(); ++piece) {
      CAPTURE(piece);
      auto const p = parse(r.bytes, piece);
      REQUIRE_FALSE(p->done);
      REQUIRE(p->status == r.status);
    }
  }
}

TEST_CASE("a request with everything in it is read the same wherever it is split") {
  std::string const request =
      "\r\nPOST /a/b%20c?x=1&y=%26+z HTTP/1.1\r\nHost: example.org:8080\r\nX-Empty:\r\nx-blank: \t v \t\r\n"
      "X-Folded: one\r\n two\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "5;name=value\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nContent-Type: trailer\r\nX-Trailer: t\r\n\r\n";
  std::string const all = request + "GET /next";
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    CAPTURE(piece);
    auto const p = parse(all, piece);
    REQUIRE(p->status == 0);
    REQUIRE(p->done);
    REQUIRE(p->taken == request.size());
    CHECK(p->keep_alive);
    auto& q = p->state;
    CHECK(q.method == "POST");
    CHECK(q.target == "/a/b%20c?x=1&y=%26+z");
    CHECK(q.path == "/a/b c");
    CHECK(q.raw_query == "x=1&y=%26+z");
    CHECK(q.body == "hello 0123456789");
    CHECK(q.field("host") == "example.org:8080");
    CHECK(q.field("X-EMPTY") == "");
    CHECK(q.field("X-Blank") == "v");
    CHECK(q.field("X-Folded") == "one two");
    CHECK_FALSE(q.field("X-Trailer"));
    CHECK_FALSE(q.field("Content-Type"));
  }
}

TEST_CASE("a body with a length ends where it says, wherever it is split") {
  std::string const request =
      "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nContent-Length: 11\r\n\r\nhello world";
  for (std::size_t piece = 1; piece <= request.size(); ++piece) {
    auto const p = parse(request + "GET", piece);
    REQUIRE(p->done);
    REQUIRE(p->taken == request.size());
    REQUIRE(p->state.body == "hello world");
  }
  auto const cut = parse(request.substr(0, request.size() - 1), 1000);
  CHECK_FALSE(cut->done);
  CHECK(cut->status == 0);
}

TEST_CASE("whether a connection is kept follows version and Connection field") {
  auto const kept = [](std::string const& bytes) {
    auto const p = parse(bytes, 1000);
    REQUIRE(p->done);
    return p->keep_alive;
  };
  CHECK(kept("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  CHECK_FALSE(kept("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  CHECK_FALSE(kept("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n"));
  CHECK(kept(with("Transfer-Encoding: chunked\r\n", "0\r\nConnection: close\r\n\r\n")));  // a trailer
  CHECK_FALSE(kept("GET / HTTP/1.0\r\n\r\n"));
  CHECK(kept("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  CHECK(kept("GET / HTTP/1.0\r\nConnection: x ,\tKeep-Alive\r\n\r\n"));
  CHECK_FALSE(kept("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"));
  CHECK_FALSE(kept("GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"));
  CHECK_FALSE(
      kept("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"));  // for proxies, and passed on by old ones
  CHECK(kept("GET / HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n"));
}

TEST_CASE("a response that says close is its connection's last, whatever else it says") {
  rt::parse_limits const limits;
  auto const kept = [&](std::string const& head) {
    rt::response_parser p(limits, false);
    p.feed(head + "Content-Length: 0\r\n\r\n");
    REQUIRE(p.state() == rt::response_parser::outcome::done);
    return p.keep_alive();
  };
  CHECK(kept("HTTP/1.1 200 OK\r\n"));
  CHECK(kept("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"));
  CHECK_FALSE(kept("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: x, Close\r\n"));
  CHECK_FALSE(kept("HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n"));
  rt::response_parser coded(limits, false);  // which HTTP/1.0 knows nothing of
  coded.feed("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
  REQUIRE(coded.state() == rt::response_parser::outcome::done);
  CHECK_FALSE(coded.keep_alive());
}

TEST_CASE("limits on target, header, trailers and body have a status each") {
  rt::parse_limits const small{.header = 512, .body = 10, .target = 100};
  auto const status = [&](std::string const& bytes, std::size_t piece) { return parse(bytes, piece, small)->status; };
  std::string const head = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (std::size_t piece : {1, 7, 100000}) {
    CAPTURE(piece);
    CHECK(status("GET /" + std::string(100, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", piece) == 414);
    CHECK(status("GET /" + std::string(5000, 'a'), piece) == 414);
    CHECK(status("GET /" + std::string(99, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", piece) == 0);
    CHECK(status(head + "X: " + std::string(600, 'x') + "\r\n\r\n", piece) == 431);
    CHECK(status(head + "X: " + std::string(6000, 'x'), piece) == 431);
    std::string many = head;
    for (int i = 0; i < 100; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
    CHECK(status(many + "\r\n", piece) == 431);
    CHECK(status(with("Content-Length: 11\r\n"), piece) == 413);
    CHECK(status(with("Content-Length: 18446744073709551615\r\n"), piece) == 413);
    CHECK(status(with("Content-Length: 10\r\n", "0123456789"), piece) == 0);
    CHECK(status(with("Transfer-Encoding: chunked\r\n", "6\r\nabcdef\r\n5\r\nabcde\r\n0\r\n\r\n"), piece) == 413);
    CHECK(status(with("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n"), piece) == 413);
    CHECK(status(with("Transfer-Encoding: chunked\r\n", "1;" + std::string(6000, 'e')), piece) == 431);
    CHECK(status(with("Transfer-Encoding: chunked\r\n", "1;" + std::string(600, 'e') + "\r\nx\r\n0\r\n\r\n"), piece) ==
          431);
    CHECK(status(std::string(200, 'M') + " / HTTP/1.1\r\nHost: h\r\n\r\n", piece) == 414);
    CHECK(status(with("Transfer-Encoding: chunked\r\n", "0\r\nX: " + std::string(6000, 't')), piece) == 431);
  }
}

TEST_CASE("limits of SIZE_MAX are none") {
  constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  rt::parse_limits const limits{none, none, none};
  std::string const bytes = "POST /" + std::string(10'000, 'a') +
                            " HTTP/1.1\r\nHost: h\r\nX: " + std::string(10'000, 'x') +
                            "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (std::size_t piece : {1000u, 100'000u}) {
    auto const p = parse(bytes, piece, limits);
    CHECK(p->status == 0);
    CHECK(p->done);
    CHECK(p->state.body == "abc");
  }
}

TEST_CASE("a target may have an absolute form, whose host counts, and OPTIONS a star") {
  CHECK(parse("GET http://a:80/x HTTP/1.1\r\nX: 1\r\nHost: b\r\n\r\n", 100)->state.field("Host") == "a:80");
  CHECK(parse("GET HTTP://a HTTP/1.0\r\n\r\n", 100)->state.field("Host") == "a");
  CHECK(parse("GET http://h:80/a?b HTTP/1.1\r\nHost: h\r\n\r\n", 100)->state.path == "/a");
  CHECK(parse("GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", 100)->state.path == "/");
  CHECK(parse("GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", 100)->state.raw_query == "b");
  CHECK(parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 100)->state.path == "*");
}

TEST_CASE("hosts are names, addresses, and nothing, with a port or without") {
  for (std::string host :
       {"", "h", "h:80", "h:", "example.org", "127.0.0.1:1", "[::1]", "[::1]:8080", "a_b-c.d", "a%20b"}) {
    CAPTURE(host);
    CHECK(parse("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 100)->done);
  }
}

TEST_CASE("a later minor version of HTTP/1 is taken for 1.1, wherever the request is split") {
  std::string const bytes =
      "POST /x HTTP/1.2\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.2\r\n";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    CAPTURE(piece);
    auto const p = parse(bytes, piece);
    REQUIRE(p->done);
    REQUIRE(p->keep_alive);
    REQUIRE(p->state.body == "abc");
    REQUIRE(p->taken == bytes.find("GET"));
  }
}

TEST_CASE("100-continue is expected only where a body follows") {
  CHECK(parse(with("Expect: 100-continue\r\nContent-Length: 2\r\n", "ab"), 100)->expects_continue);
  CHECK(parse(with("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 1000)->expects_continue);
  CHECK(parse(with("Expect: , 100-continue,\r\nContent-Length: 2\r\n", "ab"), 100)->expects_continue);
  CHECK_FALSE(parse(with("Expect: 100-continue\r\n"), 100)->expects_continue);
}

TEST_CASE("a response is read the same wherever it is split") {
  rt::parse_limits const limits;
  std::string const chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  std::string const lines =  // the data of chunks may begin with the end of a line
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n1\r\n\n\r\n00\r\n\r\n";
  for (std::size_t piece = 1; piece <= lines.size(); ++piece) {
    rt::response_parser p(limits, false);
    feed(p, lines, piece);
    REQUIRE(p.state() == rt::response_parser::outcome::done);
    REQUIRE(p.take().body() == "\n");
    auto const q = parse(with("Transfer-Encoding: chunked\r\n", "1\r\n\n\r\n3;a=b\r\n\nab\r\n0\r\n\r\n"), piece);
    REQUIRE(q->done);
    REQUIRE(q->state.body == "\n\nab");
  }
  std::string const counted = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nX: y\r\n\r\nabcde";
  std::string const to_end = "HTTP/1.0 200 \r\nX: y\r\n\r\nabcde";
  for (auto const& bytes : {chunked, counted, to_end}) {
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
      rt::response_parser p(limits, false);
      feed(p, bytes, piece);
      if (bytes == to_end) p.end();
      REQUIRE(p.state() == rt::response_parser::outcome::done);
      auto const r = p.take();
      REQUIRE(r.body() == "abcde");
      REQUIRE(r.header("x") == "y");
    }
  }
}

TEST_CASE("a response that can become none any more is malformed at once, wherever it is split") {
  rt::parse_limits const limits;
  std::string const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::string const& bytes :
       {head + "2\nok\n0\n\n", head + "2\r\nok\n", head + "2\r\nok\r\n0\r\n\n", head + "0\r\n\n", head + "zz\r\n",
        head + "\r\n", head + "\r\n\r\n", head + "2\r\nok\r\n\r\n", head + "2\r\nokz",
        head + "2;a=\"\n\"\r\nok\r\n0\r\n\r\n", head + "0;a=\"\n\"\r\n\r\n", head + "2;a=\"\r\nok\r\n0\r\n\r\n",
        head + "2\r\nok\r\n0;a=\"\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"s,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\n\nok"s}) {
    CAPTURE(bytes);
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
      rt::response_parser p(limits, false);
      feed(p, bytes, piece);
      CAPTURE(piece);
      REQUIRE(p.state() == rt::response_parser::outcome::malformed);
    }
  }
}

TEST_CASE("quotes in a chunk's extension and in trailers are no reason to refuse a response") {
  std::string const bytes =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"\\\"\"\r\nok\r\n0;b=\"\"\r\nX: \"\r\n\r\n";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    rt::parse_limits const limits;
    rt::response_parser p(limits, false);
    feed(p, bytes, piece);
    REQUIRE(p.state() == rt::response_parser::outcome::done);
    REQUIRE(p.take().body() == "ok");
  }
}

TEST_CASE("a response of a later minor version of HTTP/1 is taken for one of 1.1, wherever it is split") {
  rt::parse_limits const limits;
  auto const read = [&](std::string const& bytes, std::size_t piece) {
    rt::response_parser p(limits, false);
    feed(p, bytes, piece);
    CHECK((p.state() != rt::response_parser::outcome::done || p.keep_alive()));
    return p.state() == rt::response_parser::outcome::done ? p.take().body() : std::string("none");
  };
  std::string const rest = " 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (std::string const version : {"HTTP/1.2", "HTTP/1.9"}) {
    for (std::size_t piece = 1; piece <= version.size() + rest.size(); ++piece)
      REQUIRE(read(version + rest, piece) == "abc");
  }
  for (std::string const version : {"HTTP/2.0", "HTTP/1.10", "HTTP/1.", "HTTP/1.x", "HTTP/0.9"})
    CHECK(read(version + rest, 1000) == "none");
}
