// What can be wrong with URLs, requests and responses, as error codes.
#pragma once

#include <system_error>
#include <type_traits>

namespace weft::http {

/// Errors of the connection are those of weft::net.
enum class errc {
  bad_url = 1,
  unsupported_scheme,
  bad_response,
  response_too_large,
  bad_request,        // the body of a request is malformed
  request_too_large,  // the body of a request is larger than the server, or the caller of read_all, allows
  too_many_redirects
};
[[nodiscard]] std::error_category const& http_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), http_category()}; }

}  // namespace weft::http

template <>
struct std::is_error_code_enum<weft::http::errc> : std::true_type {};
