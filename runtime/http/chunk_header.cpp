// Beast waits for more also where more cannot make it right: what its sender has ended, by a line feed or a line, has come whole.
#include "runtime/http/chunk_header.hpp"

#include "runtime/http/text.hpp"

#include <algorithm>

namespace weft::rt {

bool has_bare_line_feed(std::string_view s, std::size_t looked) noexcept {
  for (auto at = s.find('\n', looked); at != s.npos; at = s.find('\n', at + 1)) {
    if (at == 0 || s[at - 1] != '\r') return true;
  }
  return false;
}

namespace {

/// Whether a quoted string begins in this line and does not end there: Beast looks for its end in the lines behind.
bool leaves_quote_open(std::string_view line) noexcept {
  bool open = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') open = !open;
    else if (open && line[i] == '\\') ++i;
  }
  return open;
}

}  // namespace

bool may_become_chunk_header(std::string_view unread, bool behind_another, std::size_t looked) noexcept {
  using enum character_set::alphanumeric;
  static constexpr character_set hexadecimal(no, "0123456789abcdefABCDEF"), zeroes(no, "0");
  if (behind_another) {
    if (!std::string_view("\r\n").starts_with(unread.substr(0, 2))) return false;
    unread.remove_prefix(std::min<std::size_t>(unread.size(), 2));
    looked -= std::min<std::size_t>(looked, 2);
  }
  auto const end = unread.find("\r\n");
  std::string_view const line = unread.substr(0, end);
  if (!hexadecimal.all_of(line.substr(0, 1)) || line.contains('\n')) return false;
  if (end == unread.npos) return true;
  bool const seen = looked >= end + 2;
  if (line.empty() || (!seen && leaves_quote_open(line))) return false;
  // Behind the line of the last chunk there are trailers, behind any other data. Any other of five bytes Beast took when it was whole.
  auto const digits = [&] { return line.substr(0, line.find_first_not_of("0123456789abcdefABCDEF")); };
  bool const last = (seen && end >= shortest_last_chunk) || zeroes.all_of(digits());
  return !last || !has_bare_line_feed(unread, std::max(end, looked));
}

}  // namespace weft::rt
