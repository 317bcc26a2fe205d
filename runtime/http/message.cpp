// request and response: their parts, and what may be set in them.
#include <weft/http/message.hpp>

#include "runtime/http/request_stream.hpp"
#include "runtime/http/state.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace weft::rt {

void request_state::clear() noexcept {
  text.clear();
  method = target = scheme = authority = raw_path = path = raw_query = {};
  // One large upload must not stay with the server, nor a flood of fields. Assigning an empty string, or {}, would keep the memory.
  constexpr std::size_t most_kept = 256;
  if (body.capacity() > 64 * 1024) std::string().swap(body);
  for (auto* const list : {&fields, &query, &trailers}) {
    if (list->capacity() > most_kept) std::vector<text_pair>().swap(*list);
  }
  fields.clear();
  params.clear();
  query.clear();
  query_split = received = false;
  trailers.clear();
  stream.reset();
  detach_readers();
  if (write) write = nullptr;
  body_read = 0;
  body.clear();
  allow.clear();
}

void request_state::copy_from(request_state const& other) {
  clear();
  method = text.add(other.method);
  target = text.add(other.target);
  for (auto const& f : other.fields) fields.push_back({text.add(f.name), text.add(f.value)});
  for (auto const& p : other.params) params.push_back({text.add(p.name), text.add(p.value)});
  for (auto const& t : other.trailers) trailers.push_back({text.add(t.name), text.add(t.value)});
  body = other.body;
  write = other.write;
  allow = other.allow;
  received = other.received;
  [[maybe_unused]] bool const well_formed = split_target();  // the other's was split too
}

std::optional<std::string_view> request_state::field(std::string_view name) const noexcept {
  for (auto const& f : fields) {
    if (equal_no_case(f.name, name)) return f.value;
  }
  return std::nullopt;
}

bool request_state::has_connection_option(std::string_view option) const noexcept {
  return std::ranges::any_of(
      fields, [&](text_pair const& f) { return equal_no_case(f.name, "Connection") && has_option(f.value, option); });
}

bool request_state::split_target() {
  std::string_view rest = target.substr(0, target.find('#'));
  if (rest == "*") {
    raw_path = path = rest;
    return true;
  }
  if (!rest.starts_with('/')) {  // absolute form: a scheme, an authority, and perhaps no path at all
    auto const colon = rest.find("://");
    if (colon == rest.npos || colon == 0) return false;
    scheme = rest.substr(0, colon);
    rest.remove_prefix(colon + 3);
    authority = rest.substr(0, rest.find_first_of("/?"));
    rest.remove_prefix(authority.size());
  }
  auto const question = rest.find('?');
  raw_path = rest.substr(0, question);
  raw_query = question == rest.npos ? std::string_view() : rest.substr(question + 1);
  if (raw_path.empty()) raw_path = "/";
  auto const decoded = percent_decode(raw_path, text);
  if (!decoded) return false;
  path = *decoded;
  for (std::string_view left = path;
       !left.empty();) {  // a segment that would leave its folder is refused, not resolved
    left.remove_prefix(1);
    auto const segment = left.substr(0, left.find('/'));
    if (segment == "." || segment == "..") return false;
    left.remove_prefix(segment.size());
  }
  return true;
}

void request_state::split_query() {
  query_split = true;
  for (std::string_view left = raw_query; !left.empty();) {
    std::string_view const one = left.substr(0, left.find('&'));
    left.remove_prefix(std::min(left.size(), one.size() + 1));
    if (one.empty()) continue;
    auto const equals = one.find('=');
    auto const value = equals == one.npos ? std::string_view() : one.substr(equals + 1);
    // A malformed escape is text like any other here, as browsers have it.
    query.push_back({percent_decode(one.substr(0, equals), text, plus_sign::blank).value_or(one.substr(0, equals)),
                     percent_decode(value, text, plus_sign::blank).value_or(value)});
  }
}

void http_access::add_field(http::response& r, std::string_view name, std::string_view value) {
  constexpr std::string_view between = ": ", end = "\r\n";
  r.fields_.reserve(r.fields_.size() + name.size() + between.size() + value.size() +
                    end.size());  // so all of it or nothing
  r.fields_.append(name).append(between).append(value).append(end);
}

