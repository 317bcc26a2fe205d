// Bytes that a server on the internet meets: what it answers, whether the connection closes, and what its handlers were shown.
#include "tests/http/harness.hpp"

#include <string>
#include <vector>

using namespace http_test;
using namespace std::string_literals;

namespace {

/// Every request is answered with what the handler saw of it.
http::router routes() {
  http::router r;
  auto const show = [](http::request& q) { return std::string(q.method()) + " " + std::string(q.path()); };
  r.handle("*", "/{path...}", [show](http::request& q) { return show(q) + " [" + q.body() + "]"; });
  r.handle("*", "/streamed", [show](http::request& q, http::body_reader& body) {
    return show(q) + " <" + body.read_all(1000).value() + ">";
  });
  return r;
}

http::server_options limits() {
  http::server_options o;
  o.max_header_bytes = 2000;
  o.max_body_bytes = 1000;
  o.max_streamed_bytes = 1000;
  o.max_target_bytes = 300;
  return o;
}

struct attack {
  char const* what;
  std::string bytes;
  std::vector<std::string> answers;  // of each its body, or the status if that is not 200
  bool closed;
};

std::string const h = "Host: t\r\n";
std::string const next =
    "GET /next HTTP/1.1\r\n" + h + "\r\n";  // where one ends that is not what it should be, this is seen

std::string post(std::string const& fields, std::string const& body) {
  return "POST /p HTTP/1.1\r\n" + h + fields + "\r\n" + body;
}
std::string chunked(std::string const& body) { return post("Transfer-Encoding: chunked\r\n", body); }

/// So many chunks of a byte with extensions of so many.
std::string extended(int chunks, int extension) {
  std::string all;
  while (chunks-- > 0) all += "1;" + std::string(static_cast<std::size_t>(extension - 1), 'e') + "\r\nx\r\n";
  return all;
}

std::vector<attack> attacks() {
  std::string const inner = "GET /admin HTTP/1.1\r\n" + h + "\r\n";
  std::string flood;
  for (int i = 0; i < 400; ++i) flood += "X-" + std::to_string(i) + ": y\r\n";
  return {
      {"a plain request", next, {"GET /next []"}, false},
      {"requests in a row", next + next, {"GET /next []", "GET /next []"}, false},
      // Where a body ends.
      {"length and chunks",
       post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + inner),
       {"400"},
       true},
      {"chunks and length",
       post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n" + inner),
       {"400"},
       true},
      {"chunks under a name with a blank", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + inner), {"400"}, true},
      {"chunks behind a tab",
       post("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n") + next,
       {"POST /p []", "GET /next []"},
       false},
      {"chunks by an unknown name", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + inner), {"400"}, true},
      {"chunks twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n" + inner), {"501"}, true},
      {"gzip and chunks", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n" + inner), {"501"}, true},
      {"chunks in HTTP/1.0", "POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, {"400"}, true},
      {"a body without a length in HTTP/1.0",
       "POST /p HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + inner,
       {"411"},
       true},
      {"no body by its length in HTTP/1.0",
       "POST /p HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n" + next,
       {"POST /p []", "GET /next []"},
       false},
      {"no body without a length in HTTP/1.1", post("", "") + next, {"POST /p []", "GET /next []"}, false},
      {"two lengths", post("Content-Length: 0\r\nContent-Length: 44\r\n", inner), {"400"}, true},
      {"the same length twice",
       post("Content-Length: 1\r\nContent-Length: 1\r\n", "a") + next,
       {"POST /p [a]", "GET /next []"},
       false},
      {"a list of lengths", post("Content-Length: 0, 44\r\n", inner), {"400"}, true},
      {"a length with a sign", post("Content-Length: +0\r\n", inner), {"400"}, true},
      {"a length in hexadecimal", post("Content-Length: 0x10\r\n", inner), {"400"}, true},
      {"a length that overflows", post("Content-Length: 18446744073709551617\r\n", "a"), {"400"}, true},
      {"a body of a GET",
       "GET /g HTTP/1.1\r\n" + h + "Content-Length: 3\r\n\r\nabc" + next,
       {"GET /g [abc]", "GET /next []"},
       false},
      {"a length beyond the limit", post("Content-Length: 1001\r\n", std::string(1001, 'x') + inner), {"413"}, true},
      {"chunks beyond the limit", chunked("3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n" + inner), {"413"}, true},
      {"a streamed length beyond the limit",
       "POST /streamed HTTP/1.1\r\n" + h + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x') + inner,
       {"413"},
       true},
      {"streamed chunks beyond the limit",
       "POST /streamed HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x'),
       {"413"},
       true},
      // Chunks.
      {"a chunk without size", chunked("\r\nab\r\n0\r\n\r\n" + inner), {"400"}, true},
      {"a chunk with a sign", chunked("-1\r\nab\r\n0\r\n\r\n" + inner), {"400"}, true},
      {"a chunk that is longer than it says", chunked("1\r\nab\r\n0\r\n\r\n" + inner), {"400"}, true},
      {"a chunk size that overflows", chunked("10000000000000001\r\na\r\n0\r\n\r\n" + inner), {"400"}, true},
      {"a chunk extension",
       chunked("1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n") + next,
       {"POST /p [x]", "GET /next []"},
       false},
      {"a chunk extension with a line feed", chunked("1;a\nb\r\nx\r\n0\r\n\r\n" + inner), {"400"}, true},
      {"a chunk extension without end", chunked("1;" + std::string(4000, 'a')), {"431"}, true},
      {"chunks with longer extensions than data, in all",
       chunked(extended(100, 40) + "0\r\n\r\n" + inner),
       {"431"},
       true},
      {"the same to a handler that reads",
       "POST /streamed HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n" + extended(100, 40) + "0\r\n\r\n",
       {"431"},
       true},
      {"chunks with short extensions",
       chunked(extended(100, 16) + "0\r\n\r\n") + next,
       {"POST /p [" + std::string(100, 'x') + "]", "GET /next []"},
       false},
      {"a chunk ended by a line feed", chunked("1\r\nx\n0\r\n\r\n" + inner), {"400"}, true},
      {"chunks with line feeds alone", chunked("1\nx\n0\n\n"), {"400"}, true},
      {"a last chunk with line feeds alone", chunked("1\r\nx\r\n0\n\n"), {"400"}, true},
      {"trailers with line feeds alone", chunked("0\r\nX: y\n\n"), {"400"}, true},
      {"a header with line feeds alone", "GET /f HTTP/1.1\r\nHost: t\nX: y\n\n", {"400"}, true},
      {"a trailer of framing", chunked("0\r\nContent-Length: 5\r\n\r\n" + inner), {"400"}, true},
      {"trailers", chunked("0\r\nX: y\r\n\r\n") + next, {"POST /p []", "GET /next []"}, false},
      {"trailers without end", chunked("0\r\n" + flood), {"431"}, true},
      {"bad chunks to a handler that reads",
       "POST /streamed HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + inner,
       {"400"},
       true},
      // Lines.
      {"a folded field", "GET /f HTTP/1.1\r\n" + h + "X: a\r\n b\r\n\r\n" + next, {"GET /f []", "GET /next []"}, false},
      {"a folded first field", "GET /f HTTP/1.1\r\n Host: t\r\n\r\n", {"400"}, true},
      {"bare line feeds", "GET /f HTTP/1.1\nHost: t\n\n\r\n\r\n", {"400"}, true},
      {"a bare line feed behind a field", "GET /f HTTP/1.1\r\nHost: t\nX: y\r\n\r\n", {"400"}, true},
      {"a bare return in a value", "GET /f HTTP/1.1\r\n" + h + "X: a\rContent-Length: 3\r\n\r\n", {"400"}, true},
      {"a bare return in the request line", "GET /f\r HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"a null byte in a value", "GET /f HTTP/1.1\r\n" + h + "X: a\0b\r\n\r\n"s, {"400"}, true},
      {"a null byte in a name", "GET /f HTTP/1.1\r\n" + h + "X\0: a\r\n\r\n"s, {"400"}, true},
      {"a null byte in the target", "GET /f\0 HTTP/1.1\r\n"s + h + "\r\n", {"400"}, true},
      {"a blank before a colon", "GET /f HTTP/1.1\r\n" + h + "X : a\r\n\r\n", {"400"}, true},
      {"a line without a colon", "GET /f HTTP/1.1\r\n" + h + "X\r\n\r\n", {"400"}, true},
      {"an empty line before a request", "\r\n" + next, {"GET /next []"}, false},
      {"many empty lines", "\r\n\r\n\r\n\r\n\r\n\r\n" + next, {"400"}, true},
      {"an end of line in a quoted chunk extension",
       "POST /p HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n",
       {"400"},
       true},
      {"a line feed in one",
       "POST /p HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1;a=\"\n\"\r\nx\r\n0\r\n\r\n",
       {"400"},
       true},
      {"a return in one",
       "POST /p HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\"\r\nx\r\n0\r\n\r\n",
       {"400"},
       true},
      {"a quoted chunk extension without end", chunked("5;a=\"\r\nhello\r\n0\r\n\r\n" + inner), {"400"}, true},
      {"one in the last chunk", chunked("1\r\nx\r\n0;a=\"b\r\n\r\n"), {"400"}, true},
      {"one of a streamed body",
       "POST /streamed HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0;a=\"b\r\n\r\n",
       {"400"},
       true},
      // Request lines.
      {"no method", " /f HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"a method that is no token", "G@T /f HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"a method that nobody knows", "BREW /f HTTP/1.1\r\n" + h + "\r\n", {"BREW /f []"}, false},
      {"OPTIONS of the server", "OPTIONS * HTTP/1.1\r\n" + h + "\r\n", {"204"}, false},
      {"CONNECT", "CONNECT t:80 HTTP/1.1\r\n" + h + "\r\n", {"501"}, true},
      {"two blanks", "GET  /f HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"a blank in the target", "GET /f x HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"no version", "GET /f\r\n" + h + "\r\n", {"400"}, true},
      {"HTTP/0.9", "GET /f HTTP/0.9\r\n\r\n", {"505"}, true},
      {"HTTP/1.2", "GET /f HTTP/1.2\r\n" + h + "\r\n" + next, {"GET /f []", "GET /next []"}, false},
      {"a body in HTTP/1.9",
       "POST /p HTTP/1.9\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + next,
       {"POST /p [a]", "GET /next []"},
       false},
      {"HTTP/1.2 without Host", "GET /f HTTP/1.2\r\n\r\n" + inner, {"400"}, true},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {"505"}, true},
      {"a version of letters", "GET /f HTTP/x.y\r\n" + h + "\r\n", {"400"}, true},
      {"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"s, {"400"}, true},
      {"a path out of the root", "GET /../f HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"the same, escaped", "GET /%2e%2e/f HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"an escaped null byte", "GET /%00 HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"half an escape", "GET /%2 HTTP/1.1\r\n" + h + "\r\n", {"400"}, true},
      {"a long target", "GET /" + std::string(400, 'a') + " HTTP/1.1\r\n" + h + "\r\n", {"414"}, true},
      {"a target without end", "GET /" + std::string(4000, 'a'), {"414"}, true},
      // Fields.
      {"no Host", "GET /f HTTP/1.1\r\n\r\n", {"400"}, true},
      {"no Host in HTTP/1.0", "GET /f HTTP/1.0\r\n\r\n", {"GET /f []"}, true},
      {"two Hosts", "GET /f HTTP/1.1\r\n" + h + h + "\r\n", {"400"}, true},
      {"a Host of two", "GET /f HTTP/1.1\r\nHost: a, b\r\n\r\n", {"400"}, true},
      {"many fields", "GET /f HTTP/1.1\r\n" + h + flood + "\r\n", {"431"}, true},
      {"a field without end", "GET /f HTTP/1.1\r\n" + h + "X: " + std::string(5000, 'x'), {"431"}, true},
      {"an expectation of the impossible", post("Expect: tea\r\nContent-Length: 1\r\n", "a"), {"417"}, true},
      {"no expectation", post("Expect:\r\nContent-Length: 1\r\n", "a"), {"POST /p [a]"}, false},
      {"one of two", post("Expect: 100-continue, tea\r\nContent-Length: 1\r\n", "a"), {"417"}, true},
      // Behind the last request of a connection nothing is a request.
      {"a request behind close", "GET /f HTTP/1.1\r\n" + h + "Connection: close\r\n\r\n" + inner, {"GET /f []"}, true},
      {"a request behind a bad one", "GET /f HTTP/1.1\r\n\r\n" + inner, {"400"}, true},
      {"a bad one behind a good one", next + "nonsense\r\n\r\n" + inner, {"GET /next []", "400"}, true},
  };
}

std::string answer_of(std::string const& response) {
  int const status = status_of(response);
  return status == 200 ? body_of(response) : std::to_string(status);
}

}  // namespace

