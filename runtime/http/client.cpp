// The client: URLs, the pool of kept connections, and one exchange on a connection.
//
//   1. A kept connection to the host is taken, the one used last on which nothing has come since, or a new one is made.
//   2. The request goes out in one write, the response is read to its end. A body that is large, or that a callback writes, is sent by a
//      task of its own meanwhile: a server may answer before it has read all of it, or read no further until its answer is read.
//   3. If the response allows it and nothing is left over, the connection goes back into the pool.
//   4. A server may close a kept connection at any moment, also just as the request goes out. If that is what happened, and the
//      method may be repeated, once more from 1 with a new connection.
//   5. A redirection is a new request, from 1, as often as the options allow.
// A connection on which anything else went wrong, or whose request was cancelled, is closed.
#include <weft/http/client.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/http/body_sink.hpp"
#include "runtime/http/parser.hpp"
#include "runtime/http/state.hpp"
#include "runtime/http/url.hpp"
#include "runtime/net/scratch.hpp"
#include "runtime/net/system.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"

#include <weft/context.hpp>
#include <weft/defer.hpp>
#include <weft/net/stream.hpp>
#include <weft/task.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>

namespace weft::rt {

using namespace std::chrono_literals;

namespace {

constexpr int most_interims =
    16;  // 1xx responses before the one that counts: a server that sends no other is not followed for ever

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
  if (!q.field("Host")) out.append("Host: ").append(host_field(url)).append("\r\n");
  for (auto const& f : q.fields) {
    if (is_one_of(f.name, {"Content-Length", "Transfer-Encoding"})) continue;  // ours to say
    out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  if (q.write) {
    out += "Transfer-Encoding: chunked\r\n";
  } else if (!q.body.empty() || q.method == "POST" || q.method == "PUT" || q.method == "PATCH") {
    out.append("Content-Length: ").append(std::to_string(q.body.size())).append("\r\n");
  }
  return out += "\r\n";
}

}  // namespace

struct http_client {
  explicit http_client(http::client_options const& o)
      : options(o), limits{o.max_header_bytes, o.max_body_bytes, std::size_t(0)} {}

  using sink = std::function<void(std::string_view)>;
  result<http::response> send(http::request& q, sink const& to);

 private:
  struct idle_connection;
  // A host's, the one used last at the end.
  using host_table = std::map<std::string, std::list<idle_connection>>;
  using use_order = std::list<host_table::iterator>;
  struct idle_connection {
    net::stream_base stream;
    time_point since;
    use_order::iterator place;
  };
  struct outcome {
    result<http::response> response;
    bool reusable = false;
    bool untouched = false;  // the connection ended before a byte of a response
  };

  result<http::response> send_once(request_state const& q, url_parts const& url, sink const& to, bool follows);
  std::optional<net::stream_base> take(std::string const& address);
  void keep(std::string const& address, net::stream_base stream);
  [[nodiscard]] result<net::stream_base> connect(std::string const& address);
  void take_oldest_of(host_table::iterator host, std::list<idle_connection>& to) noexcept WEFT_REQUIRES(lock_);
  void take_old(time_point now, std::list<idle_connection>& to) noexcept WEFT_REQUIRES(lock_);
  [[nodiscard]] time_point oldest_at(time_point now) const noexcept;
  outcome exchange(net::stream_base& stream, request_state const& q, std::string const& header, sink const& to,
                   bool follows);

