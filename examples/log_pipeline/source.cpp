#include "source.hpp"

#include <algorithm>
#include <cerrno>
#include <span>
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
  b.piece = within_line_;
  if (b.room.size() < begun_.size() + padding) b.room.resize(begun_.size() + padding);
  std::size_t have = begun_.size();
  std::ranges::copy(begun_, b.room.begin());
  for (std::size_t seen = 0;;) {  // so many bytes hold no line's end
    std::string_view const fresh(b.room.data() + seen, have - seen);
    std::size_t const end = b.piece ? fresh.find('\n') : fresh.rfind('\n');
    if (end != fresh.npos || (b.piece && have != 0)) {
      b.size = end != fresh.npos ? seen + end + 1 : have;
      break;
    }
    seen = have;
    std::size_t const most = b.room.size() - padding;
    if (have == most && most == longest_line) {
      b.piece = true;
      b.size = have;
      break;
    }
    if (have == most) {
      b.room.resize(std::min(2 * most, longest_line) + padding);
      continue;
    }
    auto const n = in_.read_some(std::span(b.room).subspan(have, most - have));
    if (!n) throw std::system_error(n.error(), "cannot read " + path_);
    have += *n;
    if (*n != 0) continue;
    if (have == 0 && !b.piece) return false;
    b.room[have++] = '\n';  // padding has room for it
    b.size = have;
    break;
  }
  begun_.assign(b.room.data() + b.size, have - b.size);
  within_line_ = b.piece && !b.text().ends_with('\n');
  ++blocks_;
  return true;
}

void line_source::end_line(block& b) {
  b.number = blocks_++;
  b.piece = true;
  b.room[0] = '\n';
  b.size = 1;
  within_line_ = false;
}

}  // namespace logs
