// Writing status lines and headers straight into the output.
#include "runtime/http/response_text.hpp"

#include "runtime/http/open_file.hpp"
#include "runtime/http/state.hpp"

#include <charconv>
#include <cstdint>

namespace weft::rt {

std::string_view reason_of(int status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
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
  if (!http_access::writer(r)) return body_form::counted;
  if (file_of(r)) return body_form::file;
  return f.http11 ? body_form::chunked : body_form::to_end;
}

namespace {

void append_number(std::string& out, std::uint64_t n, int base = 10) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n, base).ptr);
}

}  // namespace

void append_header(std::string& out, http::response const& r, response_frame const& f, std::string_view date) {
  body_form const form = form_of(r, f);
  std::string_view const fields = http_access::fields(r);
  if (r.status() == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    out += "HTTP/1.1 ";
    append_number(out, static_cast<std::uint64_t>(r.status()));
    out.append(" ").append(reason_of(r.status())).append("\r\n");
  }
  if (fields.empty() || !r.header("Date")) out.append("Date: ").append(date).append("\r\n");
  if (auto const type = http_access::type(r); !type.empty()) {
    out.append("Content-Type: ").append(type).append("\r\n");
  } else if (!r.body_view().empty() && form == body_form::counted && (fields.empty() || !r.header("Content-Type"))) {
    out += "Content-Type: text/plain; charset=utf-8\r\n";
  }
  if (form == body_form::counted) {
    out += "Content-Length: ";
    append_number(out, r.body_view().size());
    out += "\r\n";
  } else if (form == body_form::file) {
    out += "Content-Length: ";
    append_number(out, file_of(r)->length);
    out += "\r\n";
  } else if (form == body_form::chunked) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  if (!f.keep_alive || form == body_form::to_end) out += "Connection: close\r\n";
  else if (!f.http11) out += "Connection: keep-alive\r\n";
  out.append(fields).append("\r\n");
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
