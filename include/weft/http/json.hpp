// Small JSON answers without a JSON library: json({{"id", 17}, {"name", name}}).
#pragma once

#include <weft/http/message.hpp>

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weft::http {

/// One value of json(): a string, a number, a bool, null, or a document of a JSON library whose `serialize(value)` is
/// found beside its type (boost::json::value). It refers to the string that it was made of: for use within the call.
struct json_value {
  json_value(std::string_view s) : text_(s), quoted_(true) {}
  template <class S>  // a string, or any type that is one for string_view
    requires(std::convertible_to<S const&, std::string_view> && !std::convertible_to<S const&, char const*>)
  json_value(S const& s) : json_value(std::string_view(s)) {}
  json_value(char const* s) : text_(s ? s : "null"), quoted_(s != nullptr) {}
  json_value(std::nullptr_t) : text_("null"), quoted_(false) {}
  json_value(bool b) : text_(b ? "true" : "false"), quoted_(false) {}
  json_value(char c) : own_(1, c), quoted_(true) {}

  template <class N>
    requires std::is_arithmetic_v<N>
  json_value(N n) : quoted_(false) {
    if constexpr (std::is_floating_point_v<N>) {
      if (!std::isfinite(n)) {  // JSON has no spelling for these
        text_ = "null";
        return;
      }
    }
    char digits[64];
    auto const end = std::to_chars(digits, digits + sizeof digits, n).ptr;
    own_.assign(digits, end);
  }

  template <class J>
    requires(!std::is_arithmetic_v<J> && !std::convertible_to<J const&, std::string_view>) && requires(J const& j) {
      { serialize(j) } -> std::convertible_to<std::string>;
    }
  json_value(J const& j) : own_(serialize(j)), quoted_(false) {}

  [[nodiscard]] std::string_view text() const noexcept { return own_.empty() ? text_ : std::string_view(own_); }
  [[nodiscard]] bool quoted() const noexcept { return quoted_; }

 private:
  std::string_view text_;
  std::string own_;
  bool quoted_;
};

using json_fields = std::initializer_list<std::pair<std::string_view, json_value>>;

/// A response with the object of these fields, in this order, as its body.
[[nodiscard]] response json(int status, json_fields fields);
[[nodiscard]] response json(json_fields fields);

/// Appends `text` as a JSON string with its quotes. What is not UTF-8 becomes U+FFFD, so that the result always is JSON.
void append_json_string(std::string& out, std::string_view text);

}  // namespace weft::http
