#include <weft/net/reader.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

/// Hands out a text in pieces of a given size, then the end or an error.
struct scripted {
  std::string text;
  std::size_t piece;
  std::error_code last{};
  std::size_t at = 0;
  weft::result<std::size_t> read_some(weft::net::mutable_buffer to) {
    std::size_t const n = std::min({piece, text.size() - at, to.bytes.size()});
    if (n == 0 && last) return std::unexpected(last);
    std::copy_n(text.data() + at, n, reinterpret_cast<char*>(to.bytes.data()));
    at += n;
    return n;
  }
};

std::vector<std::string> lines(std::string text, std::size_t piece, std::size_t buffer = 16) {
  scripted from{std::move(text), piece};
  weft::net::reader in(from, buffer);
  std::vector<std::string> all;
  for (;;) {
    auto line = in.read_line();
    REQUIRE(line);
    if (!*line) return all;
    all.emplace_back(**line);
  }
}

}  // namespace

TEST_CASE("lines come out without their ends, however the bytes arrive") {
  std::string const text = "one\r\ntwo\n\n\r\nthe third is longer than the buffer\nlast";
  std::vector<std::string> const expected = {"one", "two", "", "", "the third is longer than the buffer", "last"};
  for (std::size_t piece : {1u, 2u, 3u, 7u, 1000u}) {
    for (std::size_t buffer : {0u, 16u, 4096u}) CHECK(lines(text, piece, buffer) == expected);
  }
  CHECK(lines("", 1).empty());
  CHECK(lines("\n", 1) == std::vector<std::string>{""});
  CHECK(lines("a\n", 1) == std::vector<std::string>{"a"});
  CHECK(lines("a\rb\r\n", 1) == std::vector<std::string>{"a\rb"});
}

TEST_CASE("a line longer than the bound is message_size, one as long as it is a line") {
  for (std::size_t piece : {1u, 1000u}) {
    scripted fits{std::string(100, 'x') + "\r\nnext\n", piece};
    weft::net::reader in(fits, 16, 100);
    CHECK(in.read_line().value().value().size() == 100);
    CHECK(in.read_line().value().value() == "next");
    scripted too_long{std::string(101, 'x') + "\n", piece};
    weft::net::reader short_of(too_long, 16, 100);
    CHECK(short_of.read_line().error() == std::errc::message_size);
    scripted endless{std::string(100'000, 'x'), piece};
    weft::net::reader bounded(endless, 16, 100);
    CHECK(bounded.read_line().error() == std::errc::message_size);
    CHECK(endless.at <= 1024);
    scripted unbounded{std::string(5000, 'x') + "\r\nnext", piece};
    weft::net::reader in_full(unbounded, 16, std::numeric_limits<std::size_t>::max());
    CHECK(in_full.read_line().value().value().size() == 5000);
    CHECK(in_full.read_line().value().value() == "next");
  }
}

TEST_CASE("a last line without an end is whole, however full the buffer is") {
  for (std::size_t before = 0; before != 20; ++before) {
    for (std::size_t size = 1; size != 70; ++size) {
      CAPTURE(before, size);
      std::string line;
      for (std::size_t i = 0; i != size; ++i) line += static_cast<char>('a' + i % 26);
      scripted from{std::string(before, '.') + "\n" + line, 16};
      weft::net::reader in(from, 16);
      REQUIRE(in.read_line().value().value().size() == before);
      REQUIRE(in.read_line().value().value() == line);
      REQUIRE_FALSE(in.read_line().value());
    }
  }
}

TEST_CASE("a last line without an end is bounded as any") {
  for (std::string const end : {"", "\r", "\n", "\r\n"}) {
    CAPTURE(end);
    scripted fits{std::string(100, 'x') + end, 10}, too_long{std::string(101, 'x') + end, 10};
    CHECK(weft::net::reader(fits, 16, 100).read_line().value().value().size() == 100);
    weft::net::reader in(too_long, 16, 100);
    CHECK(in.read_line().error() == std::errc::message_size);
    CHECK(in.buffered() >= 101);
  }
}

TEST_CASE("counted blocks and lines can be mixed, and nothing read ahead is lost") {
  scripted from{"5\r\nhelloworld\nrest", 4};
  weft::net::reader in(from);
  CHECK(in.read_line().value().value() == "5");
  CHECK(in.read_exact(5).value() == "hello");
  CHECK(in.read_exact(0).value().empty());
  CHECK(in.read_line().value().value() == "world");
  std::string rest(4, 0);
  std::size_t got = 0;
  while (got != 4) got += in.read_some(std::span(rest).subspan(got)).value();
  CHECK(rest == "rest");
  CHECK(in.buffered() == 0);
  CHECK(in.read_some(rest).value() == 0);
}

TEST_CASE("read_exact says eof when the stream ends before, and grows with the bytes, not with the number") {
  scripted from{"abc", 2};
  weft::net::reader in(from);
  CHECK(in.read_exact(std::size_t{1} << 40).error() == weft::errc::eof);
  CHECK(in.buffered() == 3);
  CHECK(in.read_exact(3).value() == "abc");
  scripted large{std::string(100'000, 'z'), 9999};
  weft::net::reader of_large(large);
  CHECK(of_large.read_exact(100'000).value() == std::string(100'000, 'z'));
}

TEST_CASE("the stream's errors come through, after the lines before them") {
  scripted from{"a\nb", 10, std::make_error_code(std::errc::timed_out)};
  weft::net::reader in(from);
  CHECK(in.read_line().value().value() == "a");
  CHECK(in.read_line().error() == std::errc::timed_out);
  CHECK(in.buffered() == 1);
}
