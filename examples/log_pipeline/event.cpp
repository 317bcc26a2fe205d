// Lines by simdjson's On-Demand API: its index of a line's structure is made in a vector pass, and this walks it once.
//
// On-Demand checks only what it is asked for. So that "malformed" has one meaning, whatever comes after the level and the
// service, every value is looked at: numbers by the grammar, the literals by their text, nested values by walking them. A
// string's UTF-8 and control characters are checked by the index; only escapes are left, and a line without a backslash,
// which is nearly every one, has none.
#include "event.hpp"

#include "block.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

namespace logs {

namespace od = simdjson::ondemand;
static_assert(padding >= simdjson::SIMDJSON_PADDING);

namespace {

constexpr std::array<std::string_view, 6> level_names{"trace", "debug", "info", "warn", "error", "fatal"};
constexpr int deepest = 32;

std::optional<level> level_of(std::string_view s) noexcept {
  for (std::size_t i = 0; i < level_names.size(); ++i) {
    if (s == level_names[i]) return static_cast<level>(i);
  }
  return std::nullopt;
}

/// number = [ "-" ] int [ frac ] [ exp ]
bool is_number(std::string_view s) noexcept {
  auto const digits = [&s] {
    std::size_t n = 0;
    while (n < s.size() && s[n] >= '0' && s[n] <= '9') ++n;
    s.remove_prefix(n);
    return n;
  };
  if (s.starts_with('-')) s.remove_prefix(1);
  bool const zero = s.starts_with('0');
  std::size_t const whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (s.starts_with('.')) {
    s.remove_prefix(1);
    if (digits() == 0) return false;
  }
  if (s.starts_with('e') || s.starts_with('E')) {
    s.remove_prefix(1);
    if (s.starts_with('+') || s.starts_with('-')) s.remove_prefix(1);
    if (digits() == 0) return false;
  }
  return s.empty();
}

std::string_view trimmed(std::string_view token) noexcept {
  while (!token.empty() && (token.back() == ' ' || token.back() == '\t' || token.back() == '\r'))
    token.remove_suffix(1);
  return token;
}

/// One line's walk. Values are handed on by reference: copying one, just written in parts, costs more than all else here. Every member is false, or nullopt, for what is not JSON.
struct walk {
  bool escapes;  // whether the line has any

  std::optional<std::string_view> text(od::value& v) const {
    if (escapes) {
      std::string_view s;
      if (v.get_string().get(s) != simdjson::SUCCESS) return std::nullopt;
      return s;
    }
    std::string_view const token = trimmed(v.raw_json_token());
    od::raw_json_string raw;
    if (v.get_raw_json_string().get(raw) != simdjson::SUCCESS || token.size() < 2 || token.back() != '"')
      return std::nullopt;
    return token.substr(1, token.size() - 2);
  }

  bool key(od::field& f) const {
    std::string_view ignored;
    return !escapes || f.unescaped_key().get(ignored) == simdjson::SUCCESS;
  }

  /// By its first character. A string is taken: the step to the next member would look for its end.
  bool value(od::value& v, int depth) const {
    std::string_view const token = trimmed(v.raw_json_token());
    if (token.empty()) return false;
    switch (token[0]) {
      case '"': return text(v).has_value();
      case 't': return token == "true";
      case 'f': return token == "false";
      case 'n': return token == "null";
      case '[': return array(v, depth + 1);
      case '{': return object(v, depth + 1);
      default: return is_number(token);
    }
  }

  /// As `value`, and its text in `s` if it is a string; else there is none.
  bool text_of_any(od::value& v, std::optional<std::string_view>& s) const {
    s = text(v);
    return s || (!v.raw_json_token().starts_with('"') && value(v, 1));
  }

  bool array(od::value& v, int depth) const {
    od::array a;
    if (depth > deepest || v.get_array().get(a) != simdjson::SUCCESS) return false;
    for (auto item : a) {
      od::value inner;
      if (std::move(item).get(inner) != simdjson::SUCCESS || !value(inner, depth)) return false;
    }
    return true;
  }

  bool object(od::value& v, int depth) const {
    od::object o;
    if (depth > deepest || v.get_object().get(o) != simdjson::SUCCESS) return false;
    for (auto member : o) {
      if (member.error() != simdjson::SUCCESS) return false;
      od::field&& f = std::move(member).value_unsafe();
      if (!key(f) || !value(f.value(), depth)) return false;
    }
    return true;
  }
};

}  // namespace

bool is_service_name(std::string_view s) noexcept {
  return !s.empty() && s.size() <= 64 && s[0] != '.' && std::ranges::all_of(s, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

std::uint32_t service_names::number_of(std::string_view name) {
  auto const t = table_.lock();
  if (auto const found = t->numbers.find(name); found != t->numbers.end()) return found->second;
  if (t->names.size() > most) throw std::runtime_error("more than 1024 services: is \"service\" what it says?");
  auto const number = static_cast<std::uint32_t>(t->names.size());
  t->names.emplace_back(name);
  t->numbers.emplace(name, number);
  return number;
}

std::string service_names::name_of(std::uint32_t number) { return table_.lock()->names.at(number); }

struct line_parser::state {
  service_names& names;
  level least;
  od::parser parser{};
  name_map seen{};  // of `names`, without its lock
};

line_parser::line_parser(service_names& names, level least) : state_(new state{names, least}) {}
line_parser::~line_parser() = default;

verdict line_parser::parse(std::string_view line) {
  constexpr verdict bad{verdict::malformed, 0};
  state& s = *state_;
  od::document doc;
  od::object all;
  if (s.parser.iterate(simdjson::padded_string_view(line, line.size() + padding)).get(doc) != simdjson::SUCCESS ||
      doc.get_object().get(all) != simdjson::SUCCESS)
    return bad;
  walk const at{line.find('\\') != line.npos};
  std::optional<std::string_view> severity, service;  // judged after the walk: of two with one name the last counts
  for (auto member : all) {
    if (member.error() != simdjson::SUCCESS) return bad;
    od::field&& f = std::move(member).value_unsafe();
    bool is_level = false, is_service = false;
    if (at.escapes) {
      std::string_view key;
      if (f.unescaped_key().get(key) != simdjson::SUCCESS) return bad;
      is_level = key == "level", is_service = key == "service";
    } else {
      is_level = f.key() == "level", is_service = f.key() == "service";
    }
    od::value& v = f.value();
    if (is_level) {
      if (!at.text_of_any(v, severity)) return bad;
    } else if (is_service) {
      if (!at.text_of_any(v, service)) return bad;
    } else if (!at.value(v, 1)) {
      return bad;
    }
  }
  // Nothing may follow the object: the end of the index is where we must be.
  if (!severity || !service || doc.current_location().error() != simdjson::OUT_OF_BOUNDS) return bad;
  auto const found = level_of(*severity);
  if (!found || !is_service_name(*service)) return bad;
  if (*found < s.least) return {verdict::below, 0};
  auto known = s.seen.find(*service);
  if (known == s.seen.end()) known = s.seen.emplace(*service, s.names.number_of(*service)).first;
  return {verdict::kept, known->second};
}

}  // namespace logs
