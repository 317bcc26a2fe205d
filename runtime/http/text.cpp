// Percent escapes and the character classes of header fields.
#include "runtime/http/text.hpp"

#include <algorithm>

namespace weft::rt {

void text_arena::grow(std::size_t n) {
  std::size_t const size = std::max({n, first_block, blocks_.empty() ? 0 : 2 * blocks_.back().size});
  blocks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
  next_ = blocks_.back().bytes.get();
  left_ = size;
}

void text_arena::clear() noexcept {
  if (blocks_.size() > 1) {  // the last is the largest: with it alone the same text fits next time
    std::swap(blocks_.front(), blocks_.back());
    blocks_.resize(1);
  }
  if (!blocks_.empty() && blocks_.front().size > largest_kept) blocks_.clear();
  next_ = blocks_.empty() ? nullptr : blocks_.front().bytes.get();
  left_ = blocks_.empty() ? 0 : blocks_.front().size;
}

namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  c = ascii_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

constexpr character_set token(character_set::alphanumeric::yes, "!#$%&'*+-.^_`|~");

}  // namespace

std::optional<std::string_view> percent_decode(std::string_view raw, text_arena& into, plus_sign plus) {
  auto const special = [plus](char c) { return c == '%' || (plus == plus_sign::blank && c == '+'); };
  if (raw.find('%') == raw.npos && (plus == plus_sign::itself || raw.find('+') == raw.npos)) return raw;
  char* const start = into.room(raw.size());  // decoded text is never longer
  char* out = start;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      if (i + 2 >= raw.size()) return std::nullopt;
      int const high = hex_digit(raw[i + 1]), low = hex_digit(raw[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (special(c)) {
      c = ' ';
    }
    *out++ = c;
  }
  return std::string_view(start, static_cast<std::size_t>(out - start));
}

bool has_option(std::string_view list, std::string_view option) noexcept {
  for (std::string_view left = list; !left.empty();) {
    auto const comma = std::min(left.find(','), left.size());
    if (equal_no_case(trim_blanks(left.substr(0, comma)), option)) return true;
    left.remove_prefix(std::min(left.size(), comma + 1));
  }
  return false;
}

namespace {
bool before(std::string_view a, std::string_view b) noexcept {
  return std::ranges::lexicographical_compare(a, b, {}, ascii_lower, ascii_lower);
}
}  // namespace

void listed_options::add(std::string_view list) {
  for (std::string_view left = list; !left.empty();) {
    auto const comma = std::min(left.find(','), left.size());
    if (auto const one = trim_blanks(left.substr(0, comma)); !one.empty()) all_.push_back(one);
    left.remove_prefix(std::min(left.size(), comma + 1));
  }
}

void listed_options::sort() noexcept { std::ranges::sort(all_, before); }

bool listed_options::contains(std::string_view option) const noexcept {
  return std::ranges::binary_search(all_, option, before);
}

bool is_hop_by_hop(std::string_view name) noexcept {
  return is_one_of(name, {"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
                          "TE", "Trailer", "Transfer-Encoding", "Upgrade"});
}

bool is_field_name(std::string_view s) noexcept { return !s.empty() && token.all_of(s); }

bool is_field_value(std::string_view s) noexcept {
  return std::ranges::none_of(s, [](char c) {
    auto const u = static_cast<unsigned char>(c);
    return (u < 0x20 && c != '\t') || u == 0x7f;
  });
}

}  // namespace weft::rt
