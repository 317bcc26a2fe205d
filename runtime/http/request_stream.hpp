// The body of a request as its handler reads it: what is behind http::body_reader.
//
//   1. The header is parsed, and the route's handler wants to read: exchange (connection.cpp) makes a stream and calls the handler.
//   2. read_some() hands out what has been parsed (`window_`), else parses what has been read (`in_`), else reads. A body with a
//      length is read straight into the reader's buffer. So memory is bounded by the input buffer, however long the body.
//   3. Who has asked to be told to go on (Expect: 100-continue) is told when the handler first has to wait for the body. A handler
//      that answers first has decided against the body: nothing is said but the answer.
//   4. Behind the response the rest is read and dropped up to `most_dropped`, so that the connection can go on. Where that is
//      known to be too much, or nobody can know whether a body comes (3), the response says Connection: close, and the
//      connection ends in stages (exchange::linger).
//   5. Before that, when the handler has returned, and the callback of a streamed response has, the stream is detached: readers that
//      outlived them say errc::closed, in whatever task, and from there on only the connection's task reads.
//
// It owns what the parser writes to: a handler may move its request away, and then that is gone while the rest is dropped.
// Threads: as body_reader says, one task at a time, and only while the handler runs. So there is nothing to lock; only whether
// it is detached may be asked at any time.
#pragma once

#include "runtime/http/input.hpp"
#include "runtime/http/parser.hpp"
#include "runtime/http/text.hpp"

#include <weft/error.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::rt {

class request_stream {
 public:
  static constexpr std::uint64_t most_dropped = 256 * 1024;

  /// `parser` stands behind the header, and may have refused a body over the limit for memory: `most` is the one that counts here.
  request_stream(http_connection& c, http_workspace& w, input& in, request_parser& parser, std::uint64_t most);

  // For the handler.
  [[nodiscard]] result<std::size_t> read_some(std::span<char> to);
  [[nodiscard]] std::optional<std::uint64_t> length() const noexcept { return length_; }
  [[nodiscard]] std::optional<std::string_view> trailer(std::string_view name) const noexcept;

  // For the connection.
  /// The status that says what is wrong with the body; 0: nothing so far.
  [[nodiscard]] int fault() const noexcept { return fault_; }
  [[nodiscard]] bool at_end() const noexcept { return parser_.done(); }
  /// The handler has answered. True: the connection may go on behind the response, if drop_rest() succeeds then.
  [[nodiscard]] bool begin_response() noexcept;
  /// Step 4. False: the connection is at its end.
  [[nodiscard]] bool drop_rest();
  void detach() noexcept { attached_.store(false, std::memory_order_release); }  // pairs with read_some's acquire

 private:
  result<std::size_t> read(std::span<char> to);
  result<std::size_t> wait_for_more(std::span<char> to);
  std::size_t take(std::span<char> to) noexcept;
  void come_to_end() noexcept;
  [[nodiscard]] std::error_code error() const noexcept;

  http_connection& c_;
  http_workspace& w_;
  input& in_;
  request_parser& parser_;
  std::optional<std::uint64_t> const length_;
  std::string window_;  // parsed; from taken_ on not read yet
  std::size_t taken_ = 0;
  text_arena text_;
  std::vector<text_pair> trailers_;
  std::error_code failure_;  // of the connection
  int fault_ = 0;
  bool invite_;  // 3: nothing of the body has come, and the client waits to be told
  bool responding_ = false;
  std::atomic<bool> attached_{true};
};

}  // namespace weft::rt
