// What a request consists of, and the door to the private parts of the public types.
//
// A request_state is used again for request after request (http_workspace): clear() keeps the memory.
#pragma once

#include "runtime/http/text.hpp"

#include <weft/http/message.hpp>
#include <weft/http/router.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::rt {

/// Both parts stand in the arena of the request, or last longer.
struct text_pair {
  std::string_view name;
  std::string_view value;
};

class request_stream;
struct request_state;

/// What the body_readers of a body in memory have of it. Its request may be another's when they are asked later.
class whole_body {
 public:
  explicit whole_body(request_state* of) noexcept : of_(of) {}
  /// Null: they have come too late.
  [[nodiscard]] request_state* get() const noexcept { return of_.load(std::memory_order_acquire); }
  void detach() noexcept { of_.store(nullptr, std::memory_order_release); }  // pairs with get()

 private:
  std::atomic<request_state*> of_;
};

struct request_state {
  request_state() = default;
  request_state(request_state const&) = delete;
  request_state& operator=(request_state const&) = delete;
  ~request_state() { detach_readers(); }

  text_arena text;
  std::string_view method;
  std::string_view target;             // as sent
  std::string_view scheme, authority;  // of a target in absolute form
  std::string_view raw_path;           // of target, still encoded
  std::string_view path;               // decoded
  std::string_view raw_query;          // of target, without '?'
  std::vector<text_pair> fields;
  std::vector<text_pair> params;  // names point into the route
  std::vector<text_pair> query;   // of raw_query, once query_split
  bool query_split = false;
  bool received = false;  // by a server, with a target in absolute form: a client can pass it on
  std::string body;
  std::size_t body_read = 0;                      // by body_reader, of `body`
  std::vector<text_pair> trailers;                // of a chunked body that was read whole
  std::shared_ptr<request_stream> stream;         // of a body that its handler reads
  std::shared_ptr<whole_body> whole;              // of `body`, once it has a body_reader
  std::function<void(http::body_writer&)> write;  // of a request to be sent: writes its body
  std::string allow;                              // the methods that the path has, if it has not this one

  void clear() noexcept;
  void detach_readers() noexcept {
    if (whole) std::exchange(whole, nullptr)->detach();
  }
  void copy_from(request_state const& other);
  [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const noexcept;
  /// Of one that was received: drops what its sender has said of the connection that it came by. Then it is like one that was made here.
  void leave_connection();
  /// Whether a Connection field has this option.
  [[nodiscard]] bool has_connection_option(std::string_view option) const noexcept;
  /// Finds path and query in `target`, in any of the forms of RFC 9112, 3.2. False: it is malformed.
  [[nodiscard]] bool split_target();
  void split_query();
};

/// Throws std::invalid_argument, in the name of `call`, if name or value cannot stand in a header.
void check_field(char const* call, std::string_view name, std::string_view value);

struct http_access {
  static http::request make_request() { return {}; }
  static request_state& state(http::request& q) { return *q.state_; }
  static request_state const& state(http::request const& q) { return *q.state_; }
  static request_state const* state_or_null(http::request const& q) noexcept { return q.state_.get(); }
  /// Behind a request, so that nothing of it stays: neither a large body nor a closure that a handler has put there.
  static void clear(http::request& q) noexcept {
    if (q.state_) q.state_->clear();
  }
  /// A request that a handler has moved away gets a new state.
  static request_state& renew(http::request& q) {
    if (!q.state_) q.state_ = std::make_unique<request_state>();
    return *q.state_;
  }

  /// All of it or nothing. name and value must not be views of the response's fields.
  static void add_field(http::response& r, std::string_view name, std::string_view value);
  static std::string_view fields(http::response const& r) noexcept { return r.fields_; }
  static std::string_view type(http::response const& r) noexcept { return r.type_; }
  static void set_type(http::response& r, std::string_view with_static_storage) noexcept {
    r.type_ = with_static_storage;
  }
  static bool wants_close(http::response const& r) noexcept { return r.close_; }
  static auto const& writer(http::response const& r) noexcept { return r.write_; }
  static void set_body(http::response& r, std::string body) noexcept { r.body_ = std::move(body); }
  static http::response make_response(int status) { return http::response(status); }
  /// It came from another server, with whatever fields that one has sent.
  static void set_received(http::response& r) noexcept { r.received_ = true; }
  static bool is_received(http::response const& r) noexcept { return r.received_; }
  /// Takes out of such a response, once, what was said of the connection that it came by, and of its length there.
  static void leave_connection(http::response& r);

  static std::shared_ptr<route_table> const& table(http::router const& r) noexcept { return r.table_; }
};

}  // namespace weft::rt
