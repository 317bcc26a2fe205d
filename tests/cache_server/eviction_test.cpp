#include "examples/cache_server/eviction/policy.hpp"
#include "examples/cache_server/shard.hpp"
#include "examples/cache_server/store.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace {

/// A shard with room for `n` entries of one letter each.
class small_shard {
 public:
  small_shard(std::size_t n, cache::policy_maker make) : shard_(n * cache::entry::bytes_for(2), make()) {}
  bool put(std::string const& key, cache::time_ms expires = 0) {
    return shard_.put(key, cache::hash_of(key), "v", expires, 1);
  }
  bool read(std::string const& key) { return shard_.find(key, cache::hash_of(key), 1) != nullptr; }
  void expire(std::string const& key, cache::time_ms at) {
    shard_.set_expiry(*shard_.find(key, cache::hash_of(key), 1, false), at);
  }
  std::string keys() {
    std::set<std::string> all;
    shard_.each([&](cache::entry const& e) { all.emplace(e.key()); });
    std::string out;
    for (auto const& k : all) out += k;
    return out;
  }
  cache::shard& get() { return shard_; }

 private:
  cache::shard shard_;
};

}  // namespace

TEST_CASE("lru evicts what was neither read nor written for longest") {
  small_shard s(3, cache::make_lru);
  for (auto const* k : {"a", "b", "c"}) REQUIRE(s.put(k));
  CHECK(s.read("a"));
  REQUIRE(s.put("d"));
  CHECK(s.keys() == "acd");
  REQUIRE(s.put("c"));
  REQUIRE(s.put("e"));
  CHECK(s.keys() == "cde");
  CHECK(s.get().evicted() == 2);
}

TEST_CASE("fifo evicts what was written longest ago, read or not") {
  small_shard s(3, cache::make_fifo);
  for (auto const* k : {"a", "b", "c"}) REQUIRE(s.put(k));
  CHECK(s.read("a"));
  REQUIRE(s.put("d"));
  CHECK(s.keys() == "bcd");
  REQUIRE(s.put("b"));
  REQUIRE(s.put("e"));
  CHECK(s.keys() == "bde");
}

TEST_CASE("lfu evicts what was used least, and the oldest of those") {
  small_shard s(3, cache::make_lfu);
  for (auto const* k : {"a", "b", "c"}) REQUIRE(s.put(k));
  for (int i = 0; i < 3; ++i) CHECK(s.read("a"));
  CHECK(s.read("c"));
  REQUIRE(s.put("d"));
  CHECK(s.keys() == "acd");
  REQUIRE(s.put("e"));  // d has one use, c two
  CHECK(s.keys() == "ace");
}

