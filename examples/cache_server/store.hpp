// All keys: shards with a lock each, so that commands on different keys seldom meet.
#pragma once

#include "shard.hpp"

#include <weft/guarded.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace cache {

[[nodiscard]] inline time_ms wall_clock() noexcept {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

/// Keyed with random numbers of the process: nobody outside can choose keys that fall into one bucket.
[[nodiscard]] std::uint64_t hash_of(std::string_view key) noexcept;

class store {
 public:
  /// `max_bytes` over all shards, 0: no limit. A value must fit into one shard; a small store has few of them.
  store(std::size_t max_bytes, policy_maker policy);

  using part = weft::guarded<shard>;
  [[nodiscard]] part& part_of(std::uint64_t hash) noexcept { return *parts_[index_of(hash)]; }
  [[nodiscard]] std::size_t index_of(std::uint64_t hash) const noexcept { return hash >> 32 & (parts_.size() - 1); }
  [[nodiscard]] part& at(std::size_t i) noexcept { return *parts_[i]; }
  [[nodiscard]] std::size_t parts() const noexcept { return parts_.size(); }
  [[nodiscard]] std::size_t max_bytes() const noexcept { return max_bytes_; }

  /// Calls f(shard&) for each, locking one after the other.
  template <class F>
  void each_part(F f) {
    for (auto& p : parts_) p->with(f);
  }

  struct totals {
    std::size_t keys = 0, mortal = 0, bytes = 0;
    std::uint64_t evicted = 0, expired = 0;

    void add(shard const& s) noexcept {
      keys += s.size(), mortal += s.mortal(), bytes += s.bytes();
      evicted += s.evicted(), expired += s.expired();
    }
  };
  [[nodiscard]] totals count();
  std::size_t sweep();

 private:
  std::vector<std::unique_ptr<part>> parts_;  // a power of two, 64 at most
  std::size_t max_bytes_;
};

}  // namespace cache
