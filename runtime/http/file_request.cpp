#include "runtime/http/file_request.hpp"

#include "runtime/http/http_date.hpp"
#include "runtime/http/text.hpp"

#include <algorithm>
#include <charconv>

namespace weft::rt {

namespace {

std::string_view without_weakness(std::string_view tag) noexcept {
  if (tag.starts_with("W/")) tag.remove_prefix(2);
  return tag;
}

enum class comparison { weak, strong };  // RFC 9110, 8.8.3.2: in a strong one a weak tag equals none

/// Whether a list of entity tags has this one. Ours are strong and have no commas.
bool has_tag(std::string_view list, std::string_view tag, comparison how) noexcept {
  if (list == "*") return true;
  for (std::string_view left = list; !left.empty();) {
    auto const comma = std::min(left.find(','), left.size());
    std::string_view const one = trim_blanks(left.substr(0, comma));
    if ((how == comparison::weak ? without_weakness(one) : one) == tag) return true;
    left.remove_prefix(std::min(left.size(), comma + 1));
  }
  return false;
}

/// Whether the lists of a field, which may come in several lines, have it. Nothing where there is no such field.
std::optional<bool> lists(request_state const& q, std::string_view field, std::string_view tag,
                          comparison how) noexcept {
  std::optional<bool> found;
  for (auto const& f : q.fields) {
    if (equal_no_case(f.name, field)) found = found.value_or(false) || has_tag(f.value, tag, how);
  }
  return found;
}

/// Whether the file has changed since the date of a field. Nothing where there is no date, none that is one, or more than one
/// (RFC 9110, 13.1.3).
std::optional<bool> changed_since(request_state const& q, std::string_view field, file_validators const& now) noexcept {
  std::optional<std::string_view> since;
  for (auto const& f : q.fields) {
    if (!equal_no_case(f.name, field)) continue;
    if (since) return std::nullopt;
    since = f.value;
  }
  auto const date = since ? read_http_date(*since) : std::nullopt;
  return date ? std::optional(now.modified > *date) : std::nullopt;
}

std::optional<std::uint64_t> digits(std::string_view s) noexcept {
  std::uint64_t n = 0;
  auto const [end, e] = std::from_chars(s.data(), s.data() + s.size(), n);
  return e == std::errc() && end == s.data() + s.size() ? std::optional(n) : std::nullopt;
}

}  // namespace

precondition precondition_of(request_state const& q, file_validators const& now) noexcept {
  using enum precondition;
  // A date does not count beside tags.
  if (auto const listed = lists(q, "If-Match", now.tag, comparison::strong)) {
    if (!*listed) return failed;
  } else if (changed_since(q, "If-Unmodified-Since", now).value_or(false)) {
    return failed;
  }
  if (auto const listed = lists(q, "If-None-Match", now.tag, comparison::weak)) return *listed ? unmodified : holds;
  return changed_since(q, "If-Modified-Since", now).value_or(true) ? holds : unmodified;
}

std::variant<byte_range, no_range> range_of(request_state const& q, file_validators const& now,
                                            std::uint64_t size) noexcept {
  constexpr std::string_view unit = "bytes=";
  auto const field = q.field("Range");
  if (!field || field->size() <= unit.size() || !equal_no_case(field->substr(0, unit.size()), unit))
    return no_range::whole;
  if (auto const only_if = q.field("If-Range")) {
    bool const same =
        only_if->starts_with('"') ? *only_if == now.tag : now.settled && read_http_date(*only_if) == now.modified;
    if (!same) return no_range::whole;
  }
  std::string_view const range = trim_blanks(field->substr(unit.size()));
  auto const dash = range.find('-');
  if (dash == range.npos) return no_range::whole;
  std::string_view const from = range.substr(0, dash), to = range.substr(dash + 1);
  auto const last = digits(to);
  if (from.empty()) {  // so many at the end
    if (!last) return no_range::whole;
    if (*last == 0) return no_range::unsatisfiable;
    if (size == 0) return no_range::whole;  // of nothing the last bytes are nothing, which no Content-Range can say
    std::uint64_t const n = std::min(*last, size);
    return byte_range{size - n, n};
  }
  auto const first = digits(from);
  if (!first || (!to.empty() && (!last || *last < *first))) return no_range::whole;
  if (*first >= size) return no_range::unsatisfiable;
  std::uint64_t const end = last && *last < size ? *last + 1 : size;
  return byte_range{*first, end - *first};
}

std::string_view type_of_file(std::string_view path) noexcept {
  struct known {
    std::string_view extension, type;
  };
  static constexpr known types[] = {
      {"avif", "image/avif"},
      {"css", "text/css; charset=utf-8"},
      {"csv", "text/csv; charset=utf-8"},
      {"gif", "image/gif"},
      {"gz", "application/gzip"},
      {"htm", "text/html; charset=utf-8"},
      {"html", "text/html; charset=utf-8"},
      {"ico", "image/vnd.microsoft.icon"},
      {"jpeg", "image/jpeg"},
      {"jpg", "image/jpeg"},
      {"js", "text/javascript; charset=utf-8"},
      {"json", "application/json"},
      {"md", "text/markdown; charset=utf-8"},
      {"mjs", "text/javascript; charset=utf-8"},
      {"mp3", "audio/mpeg"},
      {"mp4", "video/mp4"},
      {"ogg", "audio/ogg"},
      {"pdf", "application/pdf"},
      {"png", "image/png"},
      {"svg", "image/svg+xml"},
      {"tar", "application/x-tar"},
      {"txt", "text/plain; charset=utf-8"},
      {"wasm", "application/wasm"},
      {"wav", "audio/wav"},
      {"webm", "video/webm"},
      {"webmanifest", "application/manifest+json"},
      {"webp", "image/webp"},
      {"woff", "font/woff"},
      {"woff2", "font/woff2"},
      {"xml", "application/xml"},
      {"zip", "application/zip"},
  };
  path = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
  auto const dot = path.rfind('.');
  std::string_view const extension = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  for (auto const& t : types) {
    if (equal_no_case(extension, t.extension)) return t.type;
  }
  return "application/octet-stream";
}

}  // namespace weft::rt
