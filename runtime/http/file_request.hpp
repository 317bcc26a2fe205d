// What a request for a file asks for beyond the file: only if it has changed, only a part of it (RFC 9110, 13 and 14).
#pragma once

#include "runtime/http/state.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

namespace weft::rt {

/// What stands in the header of a response with the file.
struct file_validators {
  std::string_view tag;   // with its quotes
  std::int64_t modified;  // in seconds
  bool settled = true;    // that second is over: no other state of the file will have it
};

struct byte_range {
  std::uint64_t first, length;
  bool operator==(byte_range const&) const = default;
};
enum class no_range { whole, unsatisfiable };

/// What the request's conditions come to, in the order of RFC 9110, 13.2.2.
enum class precondition {
  holds,
  failed,     // 412: it is not what the client thinks it is (If-Match, If-Unmodified-Since)
  unmodified  // 304: the client has it already (If-None-Match, If-Modified-Since)
};
[[nodiscard]] precondition precondition_of(request_state const& q, file_validators const& now) noexcept;

/// The part that `Range` asks for. A field that is malformed, has several ranges or another unit, or whose If-Range does not hold,
/// is as none.
[[nodiscard]] std::variant<byte_range, no_range> range_of(request_state const& q, file_validators const& now,
                                                          std::uint64_t size) noexcept;

/// By the extension; application/octet-stream for what is not known.
[[nodiscard]] std::string_view type_of_file(std::string_view path) noexcept;

}  // namespace weft::rt
