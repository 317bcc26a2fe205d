// Any one, each as likely as the others. An entry's rank is its place in a table of all.
#include "policy.hpp"

#include <cstddef>
#include <random>

namespace cache {

namespace {

class random_choice final : public eviction_policy {
  void reserve() override {
    if (all_.size() == all_.capacity()) all_.reserve(2 * all_.size() + 1);
  }
  void added(entry& e) noexcept override {
    e.rank = all_.size();
    all_.push_back(&e);
  }
  void removed(entry& e) noexcept override {
    all_.back()->rank = e.rank;
    all_[e.rank] = all_.back();
    all_.pop_back();
  }
  entry* victim() override {
    if (all_.empty()) return nullptr;
    return all_[std::uniform_int_distribution<std::size_t>(0, all_.size() - 1)(random_)];
  }

  std::vector<entry*> all_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace

std::unique_ptr<eviction_policy> make_random() { return std::make_unique<random_choice>(); }

}  // namespace cache
