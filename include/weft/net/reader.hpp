// A buffer in front of a stream, for protocols of lines and counted blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <weft/detail/countdown.hpp>
#include <weft/error.hpp>
#include <weft/net/buffer.hpp>

namespace weft::net {

/// Reads a stream S (anything with read_some) through a buffer. Refers to the stream, which must outlive it; to be used by one task
/// at a time. What it returns points into the buffer and is valid until the next call. Bytes that have been read ahead stay in the
/// reader: go on reading through it. Its calls are cancellation points, also where the buffer has what they want.
template <class S>
class reader {
 public:
  /// `buffer_size`: what it asks the stream for at once, at least 16; the buffer is made at the first read and grows for
  /// what does not fit. `longest_line`: read_line gives up beyond it.
  explicit reader(S& from, std::size_t buffer_size = 8192, std::size_t longest_line = 1024 * 1024)
      : from_(&from), start_size_(std::max<std::size_t>(buffer_size, 16)), longest_line_(longest_line) {}
  reader(reader&&) noexcept = default;
  reader& operator=(reader&&) noexcept = default;

  /// The next line without its "\n" or "\r\n"; a last line without either is a line, of which a "\r" at its end is cut too
  /// (half of a "\r\n", most likely); then nullopt. std::errc::message_size for
  /// a line longer than longest_line (nothing is lost: the bytes are still buffered). Else errors as read_some's.
  [[nodiscard]] result<std::optional<std::string_view>> read_line() {
    detail::countdown::cancellation_point();
    for (std::size_t looked = 0;;) {
      std::string_view const have = unread();
      if (std::size_t const end = have.find('\n', looked); end != have.npos) {
        if (end - (end != 0 && have[end - 1] == '\r') > longest_line_) return too_long();
        begin_ += end + 1;
        return without_return(have.substr(0, end));
      }
      if (!have.empty() && have.size() - 1 > longest_line_) return too_long();
      looked = have.size();
      auto const more = fill();
      if (!more) return std::unexpected(more.error());
      if (*more) continue;
      if (have.empty()) return std::nullopt;
      auto const last = without_return(unread());
      if (last->size() > longest_line_) return too_long();
      begin_ = end_;
      return last;
    }
  }

  /// The next n bytes. errc::eof if the stream ends before; what there was stays buffered. The buffer grows as the bytes come,
  /// so that a large n from a peer costs nothing before its bytes do.
  [[nodiscard]] result<std::string_view> read_exact(std::size_t n) {
    detail::countdown::cancellation_point();
    while (buffered() < n) {
      auto const more = fill();
      if (!more) return std::unexpected(more.error());
      if (!*more) return std::unexpected(make_error_code(errc::eof));
    }
    begin_ += n;
    return std::string_view(data_.get() + begin_ - n, n);
  }

  /// As the stream's, what is buffered first.
  [[nodiscard]] result<std::size_t> read_some(mutable_buffer to) {
    if (buffered() == 0) return from_->read_some(to);
    detail::countdown::cancellation_point();
    std::size_t const n = std::min(buffered(), to.bytes.size());
    if (n != 0) std::memcpy(to.bytes.data(), data_.get() + begin_, n);
    begin_ += n;
    return n;
  }

  /// Bytes that can be had without waiting.
  [[nodiscard]] std::size_t buffered() const noexcept { return end_ - begin_; }

 private:
  [[nodiscard]] std::string_view unread() const noexcept { return {data_.get() + begin_, buffered()}; }

  static std::optional<std::string_view> without_return(std::string_view line) noexcept {
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  static std::unexpected<std::error_code> too_long() noexcept {
    return std::unexpected(std::make_error_code(std::errc::message_size));
  }

  /// One read into the room behind what is unread; false at the end of the stream.
  [[nodiscard]] result<bool> fill() {
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == size_) make_room();
    auto const n = from_->read_some(std::span<char>(data_.get() + end_, size_ - end_));
    if (!n) return std::unexpected(n.error());
    end_ += *n;
    return *n != 0;
  }

  void make_room() {
    std::size_t const have = buffered();
    if (begin_ == 0) {
      std::size_t const size = size_ == 0 ? start_size_ : 2 * size_;
      auto larger = std::make_unique_for_overwrite<char[]>(size);
      if (have != 0) std::memcpy(larger.get(), data_.get(), have);
      data_ = std::move(larger);
      size_ = size;
    } else {
      std::memmove(data_.get(), data_.get() + begin_, have);
      begin_ = 0;
      end_ = have;
    }
  }

  S* from_;
  std::unique_ptr<char[]> data_;  // not touched before it is needed: idle connections stay small
  std::size_t size_ = 0;
  std::size_t begin_ = 0, end_ = 0;  // what is unread
  std::size_t start_size_;
  std::size_t longest_line_;
};

}  // namespace weft::net
