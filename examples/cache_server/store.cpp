#include "store.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

namespace cache {

namespace {

std::uint64_t random_word() {
  std::random_device d;
  return (std::uint64_t{d()} << 32 | d()) | 1;
}
std::uint64_t const key_a = random_word(), key_b = random_word();

std::uint64_t folded(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using wide = unsigned __int128;
  auto const product = static_cast<wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}
std::uint64_t word(char const* p, std::size_t n) noexcept {
  std::uint64_t w = 0;
  std::memcpy(&w, p, n);
  return w;
}

std::size_t parts_for(std::size_t max_bytes) {
  constexpr std::size_t most = 64, worth = 1024 * 1024;  // bytes of a part
  return max_bytes == 0 ? most : std::bit_floor(std::clamp<std::size_t>(max_bytes / worth, 1, most));
}

}  // namespace

std::uint64_t hash_of(std::string_view key) noexcept {
  std::uint64_t h = key_a ^ key.size();
  char const* p = key.data();
  std::size_t n = key.size();
  for (; n > 16; p += 16, n -= 16) h = folded(word(p, 8) ^ key_b, word(p + 8, 8) ^ h);
  if (n > 8) return folded(folded(word(p, 8) ^ key_b, word(p + 8, n - 8) ^ h) ^ key_b, h ^ key_a);
  return folded(folded(word(p, n) ^ key_b, h) ^ key_b, h ^ key_a);
}

store::store(std::size_t max_bytes, policy_maker policy) : max_bytes_(max_bytes) {
  std::size_t const n = parts_for(max_bytes);
  for (std::size_t i = 0; i < n; ++i) parts_.push_back(std::make_unique<part>(max_bytes / n, policy()));
}

store::totals store::count() {
  totals t;
  each_part([&](shard& s) { t.add(s); });
  return t;
}

std::size_t store::sweep() {
  time_ms const now = wall_clock();
  std::size_t removed = 0;
  each_part([&](shard& s) { removed += s.sweep(now); });
  return removed;
}

}  // namespace cache