  http::client_options const options;
  parse_limits const limits;
  ranked_lock lock_{lock_rank::registry};
  host_table idle_ WEFT_GUARDED_BY(lock_);  // no host has none
  use_order kept_ WEFT_GUARDED_BY(lock_);   // the hosts of all in idle_, the one used last at the end
};

/// Between two requests a server has nothing to say: what has come on a kept connection, its end included, is no answer
/// to the next request (RFC 9112, 9.2), so such a connection is dropped.
std::optional<net::stream_base> http_client::take(std::string const& address) {
  std::list<idle_connection> old;  // closed after the lock
  for (;;) {
    std::optional<net::stream_base> found;
    {
      time_point const now = weft::now();
      guard const held(lock_);
      take_old(now, old);
      auto const at = idle_.find(address);
      if (at == idle_.end() || at->second.back().since < oldest_at(now)) return std::nullopt;
      found = std::move(at->second.back().stream);
      kept_.erase(at->second.back().place);
      at->second.pop_back();
      if (at->second.empty()) idle_.erase(at);
    }
    if (net::system::is_ready(stream_access::descriptor_of(*found), POLLIN | POLLRDHUP) == 0) return found;
  }
}

time_point http_client::oldest_at(time_point now) const noexcept {
  return now - std::min<std::chrono::nanoseconds>(options.idle_timeout, std::chrono::hours(24));
}

/// Of all hosts.
void http_client::take_old(time_point now, std::list<idle_connection>& to) noexcept {
  time_point const oldest = oldest_at(now);
  while (!kept_.empty() && kept_.front()->second.front().since < oldest) take_oldest_of(kept_.front(), to);
}

void http_client::keep(std::string const& address, net::stream_base stream) {
  if (options.max_idle_per_host == 0 || options.max_idle == 0) return;
  std::list<idle_connection> old, made;  // closed after the lock, unless it is kept
  use_order place(1);
  time_point const now = weft::now();
  made.push_back({std::move(stream), now, place.begin()});
  guard const held(lock_);
  take_old(now, old);
  auto const at = idle_.try_emplace(address).first;
  place.front() = at;
  at->second.splice(at->second.end(), made);
  kept_.splice(kept_.end(), place);
  if (at->second.size() > options.max_idle_per_host) take_oldest_of(at, old);
  // So that a crawler of many hosts does not keep a connection to each.
  if (kept_.size() > options.max_idle) take_oldest_of(kept_.front(), old);
}

void http_client::take_oldest_of(host_table::iterator host, std::list<idle_connection>& to) noexcept {
  auto& all = host->second;
  kept_.erase(all.front().place);
  to.splice(to.end(), all, all.begin());
  if (all.empty()) idle_.erase(host);
}

namespace {

/// Header and body. False: the other side is gone, or does not want all of it.
result<void> write_request(net::stream_base& stream, request_state const& q, std::string const& header) {
  if (!q.write) return q.body.empty() ? stream.write_all(header) : stream.write_all(header, q.body);
  struct connection {
    net::stream_base& stream;
    result<void> last;
  } to{stream, {}};
  auto const write = [](void* at, std::string& out, std::string_view behind) {
    auto& c = *static_cast<connection*>(at);
    bool given_up = true;  // cancelled: nobody need wait for an answer to half a request
    defer const end([&] {
      if (given_up) c.stream.close();
    });
    c.last = std::unexpected(std::make_error_code(std::errc::broken_pipe));
    c.last = c.stream.write_all(out, behind);
    given_up = false;
    out.clear();
    return c.last.has_value();
  };
  std::string out = header;
  body_sink sink(write, &to, out, true);
  try {
    http::body_writer writer = sink.writer();
    q.write(writer);
    sink.finish();
    sink.flush();
  } catch (std::system_error const&) {
    if (!sink.told()) throw;  // the callback's own
  }
  return to.last;
}

/// A request on its way, which what holds these references outlives. The destructor cuts it short.
class request_writing {
 public:
  request_writing(net::stream_base& stream, request_state const& q, std::string const& header) {
    // A plain thread has one thing to do at a time, and what a new connection's send buffer takes needs nobody to wait.
    if (current_task() == nullptr || (!q.write && q.body.size() <= 16 * 1024)) {
      written_ = write_request(stream, q, header);
      return;
    }
    beside_ = weft::spawn([&] {
      auto const end_by = [&](std::exception_ptr e) {
        thrown_ = std::move(e);
        stream.close();  // nobody need wait for an answer to half a request
      };
      try {
        written_ = write_request(stream, q, header);
      } catch (weft::cancelled const&) {
        if (this_task::context().cancelled()) throw;
        end_by(std::current_exception());  // of something that the callback waited for
      } catch (...) {
        end_by(std::current_exception());
      }
    });
  }

