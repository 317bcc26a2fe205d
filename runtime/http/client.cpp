// The client: URLs, the pool of kept connections, and one exchange on a connection.
//
//   1. A kept connection to the host is taken, the one used last, or a new one is made.
//   2. The request goes out in one write, the response is read to its end.
//   3. If the response allows it and nothing is left over, the connection goes back into the pool.
//   4. A server may close a kept connection at any moment, also just as the request goes out. If that is what happened, and the
//      method may be repeated, once more from 1 with a new connection.
// A connection on which anything else went wrong, or whose request was cancelled, is closed.
#include <weft/http/client.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/http/parser.hpp"
#include "runtime/http/state.hpp"

#include <weft/net/stream.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft::rt {

namespace {

struct url_parts {
  std::string host;     // as the Host field has it
  std::string address;  // host:port
  std::string target;   // path and query
};

bool begins_no_case(std::string_view s, std::string_view with) noexcept {
  return s.size() >= with.size() && equal_no_case(s.substr(0, with.size()), with);
}

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
  if (!plain || authority.empty() || authority.find('@') != authority.npos) return bad;
  auto const colon = authority.rfind(':');
  bool const has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  std::string_view const host = has_port ? authority.substr(0, colon) : authority;
  std::string_view const port = has_port ? authority.substr(colon + 1) : std::string_view();
  if (host.empty() || port.size() > 5 || !std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; }))
    return bad;
  url_parts parts;
  parts.host = authority;
  parts.address = std::string(host) + ':' + (port.empty() ? "80" : std::string(port));
  parts.target = url.substr(end);
  if (!parts.target.starts_with('/')) parts.target.insert(0, 1, '/');
  return parts;
}

/// May be sent twice without harm (RFC 9110, 9.2.2).
bool may_be_repeated(std::string_view method) noexcept {
  for (std::string_view m : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
    if (method == m) return true;
  }
  return false;
}

std::string header_of(request_state const& q, url_parts const& url) {
  std::string out;
  out.reserve(256);
  out.append(q.method).append(" ").append(url.target).append(" HTTP/1.1\r\n");
  if (!q.field("Host")) out.append("Host: ").append(url.host).append("\r\n");
  for (auto const& f : q.fields) {
    if (equal_no_case(f.name, "Content-Length") || equal_no_case(f.name, "Transfer-Encoding")) continue;  // ours to say
    out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  if (!q.body.empty() || q.method == "POST" || q.method == "PUT" || q.method == "PATCH") {
    out.append("Content-Length: ").append(std::to_string(q.body.size())).append("\r\n");
  }
  return out += "\r\n";
}

}  // namespace

struct http_client {
  explicit http_client(http::client_options const& o)
      : options(o), limits{o.max_header_bytes, o.max_body_bytes, std::size_t(0)} {}

  result<http::response> send(request_state const& q);

 private:
  struct idle_connection {
    net::tcp_stream stream;
    time_point since;
  };
  struct outcome {
    result<http::response> response;
    bool reusable = false;
    bool untouched = false;  // the connection ended before a byte of a response
  };

  std::optional<net::tcp_stream> take(std::string const& address);
  void keep(std::string const& address, net::tcp_stream stream);
  outcome exchange(net::tcp_stream& stream, request_state const& q, std::string const& header);

  http::client_options const options;
  parse_limits const limits;
  ranked_lock lock_{lock_rank::registry};
  std::map<std::string, std::vector<idle_connection>> idle_
      WEFT_GUARDED_BY(lock_);  // a host's, the one used last at the end
};

