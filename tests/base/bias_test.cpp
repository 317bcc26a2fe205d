#include "runtime/base/bias.hpp"

#include "runtime/base/lock.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <cstdint>

namespace {

using namespace weft::rt;

std::uint16_t takings_worth_a_bias = 4;

struct few_takings {
  static constexpr std::uint16_t first_bias = 4, last_bias = 64;
  static std::uint16_t worth() noexcept { return takings_worth_a_bias; }
  static void light() noexcept {}
  static void heavy() noexcept {}
  static std::uint8_t wait_while(std::atomic<std::uint8_t>& word, std::uint8_t) noexcept { return word.load(); }
};
using few_biased_lock = biased<object_lock, few_takings>;

constexpr lock_owner usual = 1, other = 2;

/// How often `me` takes it until it is the owner; `most`: it never is.
int takings_until_owner(few_biased_lock& lock, lock_owner me, int most) {
  for (int n = 0; n < most; ++n) {
    if (auto* const held = lock.lock_as_owner(me)) {
      few_biased_lock::unlock_as_owner(held);
      return n;
    }
    lock.lock_by_inner(me);
    lock.unlock();
  }
  return most;
}

}  // namespace

TEST_CASE("a lock becomes its thread's after few takings in a row where no other could come") {
  takings_worth_a_bias = few_takings::first_bias;
  few_biased_lock lock;
  CHECK(takings_until_owner(lock, usual, 100) == 5);  // the first one is in a row with none
}

TEST_CASE("others that may come by now make a lock wait for more takings, those before counted") {
  takings_worth_a_bias = 16;
  few_biased_lock lock;
  CHECK(takings_until_owner(lock, usual, 100) == 17);
}

TEST_CASE("a bias that was taken away comes back after twice as many takings, and in the end not at all") {
  takings_worth_a_bias = few_takings::first_bias;
  few_biased_lock lock;
  int expected = 4;
  for (; expected <= few_takings::last_bias; expected *= 2) {
    CHECK(takings_until_owner(lock, usual, 1000) == expected + 1);
    lock.lock(other);
    lock.unlock();
  }
  CHECK(takings_until_owner(lock, usual, 1000) == 1000);
}
