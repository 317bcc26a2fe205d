// Requests and responses, as handlers see them and as the client sends and gets them.
//
// A request keeps its text in one arena: every string_view that it gives out stays valid until the request is
// destroyed, also after header(name, value) has added to it. A server's request lives as long as its handler runs.
#pragma once

#include <weft/error.hpp>
#include <weft/http/errc.hpp>
#include <weft/net/buffer.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace weft::rt {
struct request_state;
struct http_access;
class body_sink;
class request_stream;
class whole_body;
}  // namespace weft::rt

namespace weft::http {

/// Thrown by a handler: the response has this status, which is one of 300 to 599; any other is answered with 500. The text is the
/// response's body if the status is below 500, and a line on stderr otherwise.
struct error : std::runtime_error {
  error(int status, std::string const& what) : std::runtime_error(what), status_(status) {}
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

class body_writer;

/// A request's body as it comes: what a handler with two parameters gets, before any of it has been read.
///
///   routes.post("/upload/{name}", [](http::request& q, http::body_reader& body) {
///     std::vector<char> some(64 * 1024);
///     while (std::size_t const n = body.read_some(some).value()) keep(q.param("name"), std::span(some).first(n));
///   });
///
/// net::copy(body, stream) works too. A handle: copies read the same body. Good while the handler runs, and the callback of a streamed response that it returns; from one
/// task at a time. Later calls say weft::errc::closed.
class body_reader {
 public:
  /// Waits for at least one byte, and says how many there were; 0: the end (or a buffer without room). A cancellation
  /// point. Who expects 100-continue is told to go on by the first call, if that comes before the response has begun.
  /// Errors: http::errc::bad_request (chunks that are none), http::errc::request_too_large, std::errc::timed_out (nothing for
  /// server_options::idle_timeout), weft::errc::eof (the client ended before its body did), or the connection's. After
  /// any of them the connection is closed behind the response; a handler that throws then answers with 400, 413 or 408.
  [[nodiscard]] result<std::size_t> read_some(net::mutable_buffer to);
  /// All that is left, if it is no more than `most` bytes: http::errc::request_too_large otherwise. A handler that throws that (as
  /// `.value()` does) answers with 413.
  [[nodiscard]] result<std::string> read_all(std::size_t most);
  /// The body's length, if it was announced by Content-Length. Does not wait.
  [[nodiscard]] std::optional<std::uint64_t> length() const;
  /// The first trailer field of that name, once the end has been read; good until the request is destroyed. Nobody has checked
  /// what trailers say.
  [[nodiscard]] std::optional<std::string_view> trailer(std::string_view name) const;

 private:
  friend class request;
  body_reader(std::shared_ptr<rt::whole_body> whole, std::shared_ptr<rt::request_stream> stream)
      : whole_(std::move(whole)), stream_(std::move(stream)) {}
  std::shared_ptr<rt::whole_body> whole_;  // without a stream
  std::shared_ptr<rt::request_stream> stream_;
};

class request {
 public:
  /// A request to be sent by a client: `url` with scheme and host ("http://127.0.0.1:8080/hello?x=1").
  request(std::string_view method, std::string_view url, std::string body = {});
  /// The same with a body that `write` produces while it is sent, in chunks. It may be called again for a redirection (308, 307) or not
  /// at all. What it throws comes out of the client's call. Where a task makes that call, `write` runs in another, beside the response's
  /// sink, and is cancelled if the response is whole before the request.
  template <std::invocable<body_writer&> F>
  request(std::string_view method, std::string_view url, F&& write) : request(method, url) {
    stream(std::forward<F>(write));
  }
  request(request const&);
  request(request&&) noexcept;
  request& operator=(request const&);
  request& operator=(request&&) noexcept;
  ~request();

