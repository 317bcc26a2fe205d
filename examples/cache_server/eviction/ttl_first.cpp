// The one with the least time to live; when none has a time to live, the one that was written longest ago.
#include "entry_list.hpp"
#include "policy.hpp"

#include <cstddef>
#include <utility>
#include <vector>

namespace cache {

namespace {

/// Those with a time to live are in a binary heap, the first to expire at its top: a pointer each. An entry's rank is its place there.
class ttl_first final : public eviction_policy {
  void reserve() override {
    if (heap_.size() == heap_.capacity()) heap_.reserve(2 * heap_.size() + 1);
  }
  void added(entry& e) noexcept override {
    if (e.expires == 0) return for_ever_.add_newest(e);
    heap_.push_back(nullptr);
    rise(heap_.size() - 1, e);
  }
  void removed(entry& e) noexcept override {
    if (e.expires == 0) return for_ever_.remove(e);
    entry& last = *heap_.back();
    heap_.pop_back();
    if (&last == &e) return;
    if (last.expires < e.expires) rise(e.rank, last);
    else sink(e.rank, last);
  }
  entry* victim() override { return heap_.empty() ? for_ever_.oldest() : heap_.front(); }

  void put(std::size_t place, entry& e) {
    heap_[place] = &e;
    e.rank = place;
  }
  /// Puts it at the place, which is free, or further up.
  void rise(std::size_t place, entry& e) {
    for (; place != 0; place = (place - 1) / 2) {
      entry& above = *heap_[(place - 1) / 2];
      if (above.expires <= e.expires) break;
      put(place, above);
    }
    put(place, e);
  }
  /// Or further down.
  void sink(std::size_t place, entry& e) {
    for (std::size_t below = 2 * place + 1; below < heap_.size(); below = 2 * place + 1) {
      if (below + 1 < heap_.size() && heap_[below + 1]->expires < heap_[below]->expires) ++below;
      if (e.expires <= heap_[below]->expires) break;
      put(std::exchange(place, below), *heap_[below]);
    }
    put(place, e);
  }

  std::vector<entry*> heap_;
  entry_list for_ever_;
};

}  // namespace

std::unique_ptr<eviction_policy> make_ttl_first() { return std::make_unique<ttl_first>(); }

}  // namespace cache
