#include "runtime/http/start_line.hpp"

namespace weft::rt {

bool well_formed_request_line(std::string_view line) noexcept {
  if (line.ends_with('\r')) line.remove_suffix(1);
  auto const first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || line.find(' ', first + 1) != last) return false;
  auto const v = line.substr(last + 1);
  return v.size() == 8 && v.starts_with("HTTP/") && v[5] >= '0' && v[5] <= '9' && v[6] == '.' && v[7] >= '0' &&
         v[7] <= '9';
}

std::size_t later_minor_version(std::string_view request_line) noexcept {
  if (!well_formed_request_line(request_line)) return request_line.npos;
  auto const minor = request_line.rfind(' ') + std::string_view(" HTTP/1.").size();
  return request_line[minor - 2] == '1' && request_line[minor] > '1' ? minor : request_line.npos;
}

std::size_t later_minor_version_of_status(std::string_view line) noexcept {
  constexpr std::string_view before = "HTTP/1.";
  constexpr std::size_t end = before.size() + 1;
  bool const later = line.starts_with(before) && line.size() >= end && line[end - 1] > '1' && line[end - 1] <= '9';
  return later && line.substr(end).substr(0, 1).find_first_not_of(' ') == line.npos ? end - 1 : line.npos;
}

bool add_missing_blank(std::string& response) {
  constexpr std::size_t end = std::string_view("HTTP/1.1 200").size();
  bool const missing = response.size() > end && response[end] == '\r';
  if (missing) response.insert(end, 1, ' ');
  return missing;
}

}  // namespace weft::rt
