// What a line says: a level and a service, if it is a JSON object with both.
#pragma once

#include <weft/guarded.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace logs {

enum class level : std::uint8_t { trace, debug, info, warn, error, fatal };

struct name_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
};
using name_map = std::unordered_map<std::string, std::uint32_t, name_hash, std::equal_to<>>;

/// Letters, digits, '-', '_' and '.', no '.' first, 64 at most: it becomes a file's name.
[[nodiscard]] bool is_service_name(std::string_view s) noexcept;

struct name_table {
  name_map numbers{};
  std::vector<std::string> names{"rejected"};
};

/// The services seen so far, by number. May be used by several tasks at once. Number 0 stands for lines that are malformed.
class service_names {
 public:
  static constexpr std::uint32_t malformed = 0;
  static constexpr std::size_t most = 1024;  // each has an open file

  /// Throws std::runtime_error when there are too many.
  [[nodiscard]] std::uint32_t number_of(std::string_view name);
  [[nodiscard]] std::string name_of(std::uint32_t number);

 private:
  weft::guarded<name_table> table_;
};

struct verdict {
  enum kind : std::uint8_t { malformed, below, kept } is;
  std::uint32_t service;  // if kept
};

/// Parses lines for one task. A line is well-formed if it is one JSON object by RFC 8259, at most 32 levels deep, with the
/// strings "level" (trace, debug, info, warn, error, fatal) and "service" (a service name); of two members with one name
/// the last counts.
class line_parser {
 public:
  line_parser(service_names& names, level least);
  ~line_parser();
  line_parser(line_parser const&) = delete;
  line_parser& operator=(line_parser const&) = delete;

  /// There must be `padding` readable bytes behind the line.
  [[nodiscard]] verdict parse(std::string_view line);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace logs