  [[nodiscard]] std::string_view method() const;
  /// The path without the query, percent-decoded. Empty segments and a slash at the end are kept.
  [[nodiscard]] std::string_view path() const;
  /// The request target as it was sent.
  [[nodiscard]] std::string_view target() const;
  /// The first field of that name (names are compared without regard to case).
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  /// Sets a field, in place of all of that name. Throws std::invalid_argument if name or value cannot stand in a header.
  request& header(std::string_view name, std::string_view value);
  /// The first query parameter of that name, with percent escapes and '+' decoded. One with an escape that is none, or of a null byte,
  /// is given as it was sent, with nothing decoded: in C's strings it would end there, and be another one than was checked.
  [[nodiscard]] std::optional<std::string_view> query(std::string_view name) const;
  /// What the `{name}` of the route's pattern stood for, percent-decoded; empty if the pattern has no such name.
  [[nodiscard]] std::string_view param(std::string_view name) const;
  /// The whole body. Empty in a handler that takes a body_reader.
  [[nodiscard]] std::string body() const&;
  [[nodiscard]] std::string body() &&;  // moves it out
  /// The same without a copy, good as long as the request is there.
  [[nodiscard]] std::string_view body_view() const;
  /// Reads the body piece by piece: as it comes in a handler that takes a body_reader, else out of body().
  [[nodiscard]] body_reader reader();

 private:
  friend struct rt::http_access;
  request();
  void stream(std::function<void(body_writer&)> write);
  std::unique_ptr<rt::request_state> state_;
};

/// Where a streamed response, or a client's streamed request, writes. Valid while the callback runs, in its task.
class body_writer {
 public:
  /// Sends `bytes` as far as buffering asks for it: may park, and is a cancellation point in any case. Throws std::system_error if the other
  /// side is gone.
  void write(std::string_view bytes);
  /// Sends what is buffered. May park; throws likewise.
  void flush();
  /// A field to be sent behind the body, in chunks to HTTP/1.1; others do not get it. Throws std::invalid_argument if name or value
  /// cannot stand there. A header field Trailer that announces it is the caller's to set.
  void trailer(std::string_view name, std::string_view value);

 private:
  friend class rt::body_sink;
  explicit body_writer(rt::body_sink& sink) : sink_(&sink) {}
  rt::body_sink* sink_;
};

/// One that a client has received shows all fields of its server. A handler may return it: what they say of that connection (Connection
/// and what that lists, Keep-Alive, Transfer-Encoding, Upgrade ...) and of the length is left out then, or when a field is set (RFC 9110, 7.6.1).
class response {
 public:
  /// With a body and no Content-Type header, text/plain is sent (not with one that a client has received).
  response(int status, std::string body = {});
  /// A response whose body `write` produces while it is sent: in chunks to HTTP/1.1, else up to the end of the
  /// connection. An exception out of `write` cuts the connection, so that the client can tell.
  response(int status, std::string_view content_type, std::function<void(body_writer&)> write);

  [[nodiscard]] int status() const noexcept { return status_; }
  [[nodiscard]] std::string body() const& { return body_; }
  [[nodiscard]] std::string body() && noexcept { return std::move(body_); }  // moves it out
  /// The same without a copy, good as long as the response is there.
  [[nodiscard]] std::string_view body_view() const noexcept { return body_; }
  /// The first field of that name (compared without regard to case).
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  /// Sets a field, in place of all of that name. Throws std::invalid_argument if name or value cannot stand in a header,
  /// and for Content-Length and Transfer-Encoding, which the server writes. It writes Connection, too: of that the options `close` and
  /// `upgrade` (which 426 needs) are taken, and no others.
  response& header(std::string_view name, std::string_view value) &;
  response&& header(std::string_view name, std::string_view value) &&;
  /// Adds a field beside those of the same name (Set-Cookie). Throws likewise.
  response& add_header(std::string_view name, std::string_view value) &;
  response&& add_header(std::string_view name, std::string_view value) &&;

 private:
  friend struct rt::http_access;
  int status_;
  bool close_ = false;            // the handler asked for Connection: close
  bool received_ = false;         // by a client
  bool left_connection_ = false;  // and has no field any more that says something of the connection that it came by
  std::string_view type_;         // a Content-Type with static storage, used unless fields_ has one
  std::string body_;
  std::string fields_;  // "Name: value\r\n" each, as they go out
  std::function<void(body_writer&)> write_;
};

using handler = std::function<response(request&)>;

}  // namespace weft::http
