// Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7), in seconds of the Unix epoch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weft::rt {

inline constexpr std::size_t http_date_size = 29;

void write_http_date(char (&to)[http_date_size], std::int64_t second) noexcept;

/// Of that form, or one of the two obsolete ones: "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994".
/// nullopt: it is none.
[[nodiscard]] std::optional<std::int64_t> read_http_date(std::string_view text) noexcept;

}  // namespace weft::rt
