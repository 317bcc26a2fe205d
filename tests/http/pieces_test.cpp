// Messages that come in the smallest pieces: what they cost, and that nothing is seen in them that is not there.
#include "runtime/http/chunk_header.hpp"
#include "runtime/http/parser.hpp"

#include "tests/support/catch.hpp"

#include <weft/detail/sanitizer.hpp>

#include <ctime>
#include <string>
#include <string_view>

namespace rt = weft::rt;

namespace {

std::string times(int n, std::string_view s) {
  std::string all;
  for (int i = 0; i < n; ++i) all += s;
  return all;
}

/// As a connection does: what was not taken comes again, with more behind it.
template <class Parser, class Ended>
void feed(Parser& p, std::string_view bytes, std::size_t piece, Ended ended) {
  std::string unread;
  for (std::size_t given = 0; given < bytes.size() && !ended(); given += piece) {
    unread += bytes.substr(given, piece);
    for (std::size_t n = 1; n != 0 && !unread.empty() && !ended();) unread.erase(0, n = p.feed(unread));
  }
}

struct received {
  bool done = false;
  int refused = 0;
  std::string body;
};

received request(std::string_view bytes, std::size_t piece) {
  rt::request_state q;
  rt::parse_limits const limits;
  rt::request_parser p(q, limits);
  feed(p, bytes, piece, [&] { return p.refused() != 0 || p.done(); });
  return {p.done(), p.refused(), q.body};
}

rt::response_parser::outcome response(std::string_view bytes, std::size_t piece) {
  rt::parse_limits const limits;
  rt::response_parser p(limits, false);
  feed(p, bytes, piece, [&] { return p.state() != rt::response_parser::outcome::more; });
  return p.state();
}

}  // namespace

TEST_CASE("of thousands of lines that come byte by byte each is looked at once") {
  std::clock_t const begin = std::clock();
  std::string const lines = times(10'000, "a:b\r\n");
  std::string const chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n";
  for (std::string const& bytes : {lines + "Content-Length: 0\r\n\r\n", chunks + lines + "\r\n"}) {
    CHECK(request("POST / HTTP/1.1\r\nHost: h\r\n" + bytes, 1).done);
    CHECK(response("HTTP/1.1 200 OK\r\n" + bytes, 1) == rt::response_parser::outcome::done);
  }
  if (!WEFT_ASAN && !WEFT_TSAN) CHECK(std::clock() - begin < 2 * CLOCKS_PER_SEC);  // it was five
}

TEST_CASE("nor are the digits of a last chunk with many zeroes counted for each byte of its trailers") {
  constexpr std::size_t size_of_line = WEFT_ASAN || WEFT_TSAN ? 2'000 : 20'000;
  auto const time_of = [](std::string const& line) {
    std::string const all = line + "\r\n" + times(size_of_line / 5, "a:b\r\n");
    std::clock_t const begin = std::clock();
    std::size_t may = 0;
    for (std::size_t n = line.size(); n != all.size(); ++n)
      may += rt::may_become_chunk_header(std::string_view(all).substr(0, n + 1), false, n);
    CHECK(may == all.size() - line.size());
    return std::clock() - begin;
  };
  auto const with_extension = time_of("0;" + std::string(size_of_line, 'x')),
             with_zeroes = time_of(std::string(size_of_line + 2, '0'));
  if (!WEFT_ASAN && !WEFT_TSAN) CHECK(with_zeroes < 3 * with_extension);  // it was thirty times as much
}

TEST_CASE("a bare line feed is found wherever the bytes are split, and is no harm in a chunk's data") {
  std::string const chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t const piece : {1, 2, 3, 5, 1000}) {
    INFO("pieces of " << piece);
    CHECK(request(chunked + "1\r\n\n\r\n2\r\n\n\n\r\n0\r\n\r\n", piece).body == "\n\n\n");
    CHECK(request(chunked + "0\r\na: b\r\nc: d\n", piece).refused == 400);
    CHECK(request(chunked + "1\r\nx\r\n0\r\na: b\r\nc: d\n", piece).refused == 400);
    CHECK(request("GET / HTTP/1.1\r\nHost: h\r\na: b\n", piece).refused == 400);
  }
}
