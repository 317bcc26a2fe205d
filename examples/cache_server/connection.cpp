#include "connection.hpp"

#include "protocol.hpp"

#include <weft/defer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace cache {

namespace {

constexpr std::size_t usual = 8 * 1024;     // of both buffers; what a large command has taken is given back
constexpr std::size_t enough = 256 * 1024;  // answers are sent at this size, whatever else has come

/// Bytes that have come and are not understood yet.
class input {
 public:
  [[nodiscard]] std::string_view unread() const noexcept { return {data_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t n) noexcept { begin_ += n; }

  /// One read. 0: the client has gone. What was unread may have moved.
  weft::result<std::size_t> fill(weft::net::tcp_stream& from) {
    std::size_t const have = end_ - begin_;
    if (have == 0 && size_ > usual) {
      data_ = std::make_unique_for_overwrite<char[]>(usual);
      size_ = usual;
    } else if (size_ - end_ < usual / 4 && (have > size_ / 2 || size_ == 0)) {
      std::size_t const size = std::max(usual, 2 * size_);
      auto larger = std::make_unique_for_overwrite<char[]>(size);
      if (have != 0) std::memcpy(larger.get(), data_.get() + begin_, have);
      data_ = std::move(larger);
      size_ = size;
    } else if (have != 0 && begin_ != 0 && size_ - end_ < size_ / 2) {
      std::memmove(data_.get(), data_.get() + begin_, have);
    } else if (have != 0) {
      auto const n = from.read_some(std::span(data_.get() + end_, size_ - end_));
      end_ += n.value_or(0);
      return n;
    }
    begin_ = 0;
    end_ = have;
    auto const n = from.read_some(std::span(data_.get() + end_, size_ - end_));
    end_ += n.value_or(0);
    return n;
  }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0, begin_ = 0, end_ = 0;
};

bool send(session& s, weft::net::tcp_stream& stream) {
  std::string& out = s.out.bytes();
  bool const sent = out.empty() || stream.write_all(out).has_value();
  if (out.capacity() > 4 * usual) out = std::string();
  else out.clear();
  return sent;
}

}  // namespace

void serve_client(server_state& server, weft::net::tcp_stream& stream) {
  session s(server);
  s.id = server.connections.fetch_add(1, std::memory_order_relaxed) + 1;
  server.connected.fetch_add(1, std::memory_order_relaxed);
  weft::defer const gone([&] {
    s.flush_counts();
    server.connected.fetch_sub(1, std::memory_order_relaxed);
  });
  input in;
  command_parser parser;
  while (!s.closing) {
    if (in.fill(stream).value_or(0) == 0) return;  // it has gone, or the connection has broken
    s.now = wall_clock();
    for (bool more = true; more && !s.closing;) {
      switch (parser.next(in.unread())) {
        case command_parser::status::incomplete: more = false; break;
        case command_parser::status::error:
          s.out.error("ERR " + parser.error());
          s.closing = true;
          break;
        case command_parser::status::command:
          if (!parser.args().empty()) execute(s, parser.args());
          in.consume(parser.consumed());
          if (s.out.bytes().size() >= enough && !send(s, stream)) return;
          break;
      }
    }
    s.flush_counts();
    if (!send(s, stream)) return;
  }
}

}  // namespace cache
