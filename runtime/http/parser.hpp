// Turning bytes into requests and responses, without any input or output: the caller feeds what it has.
//
// The grammar is Boost.Beast's basic_parser, fed from our own buffer; Beast's streams, containers and bodies are not used
// (its stream layer costs more than the system calls of a small request). What is decided here on top of it:
//   1. limits: of the target (414), of the header (431), of chunk headers and trailers (431), of the body (413);
//   2. what Beast lets pass and a server must not: no or several Host fields, Transfer-Encoding beside Content-Length or in
//      HTTP/1.0, codings other than chunked, targets and hosts that are none; a request that two programs in a row could split
//      differently is refused (request smuggling);
//   3. a body with Content-Length does not go through Beast: the caller may read straight into it.
// Trailers are checked and kept apart: merged into the header they could change what it means after it was checked.
#pragma once

#include "runtime/http/chunk_header.hpp"
#include "runtime/http/state.hpp"

#include <weft/http/message.hpp>

#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::rt {

struct parse_limits {
  std::size_t header = 64 * 1024;
  std::size_t body = 8 * 1024 * 1024;
  std::size_t target = 8 * 1024;
};

/// A body of known length that grows as it comes: a length that is merely announced costs nothing.
class counted_body {
 public:
  counted_body(std::string& into, std::uint64_t length) noexcept : into_(&into), left_(length) {}
  [[nodiscard]] bool complete() const noexcept { return left_ == 0; }
  /// Takes what belongs to the body from the front of `in`; says how much.
  std::size_t take(std::string_view in);
  [[nodiscard]] std::uint64_t left() const noexcept { return left_; }
  /// So much of it was read elsewhere.
  void skip(std::size_t n) noexcept { left_ -= n; }
  void append_to(std::string& into) noexcept { into_ = &into; }
  /// Room at the end of the body to read into; then commit() how much was read, before anything else.
  [[nodiscard]] std::span<char> room();
  void commit(std::size_t n);

 private:
  static constexpr std::size_t least_growth = 64 * 1024;
  std::string* into_;
  std::uint64_t left_;
  std::size_t size_ = 0;  // of the body, while room() has it longer
};

class request_parser final : private boost::beast::http::basic_parser<true> {
  using base = boost::beast::http::basic_parser<true>;

 public:
  /// For one request, into a cleared state, which must outlive it.
  request_parser(request_state& into, parse_limits const& limits);

  /// Takes what it can use from the front of `in` and says how much. What it left is to be given again, with more behind it.
  /// Stops behind the header, so that the caller can look at it, and behind the request.
  std::size_t feed(std::string_view in);

  [[nodiscard]] bool started() const noexcept { return base::got_some(); }
  [[nodiscard]] bool header_done() const noexcept { return header_done_; }
  [[nodiscard]] bool done() const noexcept;
  /// The status that the request is to be refused with, 0 if none so far. Nothing can be fed any more.
  [[nodiscard]] int refused() const noexcept { return refused_; }
  // From here on: only once header_done().
  [[nodiscard]] bool keep_alive() const noexcept { return keep_alive_; }
  [[nodiscard]] bool is_http11() const noexcept { return http11_; }
  [[nodiscard]] bool expects_continue() const noexcept { return expects_continue_; }
  [[nodiscard]] bool has_body() const { return by_length_ || (base::chunked() && !base::is_done()); }
  /// Behind the header, before any of the body: the body goes into `window`, which the caller empties as it likes, and trailers into
  /// `trailers`, their text into `text`. `most` is the limit of the body instead of that for bodies in memory, so a refusal with
  /// 413 is taken back if this one allows it.
  void stream_into(std::string& window, text_arena& text, std::vector<text_pair>& trailers, std::uint64_t most);
  /// Null unless the body has a Content-Length.
  [[nodiscard]] counted_body* body_by_length() noexcept { return by_length_ ? &body_ : nullptr; }

 private:
  using error_code = boost::system::error_code;
  using field = boost::beast::http::field;
  using view = boost::beast::string_view;

  void refuse(int status) noexcept { refused_ = status; }
  /// Of a request line with its return, whatever it consists of: 414 beyond. The sum may have gone round: SIZE_MAX is no limit.
  [[nodiscard]] std::size_t longest_line() const noexcept { return std::max(limits_.target, limits_.target + 64); }
  void check_header();
  [[nodiscard]] bool take_authority();
  void take_expectations(std::string_view list) noexcept;
  /// Whether what is not whole yet may become so: else nobody waits for more of it.
  [[nodiscard]] bool may_go_on(std::string_view unread) noexcept;
  [[nodiscard]] int status_of(error_code const& e, std::string_view unread) const noexcept;

  void on_request_impl(boost::beast::http::verb, view method, view target, int version, error_code&) override;
  void on_response_impl(int, view, int, error_code&) override {}
  void on_field_impl(field, view name, view value, error_code&) override;
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(view, error_code&) override;
  void on_chunk_header_impl(std::uint64_t size, view, error_code&) override;
  std::size_t on_chunk_body_impl(std::uint64_t, view body, error_code&) override;
  void on_finish_impl(error_code&) override {}

