// Where lines come from: a file or standard input, read into blocks that end with a line's end.
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

  /// Fills `b` with whole lines; false: the input has ended. A last line without an end gets one. Waits; a cancellation point.
  /// Throws std::system_error if the input cannot be read, std::runtime_error if a line is longer than longest_line.
  [[nodiscard]] bool fill(block& b);

  /// Whether it is this file, whatever the names.
  [[nodiscard]] bool is(std::filesystem::path const& file) const;

  /// Bytes of a regular file; 0 if that is not known.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  std::string path_;
  weft::net::fd_stream in_;
  std::uint64_t size_ = 0, blocks_ = 0;
  std::uint64_t device_ = 0, inode_ = 0;
  std::string begun_;  // the line that the last block ended in
};

}  // namespace logs
