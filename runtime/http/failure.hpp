// What becomes of what a handler throws.
#pragma once

#include <weft/http/message.hpp>

#include <exception>
#include <string_view>

namespace weft::rt {

class request_stream;

/// The status of a response to it: what it says if that can be the status of an error or a redirection, else 500.
[[nodiscard]] int status_of(http::error const& e) noexcept;

/// The status that says what the client has done wrong: what it has sent is no `body`, or `thrown` says that it is larger than the
/// handler takes. 0: nothing. Null: no body is read.
[[nodiscard]] int client_fault(std::exception const& thrown, request_stream const* body) noexcept;

/// The response to an exception, and for those that are the server's fault a line on stderr. Rethrows weft::cancelled. If the
/// handler could not read its request's `body`, the fault is the client's, unless it has thrown an http::error.
[[nodiscard]] http::response response_to(std::exception_ptr const& thrown, std::string_view method,
                                         std::string_view path, request_stream const* body);

/// One line on stderr: what a handler threw.
void report_failure(std::string_view method, std::string_view path, char const* what) noexcept;

}  // namespace weft::rt
