// What has been read from a connection and not been parsed: at first in the thread's scratch (runtime/net/scratch.hpp), then in the
// workspace.
#pragma once

#include "runtime/http/connection.hpp"
#include "runtime/http/workspace.hpp"
#include "runtime/net/scratch.hpp"

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

  input(http_workspace& w, std::span<char> scratch) noexcept
      : w_(w), data_(scratch.data()), size_(scratch.size()), end_(scratch.size()) {}
  ~input() {
    if (in_scratch_) done_with_scratch({data_, size_});
  }
  input(input const&) = delete;
  input& operator=(input const&) = delete;

  [[nodiscard]] std::string_view unread() const noexcept { return {data_ + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  void consume(std::size_t n) noexcept { begin_ += n; }

  /// Before the task may wait, or anything of the user's runs: what is unread moves from the scratch into the workspace.
  void leave_scratch() {
    if (!in_scratch_) return;
    std::size_t const have = end_ - begin_;
    if (have != 0) {
      static_assert(scratch_size <= first_large_buffer);
      w_.grow_in(first_large_buffer, 0);
      std::memcpy(w_.in.get(), data_ + begin_, have);
    }
    in_scratch_ = false;
    done_with_scratch({data_, size_});
    data_ = w_.in.get();
    size_ = w_.in_size;
    begin_ = 0;
    end_ = have;
  }

  /// Room behind what is unread, once it has left the scratch.
  [[nodiscard]] std::span<char> room() {
    if (empty()) begin_ = end_ = 0;
    if (end_ == size_) make_room();
    return {data_ + end_, size_ - end_};
  }
  void add(std::size_t n) noexcept { end_ += n; }

 private:
  void make_room() {
    std::size_t const have = end_ - begin_;
    if (begin_ != 0) std::memmove(data_, data_ + begin_, have);
    else w_.grow_in(std::max(first_large_buffer, 2 * size_), have);
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
  bool in_scratch_ = true;
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
