// Requests in, responses out: step 2 of connection.hpp.
#include "runtime/http/connection.hpp"

#include "runtime/http/body_sink.hpp"
#include "runtime/http/failure.hpp"
#include "runtime/http/input.hpp"
#include "runtime/http/open_file.hpp"
#include "runtime/http/parser.hpp"
#include "runtime/http/request_stream.hpp"
#include "runtime/http/response_text.hpp"
#include "runtime/http/server_state.hpp"
#include "runtime/http/workspace.hpp"
#include "runtime/net/scratch.hpp"
#include "runtime/net/system.hpp"

#include <weft/context.hpp>
#include <weft/defer.hpp>
#include <weft/task.hpp>

#include <algorithm>
#include <memory>

#include <poll.h>

namespace weft::rt {

namespace {

constexpr std::size_t largest_batch = 64 * 1024;   // of responses that wait for more requests
constexpr std::size_t largest_copied = 32 * 1024;  // a body beyond this is written from where it is
constexpr std::size_t lingering_bytes = 16 * 1024 * 1024;
constexpr auto lingering = std::chrono::seconds(1);
// What the kernel sends at once, ten segments, without waiting for an acknowledgement.
constexpr std::uint64_t first_window = 10 * 1440;

/// A callback writes this body.
bool calls_back(body_form form, response_frame const& f) noexcept {
  return !f.head && (form == body_form::chunked || form == body_form::to_end);
}

class exchange {
 public:
  exchange(http_server& s, http_connection& c, http_workspace& w, std::span<char> scratch)
      : s_(s), c_(c), w_(w), in_(w, scratch) {}

  /// An exception may have left readers of the request, and what the sweep could be sending, which stand in the workspace.
  ~exchange() {
    detach_readers();
    if (c_.phase() == connection_phase::owing) c_.settle(connection_phase::working);
  }
  exchange(exchange const&) = delete;
  exchange& operator=(exchange const&) = delete;

  bool run() {
    while (one_request()) {
      if (in_.empty()) return flush();
      if (w_.out.size() >= largest_batch && !flush()) return false;
      http_access::clear(w_.request);
    }
    return false;
  }

 private:
  bool one_request();
  enum class received {
    nothing,  // the connection is at its end
    whole,    // to be answered, or refused
    header    // the handler reads the body
  };
  received receive(request_parser& p);
  bool read_more(request_parser& p);
  bool answer_streamed(request_parser& p, response_frame f);
  bool refuse(int status);
  http::response answer(request_stream* body = nullptr);
  void make_sendable(http::response& r);
  void detach_readers() noexcept;
  void report(char const* what);
  bool send(http::response const& r, response_frame f);
  bool flush() { return write_out(c_, w_.out); }
  [[nodiscard]] bool may_lose_its_end() const noexcept;
  [[nodiscard]] std::uint64_t unacknowledged() const noexcept;
  void linger();
  [[nodiscard]] bool draining() const noexcept { return s_.draining.load(std::memory_order_relaxed); }

