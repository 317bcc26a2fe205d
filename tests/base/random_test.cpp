#include "runtime/base/random.hpp"

#include "tests/support/catch.hpp"

#include <array>

using namespace weft::rt;

TEST_CASE("equal seeds give equal sequences and different seeds different ones") {
  random_source one(7), same(7), other(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    auto const n = one.next();
    CHECK(n == same.next());
    differs |= n != other.next();
  }
  CHECK(differs);
}

TEST_CASE("numbers below n are below n and spread evenly, whatever the seed") {
  for (std::uint64_t const seed : {0ULL, 1ULL, ~0ULL}) {
    random_source source(seed);
    std::array<int, 7> hits{};
    for (int i = 0; i < 70000; ++i) {
      auto const n = source.below(hits.size());
      REQUIRE(n < hits.size());
      ++hits[n];
    }
    for (int const count : hits) {
      CHECK(count > 9500);
      CHECK(count < 10500);
    }
    CHECK(source.below(1) == 0);
  }
}
