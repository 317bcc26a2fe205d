// Which entry goes when there is no room. One policy object a shard, called under the shard's lock.
#pragma once

#include "../entry.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cache {

class eviction_policy {
 public:
  eviction_policy() = default;
  eviction_policy(eviction_policy const&) = delete;
  eviction_policy& operator=(eviction_policy const&) = delete;
  virtual ~eviction_policy() = default;

  /// Makes room for one entry more, so that added() cannot fail: by then an old value may be gone. May throw std::bad_alloc, and has changed
  /// nothing then.
  virtual void reserve() {}
  /// An entry has come, or has a new value or another time to live: then removed() was called before. `rank` is 0 if it is new,
  /// else as the policy left it. older, newer and rank are the policy's as long as it has the entry. reserve() was called before, but not
  /// for one that removed() has just taken out and that has the time to live it had.
  virtual void added(entry& e) noexcept = 0;
  virtual void removed(entry& e) noexcept = 0;
  virtual void read(entry&) noexcept {}
  /// Whether it lets any go: then there is room for each entry that fits into the limit at all.
  [[nodiscard]] virtual bool evicts() const noexcept { return true; }
  /// The one to go, still with the policy; null: none.
  [[nodiscard]] virtual entry* victim() = 0;
};

[[nodiscard]] std::unique_ptr<eviction_policy> make_lru();
[[nodiscard]] std::unique_ptr<eviction_policy> make_lfu();
[[nodiscard]] std::unique_ptr<eviction_policy> make_fifo();
[[nodiscard]] std::unique_ptr<eviction_policy> make_random();
[[nodiscard]] std::unique_ptr<eviction_policy> make_ttl_first();
[[nodiscard]] std::unique_ptr<eviction_policy> make_no_eviction();

using policy_maker = std::unique_ptr<eviction_policy> (*)();
/// lru, lfu, fifo, random, ttl, none; null for another name.
[[nodiscard]] policy_maker policy_named(std::string_view name);

}  // namespace cache
