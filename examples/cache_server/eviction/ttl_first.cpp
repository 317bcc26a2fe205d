// The one with the least time to live; when none has a time to live, the one that was written longest ago.
#include "entry_list.hpp"
#include "policy.hpp"

#include <set>
#include <utility>

namespace cache {

namespace {

class ttl_first final : public eviction_policy {
  void added(entry& e) override {
    if (e.expires != 0) by_time_.emplace(e.expires, &e);
    else for_ever_.add_newest(e);
  }
  void removed(entry& e) override {
    if (e.expires != 0) by_time_.erase({e.expires, &e});
    else for_ever_.remove(e);
  }
  entry* victim() override { return by_time_.empty() ? for_ever_.oldest() : by_time_.begin()->second; }

  std::set<std::pair<time_ms, entry*>> by_time_;
  entry_list for_ever_;
};

}  // namespace

std::unique_ptr<eviction_policy> make_ttl_first() { return std::make_unique<ttl_first>(); }

}  // namespace cache
