#include "output.hpp"

#include "event.hpp"

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace logs {

namespace fs = std::filesystem;

namespace {

/// Whether a line of the list is a name that create() gives: whatever else may stand there is no reason to remove
/// anything.
bool is_output(std::string const& name) {
  if (name == "rejected.lines") return true;
  return name.ends_with(".log") && is_service_name(std::string_view(name).substr(0, name.size() - 4));
}

}  // namespace

output_folder::output_folder(fs::path path, bool overwrite, line_source const& input)
    : path_(std::move(path)), list_(path_ / ".log_pipeline") {
  fs::create_directories(path_);
  if (fs::is_empty(path_)) return;
  if (!overwrite) throw std::runtime_error(path_.string() + " is not empty: see --overwrite");
  if (!fs::exists(list_)) return;
  std::vector<fs::path> old;
  std::ifstream list(list_);
  for (std::string name; std::getline(list, name);) {
    if (is_output(name) && fs::is_regular_file(fs::symlink_status(path_ / name))) old.push_back(path_ / name);
  }
  old.push_back(list_);  // last: until then it names what is still there
  for (auto const& file : old) {
    if (input.is(file)) throw std::runtime_error(file.string() + " is the input, which --overwrite would remove");
  }
  for (auto const& file : old) fs::remove(file);
}

fs::path output_folder::file_of(std::uint32_t service, std::string const& name) const {
  return path_ / (name + (service == 0 ? ".lines" : ".log"));
}

output_file output_folder::create(std::uint32_t service, std::string const& name) {
  fs::path const path = file_of(service, name);
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd >= 0) {
    try {
      note(path);
    } catch (...) {  // the list does not name it: the next run would take it for someone else's
      ::close(fd);
      ::unlink(path.c_str());
      throw;
    }
  } else if (errno == EEXIST) {
    std::error_code none;
    if (!fs::is_other(fs::status(path, none)))
      throw std::runtime_error("cannot write " + path.string() +
                               ": it is there, and not in the list of an earlier run");
    fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  }
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot write " + path.string());
  auto out = weft::net::fd_stream::adopt(fd);
  if (!out) throw std::system_error(out.error(), "cannot write " + path.string());
  files_.push_back(path);
  return {path.string(), std::move(*out)};
}

/// After the file: what the list names was never someone else's, whenever this process is killed.
void output_folder::note(fs::path const& file) const {
  std::ofstream list(list_, std::ios::app);
  list << file.filename().string() << '\n' << std::flush;
  if (!list) throw std::system_error(errno, std::generic_category(), "cannot write " + list_.string());
}

void output_file::write(std::string_view text) {
  if (auto const done = out_.write_all(text); !done) throw std::system_error(done.error(), "cannot write " + path_);
}

}  // namespace logs