  /// Whether all of it has been sent, within `patience` from now; else why not, operation_canceled if that was too short: what is left is
  /// not sent. Throws what the callback has thrown.
  result<void> end(std::chrono::nanoseconds patience) {
    if (beside_.joinable()) {
      (void)beside_.wait_for(patience);
      beside_.stop();
    }
    if (thrown_) std::rethrow_exception(thrown_);
    return written_;
  }

 private:
  result<void> written_ = std::unexpected(make_error_code(std::errc::operation_canceled));
  std::exception_ptr thrown_;
  join_handle<void> beside_;  // last: its destructor waits for what writes to the others
};

/// What says something of a request's body, and nothing of a request without (RFC 9110, 15.4).
bool is_of_body(std::string_view field) noexcept {
  constexpr std::string_view content = "Content-";
  return equal_no_case(field.substr(0, content.size()), content) ||
         is_one_of(field, {"Digest", "Last-Modified", "Trailer", "Transfer-Encoding", "Expect"});
}

bool is_secret(std::string_view field) noexcept {
  return is_one_of(field, {"Authorization", "Cookie", "Cookie2", "Proxy-Authorization", "WWW-Authenticate"});
}

/// The request for `url` that follows `q`. `same_host`: nothing was said of another one than that which answered, so that a Host of the
/// caller's own holds on. `first`: the address of the request that all began with, of the same origin as others with that address.
http::request redirected(http::request const& q, int status, std::string const& url, bool same_host,
                         std::string_view first) {
  request_state const& from = http_access::state(q);
  bool const same = status == 307 || status == 308 || (status != 303 && from.method != "POST") || from.method == "HEAD";
  http::request next(same ? from.method : "GET", url, same ? from.body : std::string());
  request_state& to = http_access::state(next);
  if (same) to.write = from.write;
  bool const here = equal_no_case(split_url(url).value_or(url_parts()).address, first);
  for (auto const& [name, value] : from.fields) {
    if ((equal_no_case(name, "Host") && !same_host) || (is_secret(name) && !here) || (is_of_body(name) && !same))
      continue;
    to.fields.push_back({to.text.add(name), to.text.add(value)});
  }
  return next;
}

}  // namespace

http_client::outcome http_client::exchange(net::stream_base& stream, request_state const& q, std::string const& header,
                                           sink const& to, bool follows) {
  // A time-out is the end of the call: nothing is sent twice for it.
  auto const fail = [](std::error_code e, bool untouched) {
    return outcome{std::unexpected(e), false, untouched && e != std::errc::timed_out};
  };
  bool const timed = options.request_timeout != std::chrono::nanoseconds::max();
  auto const set_deadline = [&](time_point at) {
    stream.set_read_deadline(at);
    stream.set_write_deadline(at);
  };
  if (timed) set_deadline(detail::time_after(options.request_timeout));
  request_writing writing(stream, q, header);
  // The kernel gives a connection's error to one of two calls.
  auto const first_error = [&](std::error_code of_reading) {
    result<void> const written = writing.end(0ns);
    return written || written.error() == std::errc::operation_canceled ? of_reading : written.error();
  };
  // A server may answer and close before it has read the request: its answer counts for more than our failure to write.
  std::vector<char> buffer(16 * 1024);
  std::size_t begin = 0, end = 0;
  bool any = false;
  for (int interims = 0;; ++interims) {
    response_parser parser(limits, q.method == "HEAD", to ? &to : nullptr, follows);
    while (parser.state() == response_parser::outcome::more) {
      begin += parser.feed({buffer.data() + begin, end - begin});
      if (parser.state() != response_parser::outcome::more) break;
      std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin), buffer.begin() + static_cast<std::ptrdiff_t>(end),
                buffer.begin());
      end -= begin;
      begin = 0;
      if (end == buffer.size()) buffer.resize(2 * buffer.size());  // the parser bounds what it leaves
      auto const n = stream.read_some(std::span(buffer).subspan(end));
      if (!n) return fail(first_error(n.error()), !any);
      if (*n == 0) {
        parser.end();
        std::error_code const e = first_error(make_error_code(weft::errc::eof));
        if (!any) return fail(e, true);
        break;
      }
      any = true;
      end += *n;
    }
    if (parser.state() == response_parser::outcome::too_large)
      return fail(make_error_code(http::errc::response_too_large), false);
    if (parser.state() != response_parser::outcome::done) return fail(make_error_code(http::errc::bad_response), false);
    if (parser.interim()) {
      if (parser.other_protocol() || interims == most_interims)
        return fail(make_error_code(http::errc::bad_response), false);
      continue;
    }
    // What has been answered is mostly just being sent to its end. Who goes on to read says so by keeping the connection; Go waits as long.
    bool const read_on = parser.keep_alive() && begin == end && !q.has_connection_option("close");
    bool const reusable = writing.end(read_on ? 50ms : 0ns).has_value() && read_on;
    if (timed && reusable) set_deadline(time_point::max());
    return {parser.take(), reusable, false};
  }
}

