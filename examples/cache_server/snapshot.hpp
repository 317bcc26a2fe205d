// The store in a file, whole or not at all.
//
// 1. The new snapshot is written to FILE.new.PROCESS, 2. synced to the disk, 3. renamed to FILE, 4. and the folder is synced. Killed before
// 3, the old FILE is there, and the next server removes what was begun (a save that fails does so itself); killed after it, the new one is
// there. No two servers do this at once: snapshot_lock.hpp.
// Each shard is saved as it is at one moment, the shards one after the other.
#pragma once

#include "snapshot_lock.hpp"
#include "store.hpp"

#include <weft/semaphore.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cache {

struct saved_entry {
  std::string_view key, value;
  time_ms expires;
};

/// How a snapshot is spelled. An object writes or reads one; what goes wrong is a std::runtime_error.
class snapshot_format {
 public:
  snapshot_format() = default;
  snapshot_format(snapshot_format const&) = delete;
  snapshot_format& operator=(snapshot_format const&) = delete;
  virtual ~snapshot_format() = default;
  virtual void begin(std::string& out) = 0;
  virtual void add(std::string& out, saved_entry const& e) = 0;
  virtual void end(std::string& out) = 0;
  /// Sees all bytes that are written, in order (a checksum).
  virtual void written(std::string_view) {}
  /// Calls f for each entry of a file. Nothing must have been kept of a file that is damaged: f is called once all is known to be well.
  virtual void load(std::FILE* in, std::function<void(saved_entry const&)> const& f) = 0;
};
[[nodiscard]] std::unique_ptr<snapshot_format> make_binary_format();
[[nodiscard]] std::unique_ptr<snapshot_format> make_json_format();

class snapshot_file {
 public:
  /// An empty path: nothing is saved. The format is JSON if `path` ends in ".json".
  explicit snapshot_file(std::filesystem::path path) : path_(std::move(path)) {}

  [[nodiscard]] bool enabled() const noexcept { return !path_.empty(); }
  [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }

  /// Keeps other servers from the file until the end, and removes what those before were killed over. Parks while one is at its end; throws
  /// std::runtime_error if one goes on (snapshot_lock). To be called once, before load().
  void own();
  /// A successor may wait: what is saved from now on is the last.
  void ends() noexcept {
    if (lock_) lock_->ends();
  }
  /// Throws std::runtime_error that names the file if it cannot be written: better at the start than when it is to be saved.
  void check() const;

  struct loaded {
    std::size_t keys = 0, no_room = 0;  // that are there now; that the store's limit has kept out, or driven out again
  };
  /// Puts what is in the file into the store; nothing if there is no file. Throws std::runtime_error that names it if it is damaged,
  /// or takes more memory than there is.
  loaded load(store& to);
  /// Waits for a save that is in progress, then saves. Throws std::runtime_error that names the file.
  void save(store& from);
  /// Whoever changes the store says so here; the changes that were counted when a save began are taken off when it has succeeded.
  void changed(std::uint64_t n) noexcept { changes_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }
  [[nodiscard]] time_ms last_save() const noexcept { return last_save_; }
  [[nodiscard]] bool last_ok() const noexcept { return last_ok_; }  // of the last that has ended
  [[nodiscard]] bool saving() const noexcept { return saving_; }

 private:
  void write(store& from);

  std::filesystem::path path_;
  std::optional<snapshot_lock> lock_;
  weft::binary_semaphore one_{1};
  std::atomic<std::uint64_t> changes_{0};  // only who holds the permit takes off
  std::atomic<time_ms> last_save_{0};
  std::atomic<bool> last_ok_{true}, saving_{false};
};

}  // namespace cache
