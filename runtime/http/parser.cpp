// The parsers' decisions on top of Beast's grammar: see parser.hpp.
#include "runtime/http/parser.hpp"

#include "runtime/http/start_line.hpp"
#include "runtime/sched/native_call.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace weft::rt {

namespace {

namespace beast_http = boost::beast::http;

std::string_view std_view(boost::beast::string_view s) noexcept { return {s.data(), s.size()}; }

/// Beast's own limit counts what is unread only; ours, which counts all, comes first.
std::uint32_t beast_limit(std::size_t ours) noexcept {
  constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
  return ours < most - 4096 ? static_cast<std::uint32_t>(ours + 4096) : most;
}

/// uri-host [":" port] of RFC 9110, 7.2, without the comma that its grammar allows: a list of hosts is what it would mean to others.
bool is_authority(std::string_view s) noexcept {
  using enum character_set::alphanumeric;
  static constexpr character_set name(yes, "-._~%!$&'()*+;="), address(yes, ":.%-_~"), digits(no, "0123456789");
  std::string_view host = s, port;
  if (s.starts_with('[')) {
    auto const end = s.find(']');
    if (end == s.npos || (end + 1 != s.size() && s[end + 1] != ':')) return false;
    host = s.substr(1, end - 1);
    port = s.substr(std::min(end + 2, s.size()));
    if (host.empty() || !address.all_of(host)) return false;
  } else {
    auto const colon = s.find(':');
    host = s.substr(0, colon);
    port = colon == s.npos ? std::string_view() : s.substr(colon + 1);
    if (!name.all_of(host)) return false;
  }
  return port.size() <= 5 && digits.all_of(port);
}

/// Bytes that a target must not have: Beast lets pass what is not of ASCII. A fragment is the client's own matter.
bool is_target(std::string_view s) noexcept {
  return std::ranges::all_of(s, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

}  // namespace

std::size_t counted_body::take(std::string_view in) {
  auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), left_));
  into_->append(in.substr(0, n));
  left_ -= n;
  return n;
}

std::span<char> counted_body::room() {
  size_ = into_->size();
  auto const more = static_cast<std::size_t>(std::min<std::uint64_t>(left_, std::max(least_growth, size_)));
  into_->resize_and_overwrite(size_ + more, [](char*, std::size_t n) { return n; });
  return {into_->data() + size_, more};
}

void counted_body::commit(std::size_t n) {
  into_->resize(size_ + n);
  left_ -= n;
}

// ---- requests ------------------------------------------------------------------------------------------

request_parser::request_parser(request_state& into, parse_limits const& limits)
    : into_(into),
      limits_(limits),
      body_text_(&into.body),
      text_(&into.text),
      trailers_(&into.trailers),
      body_(into.body, 0) {
  base::header_limit(beast_limit(limits.header));
  base::body_limit(boost::none);  // see check_header
}

void request_parser::stream_into(std::string& window, text_arena& text, std::vector<text_pair>& trailers,
                                 std::uint64_t most) {
  body_text_ = &window;
  text_ = &text;
  trailers_ = &trailers;
  body_.append_to(window);
  base::body_limit(most);
  if (refused_ == 413 && body_.left() <= most) refused_ = 0;
  else if (body_.left() > most) refuse(413);
}

bool request_parser::done() const noexcept {
  return refused_ == 0 && header_done_ && (by_length_ ? body_.complete() : base::is_done());
}

