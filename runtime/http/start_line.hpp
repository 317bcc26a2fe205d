// First lines of messages that Beast's parser refuses and we do not: how it would have them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weft::rt {

/// "METHOD target HTTP/d.d": what is wrong with such a line is the number.
[[nodiscard]] bool well_formed_request_line(std::string_view line) noexcept;

/// Where the digit stands of a minor version of HTTP/1 that came after 1.1; npos: it is another version, or no such line. Who speaks it
/// must be taken for one who speaks the latest that we know (RFC 9110, 2.5).
[[nodiscard]] std::size_t later_minor_version(std::string_view request_line) noexcept;

/// The same of "HTTP/d.d status phrase", or the beginning of it that has come.
[[nodiscard]] std::size_t later_minor_version_of_status(std::string_view line) noexcept;

/// Puts in the blank behind a status without a phrase, which its sender must send (RFC 9112, 4) and some do not. False: it is no such line.
[[nodiscard]] bool add_missing_blank(std::string& response);

}  // namespace weft::rt
