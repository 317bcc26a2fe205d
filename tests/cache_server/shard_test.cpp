#include "examples/cache_server/shard.hpp"
#include "examples/cache_server/glob.hpp"
#include "examples/cache_server/store.hpp"

#include "tests/support/catch.hpp"

#include <map>
#include <string>

namespace {

std::string key_of(int i) { return "key:" + std::to_string(i); }

void put(cache::shard& s, std::string const& key, cache::time_ms expires = 0) {
  REQUIRE(s.put(key, cache::hash_of(key), "v", expires, 0));
}

}  // namespace

TEST_CASE("a scan sees each key that is there all the time, while the table grows") {
  cache::shard s(0, cache::make_no_eviction());
  for (int i = 0; i < 1000; ++i) put(s, key_of(i));
  std::map<std::string, int> seen;
  int added = 1000;
  std::uint64_t cursor = 0;
  do {
    cursor = s.scan(cursor, 10, [&](cache::entry const& e) { ++seen[std::string(e.key())]; });
    for (int i = 0; i < 50; ++i) put(s, key_of(added++));
  } while (cursor != 0);
  for (int i = 0; i < 1000; ++i) CHECK(seen[key_of(i)] >= 1);
  CHECK(added > 4000);  // it has grown meanwhile
}

TEST_CASE("a scan of a table that rests sees each key once") {
  cache::shard s(0, cache::make_no_eviction());
  for (int i = 0; i < 1000; ++i) put(s, key_of(i));
  std::map<std::string, int> seen;
  std::uint64_t cursor = 0;
  do cursor = s.scan(cursor, 7, [&](cache::entry const& e) { ++seen[std::string(e.key())]; });
  while (cursor != 0);
  CHECK(seen.size() == 1000);
  for (auto const& [key, n] : seen) CHECK(n == 1);
}

TEST_CASE("what has expired is not found, and sweeping removes it without being asked for it") {
  cache::shard s(0, cache::make_no_eviction());
  for (int i = 0; i < 1000; ++i) put(s, key_of(i), i % 2 == 0 ? 100 : 0);
  CHECK(s.mortal() == 500);
  CHECK(s.find(key_of(0), cache::hash_of(key_of(0)), 99) != nullptr);
  CHECK(s.find(key_of(0), cache::hash_of(key_of(0)), 100) == nullptr);
  CHECK(s.size() == 999);
  std::size_t removed = 0;
  for (int rounds = 0; s.mortal() != 0; ++rounds) {
    REQUIRE(rounds < 100);
    removed += s.sweep(100);
  }
  CHECK(removed == 499);
  CHECK(s.size() == 500);
  CHECK(s.expired() == 500);
}

TEST_CASE("patterns are those of Redis") {
  using cache::matches;
  for (auto const& [pattern, text] : std::map<std::string, std::string>{{"*", ""},
                                                                        {"a*c", "abbc"},
                                                                        {"a?c", "abc"},
                                                                        {"h[ae]llo", "hallo"},
                                                                        {"h[^e]llo", "hallo"},
                                                                        {"[a-c]*", "bx"},
                                                                        {"\\*", "*"},
                                                                        {"*.*.x", "a.b.c.x"},
                                                                        {"[\\]]", "]"},
                                                                        {"", ""},
                                                                        {"key:*", "key:"},
                                                                        {"**a", "ba"}})
    CHECK(matches(pattern, text));
  for (auto const& [pattern, text] : std::map<std::string, std::string>{{"", "a"},
                                                                        {"a", ""},
                                                                        {"a?c", "ac"},
                                                                        {"h[ae]llo", "hillo"},
                                                                        {"h[^e]llo", "hello"},
                                                                        {"\\*", "a"},
                                                                        {"*a", "ab"},
                                                                        {"?", ""}})
    CHECK_FALSE(matches(pattern, text));
  CHECK_FALSE(matches("*a*a*a*a*a*a*a*a*b", std::string(10'000, 'a')));  // in time
}
