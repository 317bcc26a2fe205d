// A part of the store: a hash table with chains, a byte limit, and an eviction policy. Not synchronized: store.hpp locks.
#pragma once

#include "entry.hpp"
#include "eviction/policy.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace cache {

/// What throws std::bad_alloc has changed no entry, but may have evicted some.
class shard {
 public:
  /// At most `limit` bytes in entries; 0: no limit.
  shard(std::size_t limit, std::unique_ptr<eviction_policy> policy);
  ~shard();
  shard(shard const&) = delete;
  shard& operator=(shard const&) = delete;

  /// Null if there is none. What has expired is removed here, as in every member that takes `now`. `use`: counts for the policy.
  [[nodiscard]] entry* find(std::string_view key, std::uint64_t hash, time_ms now, bool use = true);
  /// Sets or replaces. False: there is no room, and nothing has changed.
  [[nodiscard]] bool put(std::string_view key, std::uint64_t hash, std::string_view value, time_ms expires,
                         time_ms now);
  /// Whether put() will have room for this and for what was asked with the same `more` before, in whatever order they are put.
  [[nodiscard]] bool has_room(std::string_view key, std::uint64_t hash, std::size_t value_size, std::size_t& more,
                              time_ms now);
  /// Adds to a value's end, or sets it; its size is then in `size`. False: there is no room.
  [[nodiscard]] bool append(std::string_view key, std::uint64_t hash, std::string_view tail, time_ms now,
                            std::size_t& size);
  bool erase(std::string_view key, std::uint64_t hash, time_ms now);
  void set_expiry(entry& e, time_ms expires);
  void clear();  // and what the table of keys took

  /// Looks at a few buckets, going on where the last call ended, and at more while many of what it sees has expired. How many
  /// entries it removed. Gives back most of a table that few of its entries are left of.
  std::size_t sweep(time_ms now);

  /// Calls f(entry&) for what is in some buckets from `cursor` on, at least `count` entries unless there are no more; returns where
  /// to go on, 0 at the end. What is there from the first call to the last is seen, also when the table changes its size in between: the
  /// cursor counts with its bits reversed, so that a bucket and those it splits into come together.
  template <class F>
  std::uint64_t scan(std::uint64_t cursor, std::size_t count, F f);
  template <class F>
  void each(F f) {
    for (entry* first : buckets_) {
      for (entry* e = first; e != nullptr; e = e->next) f(*e);
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t mortal() const noexcept { return mortal_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_; }
  [[nodiscard]] std::uint64_t expired() const noexcept { return expired_; }

 private:
  [[nodiscard]] entry** place_of(std::string_view key, std::uint64_t hash, time_ms now);
  [[nodiscard]] bool make_room(std::size_t bytes);
  void reserve();
  void insert(entry& e) noexcept;
  void remove_all() noexcept;
  void remove(entry** place);
  void remove(entry& e);
  void resize(std::size_t buckets);
  static std::uint64_t reversed(std::uint64_t v) noexcept;

  std::vector<entry*> buckets_;                                        // a power of two
  std::size_t limit_, size_ = 0, mortal_ = 0, bytes_ = 0, swept_ = 0;  // mortal: entries with a time to live
  std::uint64_t evicted_ = 0, expired_ = 0;
  std::unique_ptr<eviction_policy> policy_;
  bool has_policy_;
};

inline std::uint64_t shard::reversed(std::uint64_t v) noexcept {
  v = ((v >> 1) & 0x5555555555555555U) | ((v & 0x5555555555555555U) << 1);
  v = ((v >> 2) & 0x3333333333333333U) | ((v & 0x3333333333333333U) << 2);
  v = ((v >> 4) & 0x0f0f0f0f0f0f0f0fU) | ((v & 0x0f0f0f0f0f0f0f0fU) << 4);
  return __builtin_bswap64(v);
}

template <class F>
std::uint64_t shard::scan(std::uint64_t cursor, std::size_t count, F f) {
  std::uint64_t const mask = buckets_.size() - 1;
  std::size_t seen = 0;
  do {
    for (entry* e = buckets_[cursor & mask]; e != nullptr; e = e->next, ++seen) f(*e);
    cursor = reversed(reversed(cursor | ~mask) + 1);
  } while (cursor != 0 && seen < count);
  return cursor;
}

}  // namespace cache
