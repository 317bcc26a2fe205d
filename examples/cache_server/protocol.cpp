#include "protocol.hpp"

#include <array>
#include <optional>

namespace cache {

namespace {

int hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; }

char escape_of(char c) noexcept {
  switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
  }
}

/// One argument of a line, with its quotes taken away; nullopt: they are not balanced.
std::optional<std::string> typed_argument(std::string_view& line) {
  std::string out;
  char quote = 0;
  while (!line.empty()) {
    char const c = line[0];
    if (quote == 0) {
      if (is_space(c)) return out;
      line.remove_prefix(1);
      if (c == '"' || c == '\'') quote = c;
      else out += c;
    } else if (c == '\\' && quote == '"' && line.size() >= 4 && line[1] == 'x' && hex(line[2]) >= 0 &&
               hex(line[3]) >= 0) {
      out += static_cast<char>(hex(line[2]) * 16 + hex(line[3]));
      line.remove_prefix(4);
    } else if (c == '\\' && quote == '"' && line.size() >= 2) {
      out += escape_of(line[1]);
      line.remove_prefix(2);
    } else if (c == '\\' && quote == '\'' && line.starts_with("\\'")) {
      out += '\'';
      line.remove_prefix(2);
    } else if (c == quote) {
      line.remove_prefix(1);
      if (!line.empty() && !is_space(line[0])) return std::nullopt;  // a closing quote ends the argument
      return out;
    } else {
      out += c;
      line.remove_prefix(1);
    }
  }
  if (quote != 0) return std::nullopt;
  return out;
}

}  // namespace

command_parser::status command_parser::fail(std::string why) {
  error_ = "Protocol error: " + std::move(why);
  return status::error;
}

command_parser::number command_parser::count(std::string_view unread, std::int64_t& n) {
  std::size_t p = at_;
  bool const negative = p < unread.size() && unread[p] == '-';
  if (negative) ++p;
  std::size_t const first = p;
  n = 0;
  while (p < unread.size() && unread[p] >= '0' && unread[p] <= '9' && p - first < 18) n = n * 10 + (unread[p++] - '0');
  if (p + 1 >= unread.size()) return p - at_ > longest_line ? number::bad : number::incomplete;
  if (unread[p] != '\r' || p == first) return number::bad;
  if (unread[first] == '0' && (negative || p - first > 1)) return number::bad;
  if (negative) n = -n;
  at_ = p + 2;
  return number::whole;
}

command_parser::status command_parser::next(std::string_view unread) {
  if (over_) {
    over_ = false;
    at_ = 0;
  }
  if (missing_ == none) {
    if (unread.empty()) return status::incomplete;
    if (unread[0] != '*') return inline_command(unread);
    at_ = 1;
    std::int64_t n = 0;
    switch (count(unread, n)) {
      case number::incomplete: return status::incomplete;
      case number::bad: return fail("invalid multibulk length");
      case number::whole: break;
    }
    if (n > most_arguments) return fail("invalid multibulk length");
    missing_ = n > 0 ? n : 0;
    places_.clear();
  }
  while (missing_ > 0) {
    if (length_ == none) {
      if (at_ == unread.size()) return status::incomplete;
      if (unread[at_] != '$') return fail(std::string("expected '$', got '") + unread[at_] + "'");
      std::size_t const before = at_++;
      std::int64_t n = 0;
      switch (count(unread, n)) {
        case number::incomplete: at_ = before; return status::incomplete;
        case number::bad: return fail("invalid bulk length");
        case number::whole: break;
      }
      if (n < 0 || n > longest_argument) return fail("invalid bulk length");
      length_ = n;
    }
    auto const size = static_cast<std::size_t>(length_);
    if (at_ + size + 2 > longest_command) return fail("too big command");
    if (unread.size() < at_ + size + 2) return status::incomplete;
    places_.emplace_back(at_, size);
    at_ += size + 2;
    length_ = none;
    --missing_;
  }
  args_.clear();
  for (auto const& [where, size] : places_) args_.push_back(unread.substr(where, size));
  missing_ = none;
  over_ = true;
  return status::command;
}

command_parser::status command_parser::inline_command(std::string_view unread) {
  std::size_t const end = unread.find('\n');
  if (end == unread.npos) return unread.size() > longest_line ? fail("too big inline request") : status::incomplete;
  std::string_view line = unread.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  typed_.clear();
  for (;;) {
    while (!line.empty() && is_space(line[0])) line.remove_prefix(1);
    if (line.empty()) break;
    auto argument = typed_argument(line);
    if (!argument) return fail("unbalanced quotes in request");
    typed_.push_back(std::move(*argument));
  }
  args_.assign(typed_.begin(), typed_.end());
  at_ = end + 1;
  over_ = true;
  return status::command;
}

}  // namespace cache