namespace {
/// Host is of the message, whatever its sender says of the connection.
bool is_of_connection(std::string_view name, listed_options const& listed) noexcept {
  return is_hop_by_hop(name) || (listed.contains(name) && !equal_no_case(name, "Host"));
}
}  // namespace

void request_state::leave_connection() {
  if (!received) return;
  listed_options listed;
  for (text_pair const& f : fields)
    if (equal_no_case(f.name, "Connection")) listed.add(f.value);
  listed.sort();
  std::erase_if(fields, [&](text_pair const& f) { return is_of_connection(f.name, listed); });
  received = false;
}

void http_access::leave_connection(http::response& r) {
  if (!r.received_ || r.left_connection_) return;
  auto const for_each_line = [&r](auto f) {
    for (std::string_view left = r.fields_; !left.empty();) {
      std::string_view const line = left.substr(0, left.find("\r\n") + 2);
      f(line, line.substr(0, line.find(':')));
      left.remove_prefix(line.size());
    }
  };
  listed_options listed;
  std::string kept;
  for_each_line([&](std::string_view line, std::string_view name) {
    if (equal_no_case(name, "Connection")) listed.add(line.substr(name.size() + 1, line.size() - name.size() - 3));
  });
  listed.sort();
  for_each_line([&](std::string_view line, std::string_view name) {
    if (!is_of_connection(name, listed) && !equal_no_case(name, "Content-Length")) kept += line;
  });
  r.fields_ = std::move(kept);
  r.left_connection_ = true;
}

void check_field(char const* call, std::string_view name, std::string_view value) {
  if (!is_field_name(name))
    throw std::invalid_argument(std::string(call) + ": '" + std::string(name) + "' is not a field name");
  if (!is_field_value(value)) {
    throw std::invalid_argument(std::string(call) + ": the value of '" + std::string(name) +
                                "' has control characters");
  }
}

namespace {

void check_response_field(std::string_view name, std::string_view value) {
  check_field("weft::http::response::header", name, value);
  if (equal_no_case(name, "Content-Length") || equal_no_case(name, "Transfer-Encoding")) {
    throw std::invalid_argument("weft::http::response::header: the server writes " + std::string(name));
  }
}

/// A field as it goes out. Built before fields change: name or value may be a view of one of them.
std::string field_line(std::string_view name, std::string_view value) {
  std::string line;
  line.append(name).append(": ").append(value).append("\r\n");
  return line;
}

/// The line of `name` in fields of the form "Name: value\r\n": its start and its length; npos if there is none.
std::pair<std::size_t, std::size_t> find_line(std::string_view fields, std::string_view name) noexcept {
  for (std::size_t at = 0; at < fields.size();) {
    std::size_t const end = fields.find("\r\n", at) + 2;
    std::string_view const line = fields.substr(at, end - at);
    if (line.size() > name.size() && line[name.size()] == ':' && equal_no_case(line.substr(0, name.size()), name)) {
      return {at, line.size()};
    }
    at = end;
  }
  return {std::string_view::npos, 0};
}

}  // namespace
}  // namespace weft::rt

