#include "item.hpp"

#include <weft/http.hpp>

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <utility>

namespace api {

namespace bj = boost::json;

namespace {

constexpr std::size_t longest_name = 100, most_tags = 16, longest_tag = 32;
constexpr double highest_price = 1e9;

bool is_text(bj::value const& v, std::size_t longest) {
  return v.is_string() && !v.get_string().empty() && v.get_string().size() <= longest;
}

std::string_view view(bj::value const& text) { return {text.get_string().data(), text.get_string().size()}; }

/// An item that is known to be one. Not by bj::serialize, which writes 19.5 as 1.95E1.
std::string text_of(std::string_view id, bj::object const& o) {
  std::string out = R"({"id":)";
  weft::http::append_json_string(out, id);
  out += R"(,"name":)";
  weft::http::append_json_string(out, view(o.at("name")));
  char digits[32];
  auto const end = std::to_chars(digits, digits + sizeof digits, o.at("price").to_number<double>()).ptr;
  out.append(R"(,"price":)").append(digits, end);
  if (auto const* const tags = o.if_contains("tags")) {
    out += R"(,"tags":[)";
    for (char const* comma = ""; auto const& tag : tags->get_array()) {
      out += std::exchange(comma, ",");
      weft::http::append_json_string(out, view(tag));
    }
    out += ']';
  }
  return out + '}';
}

bool is_name_of_price(std::string_view token) {
  if (token.find('\\') == token.npos) return token == R"("price")";
  return bj::parse(bj::string_view(token.data(), token.size())) == "price";
}

/// The last price of a valid object, as it is written: Boost.JSON's numbers are off by a unit in the last place here and there.
std::string_view written_price(std::string_view body) {
  std::string_view name, price;
  int depth = 0;
  for (std::size_t i = 0; i < body.size();) {
    std::size_t end = i + 1;
    switch (body[i]) {
      case '{':
      case '[': ++depth; break;
      case '}':
      case ']': --depth; break;
      case '"':
        while (body[end] != '"') end += body[end] == '\\' ? 2 : 1;
        ++end;
        if (depth == 1) name = body.substr(i, end - i);
        break;
      default:
        if (body[i] != '-' && (body[i] < '0' || body[i] > '9')) break;
        end = std::min(body.find_first_not_of("+-.0123456789Ee", i), body.size());
        if (depth == 1 && is_name_of_price(name)) price = body.substr(i, end - i);
    }
    i = end;
  }
  return price;
}

void read_price_anew(bj::value& v, std::string_view body) {
  auto* const price = v.is_object() ? v.get_object().if_contains("price") : nullptr;
  if (price == nullptr || !price->is_double()) return;
  auto const text = written_price(body);
  double exact = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), exact).ec == std::errc()) *price = exact;
}

bool is_price(bj::value const& v) {
  if (!v.is_number()) return false;
  double const n = v.to_number<double>();
  return std::isfinite(n) && n >= 0 && n <= highest_price;
}

}  // namespace

bool is_id(std::string_view s) noexcept {
  return !s.empty() && s.size() <= 64 && std::ranges::all_of(s, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

bool is_json(std::string_view text) {
  unsigned char room[4096];  // an item's values, most often
  bj::monotonic_resource values(room);
  bj::error_code failed;
  (void)bj::parse(bj::string_view(text.data(), text.size()), failed, &values);
  return !failed;
}

std::expected<std::string, invalid> checked_item(std::string_view id, std::string_view body) {
  bj::error_code failed;
  bj::value v = bj::parse(bj::string_view(body.data(), body.size()), failed);
  if (failed) return std::unexpected(invalid{400, "the body is not JSON: " + failed.message(), {}});
  read_price_anew(v, body);
  if (!v.is_object()) return std::unexpected(invalid{422, "an item is an object", {}});
  invalid wrong{422, "not an item", {}};
  bj::object const& o = v.get_object();
  for (auto const& [name, value] : o) {
    std::string const field(name.data(), name.size());
    if (field == "name") {
      if (!is_text(value, longest_name)) wrong.fields[field] = "a string of 1 to 100 bytes";
    } else if (field == "price") {
      if (!is_price(value)) wrong.fields[field] = "a number from 0 to 1000000000";
    } else if (field == "tags") {
      bool const good =
          value.is_array() && value.get_array().size() <= most_tags &&
          std::ranges::all_of(value.get_array(), [](bj::value const& t) { return is_text(t, longest_tag); });
      if (!good) wrong.fields[field] = "an array of at most 16 strings of 1 to 32 bytes";
    } else {
      wrong.fields[field] = "unknown";
    }
  }
  for (auto const* const needed : {"name", "price"}) {
    if (!o.contains(needed)) wrong.fields[needed] = "missing";
  }
  if (!wrong.fields.empty()) return std::unexpected(std::move(wrong));
  return text_of(id, o);
}

}  // namespace api
