#include "runtime/http/open_file.hpp"

#include "runtime/base/check.hpp"
#include "runtime/http/state.hpp"

#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::rt {

descriptor::descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
descriptor& descriptor::operator=(descriptor other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

/// A name that may be served: not empty, not hidden; so neither "." nor "..".
bool is_served(std::string_view name) noexcept { return !name.empty() && name.front() != '.'; }

descriptor step(int folder, std::string_view name, int flags) {
  return descriptor(::openat(folder, std::string(name).c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
}

}  // namespace

std::variant<open_file, no_file> open_beneath(descriptor const& root, std::string_view path, std::string_view index) {
  descriptor folder(-1);
  int at = root.get();
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/')) {
    if (!is_served(path.substr(0, slash))) return no_file::absent;
    folder = step(at, path.substr(0, slash), O_PATH | O_DIRECTORY);
    if ((at = folder.get()) < 0) return no_file::absent;
    path.remove_prefix(slash + 1);
  }
  bool const of_folder = path.empty();
  std::string_view const name = of_folder ? index : path;
  if (!is_served(name)) return no_file::absent;
  // O_NONBLOCK: opening a pipe that nobody writes to would wait.
  open_file file{step(at, name, O_RDONLY | O_NONBLOCK | O_NOCTTY), 0, 0};
  struct stat what{};
  if (file.fd.get() < 0 || ::fstat(file.fd.get(), &what) != 0) return no_file::absent;
  if (S_ISDIR(what.st_mode) && !of_folder) return no_file::folder;
  if (!S_ISREG(what.st_mode)) return no_file::absent;
  file.size = static_cast<std::uint64_t>(what.st_size);
  file.modified_ns = std::int64_t{what.st_mtim.tv_sec} * 1'000'000'000 + what.st_mtim.tv_nsec;
  return file;
}

void file_part::operator()(http::body_writer&) const { WEFT_CHECK(false, "http: a file is sent by its connection"); }

file_part const* file_of(http::response const& r) noexcept {
  auto const& writer = http_access::writer(r);
  return writer ? writer.target<file_part>() : nullptr;
}

}  // namespace weft::rt
