// Writing to a connection: what is collected, large bodies, and bodies that a callback produces.
#pragma once

#include "runtime/http/connection.hpp"
#include "runtime/http/response_text.hpp"

#include <weft/http/message.hpp>

#include <string>
#include <string_view>

namespace weft::rt {

class request_stream;

/// Writes `out` and then `behind`, and empties `out`. In pieces, each of which counts as getting on. False: the client is gone.
[[nodiscard]] bool write_out(http_connection& c, std::string& out, std::string_view behind = {});

/// How streaming a body has ended: all of it is sent or in `out`; cut short, by either side; or the callback threw before
/// anything was sent, or its time was up before that, so that another response can take its place.
enum class streamed { whole, cut, unsent };

struct stream_end {
  streamed how;
  int status = 500;  // of the response in its place
};

/// Sends `out` (the header) and the body that the response's callback writes, which is cancelled at `until`, and may read the
/// request's `body`, if there is one.
[[nodiscard]] stream_end stream_body(http_connection& c, std::string& out, http::response const& r, body_form form,
                                     time_point until, request_stream const* body);

/// Behind http::body_writer: collects, makes chunks, and gives both to a connection of a server or a client.
class body_sink {
 public:
  /// Writes `out` and then `behind`, and empties `out`. False: the other side is gone.
  using target = bool (*)(void* to, std::string& out, std::string_view behind);
  body_sink(target how, void* to, std::string& out, bool chunked) noexcept
      : write_(how), to_(to), out_(out), chunked_(chunked) {}
  void write(std::string_view bytes);
  void flush();
  void finish();
  void trailer(std::string_view name, std::string_view value);
  [[nodiscard]] http::body_writer writer() noexcept { return http::body_writer(*this); }
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  [[nodiscard]] bool told() const noexcept { return told_; }
  [[nodiscard]] bool sent() const noexcept { return sent_; }

 private:
  static constexpr std::size_t chunk_size = 16 * 1024;
  void put(std::string_view bytes);
  void close_chunk();

  target write_;
  void* to_;
  std::string& out_;
  std::string chunk_;  // bytes that no chunk header stands before yet
  std::string trailers_;
  bool chunked_;
  bool broken_ = false;  // the other side is gone, or a write has been given up
  bool told_ = false;    // the callback has been told so
  bool sent_ = false;    // something has been written
};

}  // namespace weft::rt