std::size_t request_parser::feed(std::string_view in) {
  std::size_t taken = 0;
  if (!base::got_some()) {  // an empty line or two before a request is forgiven (RFC 9112, 2.2)
    while (in.substr(taken).starts_with("\r\n") && header_size_ < 8) taken += 2, header_size_ += 2;
    if (taken == in.size() || in.substr(taken) == "\r") return taken;
  }
  while (refused_ == 0 && !done()) {
    std::string_view const rest = in.substr(taken);
    if (header_done_ && by_length_) return taken + body_.take(rest);
    if (header_done_ && rest.empty()) return taken;
    if (header_done_ && chunk_left_ == 0 && rest.size() < shortest_last_chunk) {
      if (!may_go_on(rest)) refuse(400);
      return taken;
    }
    error_code e;
    chunk_header_ = false;
    std::size_t n = 0;
    auto const put = [&](std::string_view s) {
      on_native_stack([&] { n = base::put(boost::asio::const_buffer(s.data(), s.size()), e); });  // a frame of 4 KB
    };
    put(rest);
    if (e == beast_http::error::bad_version) {  // Beast has taken nothing
      if (auto const at = later_minor_version(rest.substr(0, rest.find("\r\n"))); at != rest.npos)
        put(std::string(rest).replace(at, 1, "1"));
    }
    taken += n;
    if (n != 0) looked_ = 0;
    if (!header_done_) header_size_ += n;
    std::size_t const unread = in.size() - taken;
    if (e && e != beast_http::error::need_more) {
      refuse(status_of(e, rest));
    } else if (!header_done_ && base::is_header_done()) {
      if (header_size_ > limits_.header) return refuse(431), taken;
      check_header();
      header_done_ = true;
      return taken;
    } else if (!header_done_ && !line_done_ && rest.substr(0, rest.find('\n')).size() > longest_line()) {
      refuse(414);
    } else if (!header_done_ && header_size_ + unread > limits_.header) {
      refuse(431);
    } else if (e) {  // more of a header, or of a chunk's header or the trailers
      if (unread > limits_.header) refuse(431);
      else if (!may_go_on(in.substr(taken))) refuse(400);
      return taken;
    } else if (chunk_header_ && n > limits_.header) {  // as above, had it come in pieces
      refuse(431);
    }
  }
  return taken;
}

bool request_parser::may_go_on(std::string_view unread) noexcept {
  std::size_t const looked = std::exchange(looked_, unread.size());
  if (header_done_ && chunk_left_ == 0) return may_become_chunk_header(unread, chunk_seen_, looked);
  return !has_bare_line_feed(unread, looked);
}

int request_parser::status_of(error_code const& e, std::string_view unread) const noexcept {
  using beast_http::error;
  if (e == error::body_limit) return 413;
  if (e == error::header_limit) return line_done_ ? 431 : 414;
  if (e == error::bad_version) return well_formed_request_line(unread.substr(0, unread.find("\r\n"))) ? 505 : 400;
  return 400;
}

void request_parser::check_header() {
  auto& q = into_;
  auto const length = base::content_length();
  // Not as Beast has it, where Proxy-Connection and trailers count too, and "close" not in HTTP/1.0 (RFC 9112, 9.3).
  keep_alive_ = !asks_to_close_ && (http11_ || asks_to_keep_);
  constexpr std::size_t rest_of_line = std::string_view("  HTTP/1.1\r").size();
  if (q.target.size() > limits_.target || q.method.size() + q.target.size() + rest_of_line > longest_line())
    return refuse(414);
  if (hosts_ > 1 || (hosts_ == 0 && http11_)) return refuse(400);
  if (hosts_ == 1 && !is_authority(host_)) return refuse(400);
  if (codings_ > 0) {
    if (!http11_ || codings_ > 1 || length || !last_chunked_) return refuse(400);
    if (!only_chunked_) return refuse(501);
  }
  // Without a length it may have a body that only its sender knows of; in HTTP/1.1 it has none (RFC 9112, 6.3).
  if (!http11_ && !length && (q.method == "POST" || q.method == "PUT" || q.method == "PATCH")) return refuse(411);
  if (q.method == "CONNECT") return refuse(501);
  if (!is_target(q.target) || !q.split_target() || (q.target == "*" && q.method != "OPTIONS")) return refuse(400);
  if (!q.target.starts_with('/') && q.target != "*" && !take_authority()) return refuse(400);
  if (bad_expectation_) return refuse(417);
  if (length && *length > 0) {
    by_length_ = true;
    body_ = counted_body(q.body, *length);
  }
  expects_continue_ = expects_continue_ && http11_ && (by_length_ || base::chunked());
  base::body_limit(limits_.body);                     // of what comes in chunks
  if (length && *length > limits_.body) refuse(413);  // last: stream_into() may take it back
}

/// A target in absolute form: its host counts, whatever the Host field says (RFC 9112, 3.2.2). False: it names none.
bool request_parser::take_authority() {
  auto& q = into_;
  q.received = true;
  bool const http = equal_no_case(q.scheme, "http") || equal_no_case(q.scheme, "https");
  if (!http || q.authority.empty() || q.authority.starts_with(':') || !is_authority(q.authority)) return false;
  for (auto& f : q.fields) {
    if (equal_no_case(f.name, "Host")) return f.value = q.authority, true;
  }
  q.fields.push_back({"Host", q.authority});  // HTTP/1.0
  return true;
}

void request_parser::on_request_impl(beast_http::verb, view method, view target, int version, error_code&) {
  line_done_ = true;
  http11_ = version >= 11;
  into_.method = into_.text.add(std_view(method));
  into_.target = into_.text.add(std_view(target));
}