  http_server& s_;
  http_connection& c_;
  http_workspace& w_;
  input in_;
  route const* route_ = nullptr;          // of a request with a body
  request_stream* stream_ = nullptr;      // of a handler that reads the body
  bool rest_may_come_ = false;            // of a body that nobody will read
  time_point until_ = time_point::max();  // of the handler, and of the callback of its response
};

bool exchange::one_request() {
  request_state& q = http_access::renew(w_.request);
  c_.enter(connection_phase::header);
  response_frame frame;
  {
    request_parser parser(q, s_.limits);
    received const what = receive(parser);
    if (what == received::nothing) return false;
    if (what == received::whole && parser.refused() != 0) return refuse(parser.refused());
    frame.http11 = parser.is_http11();
    frame.head = q.method == "HEAD";
    frame.keep_alive = parser.keep_alive();
    if (what == received::header) return answer_streamed(parser, frame);
  }
  c_.enter_handler(w_.out);
  http::response r = answer();
  if (c_.phase() == connection_phase::owing) c_.settle(connection_phase::working);
  make_sendable(r);
  if (!calls_back(form_of(r, frame), frame)) detach_readers();
  frame.keep_alive = frame.keep_alive && !http_access::wants_close(r) && !draining();
  return send(r, frame);
}

exchange::received exchange::receive(request_parser& p) {
  route_ = nullptr;
  for (bool in_body = false;;) {
    in_.consume(p.feed(in_.unread()));
    if (p.header_done() && !in_body && p.has_body() && (p.refused() == 0 || p.refused() == 413)) {
      route_ = &s_.table->find(http_access::state(w_.request));
      bool const unwanted = route_->scope == nullptr && p.expects_continue() && in_.empty();  // and so it need not come
      if (route_->streamed || unwanted) return in_.leave_scratch(), received::header;
    }
    if (p.refused() != 0 || p.done()) return in_.leave_scratch(), received::whole;
    if (p.header_done() && !in_body) {
      in_body = true;
      c_.enter(connection_phase::body);
      if (!in_.empty()) continue;  // feed() stops behind the header
      if (p.expects_continue()) w_.out += "HTTP/1.1 100 Continue\r\n\r\n";
    }
    in_.leave_scratch();
    if (!w_.out.empty()) {
      if (!flush()) return received::nothing;
      c_.enter(in_body ? connection_phase::body : connection_phase::header);
    }
    if (!read_more(p)) return received::nothing;
  }
}

bool exchange::read_more(request_parser& p) {
  counted_body* const body = p.header_done() && in_.empty() ? p.body_by_length() : nullptr;
  result<std::size_t> const n = read_within(c_, body ? body->room() : in_.room());
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

/// The handler reads the body: see request_stream.hpp.
bool exchange::answer_streamed(request_parser& p, response_frame f) {
  auto const stream = std::make_shared<request_stream>(c_, w_, in_, p, s_.options.max_streamed_bytes);
  if (stream->fault() != 0) return refuse(stream->fault());
  http_access::state(w_.request).stream = stream;
  stream_ = stream.get();
  defer const at_end([&] {
    stream->detach();
    stream_ = nullptr;
    if (http_access::state_or_null(w_.request) != nullptr) http_access::state(w_.request).stream.reset();
  });
  // What is owed from before must not wait for this handler: here it is one write as well.
  if (!flush()) return false;
  c_.enter(connection_phase::working);
  http::response r = answer(stream.get());
  make_sendable(r);
  if (!calls_back(form_of(r, f), f)) detach_readers();
  bool const goes_on = stream->begin_response();
  f.keep_alive = f.keep_alive && goes_on && !http_access::wants_close(r) && !draining();
  rest_may_come_ = !stream->at_end();
  if (!send(r, f)) return false;
  if (!stream->at_end() && !flush()) return false;
  rest_may_come_ = !stream->drop_rest();
  if (rest_may_come_) linger();
  return !rest_may_come_;
}

bool exchange::refuse(int status) {
  rest_may_come_ = true;
  bool const head = http_access::renew(w_.request).method == "HEAD";
  return send(plain_response(status), {.head = head, .keep_alive = false});
}

/// Whether a close now could cost the client some of the last response: with input that nobody has read, or that comes
/// later, the kernel answers by a reset and drops what it has not sent. Where little was written in all, that is on its
/// way by now, and the kernel is not asked: this saves a system call where each request has a connection.
bool exchange::may_lose_its_end() const noexcept {
  if (!in_.empty() || rest_may_come_) return true;
  if (c_.written <= first_window) return false;
  return unacknowledged() != 0 || net::system::is_ready(stream_access::descriptor_of(c_.stream), POLLIN) != 0;
}

/// Of the response, by the client. 0 if the stream is closed: the server may be destroyed while its connection waits.
std::uint64_t exchange::unacknowledged() const noexcept {
  return net::system::unacknowledged(stream_access::descriptor_of(c_.stream), c_.written);
}

/// The client may still be sending what nobody will read: take it in for a second, and for as long as each further one
/// sees the client acknowledge some of the response. Of one that sends very much no more is taken in then, and the connection stays for as
/// long: the kernels' buffers fill, so that a program that reads when it cannot write (a proxy with an upload) finds the response, where
/// a reset would meet it in the middle of its writing. Only the connection's own time counts: a shutdown's poke moves the deadline as well.
void exchange::linger() {
  if (!c_.stream.shutdown_write()) return;
  w_.grow_in(input::first_large_buffer, 0);
  std::uint64_t left = unacknowledged();
  time_point until = weft::now() + lingering;
  c_.stream.set_read_deadline(until);
  for (std::size_t dropped = 0;;) {
    bool got = false;
    if (dropped < lingering_bytes) {
      auto const n = c_.stream.read_some(std::span(w_.in.get(), w_.in_size));
      if (n ? *n == 0 : n.error() != std::errc::timed_out) return;
      dropped += n.value_or(0);
      got = n.has_value();
    } else {
      weft::sleep_until(until);
    }
    if (time_point const now = weft::now(); now >= until) {
      std::uint64_t const still = unacknowledged();
      if (still == 0 || still >= left) return;
      left = still;
      until = now + lingering;
    } else if (got) {
      continue;
    }
    c_.stream.set_read_deadline(until);
  }
}

bool exchange::send(http::response const& r, response_frame f) {
  body_form const form = form_of(r, f);
  if (calls_back(form, f) && !flush()) return false;  // earlier responses do not wait for what the callback waits for
  f.keep_alive = f.keep_alive && form != body_form::to_end;
  std::size_t const before = w_.out.size();
  append_header(w_.out, r, f, w_.date());
  bool sent = true;
  if (!f.head && form == body_form::counted) {
    if (r.body_view().size() <= largest_copied) w_.out += r.body_view();
    else sent = write_out(c_, w_.out, r.body_view());
  } else if (!f.head && form == body_form::file) {
    file_part const& part = *file_of(r);
    c_.written += part.length;
    sent = flush() && (part.length == 0 || c_.stream.write_file(part.file->fd.get(), part.offset, part.length));
  } else if (calls_back(form, f)) {
    stream_end const end = stream_body(c_, w_.out, r, form, until_, stream_);
    detach_readers();
    if (end.how == streamed::unsent) {
      w_.out.resize(before);
      if (stream_ && stream_->fault() != 0) f.keep_alive = false;  // nothing can be read behind it
      return send(plain_response(end.status), f);
    }
    sent = end.how == streamed::whole;
  }
  if (sent && f.keep_alive) return true;
  // What went out before a body that was cut is the client's, as all of the last response is. A client that did not read has had its time.
  bool const client_reads = sent ? flush() : form != body_form::to_end && !c_.is_expired();
  if (client_reads && may_lose_its_end()) linger();
  return false;
}

/// Calls the handler, and turns what it throws into a response.
http::response exchange::answer(request_stream* body) {
  try {
    http::handler const& h = (route_ ? *route_ : s_.table->find(http_access::state(w_.request))).handler;
    if (s_.options.request_timeout == std::chrono::nanoseconds::max()) return h(w_.request);
    until_ = detail::time_after(s_.options.request_timeout);
    auto in_time = within(s_.options.request_timeout, [&] { return h(w_.request); });
    return in_time ? std::move(*in_time) : plain_response(503);
  } catch (cancelled const& e) {
    if (this_task::context().cancelled()) throw;  // the end of a shutdown's grace
    report(e.what());
    return plain_response(500);
  } catch (...) {
    request_state const& q = http_access::renew(w_.request);  // the handler may have moved it away
    return response_to(std::current_exception(), q.method, q.path, body);
  }
}

/// What came from another server was framed by that one. And the client would wait for the final response behind an interim one.
void exchange::make_sendable(http::response& r) {
  http_access::leave_connection(r);
  if (r.status() >= 200) return;
  report("an interim status is no answer");
  r = plain_response(500);
}

/// Of a body_reader nothing is read behind the handler and the callback of its response.
void exchange::detach_readers() noexcept {
  if (stream_) stream_->detach();
  if (http_access::state_or_null(w_.request)) http_access::state(w_.request).detach_readers();
}

void exchange::report(char const* what) {
  request_state const& q = http_access::renew(w_.request);  // the handler may have moved it away
  report_failure(q.method, q.path, what);
}

}  // namespace

[[gnu::noinline]] bool serve_requests(http_server& server, http_connection& c, std::span<char> scratch) {
  try {
    workspace_lease const w(server.workspaces);
    return exchange(server, c, *w, scratch).run();
  } catch (std::exception const& e) {  // out of memory, most likely: this connection ends, the server does not
    report_failure("connection", "", e.what());
    return false;
  }
}

}  // namespace weft::rt
