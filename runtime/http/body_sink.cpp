// Output of a connection.
#include "runtime/http/body_sink.hpp"
#include "runtime/http/failure.hpp"

#include "runtime/http/state.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/exception_text.hpp"
#include "runtime/net/scratch.hpp"
#include "runtime/net/system.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/wait.hpp"

#include <weft/context.hpp>
#include <weft/defer.hpp>
#include <weft/task.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace weft::rt {

void http_connection::settle(connection_phase p) noexcept {
  enter(p);       // O1
  light_fence();  // O2, pairs with I2
  while (probing.load(std::memory_order_acquire)) [[unlikely]]
    weft::yield();  // O3: as long as one send takes
}

bool write_out(http_connection& c, std::string& out, std::string_view behind) {
  static constexpr std::size_t piece = 256 * 1024;
  c.settle(connection_phase::writing);
  std::string_view first = out;
  c.written += first.size() + behind.size();
  if (std::size_t const sent = c.ahead.load(std::memory_order_relaxed); sent != 0) [[unlikely]] {
    std::size_t const n = std::min(sent, first.size());  // O4: all of what is owed may have gone, and more
    WEFT_CHECK(first.starts_with(response_start.substr(0, n)), "http: what follows the start of a response");
    first.remove_prefix(n);
    c.ahead.store(static_cast<std::uint32_t>(sent - n), std::memory_order_relaxed);
  }
  while (!first.empty() || !behind.empty()) {
    std::string_view const a = first.substr(0, piece);
    std::string_view const b = behind.substr(0, piece - a.size());
    first.remove_prefix(a.size());
    behind.remove_prefix(b.size());
    // A time-out ends the connection even if the sweep came a moment too late: part of the bytes may have gone out.
    if (!(b.empty() ? c.stream.write_all(a) : c.stream.write_all(a, b))) return false;
    if (!first.empty() || !behind.empty()) c.enter(connection_phase::writing);
  }
  out.clear();
  return true;
}

void body_sink::put(std::string_view bytes) {
  (void)cancellation_point();  // before anything can have been sent
  sent_ = true;
  // Also where the write is cancelled and the callback goes on: nobody knows how much of it has gone out.
  if (std::exchange(broken_, true) || !write_(to_, out_, bytes)) {
    told_ = true;
    throw std::system_error(std::make_error_code(std::errc::broken_pipe), "weft::http: the other side is gone");
  }
  broken_ = false;
}

void body_sink::close_chunk() {
  if (chunk_.empty()) return;  // an empty chunk would end the body
  if (chunked_) append_chunk(out_, chunk_);
  else out_ += chunk_;
  chunk_.clear();
}

void body_sink::write(std::string_view bytes) {
  if (chunk_.size() + bytes.size() >= chunk_size) {
    if (chunked_) {
      chunk_ += bytes;
      close_chunk();
      put({});
    } else {
      close_chunk();
      put(bytes);
    }
  } else {
    chunk_ += bytes;
  }
}

void body_sink::flush() {
  close_chunk();
  put({});
}

void body_sink::finish() {
  close_chunk();
  if (chunked_) out_.append("0\r\n").append(trailers_).append("\r\n");
}

void body_sink::trailer(std::string_view name, std::string_view value) {
  check_field("weft::http::body_writer::trailer", name, value);
  static constexpr std::string_view of_the_header[] = {
      "Transfer-Encoding", "Content-Length", "Trailer",       "Host",      "Connection",
      "Content-Encoding",  "Content-Type",   "Content-Range", "Set-Cookie"};
  for (auto const& known : of_the_header) {
    if (equal_no_case(name, known))
      throw std::invalid_argument("weft::http::body_writer::trailer: " + std::string(name) +
                                  " belongs into the header");
  }
  trailers_.append(name).append(": ").append(value).append("\r\n");
}

stream_end stream_body(http_connection& c, std::string& out, http::response const& r, body_form form, time_point until,
                       request_stream const* body) {
  auto const write = [](void* to, std::string& first, std::string_view behind) {
    auto& connection = *static_cast<http_connection*>(to);
    // What the callback does between two writes, or when it has given up one, takes as long as it takes. A client that took nothing stays expired.
    bool gone = false;
    defer const back([&] {
      if (!gone) connection.enter(connection_phase::working);
    });
    gone = !write_out(connection, first, behind);
    return !gone;
  };
  body_sink sink(write, &c, out, form == body_form::chunked);
  // A body whose end is the end of the connection would look whole: a reset tells. Chunks without a last one tell by themselves.
  bool whole = false;
  defer const tell([&] {
    if (!whole && sink.sent() && form == body_form::to_end)
      net::system::reset_on_close(stream_access::descriptor_of(c.stream));
  });
  int fault = 0;
  try {
    http::body_writer to = sink.writer();
    c.enter(connection_phase::working);
    if (until == time_point::max()) {
      http_access::writer(r)(to);
    } else if (!within(until - weft::now(), [&] { http_access::writer(r)(to); })) {
      return {sink.sent() ? streamed::cut : streamed::unsent, 503};
    }
    sink.finish();
    whole = !sink.broken();
    return {whole ? streamed::whole : streamed::cut};
  } catch (cancelled const& e) {
    if (this_task::context().cancelled()) throw;  // the client has gone, or the grace of a shutdown has ended
    report_failure("streamed", "response", e.what());
  } catch (std::exception const& e) {
    fault = client_fault(e, body);
    if (!sink.told() && fault == 0)
      report_failure("streamed", "response", exception_text(e).c_str());  // a client that is gone is no failure of ours
  } catch (...) {
    report_failure("streamed", "response", "an exception of unknown type");
  }
  return {sink.sent() ? streamed::cut : streamed::unsent, fault != 0 ? fault : 500};
}

}  // namespace weft::rt

namespace weft::http {

void body_writer::write(std::string_view bytes) {
  (void)rt::cancellation_point();  // also where they are only buffered
  sink_->write(bytes);
}
void body_writer::flush() { sink_->flush(); }
void body_writer::trailer(std::string_view name, std::string_view value) { sink_->trailer(name, value); }

}  // namespace weft::http