void request_parser::on_field_impl(field f, view name, view value, error_code&) {
  if (base::is_header_done() || header_done_) {
    trailers_->push_back({text_->add(std_view(name)), text_->add(trim_blanks(std_view(value)))});
    return;
  }
  text_pair const p{into_.text.add(std_view(name)), into_.text.add(trim_blanks(std_view(value)))};
  into_.fields.push_back(p);
  switch (f) {
    case field::host:
      hosts_ = hosts_ < 2 ? hosts_ + 1 : 2;
      host_ = p.value;
      break;
    case field::transfer_encoding: {
      if (codings_ < 2) ++codings_;
      only_chunked_ = equal_no_case(p.value, "chunked");
      auto const comma = p.value.rfind(',');
      last_chunked_ =
          only_chunked_ || (comma != p.value.npos && equal_no_case(trim_blanks(p.value.substr(comma + 1)), "chunked"));
      break;
    }
    case field::connection:
      asks_to_close_ = asks_to_close_ || has_option(p.value, "close");
      asks_to_keep_ = asks_to_keep_ || has_option(p.value, "keep-alive");
      break;
    case field::expect: take_expectations(p.value); break;
    default: break;
  }
}

/// A list, whose empty elements are none (RFC 9110, 5.6.1.2).
void request_parser::take_expectations(std::string_view list) noexcept {
  for (std::string_view left = list; !left.empty();) {
    auto const comma = std::min(left.find(','), left.size());
    std::string_view const one = trim_blanks(left.substr(0, comma));
    left.remove_prefix(std::min(left.size(), comma + 1));
    if (equal_no_case(one, "100-continue")) expects_continue_ = true;
    else if (!one.empty()) bad_expectation_ = true;
  }
}

std::size_t request_parser::on_body_impl(view body,
                                         error_code&) {  // not reached: a body with a length is taken by counted_body
  body_text_->append(body.data(), body.size());
  return body.size();
}

void request_parser::on_chunk_header_impl(std::uint64_t size, view extensions, error_code& e) {
  if (!stays_in_line(std_view(extensions))) e = beast_http::error::bad_chunk_extension;
  else if (!extensions_.add(extensions.size(), size, limits_.header)) e = beast_http::error::header_limit;
  chunk_header_ = chunk_seen_ = true;
  chunk_left_ = size;
}

std::size_t request_parser::on_chunk_body_impl(std::uint64_t, view body, error_code&) {
  chunk_left_ -= body.size();
  body_text_->append(body.data(), body.size());
  return body.size();
}

// ---- responses -----------------------------------------------------------------------------------------

