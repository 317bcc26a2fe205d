// What becomes of what a handler throws.
#pragma once

#include <weft/http/message.hpp>

#include <exception>
#include <string_view>

namespace weft::rt {

class request_stream;

/// The status of a response to it: what it says if that can be the status of an error or a redirection, else 500.
[[nodiscard]] int status_of(http::error const& e) noexcept;

/// The response to a std::exception, and for those that are the server's fault a line on stderr. Rethrows what is none. If the
/// handler could not read its request's `body`, the fault is the client's, unless it has thrown an http::error. Null: none is read.
[[nodiscard]] http::response response_to(std::exception_ptr const& thrown, std::string_view method,
                                         std::string_view path, request_stream const* body);

/// One line on stderr: what a handler threw.
void report_failure(std::string_view method, std::string_view path, char const* what) noexcept;

}  // namespace weft::rt
