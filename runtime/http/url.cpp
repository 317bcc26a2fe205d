#include "runtime/http/url.hpp"

#include "runtime/http/text.hpp"

#include <weft/http/errc.hpp>

#include <algorithm>

namespace weft::rt {

namespace {

bool begins_no_case(std::string_view s, std::string_view with) noexcept {
  return s.size() >= with.size() && equal_no_case(s.substr(0, with.size()), with);
}

/// Takes out "." and "..", which are the client's matter to resolve.
std::string without_dots(std::string_view path) {
  std::string out;
  for (std::string_view left = path; !left.empty();) {
    auto const next = std::min(left.find('/', 1), left.size());
    std::string_view const segment = left.substr(0, next);  // with the slash before it
    left.remove_prefix(next);
    bool const here = segment == "/.", up = segment == "/..";
    if (up) out.resize(out.empty() ? 0 : out.rfind('/'));
    if (here || up) {
      if (left.empty()) out += '/';
    } else {
      out += segment;
    }
  }
  return out;
}

/// The same for an absolute URL, in whose authority no slash can be.
std::string without_dots_in_path(std::string_view url) {
  auto const path = std::min(url.find_first_of("/?", url.find("://") + 3), url.size());
  auto const query = std::min(url.find('?', path), url.size());
  return std::string(url.substr(0, path)) + without_dots(url.substr(path, query - path)) +
         std::string(url.substr(query));
}

std::string escaped(std::string_view s, bool (*must_be)(unsigned char)) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (char const c : s) {
    auto const u = static_cast<unsigned char>(c);
    if (!must_be(u)) out += c;
    else (out += '%').append({digits[u >> 4], digits[u & 15]});
  }
  return out;
}

/// It cannot stand in a request line.
bool is_not_ascii(unsigned char c) noexcept { return c >= 0x80; }
bool is_blank(unsigned char c) noexcept { return c == ' '; }

bool has_scheme(std::string_view location) noexcept {
  auto const colon = location.find(':');
  return colon != location.npos && colon < location.find_first_of("/?#");
}

/// Behind the host. Servers forget to, and other clients follow them all the same.
std::string with_blanks_escaped(std::string_view location) {
  bool const names_host = has_scheme(location) || location.starts_with("//");
  auto const begin =
      names_host ? std::min(location.find_first_of("/?", location.find("//") + 2), location.size()) : std::size_t(0);
  return std::string(location.substr(0, begin)) + escaped(location.substr(begin), is_blank);
}

/// What an address can be made of: whether there is such a host is found out when it is looked up.
bool is_host(std::string_view host) noexcept {
  bool const bracketed = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  return !host.empty() && host.find_first_of(bracketed ? "[]" : "[]:") == host.npos;
}

/// A zone stands in a URL behind "%25", and in an address behind '%', which is let pass in a URL too.
std::string address_of(std::string_view host) {
  constexpr std::string_view escaped = "%25";
  if (!host.starts_with('[')) return std::string(host);
  auto const at = host.find(escaped);
  if (at == host.npos || at + escaped.size() + 1 == host.size()) return std::string(host);  // none, or a number
  return std::string(host.substr(0, at + 1)).append(host.substr(at + escaped.size()));
}

bool is_port(std::string_view port) noexcept {
  unsigned long number = 0;
  for (char const c : port) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<unsigned long>(c - '0');
    if (number > 65535) return false;
  }
  return true;
}

}  // namespace

bool is_relative(std::string_view location) noexcept { return !has_scheme(location) && !location.starts_with("//"); }

result<url_parts> split_url(std::string_view url) {
  auto const bad = std::unexpected(make_error_code(http::errc::bad_url));
  if (begins_no_case(url, "https://")) return std::unexpected(make_error_code(http::errc::unsupported_scheme));
  if (!begins_no_case(url, "http://")) {
    return url.find("://") == url.npos ? bad : std::unexpected(make_error_code(http::errc::unsupported_scheme));
  }
  url.remove_prefix(7);
  url = url.substr(0, url.find('#'));
  bool const plain =
      std::ranges::none_of(url, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; });
  auto const end = std::min(url.find_first_of("/?"), url.size());
  std::string_view const authority = url.substr(0, end);
  bool const ascii = std::ranges::all_of(authority, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (!plain || !ascii || authority.empty() || authority.find('@') != authority.npos) return bad;
  auto const colon = authority.rfind(':');
  bool const has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  std::string_view const host = has_port ? authority.substr(0, colon) : authority;
  std::string_view const port = has_port ? authority.substr(colon + 1) : std::string_view();
  if (!is_host(host) || !is_port(port)) return bad;
  url_parts parts;
  parts.host = authority;
  parts.address = address_of(host) + ':' + (port.empty() ? "80" : std::string(port));
  parts.target = escaped(url.substr(end), is_not_ascii);
  if (!parts.target.starts_with('/')) parts.target.insert(0, 1, '/');
  return parts;
}

std::string host_field(url_parts const& url) {
  std::string_view const host = url.host;
  auto const zone = host.starts_with('[') ? host.find('%') : host.npos;
  return zone == host.npos ? url.host : std::string(host.substr(0, zone)).append(host.substr(host.find(']')));
}

std::string resolve_url(url_parts const& base, std::string_view given) {
  std::string const text = with_blanks_escaped(given.substr(0, given.find('#')));
  std::string_view const location = text;
  if (location.starts_with("//")) return without_dots_in_path("http:" + std::string(location));
  if (has_scheme(location)) {
    bool const with_host = location.substr(location.find(':')).starts_with("://");
    return with_host ? without_dots_in_path(location) : std::string(location);
  }
  std::string const origin = "http://" + base.host;
  if (location.empty()) return origin + base.target;
  std::string_view const path = std::string_view(base.target).substr(0, base.target.find('?'));
  if (location.starts_with('?')) return origin + std::string(path) + std::string(location);
  auto const query = std::min(location.find('?'), location.size());
  std::string_view const to = location.substr(0, query);
  std::string const whole =
      to.starts_with('/') ? std::string(to) : std::string(path.substr(0, path.rfind('/') + 1)) + std::string(to);
  return origin + without_dots(whole) + std::string(location.substr(query));
}

}  // namespace weft::rt
