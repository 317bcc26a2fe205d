// The commands, by group. commands.cpp has the table of them all.
#pragma once

#include "server.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cache {

namespace errors {
inline constexpr std::string_view not_integer = "ERR value is not an integer or out of range";
inline constexpr std::string_view syntax = "ERR syntax error";
inline constexpr std::string_view is_saving = "ERR Background save already in progress";
inline constexpr std::string_view no_room = "OOM command not allowed when used memory > 'maxmemory'.";
}  // namespace errors

/// A whole number as Redis takes it: no '+', no spaces, no zeros in front.
[[nodiscard]] inline std::optional<std::int64_t> integer_of(std::string_view s) noexcept {
  std::int64_t n = 0;
  auto const [end, failed] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (failed != std::errc() || end != s.data() + s.size() || s.empty()) return std::nullopt;
  if (s != "0" && (s[0] == '0' || s.starts_with("-0"))) return std::nullopt;
  return n;
}

[[nodiscard]] constexpr char upper(char c) noexcept { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
[[nodiscard]] inline std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}
/// Regardless of case; `word` is upper case.
[[nodiscard]] constexpr bool is_word(std::string_view s, std::string_view word) noexcept {
  if (s.size() != word.size()) return false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (upper(s[i]) != word[i]) return false;
  }
  return true;
}

/// What becomes of a command between MULTI and EXEC.
enum class in_multi : std::uint8_t { queued, at_once, refused };

[[nodiscard]] constexpr bool fits(int arity, std::size_t n) noexcept {
  return arity >= 0 ? n == static_cast<std::size_t>(arity) : n >= static_cast<std::size_t>(-arity);
}

struct subcommand {
  std::string_view name;  // upper case
  int arity;              // as command's: with both names
  void (*run)(session&, arguments);
};

struct command {
  std::string_view name;  // upper case, 8 letters at most
  int arity;              // arguments with the name; negative: at least so many
  void (*run)(session&, arguments);
  in_multi between = in_multi::queued;
  std::span<subcommand const> subs = {};  // what its second argument may be, where it has one
};

/// The one that the second argument names; nullptr: there is none, or it has other arguments, and the error is given.
[[nodiscard]] subcommand const* subcommand_of(session& s, std::string_view container, std::span<subcommand const> subs,
                                              arguments args);

[[nodiscard]] std::span<command const> string_commands() noexcept;
[[nodiscard]] std::span<command const> key_commands() noexcept;
[[nodiscard]] std::span<command const> server_commands() noexcept;
[[nodiscard]] std::span<command const> transaction_commands() noexcept;

[[nodiscard]] inline std::array<std::span<command const>, 4> command_groups() noexcept {
  return {string_commands(), key_commands(), server_commands(), transaction_commands()};
}
[[nodiscard]] inline std::size_t command_count() noexcept {
  std::size_t n = 0;
  for (auto const group : command_groups()) n += group.size();
  return n;
}

/// Keeps a command for EXEC.
void enqueue(session& s, command const& c, arguments args);

}  // namespace cache
