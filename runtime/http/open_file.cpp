#include "runtime/http/open_file.hpp"

#include "runtime/base/check.hpp"
#include "runtime/http/state.hpp"

#include <cerrno>
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

/// What comes of errno.
no_file judge(int error) noexcept {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EACCES:
    case ENAMETOOLONG:
    case ENXIO: return no_file::absent;
    case EMFILE:
    case ENFILE:
    case ENOMEM: return no_file::unavailable;
    default: return no_file::failed;
  }
}

descriptor step(int folder, std::string const& name, int flags, int& error) {
  descriptor opened(::openat(folder, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  error = opened.get() < 0 ? errno : 0;
  return opened;
}

}  // namespace

std::variant<open_file, no_file> open_beneath(descriptor const& root, std::string_view path, std::string_view index) {
  descriptor folder(-1);
  int at = root.get(), error = 0;
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/')) {
    if (!is_served(path.substr(0, slash))) return no_file::absent;
    folder = step(at, std::string(path.substr(0, slash)), O_PATH | O_DIRECTORY, error);
    if ((at = folder.get()) < 0) return judge(error);
    path.remove_prefix(slash + 1);
  }
  bool const of_folder = path.empty();
  std::string_view const name = of_folder ? index : path;
  if (!is_served(name)) return no_file::absent;
  // Looked at before it is opened: that is an act of its own for a pipe, whose writer would find a reader who goes away, and for a device.
  struct stat what{};
  auto const served = [&] { return S_ISREG(what.st_mode); };
  std::string const one(name);
  if (::fstatat(at, one.c_str(), &what, AT_SYMLINK_NOFOLLOW) != 0) return judge(errno);
  if (S_ISDIR(what.st_mode) && !of_folder) return no_file::folder;
  if (!served()) return no_file::absent;
  // O_NONBLOCK and another look: it may have been replaced, and opening a pipe that nobody writes to would wait.
  open_file file{step(at, one, O_RDONLY | O_NONBLOCK | O_NOCTTY, error), 0, 0, 0};
  if (file.fd.get() < 0) return judge(error);
  if (::fstat(file.fd.get(), &what) != 0) return judge(errno);
  if (!served()) return no_file::absent;
  file.size = static_cast<std::uint64_t>(what.st_size);
  file.modified = what.st_mtim.tv_sec;
  file.modified_ns = static_cast<std::uint32_t>(what.st_mtim.tv_nsec);
  return file;
}

void file_part::operator()(http::body_writer&) const { WEFT_CHECK(false, "http: a file is sent by its connection"); }

file_part const* file_of(http::response const& r) noexcept {
  auto const& writer = http_access::writer(r);
  return writer ? writer.target<file_part>() : nullptr;
}

}  // namespace weft::rt
