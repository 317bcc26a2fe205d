#include "snapshot.hpp"

#include <weft/blocking.hpp>
#include <weft/defer.hpp>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace cache {

namespace {

std::unique_ptr<snapshot_format> format_of(std::filesystem::path const& path) {
  return path.extension() == ".json" ? make_json_format() : make_binary_format();
}

[[noreturn]] void failed(std::filesystem::path const& path, int why = errno) {
  throw std::runtime_error(path.string() + ": " + std::generic_category().message(why));
}

std::filesystem::path folder_of(std::filesystem::path const& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

class descriptor {
 public:
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(std::filesystem::path const& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) failed(path);
  }
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, std::string_view text, std::filesystem::path const& path) {
  while (!text.empty()) {
    ssize_t const n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failed(path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Of a name that no other has: two servers write no file together, even where one of them knows nothing of locks.
int create_fresh(std::string const& beside, std::string& name) {
  for (int n = 0;; ++n) {
    name = beside + '.' + std::to_string(::getpid()) + (n == 0 ? "" : '-' + std::to_string(n));
    int const fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0 || errno != EEXIST || n == 1000) return fd;
  }
}

bool is_number(std::string_view s) noexcept {
  return !s.empty() && s.size() <= 7 && s.front() != '0' && s.find_first_not_of("0123456789") == s.npos;
}
bool is_ours(std::string_view behind_new) noexcept {
  auto const dash = behind_new.find('-');
  return is_number(behind_new.substr(0, dash)) && (dash == behind_new.npos || is_number(behind_new.substr(dash + 1)));
}

/// "FILE.new.123", "FILE.new.123-1".
void remove_unfinished(std::filesystem::path const& file) {
  auto const begin = file.filename().string() + ".new.";
  std::error_code failed;
  std::filesystem::directory_iterator at(folder_of(file), failed);
  for (; !failed && at != std::filesystem::directory_iterator(); at.increment(failed)) {
    auto const name = at->path().filename().string();
    if (name.starts_with(begin) && is_ours(std::string_view(name).substr(begin.size()))) ::unlink(at->path().c_str());
  }
}

}  // namespace

void snapshot_file::own() {
  if (path_.empty()) return;
  lock_.emplace(path_);
  weft::blocking([&] { remove_unfinished(path_); });
}

void snapshot_file::write(store& from) {
  auto const format = format_of(path_);
  std::string fresh;
  descriptor const file(create_fresh(path_.string() + ".new", fresh));
  if (file.get() < 0) failed(path_);
  bool renamed = false;
  weft::defer const removed([&] {  // full disks are a reason to fail: nothing is left there
    if (!renamed) ::unlink(fresh.c_str());
  });
  std::string text;
  auto const flush = [&] {
    format->written(text);
    weft::blocking([&] { write_all(file.get(), text, fresh); });
    text.clear();
  };
  format->begin(text);
  time_ms const now = wall_clock();
  for (std::size_t i = 0; i < from.parts(); ++i) {
    from.at(i).with([&](shard& s) {
      s.each([&](entry const& e) {
        if (!e.expired(now)) format->add(text, {e.key(), e.value(), e.expires});
      });
    });
    flush();  // without the lock
  }
  format->end(text);
  weft::blocking([&] {
    write_all(file.get(), text, fresh);
    if (::fsync(file.get()) != 0) failed(fresh);
    if (::rename(fresh.c_str(), path_.c_str()) != 0) failed(path_);
    renamed = true;
    auto const folder = folder_of(path_);
    descriptor const dir(folder, O_RDONLY | O_DIRECTORY);
    if (::fsync(dir.get()) != 0) failed(folder);
  });
}

void snapshot_file::save(store& from) {
  weft::permit const mine(one_);
  saving_ = true;
  bool saved = false;
  weft::defer const over([&] {  // cancelled, too
    last_ok_ = saved;
    saving_ = false;
  });
  std::uint64_t const counted = changes_;
  try {
    write(from);
  } catch (std::bad_alloc const&) {  // what it had gathered is gone again: there is memory to say so
    failed(path_, ENOMEM);
  }
  changes_ -= counted;
  saved = true;
  last_save_ = wall_clock();
}

void snapshot_file::check() const {
  if (path_.empty()) return;
  std::error_code none;
  if (std::filesystem::is_directory(path_, none)) errno = EISDIR;
  else if (std::filesystem::is_other(path_, none))
    throw std::runtime_error(path_.string() + " is no regular file");  // a pipe would be waited for
  else if (std::string fresh; descriptor(create_fresh(path_.string() + ".new", fresh)).get() >= 0) {
    ::unlink(fresh.c_str());
    return;
  }
  throw std::runtime_error(path_.string() + " cannot be written: " + std::generic_category().message(errno));
}

snapshot_file::loaded snapshot_file::load(store& to) {
  if (path_.empty() || !std::filesystem::exists(path_)) return {};
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> const in(std::fopen(path_.c_str(), "rb"),
                                                           [](std::FILE* f) { return std::fclose(f); });
  if (!in) failed(path_);
  std::size_t n = 0, refused = 0;
  std::uint64_t const evicted = to.count().evicted;
  time_ms const now = wall_clock();
  try {
    format_of(path_)->load(in.get(), [&](saved_entry const& e) {
      if (e.expires != 0 && e.expires <= now) return;
      std::uint64_t const hash = hash_of(e.key);
      // What has no room under a limit that has become smaller is gone, as it would be had it come in now.
      ++(to.part_of(hash).lock()->put(e.key, hash, e.value, e.expires, now) ? n : refused);
    });
  } catch (std::runtime_error const& e) {
    throw std::runtime_error(path_.string() + ": " + e.what());
  } catch (std::bad_alloc const&) {
    failed(path_, ENOMEM);
  }
  last_save_ = now;
  std::size_t const driven_out = to.count().evicted - evicted;
  return {n - driven_out, refused + driven_out};
}

}  // namespace cache
