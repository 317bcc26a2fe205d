// Who writes a snapshot: one server at a time, from before it loads the file until its end. Two would rename over each other's, and
// what one of them has saved would be gone.
//
// 1. FILE.lock is opened and locked with flock, which ends with the process however that ends. 2. If another file has that name by now,
// its owner has removed it at its end: again from 1. 3. The owner writes its process into it, and, once it saves for the last time,
// that it ends: a successor waits for that as long as it takes, and for a server that goes on only a few seconds. 4. At the end it is
// removed, then unlocked.
#pragma once

#include <filesystem>
#include <string>

#include <unistd.h>

namespace cache {

class snapshot_lock {
 public:
  /// Parks until the lock of the snapshot `file` is had; that it has to wait is said on standard error. Throws std::runtime_error that
  /// names the file: another server has it, or no such lock can be made.
  explicit snapshot_lock(std::filesystem::path const& file);
  snapshot_lock(snapshot_lock const&) = delete;
  snapshot_lock& operator=(snapshot_lock const&) = delete;
  ~snapshot_lock();

  /// Who waits may do so until the end.
  void ends() noexcept;

 private:
  [[nodiscard]] bool try_own();
  void wait(std::filesystem::path const& file);

  struct descriptor {
    int n = -1;
    descriptor() = default;
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    ~descriptor() { reset(-1); }
    void reset(int to) noexcept {
      if (n >= 0) ::close(n);
      n = to;
    }
  };
  std::string path_;
  descriptor fd_;
};

}  // namespace cache