std::optional<net::tcp_stream> http_client::take(std::string const& address) {
  std::vector<idle_connection> stale;  // closed after the lock
  time_point const oldest =
      weft::now() - std::min<std::chrono::nanoseconds>(options.idle_timeout, std::chrono::hours(24));
  guard const held(lock_);
  auto const at = idle_.find(address);
  if (at == idle_.end()) return std::nullopt;
  auto& all = at->second;
  std::optional<net::tcp_stream> found;
  if (all.back().since >= oldest) {
    found = std::move(all.back().stream);
    all.pop_back();
  } else {
    stale = std::move(all);
    all.clear();
  }
  if (all.empty()) idle_.erase(at);
  return found;
}

void http_client::keep(std::string const& address, net::tcp_stream stream) {
  std::optional<net::tcp_stream> surplus;
  time_point const now = weft::now();
  guard const held(lock_);
  if (options.max_idle_per_host == 0) {
    surplus = std::move(stream);
    return;
  }
  auto& all = idle_[address];
  if (all.size() >= options.max_idle_per_host) {
    surplus = std::move(all.front().stream);
    all.erase(all.begin());
  }
  all.push_back({std::move(stream), now});
}

http_client::outcome http_client::exchange(net::tcp_stream& stream, request_state const& q, std::string const& header) {
  auto const fail = [](std::error_code e, bool untouched) { return outcome{std::unexpected(e), false, untouched}; };
  result<void> const written = q.body.empty() ? stream.write_all(header) : stream.write_all(header, q.body);
  // A server may answer and close before it has read the request: its answer counts for more than our failure to write.
  std::vector<char> buffer(16 * 1024);
  std::size_t begin = 0, end = 0;
  bool any = false;
  for (;;) {
    response_parser parser(limits, q.method == "HEAD");
    while (parser.state() == response_parser::outcome::more) {
      begin += parser.feed({buffer.data() + begin, end - begin});
      if (parser.state() != response_parser::outcome::more) break;
      std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin), buffer.begin() + static_cast<std::ptrdiff_t>(end),
                buffer.begin());
      end -= begin;
      begin = 0;
      if (end == buffer.size()) buffer.resize(2 * buffer.size());  // the parser bounds what it leaves
      auto const n = stream.read_some(std::span(buffer).subspan(end));
      if (!n) return fail(written ? n.error() : written.error(), !any);
      if (*n == 0) {
        parser.end();
        if (!any) return fail(make_error_code(weft::errc::eof), true);
        break;
      }
      any = true;
      end += *n;
    }
    if (parser.state() == response_parser::outcome::too_large)
      return fail(make_error_code(http::errc::response_too_large), false);
    if (parser.state() != response_parser::outcome::done) return fail(make_error_code(http::errc::bad_response), false);
    if (parser.interim()) continue;
    bool const reusable = parser.keep_alive() && begin == end && written;
    return {parser.take(), reusable, false};
  }
}

result<http::response> http_client::send(request_state const& q) {
  auto url = split_url(q.target);
  if (!url) return std::unexpected(url.error());
  std::string const header = header_of(q, *url);
  for (bool fresh = false;; fresh = true) {
    std::optional<net::tcp_stream> stream;
    if (!fresh) stream = take(url->address);
    bool const kept = stream.has_value();
    if (!kept) {
      auto made = net::tcp_stream::connect(url->address, options.connect_timeout);
      if (!made) return std::unexpected(made.error());
      made->set_nodelay(true);
      stream = std::move(*made);
    }
    outcome got = exchange(*stream, q, header);
    if (got.reusable) keep(url->address, std::move(*stream));
    if (got.response || !kept || !got.untouched || !may_be_repeated(q.method)) return std::move(got.response);
  }
}

}  // namespace weft::rt

namespace weft::http {

client::client(client_options options) : impl_(std::make_shared<rt::http_client>(options)) {}

result<response> client::send(request q) { return impl_->send(rt::http_access::state(q)); }

result<response> client::get(std::string_view url) { return send(request("GET", url)); }

result<response> client::post(std::string_view url, std::string body) {
  return send(request("POST", url, std::move(body)));
}

result<response> get(std::string_view url) { return client().get(url); }

}  // namespace weft::http
