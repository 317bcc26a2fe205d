// Least frequently used: the one with the fewest uses, of these the one whose last use is longest ago.
//
// An entry's rank is how often it was used, 255 at most, and there is a list for each rank. What was in demand once and is no
// more must not stay for ever: after ten uses an entry, on average, all ranks are halved. That walk is paid for by the uses before.
#include "entry_list.hpp"
#include "policy.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace cache {

namespace {

class lfu final : public eviction_policy {
  static constexpr std::uint64_t most = 255;

  void added(entry& e) noexcept override {
    ++size_;
    e.rank = std::min(e.rank + 1, most);
    lists_[e.rank].add_newest(e);
    age();
  }
  void removed(entry& e) noexcept override {
    --size_;
    lists_[e.rank].remove(e);
  }
  void read(entry& e) noexcept override {
    lists_[e.rank].remove(e);
    e.rank = std::min(e.rank + 1, most);
    lists_[e.rank].add_newest(e);
    age();
  }
  entry* victim() override {
    for (entry_list const& l : lists_) {
      if (l.oldest() != nullptr) return l.oldest();
    }
    return nullptr;
  }

  void age() noexcept {
    if (++uses_ < 10 * std::max<std::size_t>(size_, 100)) return;
    uses_ = 0;
    for (std::uint64_t rank = 1; rank <= most; ++rank) {  // upwards: each is emptied before what was above comes in
      while (entry* const e = lists_[rank].oldest()) {
        lists_[rank].remove(*e);
        e->rank = rank / 2;
        lists_[e->rank].add_newest(*e);
      }
    }
  }

  std::array<entry_list, most + 1> lists_{};
  std::size_t size_ = 0, uses_ = 0;
};

}  // namespace

std::unique_ptr<eviction_policy> make_lfu() { return std::make_unique<lfu>(); }

}  // namespace cache
