#include "examples/cache_server/shard.hpp"
#include "examples/cache_server/glob.hpp"
#include "examples/cache_server/store.hpp"

#include "tests/support/catch.hpp"

#include <initializer_list>
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

TEST_CASE("a table that few entries are left of is made smaller by sweeping, and a scan sees them meanwhile") {
  cache::shard s(0, cache::make_no_eviction());
  for (int i = 0; i < 100'000; ++i) put(s, key_of(i));
  auto const erase = [&](int i) { return s.erase(key_of(i), cache::hash_of(key_of(i)), 0); };
  for (int i = 20'000; i < 100'000; ++i) REQUIRE(erase(i));
  std::map<std::string, int> seen;
  std::uint64_t cursor = 0;
  int gone = 20'000;
  do {
    cursor = s.scan(cursor, 100, [&](cache::entry const& e) { ++seen[std::string(e.key())]; });
    for (int i = 0; i < 200 && gone > 100; ++i) REQUIRE(erase(--gone));
    (void)s.sweep(0);
  } while (cursor != 0);
  for (int i = 0; i < 100; ++i) CHECK(seen[key_of(i)] >= 1);
  CHECK(gone < 10'000);  // it has been made smaller meanwhile
  while (gone > 100) REQUIRE(erase(--gone));
  (void)s.sweep(0);
  int calls = 0;
  do {
    cursor = s.scan(cursor, 1, [](cache::entry const&) {});
    ++calls;
  } while (cursor != 0);
  CHECK(calls > 25);  // each sees an entry or two, in a table of 256 buckets
  CHECK(calls <= 101);
}

TEST_CASE("a value grows at its end as long as there is room for it, if not for twice its size") {
  for (auto const* policy : {"none", "lru"}) {
    INFO(policy);
    cache::shard s(1000, cache::policy_named(policy)());
    std::string const key = "k";
    std::uint64_t const hash = cache::hash_of(key);
    std::size_t size = 0, expected = 0;
    while (cache::entry::bytes_for(key.size() + expected + 10) <= 1000) {
      REQUIRE(s.append(key, hash, "0123456789", 0, size));
      REQUIRE(size == (expected += 10));
      REQUIRE(s.bytes() <= 1000);
    }
    CHECK_FALSE(s.append(key, hash, std::string(100, 'x'), 0, size));
    CHECK(s.find(key, hash, 0)->value_size == expected);
  }
}

TEST_CASE("room is asked for together") {
  cache::shard keeps(1000, cache::make_no_eviction()), evicts(1000, cache::make_lru());
  auto const all = [](cache::shard& s, std::initializer_list<std::size_t> sizes) {
    std::size_t more = 0;
    bool room = true;
    char key = 'a';
    for (std::size_t const size : sizes) {
      std::string const name(1, key++);
      room = room && s.has_room(name, cache::hash_of(name), size, more, 0);
    }
    return room;
  };
  CHECK(all(keeps, {100, 100, 100}));
  CHECK_FALSE(all(keeps, {300, 300, 300}));
  CHECK(all(evicts, {300, 300, 300}));
  CHECK_FALSE(all(evicts, {1000}));
  for (auto* const s : {&keeps, &evicts}) REQUIRE(s->put("a", cache::hash_of("a"), std::string(700, 'v'), 0, 0));
  CHECK(all(keeps, {700, 10}));
  CHECK_FALSE(all(keeps, {700, 200}));
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
