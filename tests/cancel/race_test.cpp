// race: the first result wins, exceptions lose, and all have ended.

#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {
using namespace weft::test;
using namespace std::chrono_literals;
}  // namespace

TEST_CASE("race returns what the first returns, and has ended the others") {
  with_workers([] {
    std::atomic<bool> cancelled{false};
    auto const won = weft::race([] { return 1L; },
                                [&] {
                                  weft::defer const mark([&] { cancelled = true; });
                                  weft::sleep_for(1h);
                                  return 2;
                                });
    static_assert(std::is_same_v<decltype(won), long const>);
    CHECK(won == 1);
    CHECK(cancelled);
    weft::race([] { weft::sleep_for(1h); }, [] {});
  });
}

TEST_CASE("in a race an exception loses against a value, and without one the first comes out") {
  with_workers([] {
    CHECK(weft::race([]() -> int { throw std::runtime_error("a"); },
                     [] {
                       weft::sleep_for(100us);
                       return 2;
                     }) == 2);
    auto const live = [] { return weft::current_metrics().live; };
    CHECK_THROWS_WITH(weft::race([]() -> int { throw std::runtime_error("a"); },
                                 [=]() -> int {
                                   while (live() != 2) weft::yield();  // until a's task has ended
                                   throw std::runtime_error("b");
                                 }),
                      "a");
  });
}

TEST_CASE("in a race a result whose move throws loses against one that arrives") {
  struct fragile {
    int n;
    explicit fragile(int number) : n(number) {}
    fragile(fragile&& other) : n(other.n) {
      if (n == 1) throw std::runtime_error("a move");
    }
  };
  with_workers([] {
    auto const live = [] { return weft::current_metrics().live; };
    CHECK(weft::race([] { return fragile(1); },
                     [=] {
                       while (live() != 2) weft::yield();  // until the other task has ended
                       return fragile(2);
                     })
              .n == 2);
    CHECK_THROWS_WITH(weft::race([] { return fragile(1); }), "a move");
  });
}

TEST_CASE("in a race a result comes while another one's move is about to throw, and wins") {
  struct slow_to_move {
    int n;
    std::atomic<bool>& other_came;
    slow_to_move(int number, std::atomic<bool>& other) : n(number), other_came(other) {}
    slow_to_move(slow_to_move&& other) : n(other.n), other_came(other.other_came) {
      if (n == 2) return;
      while (!other_came) weft::yield();
      for (int i = 0; i < 10; ++i) weft::yield();  // what it does next has its turns
      throw std::runtime_error("a move");
    }
  };
  with_workers([] {
    std::atomic<bool> came{false};
    CHECK(weft::race([&] { return slow_to_move(1, came); },
                     [&] {
                       came = true;
                       return slow_to_move(2, came);
                     })
              .n == 2);
  });
}

TEST_CASE("a race that is cancelled throws, and its tasks have ended") {
  with_workers([] {
    std::atomic<int> ended{0};
    auto const r = weft::within(1ms, [&] {
      auto const slow = [&] {
        weft::defer const mark([&] { ended.fetch_add(1); });
        weft::sleep_for(1h);
        return 1;
      };
      return weft::race(slow, slow);
    });
    CHECK(r.error() == std::errc::timed_out);
    CHECK(ended == 2);
  });
}

TEST_CASE("the results of a race may be move-only, without a default, common by conversion, and of one alone") {
  struct made_of_int {
    std::unique_ptr<int> n;
    explicit made_of_int(int i) : n(std::make_unique<int>(i)) {}
  };
  with_workers([] {
    auto const never = weft::make_chan<int>();
    auto won = weft::race([] { return std::make_unique<int>(4); },
                          [never]() -> std::unique_ptr<int> {
                            never.recv();
                            return nullptr;
                          });
    static_assert(std::is_same_v<decltype(won), std::unique_ptr<int>>);
    CHECK(*won == 4);
    CHECK(*weft::race([] { return made_of_int(5); }).n == 5);
    auto const longer = weft::race([] { return 1; },
                                   [never] {
                                     never.recv();
                                     return 2.5;
                                   });
    static_assert(std::is_same_v<decltype(longer), double const>);
    CHECK(longer == 1.0);
    auto owner = std::make_unique<int>(6);
    CHECK(weft::race([own = std::move(owner)]() mutable { return *std::exchange(own, nullptr); }) == 6);
  });
}

TEST_CASE("the results that lose a race are destroyed, each before it returns") {
  with_workers([] {
    auto const kept = std::make_shared<int>(1);
    auto const ready = weft::make_chan<int>(3);
    auto const runner = [&] {
      ready.send(1);
      while (ready.size() != 3) weft::yield();  // all win if only one may
      return kept;
    };
    auto const won = weft::race(runner, runner, runner);
    CHECK(won == kept);
    CHECK(kept.use_count() == 2);
  });
}
