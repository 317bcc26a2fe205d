// What has been read from a connection and not been parsed: in the connection's small buffer, and for what does not fit there
// in the workspace's.
#pragma once

#include "runtime/http/connection.hpp"
#include "runtime/http/workspace.hpp"

#include <weft/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

namespace weft::rt {

class input {
 public:
  static constexpr std::size_t first_large_buffer = 16 * 1024;

  input(http_workspace& w, std::span<char> small, std::size_t n) noexcept
      : w_(w), data_(small.data()), size_(small.size()), end_(n) {}

  [[nodiscard]] std::string_view unread() const noexcept { return {data_ + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  void consume(std::size_t n) noexcept { begin_ += n; }

  /// Room behind what is unread.
  [[nodiscard]] std::span<char> room() {
    if (empty()) begin_ = end_ = 0;
    if (end_ == size_) make_room();
    return {data_ + end_, size_ - end_};
  }
  void add(std::size_t n) noexcept { end_ += n; }

 private:
  void make_room() {
    std::size_t const have = end_ - begin_;
    if (data_ == w_.in.get()) {
      if (begin_ != 0) std::memmove(data_, data_ + begin_, have);
      else w_.grow_in(2 * size_, have);
    } else {
      w_.grow_in(std::max(first_large_buffer, 2 * size_), 0);
      std::memcpy(w_.in.get(), data_ + begin_, have);
    }
    data_ = w_.in.get();
    size_ = w_.in_size;
    begin_ = 0;
    end_ = have;
  }

  http_workspace& w_;
  char* data_;
  std::size_t size_;
  std::size_t begin_ = 0;
  std::size_t end_;
};

/// As read_some, but past a deadline that was not meant for what the connection is doing.
[[nodiscard]] inline result<std::size_t> read_within(http_connection& c, std::span<char> to) {
  for (;;) {
    auto n = c.stream.read_some(to);
    if (n || n.error() != std::errc::timed_out || c.is_expired()) return n;
    c.stream.set_read_deadline(time_point::max());
  }
}

}  // namespace weft::rt
