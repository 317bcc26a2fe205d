// Want of memory in a shard: each allocation of a change fails in turn.
#include "examples/cache_server/eviction/policy.hpp"
#include "examples/cache_server/shard.hpp"
#include "examples/cache_server/store.hpp"

#include "tests/memory/failing.hpp"
#include "tests/support/catch.hpp"

#include <map>
#include <new>
#include <string>
#include <tuple>

namespace {

using content = std::map<std::string, std::tuple<std::string, cache::time_ms>>;

/// As it is, and as it counts itself.
std::tuple<content, std::size_t, std::size_t, std::size_t, std::uint64_t> state_of(cache::shard& s) {
  content all;
  s.each([&](cache::entry const& e) { all[std::string(e.key())] = {std::string(e.value()), e.expires}; });
  return {all, s.size(), s.mortal(), s.bytes(), s.evicted()};
}

/// change(), with each of its allocations failing in turn before it succeeds. How many there were.
template <class F>
int despite_failures(cache::shard& s, F change) {
  auto const before = state_of(s);
  for (int n = 0;; ++n) {
    REQUIRE(n < 10);
    bool failed = false, changed = false;
    failing::fail_after(n);
    try {
      changed = change();
    } catch (std::bad_alloc const&) {
      failed = true;
    }
    failing::stop_failing();
    if (!failed) {
      REQUIRE(changed);
      return n;
    }
    REQUIRE(state_of(s) == before);
  }
}

}  // namespace

TEST_CASE("a change for which there is no memory leaves all entries as they were, under each policy") {
  for (auto const* policy : {"lru", "lfu", "fifo", "random", "ttl", "none"}) {
    INFO(policy);
    long const before = failing::outstanding;
    {
      cache::shard s(10'000'000, cache::policy_named(policy)());
      int failures = 0;
      for (int i = 0; i < 100; ++i) {
        std::string const key = "key:" + std::to_string(i), longer(100, 'w');
        std::uint64_t const hash = cache::hash_of(key);
        auto const put = [&](std::string const& value, cache::time_ms expires) {
          failures += despite_failures(s, [&] { return s.put(key, hash, value, expires, 0); });
        };
        std::size_t size = 0;
        put("v", i % 3);
        put("w", i % 2);  // in place
        put(longer, i % 3);
        failures += despite_failures(s, [&] { return s.append(key, hash, longer, 0, size); });
        failures += despite_failures(s, [&] { return s.set_expiry(*s.find(key, hash, 0), (i + 1) % 2), true; });
      }
      CHECK(failures >= 300);  // an entry's block at least, three times
      CHECK(s.size() == 100);
      REQUIRE(s.put("large", cache::hash_of("large"), std::string(9'990'000, 'x'), 0, 0) ==
              (policy != std::string("none")));
      CHECK(s.size() < 101);  // what was left half done would be met among those that have to go
    }
    CHECK(failing::outstanding == before);
  }
}
