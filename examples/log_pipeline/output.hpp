// Where lines go: a file for each service and one for what is malformed, in one folder.
#pragma once

#include <weft/net.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace logs {

/// Lines for one file are gathered into writes of this size.
inline constexpr std::size_t write_bytes = 64 * 1024;

/// Makes the folder. Throws std::runtime_error if it holds anything already, unless `overwrite`, which removes what an earlier
/// run has left there; std::filesystem::filesystem_error.
void prepare(std::filesystem::path const& folder, bool overwrite);

/// service.log, or rejected.lines for number 0.
[[nodiscard]] std::filesystem::path file_of(std::filesystem::path const& folder, std::uint32_t service,
                                            std::string const& name);

/// A file being written by one task.
class output_file {
 public:
  /// Throws std::system_error that names the path, as write does.
  explicit output_file(std::filesystem::path path);
  void write(std::string_view text);

 private:
  std::string path_;
  weft::net::fd_stream out_;
};

}  // namespace logs