TEST_CASE("lfu forgets what was in demand once") {
  small_shard s(2, cache::make_lfu);
  REQUIRE(s.put("a"));
  for (int i = 0; i < 300; ++i) CHECK(s.read("a"));
  REQUIRE(s.put("b"));
  // Uses of b alone: a's rank is halved at each thousandth use, b's goes on growing.
  for (int i = 0; i < 20'000; ++i) REQUIRE(s.read("b"));
  REQUIRE(s.put("c"));
  CHECK(s.keys() == "bc");
}

TEST_CASE("random evicts each as often as the others") {
  std::map<std::string, int> lost;
  small_shard s(4, cache::make_random);
  for (int round = 0; round < 4000; ++round) {
    for (auto const* k : {"a", "b", "c", "d"}) REQUIRE(s.put(k));
    s.get().clear();
    for (auto const* k : {"a", "b", "c", "d"}) REQUIRE(s.put(k));
    REQUIRE(s.put("e"));
    for (auto const* k : {"a", "b", "c", "d"}) lost[k] += !s.read(k);
    s.get().clear();
  }
  for (auto const& [k, n] : lost) CHECK((n > 800 && n < 1200));  // 1000 expected, deviation 27
}

TEST_CASE("ttl evicts what would expire first, and then what was written longest ago") {
  small_shard s(3, cache::make_ttl_first);
  REQUIRE(s.put("a"));
  REQUIRE(s.put("b", 2000));
  REQUIRE(s.put("c", 1000));
  REQUIRE(s.put("d"));
  CHECK(s.keys() == "abd");
  s.expire("d", 1500);
  REQUIRE(s.put("e"));
  CHECK(s.keys() == "abe");
  s.expire("b", 0);
  REQUIRE(s.put("f"));
  CHECK(s.keys() == "bef");
}

TEST_CASE("ttl evicts by time of expiry, whatever was set, removed and given another time before") {
  constexpr std::size_t room = 200;
  cache::shard s(room * cache::entry::bytes_for(8), cache::make_ttl_first());
  std::map<std::string, cache::time_ms> model;
  std::uint64_t seed = 1;
  auto const next = [&seed](std::uint64_t n) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (seed >> 33) % n;
  };
  for (cache::time_ms i = 0; i < 20'000; ++i) {
    std::string const key = "k" + std::to_string(next(400));
    std::uint64_t const hash = cache::hash_of(key);
    auto const at = static_cast<cache::time_ms>(next(1'000'000)) * 20'000 + i + 2;  // no two are equal
    if (next(4) == 0) {
      CHECK(s.erase(key, hash, 1) == (model.erase(key) != 0));
    } else if (auto* const e = s.find(key, hash, 1); e != nullptr && next(2) == 0) {
      s.set_expiry(*e, model[key] = at);
    } else {
      if (model.size() == room && !model.contains(key))
        model.erase(std::ranges::min_element(model, {}, &std::pair<std::string const, cache::time_ms>::second));
      REQUIRE(s.put(key, hash, "v", model[key] = at, 1));
    }
  }
  std::map<std::string, cache::time_ms> kept;
  s.each([&](cache::entry const& e) { kept.emplace(e.key(), e.expires); });
  CHECK(kept == model);
}

TEST_CASE("without eviction a write that has no room is refused and changes nothing") {
  small_shard s(2, cache::make_no_eviction);
  REQUIRE(s.put("a"));
  REQUIRE(s.put("b"));
  CHECK_FALSE(s.put("c"));
  CHECK(s.put("a"));
  CHECK(s.keys() == "ab");
}

TEST_CASE("every policy keeps a shard within its limit and finds what it keeps") {
  for (auto const* name : {"lru", "lfu", "fifo", "random", "ttl"}) {
    INFO(name);
    cache::shard s(10'000, cache::policy_named(name)());
    std::map<std::string, std::string> model;
    std::uint64_t seed = 1;
    auto const next = [&seed](std::uint64_t n) {
      seed = seed * 6364136223846793005U + 1442695040888963407U;
      return (seed >> 33) % n;
    };
    for (int i = 0; i < 50'000; ++i) {
      std::string const key = "key" + std::to_string(next(400));
      std::uint64_t const hash = cache::hash_of(key);
      switch (next(6)) {
        case 0: {
          bool const was = s.find(key, hash, 1) != nullptr;
          REQUIRE(s.erase(key, hash, 1) == was);
          break;
        }
        case 1:
          if (auto* const e = s.find(key, hash, 1))
            s.set_expiry(*e, next(2) != 0 ? 1000 + static_cast<cache::time_ms>(next(1000)) : 0);
          break;
        case 2: {
          std::size_t size = 0;
          bool const was = s.find(key, hash, 1) != nullptr;
          if (!was) model[key].clear();
          REQUIRE(s.append(key, hash, "tail", 1, size));
          model[key] += "tail";
          REQUIRE(size == model[key].size());
          break;
        }
        default: {
          std::string const value(next(300), 'v');
          REQUIRE(s.put(key, hash, value, 0, 1));
          model[key] = value;
        }
      }
      REQUIRE(s.bytes() <= 10'000);
    }
    std::size_t found = 0, bytes = 0;
    s.each([&](cache::entry const& e) {
      ++found;
      bytes += e.bytes();
      CHECK(model.at(std::string(e.key())) == e.value());
    });
    CHECK(found == s.size());
    CHECK(bytes == s.bytes());
    CHECK(s.evicted() > 0);
    CHECK_FALSE(s.put("k", cache::hash_of("k"), std::string(20'000, 'x'), 0, 1));  // more than there is
    CHECK(s.size() == found);
  }
}
