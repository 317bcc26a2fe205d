// Least recently used: the one that has been neither read nor written for longest.
#include "entry_list.hpp"
#include "policy.hpp"

namespace cache {

namespace {

class lru final : public eviction_policy {
  void added(entry& e) noexcept override { order_.add_newest(e); }
  void removed(entry& e) noexcept override { order_.remove(e); }
  void read(entry& e) noexcept override {
    if (order_.is_newest(e)) return;
    order_.remove(e);
    order_.add_newest(e);
  }
  entry* victim() override { return order_.oldest(); }

  entry_list order_;
};

}  // namespace

std::unique_ptr<eviction_policy> make_lru() { return std::make_unique<lru>(); }

}  // namespace cache
