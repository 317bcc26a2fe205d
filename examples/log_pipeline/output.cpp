#include "output.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>

namespace logs {

namespace fs = std::filesystem;

void prepare(fs::path const& folder, bool overwrite) {
  fs::create_directories(folder);
  std::vector<fs::path> old;
  for (auto const& entry : fs::directory_iterator(folder)) {
    auto const ending = entry.path().extension();
    if (!overwrite) throw std::runtime_error(folder.string() + " is not empty: see --overwrite");
    if (entry.is_regular_file() && (ending == ".log" || ending == ".lines")) old.push_back(entry.path());
  }
  for (auto const& path : old) fs::remove(path);
}

fs::path file_of(fs::path const& folder, std::uint32_t service, std::string const& name) {
  return folder / (name + (service == 0 ? ".lines" : ".log"));
}

output_file::output_file(fs::path path) : path_(std::move(path)) {
  int const fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot write " + path_);
  auto out = weft::net::fd_stream::adopt(fd);
  if (!out) throw std::system_error(out.error(), "cannot write " + path_);
  out_ = std::move(*out);
}

void output_file::write(std::string_view text) {
  if (auto const done = out_.write_all(text); !done) throw std::system_error(done.error(), "cannot write " + path_);
}

}  // namespace logs
