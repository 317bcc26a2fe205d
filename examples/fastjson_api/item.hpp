// What an item may be, and what is wrong with one that is not.
//
//   {"name": "lamp", "price": 19.5, "tags": ["home", "light"]}      tags may be left out
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>

namespace api {

struct invalid {
  int status;  // 400: not JSON; 422: JSON, but no item
  std::string error;
  std::map<std::string, std::string> fields;  // what is wrong with each, for 422
};

/// The item as it is stored and given back: with its id, without spaces.
[[nodiscard]] std::expected<std::string, invalid> checked_item(std::string_view id, std::string_view body);

/// Whether it may be given out as an item: others write to a cache, too.
[[nodiscard]] bool is_json(std::string_view text);

/// Letters, digits, '-' and '_', 64 at most.
[[nodiscard]] bool is_id(std::string_view s) noexcept;

}  // namespace api
