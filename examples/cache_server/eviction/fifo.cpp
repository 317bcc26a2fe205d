// First in, first out: the one that was written longest ago, read or not.
#include "entry_list.hpp"
#include "policy.hpp"

namespace cache {

namespace {

class fifo final : public eviction_policy {
  void added(entry& e) noexcept override { order_.add_newest(e); }
  void removed(entry& e) noexcept override { order_.remove(e); }
  entry* victim() override { return order_.oldest(); }

  entry_list order_;
};

}  // namespace

std::unique_ptr<eviction_policy> make_fifo() { return std::make_unique<fifo>(); }

}  // namespace cache
