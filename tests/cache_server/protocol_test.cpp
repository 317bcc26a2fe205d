#include "examples/cache_server/protocol.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <string_view>
#include <vector>

using cache::command_parser;
using status = cache::command_parser::status;
using words = std::vector<std::string>;

namespace {

struct parsed {
  std::vector<words> commands;
  std::string error;
  bool operator==(parsed const&) const = default;
};

/// Gives the parser the text in pieces of this size, as a connection would.
parsed parse(std::string_view text, std::size_t piece) {
  command_parser p;
  parsed out;
  std::string unread;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    unread += text.substr(at, piece);
    for (;;) {
      auto const s = p.next(unread);
      if (s == status::incomplete) break;
      if (s == status::error) {
        out.error = p.error();
        return out;
      }
      if (!p.args().empty()) out.commands.emplace_back(p.args().begin(), p.args().end());
      unread.erase(0, p.consumed());
    }
  }
  return out;
}

parsed parse_any(std::string_view text) {
  parsed const whole = parse(text, text.size());
  for (std::size_t piece = 1; piece < text.size(); ++piece) {
    INFO("pieces of " << piece);
    CHECK(parse(text, piece) == whole);
  }
  return whole;
}

std::string error_of(std::string_view text) {
  parsed const p = parse(text, text.size());
  CHECK(p.commands.empty());
  return p.error;
}

}  // namespace

TEST_CASE("commands are understood in whatever pieces they come") {
  std::string_view const text =
      "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb\n\r\n"
      "*1\r\n$4\r\nPING\r\n"
      "*0\r\n*-1\r\n"
      "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
      "get  k \r\n\r\n  ping\n";
  CHECK(parse_any(text) == parsed{{{"SET", "k", "a\r\nb\n"}, {"PING"}, {"GET", ""}, {"get", "k"}, {"ping"}}, ""});
}

TEST_CASE("a typed line has quotes and escapes as in a shell") {
  CHECK(parse_any("set \"a b\\n\\x41\\\"\" 'it\\'s' c\\d\r\n").commands ==
        std::vector<words>{{"set", "a b\nA\"", "it's", "c\\d"}});
  CHECK(parse("set \"\" ''\n", 100).commands == std::vector<words>{{"set", "", ""}});
  for (auto const* bad : {"get \"a\r\n", "get 'a\r\n", "get \"a\"b\r\n"})
    CHECK(error_of(bad) == "Protocol error: unbalanced quotes in request");
}

TEST_CASE("what breaks the protocol is named as Redis names it") {
  CHECK(error_of("*x\r\n") == "Protocol error: invalid multibulk length");
  CHECK(error_of("*16777217\r\n") == "Protocol error: invalid multibulk length");
  CHECK(error_of("*99999999999999999999999\r\n") == "Protocol error: invalid multibulk length");
  CHECK(error_of("*1\r\nPING\r\n") == "Protocol error: expected '$', got 'P'");
  CHECK(error_of("*1\r\n$x\r\n") == "Protocol error: invalid bulk length");
  CHECK(error_of("*1\r\n$-1\r\n") == "Protocol error: invalid bulk length");
  CHECK(error_of("*1\r\n$536870913\r\n") == "Protocol error: invalid bulk length");
  CHECK(error_of(std::string(65 * 1024, 'a')) == "Protocol error: too big inline request");
}

TEST_CASE("a command is not looked at again when more of it comes") {
  command_parser p;
  std::string text = "*100001\r\n$4\r\nMGET\r\n";
  CHECK(p.next(text) == status::incomplete);
  std::size_t const before = text.size();
  for (int i = 0; i < 100'000; ++i) text += "$1\r\nk\r\n";
  CHECK(p.next(std::string_view(text).substr(0, text.size() - 1)) == status::incomplete);
  text.replace(before, 4, "XXXX");  // what was there has been understood already
  CHECK(p.next(text) == status::command);
  CHECK(p.args().size() == 100'001);
  CHECK(p.consumed() == text.size());
}
