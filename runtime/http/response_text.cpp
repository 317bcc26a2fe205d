// Writing status lines and headers straight into the output.
#include "runtime/http/response_text.hpp"

#include "runtime/http/open_file.hpp"
#include "runtime/http/state.hpp"

#include <charconv>
#include <cstdint>
#include <cstring>

namespace weft::rt {

std::string_view reason_of(int status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "";  // the phrase may be empty (RFC 9112, 4)
  }
}

body_form form_of(http::response const& r, response_frame const& f) noexcept {
  if (r.status() < 200 || r.status() == 204 || r.status() == 304) return body_form::none;
  if (r.status() == 205) return body_form::empty;  // RFC 9110, 15.3.6
  // The answer to a HEAD request that was passed on: nothing here knows the length of what GET gets.
  if (f.head && http_access::is_received(r) && r.body_view().empty()) return body_form::none;
  if (!http_access::writer(r)) return body_form::counted;
  if (file_of(r)) return body_form::file;
  return f.http11 ? body_form::chunked : body_form::to_end;
}

namespace {

constexpr std::size_t most_digits = 20;

void append_number(std::string& out, std::uint64_t n, int base = 10) {
  char digits[most_digits];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n, base).ptr);
}

/// Writes into room that has been made: one check of the capacity for a dozen short pieces.
class raw_text {
 public:
  explicit raw_text(char* at) noexcept : at_(at) {}
  raw_text& operator<<(std::string_view s) noexcept {
    at_ += s.copy(at_, s.size());
    return *this;
  }
  template <std::size_t N>
  raw_text& operator<<(char const (&literal)[N]) noexcept {  // the copy of a length that is known is a few moves
    std::memcpy(at_, literal, N - 1);
    at_ += N - 1;
    return *this;
  }
  raw_text& operator<<(std::uint64_t n) noexcept {
    at_ = std::to_chars(at_, at_ + most_digits, n).ptr;
    return *this;
  }
  [[nodiscard]] char* end() const noexcept { return at_; }

 private:
  char* at_;
};

}  // namespace

void append_header(std::string& out, http::response const& r, response_frame const& f, std::string_view date) {
  body_form const form = form_of(r, f);
  std::string_view const fields = http_access::fields(r);
  std::string_view const reason = reason_of(r.status());
  bool const typed = !fields.empty() && r.header("Content-Type");
  bool const dated = !fields.empty() && r.header("Date");
  std::string_view type = http_access::type(r);
  if (type.empty() && !typed && form == body_form::counted && !r.body_view().empty() && !http_access::is_received(r))
    type = "text/plain; charset=utf-8";
  constexpr std::size_t all_names = 160;  // what follows, but for the pieces added here, each at its longest
  std::size_t const before = out.size();
  std::size_t const most = before + all_names + reason.size() + date.size() + type.size() + fields.size() + most_digits;
  out.resize_and_overwrite(most, [&](char* start, std::size_t) {
    raw_text to(start + before);
    if (r.status() == 200) to << "HTTP/1.1 200 OK\r\n";
    else to << "HTTP/1.1 " << static_cast<std::uint64_t>(r.status()) << " " << reason << "\r\n";
    if (!dated) to << "Date: " << date << "\r\n";
    if (!type.empty()) to << "Content-Type: " << type << "\r\n";
    switch (form) {
      case body_form::counted: to << "Content-Length: " << std::uint64_t{r.body_view().size()} << "\r\n"; break;
      case body_form::file: to << "Content-Length: " << file_of(r)->length << "\r\n"; break;
      case body_form::chunked: to << "Transfer-Encoding: chunked\r\n"; break;
      case body_form::empty: to << "Content-Length: 0\r\n"; break;
      case body_form::none:
      case body_form::to_end: break;
    }
    if (!f.keep_alive || form == body_form::to_end) to << "Connection: close\r\n";
    else if (!f.http11) to << "Connection: keep-alive\r\n";
    to << fields << "\r\n";
    return static_cast<std::size_t>(to.end() - start);
  });
}

http::response plain_response(int status) {
  std::string body(reason_of(status));
  return http::response(status, body += '\n');
}

void append_chunk(std::string& out, std::string_view bytes) {
  append_number(out, bytes.size(), 16);
  out.append("\r\n").append(bytes).append("\r\n");
}

}  // namespace weft::rt
