#include "snapshot_lock.hpp"

#include <weft/task.hpp>

#include <cerrno>
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cache {

namespace {

using std::chrono::milliseconds, std::chrono::seconds;

constexpr auto patience = seconds(5);            // with a server that does not say that it ends
constexpr std::string_view ending = "ending, ";  // as long as "process "

/// What the owner has written, a line.
std::string said_by_owner(int fd) {
  char text[64];
  ssize_t const n = ::pread(fd, text, sizeof text, 0);
  std::string_view const all(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  return std::string(all.substr(0, all.find('\n')));
}

bool is_named(int fd, std::string const& path) {
  struct stat mine{}, named{};
  return ::fstat(fd, &mine) == 0 && ::stat(path.c_str(), &named) == 0 && mine.st_dev == named.st_dev &&
         mine.st_ino == named.st_ino;
}

void say(int fd, std::string_view what) noexcept {
  // Others do without it: a full disk is no reason not to serve.
  if (::pwrite(fd, what.data(), what.size(), 0) < 0) return;
}

}  // namespace

snapshot_lock::snapshot_lock(std::filesystem::path const& file) : path_(file.string() + ".lock") {
  if (!try_own()) wait(file);
  if (::ftruncate(fd_.n, 0) == 0) say(fd_.n, "process " + std::to_string(::getpid()) + '\n');
}

snapshot_lock::~snapshot_lock() {
  if (is_named(fd_.n, path_)) ::unlink(path_.c_str());
}

void snapshot_lock::ends() noexcept { say(fd_.n, ending); }

/// False: another has it, and fd_ is the file in which it says who it is.
bool snapshot_lock::try_own() {
  for (;;) {
    // A link that somebody has put there is not followed: the file is written to.
    int const fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) throw std::runtime_error(path_ + " cannot be written: " + std::generic_category().message(errno));
    fd_.reset(fd);
    if (::flock(fd_.n, LOCK_EX | LOCK_NB) == 0) {
      if (is_named(fd_.n, path_)) return true;
    } else if (errno == EWOULDBLOCK) {
      return false;
    } else if (errno != EINTR) {
      throw std::runtime_error(path_ + " cannot be locked: " + std::generic_category().message(errno));
    }
  }
}

void snapshot_lock::wait(std::filesystem::path const& file) {
  auto const name = file.string();
  auto owner = said_by_owner(fd_.n);
  std::cerr << "cache_server: " << name << " is in use by another server: waiting for its end\n";
  for (auto const until = weft::now() + patience; !try_own(); weft::sleep_for(milliseconds(10))) {
    owner = said_by_owner(fd_.n);
    if (owner.starts_with(ending) || weft::now() < until) continue;
    throw std::runtime_error(name + " is in use by another server" + (owner.empty() ? "" : ", " + owner));
  }
}

}  // namespace cache