TEST_CASE("hostile bytes get the status that RFC 9112 asks for, and where it does the connection closes") {
  with_server(routes, limits(), [](std::string const& at, auto&) {
    for (auto const& a : attacks()) {
      CAPTURE(a.what);
      wire w(at);
      w.send(a.bytes);
      std::vector<std::string> got;
      std::string last;
      for (std::size_t i = 0; i < a.answers.size(); ++i) got.push_back(answer_of(last = w.response()));
      CHECK(got == a.answers);
      CHECK(has(last, "Connection: close\r\n") == a.closed);
      if (a.closed) CHECK(w.rest().empty());
      else CHECK(answer_of(w.send(next).response()) == "GET /next []");
    }
  });
}

TEST_CASE("a client that sends far more than it may still reads why it is refused") {
  with_server(routes, limits(), [](std::string const& at, auto&) {
    for (char const* path : {"/p", "/streamed"}) {
      wire w(at);
      std::string const much(4'000'000, 'x');
      w.send("POST " + std::string(path) + " HTTP/1.1\r\n" + h + "Content-Length: 4000000\r\n\r\n").send(much);
      CHECK(status_of(w.rest()) == 413);
    }
  });
}

TEST_CASE("a header that comes byte by byte is given up in time although it goes on") {
  http::server_options o = limits();
  o.header_timeout = 200ms;
  with_server(routes, o, [](std::string const& at, auto&) {
    wire w(at);
    weft::time_point const began = weft::now();
    std::string const head = "GET /f HTTP/1.1\r\nX: " + std::string(1000, 'x');
    std::size_t sent = 0;
    for (; sent < head.size() && w.stream().write_all(head.substr(sent, 1)); ++sent) weft::sleep_for(20ms);
    CHECK(sent < head.size() / 2);
    CHECK(weft::now() - began >= 200ms);
    CHECK(has(w.rest(), "HTTP/1.1 408"));
  });
}

TEST_CASE("a client that never reads what it pipelines is not read from for ever, and is let go") {
  http::server_options o = limits();
  o.idle_timeout = 300ms;
  with_server(routes, o, [](std::string const& at, auto&) {
    wire w(at);
    std::string many;
    for (int i = 0; i < 1000; ++i) many += next;
    std::size_t sent = 0;
    weft::time_point const until = weft::now() + 10s;
    w.stream().set_write_deadline(until);
    while (w.stream().write_all(many)) sent += many.size();  // until the server breaks it off
    CHECK(sent < 256'000'000);
    CHECK(weft::now() < until);
    CHECK(answer_of(wire(at).send(next).response()) == "GET /next []");
  });
}

TEST_CASE("a HEAD request that is refused gets no body") {
  with_server(routes, limits(), [](std::string const& at, auto&) {
    wire w(at);
    w.send("HEAD /f HTTP/1.1\r\n" + h + h + "\r\n");
    std::string const all = w.rest();
    CHECK(status_of(all) == 400);
    CHECK(body_of(all).empty());
  });
}
