// json(): writing an object with correct escapes. No JSON library: writing takes a page of code, and reading is not offered.
#include <weft/http/json.hpp>

#include "runtime/http/state.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace weft::http {

namespace {

/// Length of the well-formed UTF-8 sequence that `s` begins with (RFC 3629: no surrogates, nothing overlong); 0: none.
std::size_t utf8_length(std::string_view s) noexcept {
  auto const at = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  auto const tail = [&](std::size_t i) { return (at(i) & 0xc0) == 0x80; };
  unsigned const c = at(0), d = at(1);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    if (!tail(1) || !tail(2) || (c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f)) return 0;
    return 3;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3) || (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

constexpr auto stands_for_itself = [] {
  std::array<bool, 256> yes{};
  for (std::size_t c = 0x20; c < 0x80; ++c) yes[c] = c != '"' && c != '\\';
  return yes;
}();

/// Eight characters at a time (the tests for a zero byte and for one below n of "Bit Twiddling Hacks", S. E. Anderson).
bool all_plain(std::string_view s) noexcept {
  constexpr std::size_t word = sizeof(std::uint64_t);
  if (s.size() < word)
    return std::ranges::all_of(s, [](char c) { return stands_for_itself[static_cast<unsigned char>(c)]; });
  auto const is_plain = [](char const* at) {
    constexpr std::uint64_t ones = 0x0101010101010101, tops = ones * 0x80;
    auto const has_zero = [](std::uint64_t v) { return (v - ones) & ~v & tops; };
    std::uint64_t v;
    std::memcpy(&v, at, word);
    std::uint64_t const below_blank = (v - ones * 0x20) & ~v & tops;
    return ((v & tops) | below_blank | has_zero(v ^ ones * '"') | has_zero(v ^ ones * '\\')) == 0;
  };
  for (std::size_t i = 0; i + word < s.size(); i += word) {
    if (!is_plain(s.data() + i)) return false;
  }
  return is_plain(s.data() + s.size() - word);  // the last eight, some of them again
}

/// An object all of whose texts stand for themselves; `size` is at least what it takes.
std::string plain_object(json_fields fields, std::size_t size) {
  std::string body;
  body.resize_and_overwrite(size, [&](char* const start, std::size_t) {
    char* at = start;
    auto const put = [&at](std::string_view s) { at += s.copy(at, s.size()); };
    auto const put_text = [&](std::string_view s, bool quoted) {
      if (quoted) *at++ = '"';
      put(s);
      if (quoted) *at++ = '"';
    };
    *at++ = '{';
    for (auto const& [name, value] : fields) {
      if (at != start + 1) *at++ = ',';
      put_text(name, true);
      *at++ = ':';
      put_text(value.text(), value.quoted());
    }
    *at++ = '}';
    return static_cast<std::size_t>(at - start);
  });
  return body;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;  // most text is a run of characters that stand for themselves
    while (plain < text.size() && stands_for_itself[static_cast<unsigned char>(text[plain])]) ++plain;
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    std::size_t taken = 1;
    switch (char const c = text.front()) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out.append("\\u00").append(1, hex[c >> 4]).append(1, hex[c & 15]);
        } else if (std::size_t const n = utf8_length(text); n != 0) {
          out.append(text.substr(0, n));
          taken = n;
        } else {
          out += "\xef\xbf\xbd";
        }
    }
    text.remove_prefix(taken);
  }
  out += '"';
}

namespace {

/// Any object; `size` is what it takes without escapes.
std::string object(json_fields fields, std::size_t size) {
  std::string body;
  body.reserve(size);
  body += '{';
  for (auto const& [name, value] : fields) {
    if (body.size() > 1) body += ',';
    append_json_string(body, name);
    body += ':';
    if (value.quoted()) append_json_string(body, value.text());
    else body.append(value.text());
  }
  body += '}';
  return body;
}

}  // namespace

response json(int status, json_fields fields) {
  std::size_t size = 2;
  bool plain = true;
  for (auto const& [name, value] : fields) {
    size += name.size() + value.text().size() + 6;
    plain = plain && all_plain(name) && (!value.quoted() || all_plain(value.text()));
  }
  response r(status, plain ? plain_object(fields, size) : object(fields, size));
  rt::http_access::set_type(r, "application/json");
  return r;
}

response json(json_fields fields) { return json(200, fields); }

}  // namespace weft::http