  request_state& into_;  // until the header is done
  parse_limits const& limits_;
  std::string* body_text_;  // where a body goes, and trailers
  text_arena* text_;
  std::vector<text_pair>* trailers_;
  counted_body body_;
  std::size_t header_size_ = 0;  // taken so far
  std::size_t looked_ = 0;       // of what is unread: may_go_on has been told of it
  int refused_ = 0;
  bool line_done_ = false;  // the request line has been taken
  bool header_done_ = false;
  bool chunk_header_ = false;  // one has just been taken
  bool chunk_seen_ = false;
  std::uint64_t chunk_left_ = 0;  // of its data
  extension_excess extensions_;
  bool http11_ = false;
  bool keep_alive_ = false;
  bool asks_to_close_ = false, asks_to_keep_ = false;  // options of the Connection fields
  bool by_length_ = false;
  bool expects_continue_ = false;
  bool bad_expectation_ = false;
  std::uint8_t hosts_ = 0;
  std::string_view host_;      // of the last Host field
  std::uint8_t codings_ = 0;   // Transfer-Encoding fields
  bool only_chunked_ = false;  // the one Transfer-Encoding is "chunked"
  bool last_chunked_ = false;
};

/// Of those that a client may follow.
[[nodiscard]] bool is_redirection(int status) noexcept;

class response_parser final : private boost::beast::http::basic_parser<false> {
  using base = boost::beast::http::basic_parser<false>;

 public:
  enum class outcome { more, done, malformed, too_large };

  using body_taker = std::function<void(std::string_view piece)>;
  static constexpr std::uint64_t most_dropped = 256 * 1024;

  /// For one response. `to_head`: it answers a HEAD request, and has no body whatever its header says. `taker`, if there is one, is
  /// given the body, which is collected otherwise. `follows`: a redirection that says where to is followed, and nobody wants its body.
  /// That is dropped, and counts as done when it has gone on for too long: the connection is good for nothing else then.
  response_parser(parse_limits const& limits, bool to_head, body_taker const* taker = nullptr, bool follows = false);

  /// As request_parser's, but does not stop behind the header.
  std::size_t feed(std::string_view in);
  /// The stream has ended.
  void end();

  [[nodiscard]] outcome state() const noexcept { return outcome_; }
  [[nodiscard]] bool started() const noexcept { return base::got_some(); }
  /// Nor behind a Transfer-Encoding of HTTP/1.0, which does not know it: where that response ends is a guess (RFC 9112, 6.1).
  [[nodiscard]] bool keep_alive() const {
    return base::keep_alive() && !cut_ && !says_close_ && (http11_ || (says_keep_ && !coded_));
  }
  [[nodiscard]] bool interim() const noexcept { return status_ / 100 == 1; }     // 1xx: another response follows
  [[nodiscard]] bool other_protocol() const noexcept { return status_ == 101; }  // but not that behind 101
  [[nodiscard]] http::response take();

 private:
  using error_code = boost::system::error_code;
  using field = boost::beast::http::field;
  using view = boost::beast::string_view;

  std::size_t put(std::string_view s, error_code& e);
  std::size_t put_as_known(std::string_view rest, error_code& e);
  void settle(error_code const& e);
  [[nodiscard]] bool may_go_on(std::string_view unread) noexcept;  // as request_parser's

  void on_request_impl(boost::beast::http::verb, view, view, int, error_code&) override {}
  void on_response_impl(int status, view, int, error_code&) override;
  void on_field_impl(field, view name, view value, error_code&) override;
  void on_header_impl(error_code&) override;
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(view body, error_code&) override;
  void on_chunk_header_impl(std::uint64_t size, view extensions, error_code&) override;
  std::size_t on_chunk_body_impl(std::uint64_t, view body, error_code&) override;
  void on_finish_impl(error_code&) override {}

  void add_to_body(view piece);
  [[nodiscard]] bool may_have_body() const noexcept {
    return !to_head_ && status_ >= 200 && status_ != 204 && status_ != 304;
  }

  parse_limits const& limits_;
  body_taker const* taker_;
  bool const to_head_;
  bool const follows_;
  outcome outcome_ = outcome::more;
  int status_ = 0;
  std::size_t header_size_ = 0;
  std::size_t looked_ = 0;  // as request_parser's
  bool header_done_ = false;
  bool http11_ = false;
  bool says_close_ = false, says_keep_ = false;  // options of the Connection fields
  bool coded_ = false;                           // has a Transfer-Encoding
  bool located_ = false;                         // has a Location
  bool drops_ = false;                           // the body
  bool cut_ = false;                             // and has given it up
  std::uint64_t dropped_ = 0;
  bool chunk_header_ = false;  // one has just been taken
  bool chunk_seen_ = false;
  std::uint64_t chunk_left_ = 0;  // of its data
  extension_excess extensions_;
  std::vector<std::pair<std::string, std::string>> fields_;
  std::string body_;
};

}  // namespace weft::rt
