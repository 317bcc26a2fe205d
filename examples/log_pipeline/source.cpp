#include "source.hpp"

#include <algorithm>
#include <cerrno>
#include <span>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace logs {

line_source::line_source(std::string const& path) : path_(path == "-" ? "standard input" : path) {
  int const fd = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "cannot read " + path_);
  struct stat is{};
  if (fstat(fd, &is) == 0 && S_ISREG(is.st_mode)) {
    device_ = is.st_dev, inode_ = is.st_ino;
    size_ = static_cast<std::uint64_t>(is.st_size);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  auto in = weft::net::fd_stream::adopt(fd);
  if (!in) throw std::system_error(in.error(), "cannot read " + path_);
  in_ = std::move(*in);
}

bool line_source::is(std::filesystem::path const& file) const {
  struct stat other{};
  return stat(file.c_str(), &other) == 0 && other.st_dev == device_ && other.st_ino == inode_;
}

bool line_source::fill(block& b) {
  b.number = blocks_;
  if (b.room.size() < begun_.size() + padding) b.room.resize(begun_.size() + padding);
  std::size_t have = begun_.size();
  std::ranges::copy(begun_, b.room.begin());
  for (;;) {
    std::size_t const most = b.room.size() - padding;
    if (have == most) {
      if (most >= longest_line) throw std::runtime_error(path_ + ": a line is longer than 16 MiB");
      b.room.resize(2 * most + padding);
      continue;
    }
    auto const n = in_.read_some(std::span(b.room).subspan(have, most - have));
    if (!n) throw std::system_error(n.error(), "cannot read " + path_);
    if (*n == 0) {
      begun_.clear();
      if (have == 0) return false;
      b.room[have++] = '\n';  // padding has room for it
      b.size = have;
      break;
    }
    // Only what is new can hold an end: what was there before is a line that has begun.
    std::string_view const fresh(b.room.data() + have, *n);
    std::size_t const end = fresh.rfind('\n');
    have += *n;
    if (end == fresh.npos) continue;
    b.size = have - *n + end + 1;
    begun_.assign(b.room.data() + b.size, have - b.size);
    break;
  }
  ++blocks_;
  return true;
}

}  // namespace logs
