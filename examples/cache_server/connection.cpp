#include "connection.hpp"

#include "answers.hpp"
#include "protocol.hpp"

#include <weft/defer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace cache {

namespace {

constexpr std::size_t usual = 8 * 1024;               // of both buffers; what a large command has taken is given back
constexpr std::size_t enough = 256 * 1024;            // answers are sent at this size, whatever else has come
constexpr std::size_t most_held = 256 * 1024 * 1024;  // requests of a client that leaves answers::most unread

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
    } else if (have != 0 && begin_ >= have &&
               size_ - end_ < size_ / 2) {  // no byte is moved twice for one that is consumed
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

/// Carries out what has come, as long as there is room for answers.
class executor {
 public:
  executor(session& s, input& in, answers& to) : s_(s), in_(in), to_(to) {}

  /// False: the connection has broken.
  [[nodiscard]] bool run() {
    s_.now = wall_clock();
    held_ = to_.full();
    for (bool more = !held_; more && !s_.closing;) {
      switch (parser_.next(in_.unread())) {
        case command_parser::status::incomplete: more = false; break;
        case command_parser::status::error:
          s_.out.error("ERR " + parser_.error());
          s_.closing = true;
          break;
        case command_parser::status::command:
          if (!parser_.args().empty()) execute(s_, parser_.args());
          in_.consume(parser_.consumed());
          if (s_.out.bytes().size() < enough) break;
          if (!send()) return false;
          held_ = to_.full();
          more = !held_;
          break;
      }
    }
    s_.flush_counts();
    parser_.trim();
    return send();
  }
  /// Requests wait until the client has taken answers.
  [[nodiscard]] bool held() const noexcept { return held_; }

 private:
  bool send() {
    std::string& out = s_.out.bytes();
    bool const sent = to_.send(out);
    if (out.capacity() > 4 * usual) out = std::string();
    else out.clear();
    return sent;
  }

  session& s_;
  input& in_;
  answers& to_;
  command_parser parser_;
  bool held_ = false;
};

}  // namespace

void serve_client(server_state& server, weft::net::tcp_stream& stream) {
  session s(server);
  s.id = server.last_id.fetch_add(1, std::memory_order_relaxed) + 1;
  server.connections.fetch_add(1, std::memory_order_relaxed);
  server.connected.fetch_add(1, std::memory_order_relaxed);
  weft::defer const gone([&] {
    s.flush_counts();
    server.connected.fetch_sub(1, std::memory_order_relaxed);
  });
  input in;
  answers to(stream);
  executor work(s, in, to);
  while (!s.closing) {
    auto const n = in.fill(stream);
    if (!n && n.error() == std::errc::timed_out) stream.set_read_deadline(weft::time_point::max());  // room for answers
    else if (n.value_or(0) == 0) break;  // it has gone, or sends no more, or the connection has broken
    if (!work.run()) return;
    if (!work.held() || in.unread().size() <= most_held) continue;
    std::cerr << "cache_server: client " << s.id << " sends requests and reads no answers: its connection is closed\n";
    return;
  }
  for (; work.held() && !s.closing; to.wait()) {
    if (!work.run()) return;
  }
  to.wait();
}

}  // namespace cache
