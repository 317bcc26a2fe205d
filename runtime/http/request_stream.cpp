// Reading a request's body while its handler runs: the steps are in request_stream.hpp.
#include "runtime/http/request_stream.hpp"

#include "runtime/http/body_sink.hpp"
#include "runtime/http/state.hpp"
#include "runtime/sched/wait.hpp"

#include <weft/defer.hpp>
#include <weft/http/errc.hpp>

#include <algorithm>

namespace weft::rt {

namespace {

std::optional<std::string_view> find_field(std::vector<text_pair> const& fields, std::string_view name) noexcept {
  for (auto const& f : fields) {
    if (equal_no_case(f.name, name)) return f.value;
  }
  return std::nullopt;
}

}  // namespace

request_stream::request_stream(http_connection& c, http_workspace& w, input& in, request_parser& parser,
                               std::uint64_t most)
    : c_(c),
      w_(w),
      in_(in),
      parser_(parser),
      length_(parser.body_by_length() ? std::optional(parser.body_by_length()->left()) : std::nullopt),
      invite_(parser.expects_continue() && in.empty()) {
  parser.stream_into(window_, text_, trailers_, most);
  fault_ = parser.refused();
}

std::size_t request_stream::take(std::span<char> to) noexcept {
  std::size_t const n = std::min(to.size(), window_.size() - taken_);
  window_.copy(to.data(), n, taken_);
  taken_ += n;
  if (taken_ == window_.size()) {
    window_.clear();
    taken_ = 0;
  }
  return n;
}

std::error_code request_stream::error() const noexcept {
  if (failure_) return failure_;
  return make_error_code(fault_ == 413 ? http::errc::request_too_large : http::errc::bad_request);
}

result<std::size_t> request_stream::read_some(std::span<char> to) {
  if (!attached_.load(std::memory_order_acquire)) return std::unexpected(make_error_code(errc::closed));
  if (to.empty()) return 0;
  return read(to);
}

result<std::size_t> request_stream::read(std::span<char> to) {
  for (;;) {
    if (std::size_t const n = take(to); n != 0) return n;
    if (fault_ != 0) return std::unexpected(error());
    if (parser_.done()) return 0;
    std::size_t const parsed = in_.empty() ? 0 : parser_.feed(in_.unread());
    in_.consume(parsed);
    fault_ = parser_.refused();
    if (fault_ == 0 && parser_.done()) come_to_end();
    if (parsed != 0 || fault_ != 0) continue;
    auto const n = wait_for_more(to);
    if (!n || *n != 0) return n;
  }
}

/// Nobody reads any more, so that nobody would notice a client that goes: from here on the sweep looks, as for any
/// other handler.
void request_stream::come_to_end() noexcept {
  if (!responding_) c_.enter_handler(w_.out);
}

/// Reads once, and says how much of it went straight to `to`.
result<std::size_t> request_stream::wait_for_more(std::span<char> to) {
  counted_body* const counted = in_.empty() ? parser_.body_by_length() : nullptr;
  std::span<char> const room =
      counted ? to.first(static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), counted->left()))) : in_.room();
  auto const n = [&]() -> result<std::size_t> {
    defer const back(
        [&] { c_.enter(connection_phase::working); });  // also where the handler goes on behind what is cancelled
    if (!responding_ && std::exchange(invite_, false)) {
      w_.out += "HTTP/1.1 100 Continue\r\n\r\n";
      failure_ = std::make_error_code(std::errc::broken_pipe);
      fault_ = 400;  // then, too: part of it may have gone out
      if (!write_out(c_, w_.out)) return std::unexpected(failure_);
      fault_ = 0;
      failure_ = {};
    }
    c_.enter(connection_phase::body);
    return read_within(c_, room);
  }();
  if (!n || *n == 0) {
    failure_ = n ? make_error_code(errc::eof) : n.error();
    fault_ = failure_ == std::errc::timed_out ? 408 : 400;
    return std::unexpected(failure_);
  }
  if (counted) {
    counted->skip(*n);
    if (parser_.done()) come_to_end();
    return *n;
  }
  in_.add(*n);
  return 0;
}

bool request_stream::begin_response() noexcept {
  responding_ = true;
  bool const too_much = length_ && !parser_.done() && parser_.body_by_length()->left() > most_dropped;
  return fault_ == 0 && !invite_ && !too_much;
}

bool request_stream::drop_rest() {
  if (parser_.done()) return true;
  window_.clear();  // what the handler has not fetched
  taken_ = 0;
  std::string scrap(input::first_large_buffer, '\0');
  for (std::uint64_t dropped = 0; dropped <= most_dropped;) {
    auto const n = read(scrap);
    if (!n) return false;
    if (*n == 0) return true;
    dropped += *n;
  }
  return false;
}

std::optional<std::string_view> request_stream::trailer(std::string_view name) const noexcept {
  if (!attached_.load(std::memory_order_acquire)) return std::nullopt;  // the connection may be reading the rest
  return find_field(trailers_, name);
}

}  // namespace weft::rt

namespace weft::http {

using rt::request_state;

result<std::size_t> body_reader::read_some(net::mutable_buffer to) {
  (void)rt::cancellation_point();  // also where the bytes have come already
  std::span<char> const room{reinterpret_cast<char*>(to.bytes.data()), to.bytes.size()};
  if (stream_) return stream_->read_some(room);
  request_state* const q = whole_->get();
  if (!q) return std::unexpected(make_error_code(weft::errc::closed));
  std::size_t const n = q->body.copy(room.data(), room.size(), std::min(q->body_read, q->body.size()));
  q->body_read += n;
  return n;
}

result<std::string> body_reader::read_all(std::size_t most) {
  (void)rt::cancellation_point();
  auto const too_large = std::unexpected(make_error_code(errc::request_too_large));
  if (auto const announced = length(); stream_ && announced && *announced > most) return too_large;
  std::string all;
  for (std::size_t size = 0;;) {
    std::size_t const step = std::max<std::size_t>(16 * 1024, size);
    all.resize_and_overwrite(size + step, [](char*, std::size_t n) { return n; });
    auto const n = read_some(std::span(all).subspan(size));
    if (!n) return std::unexpected(n.error());
    size += *n;
    if (size > most) return too_large;
    if (*n == 0) {
      all.resize(size);
      return all;
    }
  }
}

std::optional<std::uint64_t> body_reader::length() const {
  if (stream_) return stream_->length();
  request_state const* const q = whole_->get();
  return q ? std::optional<std::uint64_t>(q->body.size()) : std::nullopt;
}

std::optional<std::string_view> body_reader::trailer(std::string_view name) const {
  if (stream_) return stream_->trailer(name);
  request_state const* const q = whole_->get();
  return q ? rt::find_field(q->trailers, name) : std::nullopt;
}

}  // namespace weft::http