result<net::stream_base> http_client::connect(std::string const& address) {
  if (options.unix_socket.empty()) return net::tcp_stream::connect(address, options.connect_timeout);
  return net::unix_stream::connect(options.unix_socket, options.connect_timeout);
}

result<http::response> http_client::send_once(request_state const& q, url_parts const& url, sink const& to,
                                              bool follows) {
  std::string const header = header_of(q, url);
  // What a callback writes is written once: such a request gets a connection that nobody has closed meanwhile.
  for (bool fresh = static_cast<bool>(q.write);; fresh = true) {
    std::optional<net::stream_base> stream;
    if (!fresh) stream = take(url.address);
    bool const kept = stream.has_value();
    if (!kept) {
      auto made = connect(url.address);
      if (!made) return std::unexpected(made.error());
      made->set_nodelay(true);
      stream = std::move(*made);
    }
    outcome got = exchange(*stream, q, header, to, follows);
    if (got.reusable) keep(url.address, std::move(*stream));
    if (got.response || !kept || !got.untouched || !may_be_repeated(q.method)) return std::move(got.response);
  }
}

result<http::response> http_client::send(http::request& q, sink const& to) {
  (void)cancellation_point();  // also for what is no URL
  http_access::state(q).leave_connection();
  if (q.method() == "CONNECT") return std::unexpected(std::make_error_code(std::errc::operation_not_supported));
  std::string const first = split_url(q.target()).value_or(url_parts()).address;
  for (unsigned followed = 0;; ++followed) {
    request_state const& state = http_access::state(q);
    auto const url = split_url(state.target);
    if (!url) return std::unexpected(url.error());
    bool const follows = options.max_redirects != 0;
    auto r = send_once(state, *url, to, follows);
    auto const location = r ? r->header("Location") : std::nullopt;
    if (!follows || !location || !is_redirection(r->status())) return r;
    if (followed == options.max_redirects) return std::unexpected(make_error_code(http::errc::too_many_redirects));
    q = redirected(q, r->status(), resolve_url(*url, *location), is_relative(*location), first);
  }
}

}  // namespace weft::rt

namespace weft::http {

client::client() : client(client_options{}) {}
client::client(client_options options) : impl_(std::make_shared<rt::http_client>(options)) {}

result<response> client::send(request q) { return impl_->send(q, nullptr); }

result<response> client::send(request q, std::function<void(std::string_view)> sink) { return impl_->send(q, sink); }

result<response> client::get(std::string_view url) { return send(request("GET", url)); }

result<response> client::post(std::string_view url, std::string body) {
  return send(request("POST", url, std::move(body)));
}

result<response> get(std::string_view url) { return client().get(url); }

}  // namespace weft::http