namespace weft::http {

using rt::http_access;

request::request() : state_(std::make_unique<rt::request_state>()) {}

request::request(std::string_view method, std::string_view url, std::string body) : request() {
  if (!rt::is_field_name(method))
    throw std::invalid_argument("weft::http::request: '" + std::string(method) + "' is not a method");
  state_->method = state_->text.add(method);
  state_->target = state_->text.add(url);
  state_->body = std::move(body);
  if (!state_->split_target())
    state_->raw_path = state_->path = {};  // whether it can be sent is not said here: see split_url
}

void request::stream(std::function<void(body_writer&)> write) { state_->write = std::move(write); }

request::request(request const& other) : request() {
  if (other.state_) state_->copy_from(*other.state_);
}
request::request(request&&) noexcept = default;
request& request::operator=(request const& other) {
  if (this != &other) *this = request(other);
  return *this;
}
request& request::operator=(request&&) noexcept = default;
request::~request() = default;

std::string_view request::method() const { return state_->method; }
std::string_view request::path() const { return state_->path; }
std::string_view request::target() const { return state_->target; }
std::optional<std::string_view> request::header(std::string_view name) const { return state_->field(name); }

request& request::header(std::string_view name, std::string_view value) {
  rt::check_field("weft::http::request::header", name, value);
  rt::text_pair const fresh{state_->text.add(name),
                            state_->text.add(value)};  // first: name may be a view of a field that goes
  state_->leave_connection();  // what its sender said of the connection holds for its sender's fields
  std::erase_if(state_->fields, [&](rt::text_pair const& f) { return rt::equal_no_case(f.name, fresh.name); });
  state_->fields.push_back(fresh);
  return *this;
}

std::optional<std::string_view> request::query(std::string_view name) const {
  if (!state_->query_split) state_->split_query();
  for (auto const& q : state_->query) {
    if (q.name == name) return q.value;
  }
  return std::nullopt;
}

std::string_view request::param(std::string_view name) const {
  for (auto const& p : state_->params) {
    if (p.name == name) return p.value;
  }
  return {};
}

std::string request::body() const& { return state_->body; }
std::string_view request::body_view() const { return state_->body; }
std::string request::body() && { return std::move(state_->body); }
body_reader request::reader() {
  if (!state_->stream && !state_->whole) state_->whole = std::make_shared<rt::whole_body>(state_.get());
  return {state_->stream ? nullptr : state_->whole, state_->stream};
}

response::response(int status, std::string body) : status_(status), body_(std::move(body)) {
  if (status < 100 || status > 999) throw std::invalid_argument("weft::http::response: a status has three digits");
}

response::response(int status, std::string_view content_type, std::function<void(body_writer&)> write)
    : response(status) {
  header("Content-Type", content_type);
  write_ = std::move(write);
}

std::optional<std::string_view> response::header(std::string_view name) const {
  if (auto const [at, size] = rt::find_line(fields_, name); at != std::string::npos) {
    return rt::trim_blanks(std::string_view(fields_).substr(at + name.size() + 1, size - name.size() - 3));
  }
  if (!type_.empty() && rt::equal_no_case(name, "Content-Type")) return type_;
  return std::nullopt;
}

response& response::header(std::string_view name, std::string_view value) & {
  rt::check_response_field(name, value);
  bool const type = rt::equal_no_case(name, "Content-Type"), connection = rt::equal_no_case(name, "Connection");
  if (fields_.empty() && !connection) {  // nothing goes
    http_access::add_field(*this, name, value);
    left_connection_ = true;
    if (type) type_ = {};
    return *this;
  }
  std::string const line = rt::field_line(name, value);
  bool const upgrade = connection && rt::has_option(value, "upgrade");
  bool const close = connection && rt::has_option(value, "close");
  std::string const key = line.substr(0, name.size());
  http_access::leave_connection(*this);  // what another server said of its connection holds for its fields
  if (connection) close_ = close;
  for (;;) {
    auto const [at, size] = rt::find_line(fields_, key);
    if (at == std::string::npos) break;
    fields_.erase(at, size);
  }
  if (type) type_ = {};
  if (!connection) fields_ += line;  // of that the server writes what it needs, after close_
  else if (upgrade) fields_ += "Connection: Upgrade\r\n";
  return *this;
}
response&& response::header(std::string_view name, std::string_view value) && { return std::move(header(name, value)); }

response& response::add_header(std::string_view name, std::string_view value) & {
  if (rt::equal_no_case(name, "Content-Type")) return header(name, value);
  rt::check_response_field(name, value);
  std::string line = rt::field_line(name, value);
  if (rt::equal_no_case(name, "Connection")) {  // as header() has it
    line = rt::has_option(value, "upgrade") ? "Connection: Upgrade\r\n" : "";
    bool const close = rt::has_option(value, "close");
    http_access::leave_connection(*this);
    close_ = close_ || close;
  } else {
    http_access::leave_connection(*this);
  }
  fields_ += line;
  return *this;
}
response&& response::add_header(std::string_view name, std::string_view value) && {
  return std::move(add_header(name, value));
}

}  // namespace weft::http
