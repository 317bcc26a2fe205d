// Where lines go: a file for each service and one for what is malformed, in one folder.
#pragma once

#include "source.hpp"

#include <weft/net.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace logs {

/// Lines for one file are gathered into writes of this size.
inline constexpr std::size_t write_bytes = 64 * 1024;
/// And for so long at most while nothing else comes: who follows a log sees its last lines.
inline constexpr std::chrono::milliseconds longest_gathering{100};

/// A file being written by one task.
class output_file {
 public:
  output_file(std::string path, weft::net::fd_stream out) : path_(std::move(path)), out_(std::move(out)) {}
  /// Throws std::system_error that names the path.
  void write(std::string_view text);

 private:
  std::string path_;
  weft::net::fd_stream out_;
};

/// The folder of one run. The files that a run makes are named in a list there, `.log_pipeline`: what the next run may
/// remove.
class output_folder {
 public:
  /// Makes the folder. Throws std::runtime_error if it holds anything already, unless `overwrite`, which removes what
  /// the list names, or if that is the input; std::filesystem::filesystem_error.
  output_folder(std::filesystem::path path, bool overwrite, line_source const& input);

  /// Makes the file of a service. By one task at a time. Throws std::system_error that names the path, and
  /// std::runtime_error if there is a file already: nobody knows whose it is. A device or a pipe loses nothing and is
  /// written to.
  [[nodiscard]] output_file create(std::uint32_t service, std::string const& name);

  /// service.log, or rejected.lines for number 0.
  [[nodiscard]] std::filesystem::path file_of(std::uint32_t service, std::string const& name) const;

  /// Those of this run, by the time all tasks that create any have ended.
  [[nodiscard]] std::vector<std::filesystem::path> const& files() const noexcept { return files_; }

 private:
  void note(std::filesystem::path const& file) const;

  std::filesystem::path path_, list_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace logs
