#include "policy.hpp"

#include <array>
#include <utility>

namespace cache {

namespace {

/// Nothing goes: what has no room is refused.
class no_eviction final : public eviction_policy {
  void added(entry&) noexcept override {}
  void removed(entry&) noexcept override {}
  bool evicts() const noexcept override { return false; }
  entry* victim() override { return nullptr; }
};

}  // namespace

std::unique_ptr<eviction_policy> make_no_eviction() { return std::make_unique<no_eviction>(); }

policy_maker policy_named(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, policy_maker>, 6> all{{{"lru", make_lru},
                                                                                 {"lfu", make_lfu},
                                                                                 {"fifo", make_fifo},
                                                                                 {"random", make_random},
                                                                                 {"ttl", make_ttl_first},
                                                                                 {"none", make_no_eviction}}};
  for (auto const& [known, make] : all) {
    if (known == name) return make;
  }
  return nullptr;
}

}  // namespace cache
