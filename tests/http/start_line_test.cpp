// First lines that others take and Beast does not.
#include "runtime/http/parser.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <string_view>

namespace rt = weft::rt;

namespace {

/// The response in these bytes, given in pieces of `piece`: its status, X and body, and what is left unread.
std::string read(std::string_view bytes, std::size_t piece) {
  rt::parse_limits const limits;
  rt::response_parser p(limits, false);
  std::string unread;
  for (std::size_t given = 0; given < bytes.size() && p.state() == rt::response_parser::outcome::more; given += piece) {
    unread += bytes.substr(given, piece);
    unread.erase(0, p.feed(unread));
  }
  if (p.state() == rt::response_parser::outcome::malformed) return "malformed";
  if (p.state() != rt::response_parser::outcome::done) return "not done";
  auto const r = p.take();
  return std::to_string(r.status()) + " " + std::string(r.header("X").value_or("-")) + " " + r.body() + unread;
}

}  // namespace

TEST_CASE("a status line may end behind its status, wherever the response is split") {
  for (std::string const version : {"HTTP/1.1", "HTTP/1.2"}) {
    CAPTURE(version);
    std::string const bytes = version + " 200\r\nX: y\r\nContent-Length: 2\r\n\r\nok",
                      chunks = version + " 404\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                      bare = version + " 204\r\n\r\n";
    for (std::size_t piece = 1; piece <= chunks.size(); ++piece) {
      CAPTURE(piece);
      REQUIRE(read(bytes, piece) == "200 y ok");
      REQUIRE(read(chunks, piece) == "404 y ok");
      REQUIRE(read(bare, piece) == "204 - ");
    }
    CHECK(read(bytes + "rest", 1000) == "200 y okrest");  // of the next response nothing is lost
  }
}

TEST_CASE("a status line that is none is none without its blank, too") {
  for (std::string const line :
       {"HTTP/1.1 20\r\n", "HTTP/1.1 2x0\r\n", "HTTP/1.1 2000\r\n", "HTTP/1.1 200x\r\n", "HTTP/1.1\r\n",
        "HTTP/1.1 \r\n", "HTTP/1.1 099\r\n", "HTTP/2.0 200\r\n", "HTTP/1.1 200\n", "HTTP/1.1 200\r\r\n"}) {
    CAPTURE(line);
    std::string const bytes = line + "X: y\r\nContent-Length: 0\r\n\r\n";
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) REQUIRE(read(bytes, piece) == "malformed");
  }
}