bool is_redirection(int status) noexcept {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

response_parser::response_parser(parse_limits const& limits, bool to_head, body_taker const* taker, bool follows)
    : limits_(limits), taker_(taker), to_head_(to_head), follows_(follows) {
  base::header_limit(beast_limit(limits.header));
  base::body_limit(boost::none);  // see on_header_impl
  if (to_head) base::skip(true);
}

std::size_t response_parser::feed(std::string_view in) {
  std::size_t taken = 0;
  while (outcome_ == outcome::more) {
    std::string_view const rest = in.substr(taken);
    bool const in_body = header_done_;
    if (rest.empty()) break;
    if (in_body && base::chunked() && chunk_left_ == 0 && rest.size() < shortest_last_chunk) {
      if (!may_go_on(rest)) outcome_ = outcome::malformed;
      break;
    }
    error_code e;
    chunk_header_ = false;
    std::size_t n = put(rest, e);
    if (e == beast_http::error::bad_version || e == beast_http::error::bad_status) n = put_as_known(rest, e);
    taken += n;
    if (n != 0) looked_ = 0;
    if (!in_body) header_size_ += n;
    if (chunk_header_ && n > limits_.header) outcome_ = outcome::too_large;
    std::size_t const unread = in.size() - taken;
    if (header_size_ + (header_done_ ? 0 : unread) > limits_.header) outcome_ = outcome::too_large;
    if (e == beast_http::error::need_more) {
      if (unread > limits_.header) outcome_ = outcome::too_large;
      else if (!may_go_on(in.substr(taken))) outcome_ = outcome::malformed;
      break;
    }
    settle(e);
  }
  return taken;
}

std::size_t response_parser::put(std::string_view s, error_code& e) {
  return base::put(boost::asio::const_buffer(s.data(), s.size()), e);
}

/// Behind a put() that has refused the status line, and so taken nothing: the same with a line that Beast knows, if it can be meant.
std::size_t response_parser::put_as_known(std::string_view rest, error_code& e) {
  std::string known(rest);
  if (auto const at = later_minor_version_of_status(rest); at != rest.npos) {
    known[at] = '1';
    std::size_t const n = put(known, e);
    if (e != beast_http::error::bad_status) return n;
  }
  if (e != beast_http::error::bad_status || !add_missing_blank(known)) return 0;
  std::size_t const n = put(known, e);
  return n - std::min<std::size_t>(n, 1);  // the blank has not been given to us
}

bool response_parser::may_go_on(std::string_view unread) noexcept {
  std::size_t const looked = std::exchange(looked_, unread.size());
  if (header_done_ && base::chunked() && chunk_left_ == 0) return may_become_chunk_header(unread, chunk_seen_, looked);
  return !has_bare_line_feed(unread, looked);
}

void response_parser::end() {
  if (outcome_ != outcome::more) return;
  error_code e;
  if (base::got_some()) base::put_eof(e);
  if (!e && !base::is_done()) e = beast_http::error::partial_message;
  settle(e);
}

void response_parser::settle(error_code const& e) {
  if (cut_) return;
  if (e == beast_http::error::body_limit || e == beast_http::error::header_limit) outcome_ = outcome::too_large;
  else if (e) outcome_ = outcome::malformed;
  else if (base::is_done() && outcome_ == outcome::more) outcome_ = outcome::done;
}

http::response response_parser::take() {
  http::response r = http_access::make_response(status_);
  for (auto const& [name, value] : fields_) http_access::add_field(r, name, value);
  http_access::set_body(r, std::move(body_));
  http_access::set_received(r);
  return r;
}

void response_parser::on_response_impl(int status, view, int version, error_code& e) {
  status_ = status;
  http11_ = version >= 11;
  if (status < 100) e = beast_http::error::bad_status;  // three digits, as Beast has it, are not enough
}

void response_parser::on_field_impl(field f, view name, view value, error_code& e) {
  // Of other codings nobody has said here that they would be understood (TE), and what they hold is not the body.
  if (f == field::transfer_encoding && !header_done_) {
    coded_ = true;
    if (may_have_body() && !equal_no_case(trim_blanks(std_view(value)), "chunked"))
      e = beast_http::error::bad_transfer_encoding;
  }
  if (f == field::location) located_ = true;
  if (f == field::connection && !header_done_) {
    says_close_ = says_close_ || has_option(std_view(value), "close");
    says_keep_ = says_keep_ || has_option(std_view(value), "keep-alive");
  }
  if (!header_done_) fields_.emplace_back(std_view(name), trim_blanks(std_view(value)));
}

void response_parser::on_header_impl(error_code& e) {
  header_done_ = true;
  drops_ = follows_ && located_ && is_redirection(status_);
  if (drops_ && may_have_body() && (base::need_eof() || base::content_length().value_or(0) > most_dropped))
    cut_ = true, outcome_ = outcome::done;  // the connection is good for nothing else in any case
  if (drops_ || taker_) return;
  base::body_limit(limits_.body);  // of what comes in chunks, or up to the end
  if (auto const length = base::content_length(); may_have_body() && length && *length > limits_.body)
    e = beast_http::error::body_limit;
}

void response_parser::add_to_body(view piece) {
  if (drops_) {
    dropped_ += piece.size();
    if (dropped_ > most_dropped) cut_ = true, outcome_ = outcome::done;
    return;
  }
  if (taker_) return (*taker_)(std_view(piece));
  if (body_.size() + piece.size() > limits_.body) outcome_ = outcome::too_large;
  else body_.append(piece.data(), piece.size());
}

void response_parser::on_chunk_header_impl(std::uint64_t size, view extensions, error_code& e) {
  if (!stays_in_line(std_view(extensions))) e = beast_http::error::bad_chunk_extension;
  else if (!extensions_.add(extensions.size(), size, limits_.header)) e = beast_http::error::header_limit;
  chunk_header_ = chunk_seen_ = true;
  chunk_left_ = size;
}

std::size_t response_parser::on_body_impl(view body, error_code&) {
  add_to_body(body);
  return body.size();
}

std::size_t response_parser::on_chunk_body_impl(std::uint64_t, view body, error_code&) {
  chunk_left_ -= body.size();
  add_to_body(body);
  return body.size();
}

}  // namespace weft::rt
