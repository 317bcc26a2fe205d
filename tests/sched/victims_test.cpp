// In which order thieves look at the others: runtime/sched/victims.hpp.

#include "runtime/sched/victims.hpp"

#include <algorithm>
#include <vector>

#include "runtime/base/random.hpp"
#include "tests/support/catch.hpp"

using weft::rt::random_source;
using weft::rt::victim_order;

TEST_CASE("a thief comes to each processor once, whatever their number") {
  random_source chance(1);
  for (unsigned count = 1; count <= 130; ++count) {
    victim_order const order(count);
    for (int round = 0; round < 20; ++round) {
      std::vector<int> seen(count);
      for (victim_order::walk w(order, chance.next()); !w.done(); w.next()) ++seen.at(w.at());
      REQUIRE(std::ranges::all_of(seen, [](int n) { return n == 1; }));
    }
  }
}

TEST_CASE("of busy processors that stand side by side none is the first to be found by most thieves") {
  constexpr unsigned count = 64, busy = 8, rounds = 16'000;
  victim_order const order(count);
  random_source chance(2);
  std::vector<unsigned> first(busy);
  for (unsigned round = 0; round < rounds; ++round) {
    victim_order::walk w(order, chance.next());
    while (w.at() >= busy) w.next();
    ++first.at(w.at());
  }
  // Their share is an eighth. By turns from a random place the first of them would have 57 of 64.
  CHECK(*std::ranges::max_element(first) < rounds / 4);
  CHECK(*std::ranges::min_element(first) > rounds / 16);
}
