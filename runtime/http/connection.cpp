// Requests in, responses out: step 2 of connection.hpp.
#include "runtime/http/connection.hpp"

#include "runtime/base/message.hpp"
#include "runtime/http/body_sink.hpp"
#include "runtime/http/parser.hpp"
#include "runtime/http/response_text.hpp"
#include "runtime/http/server_state.hpp"
#include "runtime/http/workspace.hpp"

#include <weft/context.hpp>
#include <weft/task.hpp>

#include <algorithm>
#include <cstring>

namespace weft::rt {

namespace {

constexpr std::size_t first_large_buffer = 16 * 1024;
constexpr std::size_t largest_batch = 64 * 1024;   // of responses that wait for more requests
constexpr std::size_t largest_copied = 32 * 1024;  // a body beyond this is written from where it is
constexpr std::size_t lingering_bytes = 1024 * 1024;

/// The bytes that have been read and not parsed: in the connection's small buffer, and for what does not fit there in the workspace's.
class input {
 public:
  input(http_workspace& w, std::span<char> small, std::size_t n) noexcept
      : w_(w), data_(small.data()), size_(small.size()), end_(n) {}

  [[nodiscard]] std::string_view unread() const noexcept { return {data_ + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  void consume(std::size_t n) noexcept { begin_ += n; }

  /// Room behind what is unread.
  [[nodiscard]] std::span<char> room() {
    if (empty()) begin_ = end_ = 0;
    if (end_ == size_) make_room();
    return {data_ + end_, size_ - end_};
  }
  void add(std::size_t n) noexcept { end_ += n; }

 private:
  void make_room() {
    std::size_t const have = end_ - begin_;
    if (data_ == w_.in.get()) {
      if (begin_ != 0) std::memmove(data_, data_ + begin_, have);
      else w_.grow_in(2 * size_, have);
    } else {
      w_.grow_in(std::max(first_large_buffer, 2 * size_), 0);
      std::memcpy(w_.in.get(), data_ + begin_, have);
    }
    data_ = w_.in.get();
    size_ = w_.in_size;
    begin_ = 0;
    end_ = have;
  }

  http_workspace& w_;
  char* data_;
  std::size_t size_;
  std::size_t begin_ = 0;
  std::size_t end_;
};

class exchange {
 public:
  exchange(http_server& s, http_connection& c, http_workspace& w, std::span<char> buffer, std::size_t n)
      : s_(s), c_(c), w_(w), in_(w, buffer, n) {}

  bool run() {
    while (one_request()) {
      if (in_.empty()) return flush();
      if (w_.out.size() >= largest_batch && !flush()) return false;
    }
    return false;
  }

 private:
  bool one_request();
  bool receive(request_parser& p);
  bool read_more(request_parser& p);
  result<std::size_t> read(std::span<char> to);
  bool refuse(int status);
  http::response answer();
  void report(char const* what);
  bool send(http::response const& r, response_frame f);
  bool flush() { return write_out(c_, w_.out); }
  void linger();
  [[nodiscard]] bool draining() const noexcept { return s_.draining.load(std::memory_order_relaxed); }

  http_server& s_;
  http_connection& c_;
  http_workspace& w_;
  input in_;
};

bool exchange::one_request() {
  request_state& q = http_access::renew(w_.request);
  q.clear();
  c_.enter(connection_phase::header);
  response_frame frame;
  {
    request_parser parser(q, s_.limits);
    if (!receive(parser)) return false;
    if (parser.refused() != 0) return refuse(parser.refused());
    frame.http11 = parser.is_http11();
    frame.head = q.method == "HEAD";
    frame.keep_alive = parser.keep_alive();
  }
  c_.enter(frame.http11 && w_.out.empty() ? connection_phase::handling : connection_phase::working);
  http::response r = answer();
  if (r.status() < 200) {  // the client would wait for the final one behind it
    report("an interim status is no answer");
    r = plain_response(500);
  }
  frame.keep_alive = frame.keep_alive && !http_access::wants_close(r) && !draining();
  return send(r, frame);
}

/// A whole request, or a reason to refuse it. False: the connection is at its end.
bool exchange::receive(request_parser& p) {
  for (bool in_body = false;;) {
    in_.consume(p.feed(in_.unread()));
    if (p.refused() != 0 || p.done()) return true;
    if (p.header_done() && !in_body) {
      in_body = true;
      c_.enter(connection_phase::body);
      if (!in_.empty()) continue;  // feed() stops behind the header
      if (p.expects_continue()) w_.out += "HTTP/1.1 100 Continue\r\n\r\n";
    }
    if (!w_.out.empty()) {
      if (!flush()) return false;
      c_.enter(in_body ? connection_phase::body : connection_phase::header);
    }
    if (!read_more(p)) return false;
  }
}

bool exchange::read_more(request_parser& p) {
  counted_body* const body = p.header_done() && in_.empty() ? p.body_by_length() : nullptr;
  result<std::size_t> const n = read(body ? body->room() : in_.room());
  if (body) body->commit(n.value_or(0));
  else in_.add(n.value_or(0));
  if (n && *n != 0) {
    if (p.header_done()) c_.enter(connection_phase::body);
    return true;
  }
  if (!n && n.error() == std::errc::timed_out && (p.started() || p.header_done())) {
    [[maybe_unused]] bool const ended = refuse(408);
  }
  return false;
}

/// As read_some, but past a deadline that was not meant for what the connection is doing.
result<std::size_t> exchange::read(std::span<char> to) {
  for (;;) {
    auto n = c_.stream.read_some(to);
    if (n || n.error() != std::errc::timed_out || c_.is_expired()) return n;
    c_.stream.set_read_deadline(time_point::max());
  }
}

bool exchange::refuse(int status) {
  bool const sent = send(plain_response(status), {.keep_alive = false});
  if (in_.empty()) linger();  // send has done so otherwise
  return sent;
}

/// The client may still be sending what nobody will read. Closing now would answer that with a reset, which can overtake the
/// response: so take it in for a second.
void exchange::linger() {
  if (!c_.stream.shutdown_write()) return;
  c_.stream.set_read_deadline(weft::now() + std::chrono::seconds(1));
  w_.grow_in(first_large_buffer, 0);
  for (std::size_t dropped = 0; dropped < lingering_bytes;) {
    auto const n = c_.stream.read_some(std::span(w_.in.get(), w_.in_size));
    if (!n || *n == 0) return;
    dropped += *n;
  }
}

bool exchange::send(http::response const& r, response_frame f) {
  body_form const form = form_of(r, f);
  f.keep_alive = f.keep_alive && form != body_form::to_end;
  std::size_t const before = w_.out.size();
  append_header(w_.out, r, f, w_.date());
  bool sent = true;
  if (!f.head && form == body_form::counted) {
    if (r.body().size() <= largest_copied) w_.out += r.body();
    else sent = write_out(c_, w_.out, r.body());
  } else if (!f.head && (form == body_form::chunked || form == body_form::to_end)) {
    streamed const how = stream_body(c_, w_.out, r, form);
    if (how == streamed::unsent) {
      w_.out.resize(before);
      return send(plain_response(500), f);
    }
    sent = how == streamed::whole;
  }
  if (!sent) return false;
  if (f.keep_alive) return true;
  if (flush() && !in_.empty()) linger();
  return false;
}

/// Calls the handler, and turns what it throws into a response.
http::response exchange::answer() {
  try {
    http::handler const& h = s_.table->find(http_access::state(w_.request));
    if (s_.options.request_timeout == std::chrono::nanoseconds::max()) return h(w_.request);
    auto in_time = within(s_.options.request_timeout, [&] { return h(w_.request); });
    return in_time ? std::move(*in_time) : plain_response(503);
  } catch (http::error const& e) {
    if (e.status() >= 400 && e.status() < 500) return http::response(e.status(), e.what());
    report(e.what());
    return plain_response(e.status() >= 300 && e.status() <= 599 ? e.status() : 500);
  } catch (std::exception const& e) {
    report(e.what());
  } catch (cancelled const& e) {
    if (this_task::context().cancelled()) throw;  // the end of a shutdown's grace
    report(e.what());
  } catch (...) {
    report("an exception of unknown type");
  }
  return plain_response(500);
}

void exchange::report(char const* what) {
  request_state const& q = http_access::renew(w_.request);  // the handler may have moved it away
  report_failure(q.method, q.path, what);
}

}  // namespace

[[gnu::noinline]] bool serve_requests(http_server& server, http_connection& c, std::span<char> buffer, std::size_t n) {
  try {
    workspace_lease const w(server.workspaces);
    return exchange(server, c, *w, buffer, n).run();
  } catch (std::exception const& e) {  // out of memory, most likely: this connection ends, the server does not
    report_failure("connection", "", e.what());
    return false;
  }
}

[[gnu::noinline]] void report_failure(std::string_view method, std::string_view path, char const* what) noexcept {
  auto const add = [](message& to, std::string_view text) {  // one line, whatever is in it
    for (std::size_t i = 0; i < std::min<std::size_t>(text.size(), 400); ++i) {
      char const c = static_cast<unsigned char>(text[i]) < 0x20 ? ' ' : text[i];
      to << std::string_view(&c, 1);
    }
  };
  message line;
  line << "weft: http: ";
  add(line, method);
  line << " ";
  add(line, path);
  line << ": ";
  add(line, what ? what : "");
  line.write_line();
}

}  // namespace weft::rt
