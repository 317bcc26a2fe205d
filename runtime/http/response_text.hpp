// A response as bytes.
#pragma once

#include <weft/http/message.hpp>

#include <string>
#include <string_view>

namespace weft::rt {

/// What of the request and the connection decides how a response is written.
struct response_frame {
  bool head = false;  // the request was HEAD: no body, whatever the header says of one
  bool http11 = true;
  bool keep_alive = true;  // and if not, the response says so
};

[[nodiscard]] std::string_view reason_of(int status) noexcept;

/// How the body of a response goes out.
enum class body_form { none, empty, counted, file, chunked, to_end };
[[nodiscard]] body_form form_of(http::response const& r, response_frame const& f) noexcept;

/// Appends status line and header with the empty line behind.
void append_header(std::string& out, http::response const& r, response_frame const& f, std::string_view date);

/// What a refused request is answered with.
[[nodiscard]] http::response plain_response(int status);

void append_chunk(std::string& out, std::string_view bytes);

}  // namespace weft::rt
