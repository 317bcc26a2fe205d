// Where lines come from: a file or standard input, read into blocks that end with a line's end. A line that is too long
// makes blocks of its own, one for each piece, so that it needs no more memory than others.
#pragma once

#include "block.hpp"

#include <weft/net.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace logs {

class line_source {
 public:
  /// A path, or "-" for standard input. Throws std::system_error that names the path.
  explicit line_source(std::string const& path);

  /// Fills `b` with whole lines or a piece; false: the input has ended. A last line without an end gets one. Waits; a
  /// cancellation point. Throws std::system_error if the input cannot be read.
  [[nodiscard]] bool fill(block& b);

  /// Whether the last block was a piece without its end. Who reads no further must send this end on.
  [[nodiscard]] bool within_line() const noexcept { return within_line_; }
  void end_line(block& b);

  /// Whether it is this file, whatever the names.
  [[nodiscard]] bool is(std::filesystem::path const& file) const;

  /// Bytes of a regular file; 0 if that is not known.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  std::string path_;
  weft::net::fd_stream in_;
  std::uint64_t size_ = 0, blocks_ = 0;
  std::uint64_t device_ = 0, inode_ = 0;
  std::string
      begun_;  // what has been read and not been given: a line that has begun, or all that came behind a last piece
  bool within_line_ = false;
};

}  // namespace logs
