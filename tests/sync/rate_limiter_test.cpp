// weft::rate_limiter: nobody is early, nobody is overtaken, and a wait that is cancelled costs no permit. Clocks are only ever asked
// whether something came too early: how late it comes is the machine's affair.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::test::with_worker_count;
using weft::test::with_workers;
using namespace std::chrono_literals;

/// Of which a permit never comes.
constexpr double glacial = 1e-9;

TEST_CASE("the burst is there at once, and what follows comes no earlier than the rate says") {
  with_workers([] {
    auto const start = weft::now();
    weft::rate_limiter limit(2000, 5);
    for (int n = 1; n <= 45; ++n) {
      limit.wait();
      auto const earliest = std::chrono::duration<double>((n - 5) / 2000.0);
      CHECK(weft::now() - start >= earliest);
    }
  });
}

TEST_CASE("try_take takes what there is and does not wait") {
  weft::rate_limiter limit(glacial, 3);  // on a plain thread
  CHECK(limit.try_take());
  CHECK(limit.try_take());
  CHECK(limit.try_take());
  CHECK_FALSE(limit.try_take());
  weft::rate_limiter half(glacial, 1.5);
  CHECK(half.try_take());
  CHECK_FALSE(half.try_take());
  weft::rate_limiter one(glacial);
  CHECK(one.try_take());
  CHECK_FALSE(one.try_take());
}

TEST_CASE("a pause fills the bucket up to the burst and no further") {
  with_worker_count(1, [] {
    weft::rate_limiter limit(1000, 2);
    weft::sleep_for(20ms);
    auto const before = weft::now();
    int taken = 0;
    while (limit.try_take()) ++taken;
    double const passed = std::chrono::duration<double>(weft::now() - before).count();
    CHECK(taken >= 2);
    CHECK(taken <= 2 + static_cast<int>(passed * 1000) + 1);
  });
}

TEST_CASE("tasks and plain threads together get no more than burst and rate allow") {
  with_workers([] {
    auto const start = weft::now();
    weft::rate_limiter limit(4000, 2);
    std::vector<weft::join_handle<void>> tasks;
    std::atomic<int> early{0}, through{0};
    auto use = [&](int times) {
      while (times-- > 0) {
        limit.wait();
        int const n = through.fetch_add(1) + 1;
        // Others may have come through and not counted yet: n is at most the true number.
        if (weft::now() - start < std::chrono::duration<double>((n - 2) / 4000.0)) early.fetch_add(1);
      }
    };
    for (int i = 0; i < 8; ++i) tasks.push_back(weft::spawn(use, 15));
    std::thread outside(use, 15);
    for (auto& h : tasks) h.join();
    outside.join();
    CHECK(through.load() == 135);
    CHECK(early.load() == 0);
  });
}

TEST_CASE("who waits is served first come, first served, and try_take overtakes nobody") {
  with_worker_count(1, [] {  // one worker: after a yield every other task has parked
    weft::rate_limiter limit(200);
    limit.wait();
    weft::guarded<std::vector<int>> served;
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(weft::spawn([&, i] {
        limit.wait();
        served.lock()->push_back(i);
      }));
      for (int turn = 0; turn < 10; ++turn) weft::yield();
    }
    int stolen = 0;
    while (served.lock()->size() < 4) {
      if (limit.try_take()) ++stolen;
      weft::yield();
    }
    CHECK(stolen == 0);
    for (auto& h : tasks) h.join();
    CHECK(*served.lock() == std::vector<int>{0, 1, 2, 3, 4});
  });
}

TEST_CASE("a wait is a cancellation point even if there is a permit, and leaves it there") {
  with_workers([] {
    weft::rate_limiter limit(glacial);
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    {
      weft::scoped_context in(ctx);
      CHECK_THROWS_AS(limit.wait(), weft::cancelled);
    }
    CHECK(limit.try_take());
  });
}

TEST_CASE("what a cancelled waiter would have got goes to the one behind it, at the same time") {
  with_worker_count(1, [] {
    weft::rate_limiter limit(10);  // the second permit is due in 100 ms, the third in 200 ms
    auto const start = weft::now();
    limit.wait();
    auto first = weft::spawn([&] { limit.wait(); });
    for (int turn = 0; turn < 10; ++turn) weft::yield();
    auto second = weft::spawn([&] { limit.wait(); });
    for (int turn = 0; turn < 10; ++turn) weft::yield();
    first.stop();  // asleep with the turn
    second.join();
    CHECK(weft::now() - start >= 100ms);
    auto third = weft::spawn([&] { limit.wait(); });
    for (int turn = 0; turn < 10; ++turn) weft::yield();
    auto fourth = weft::spawn([&] { limit.wait(); });
    for (int turn = 0; turn < 10; ++turn) weft::yield();
    fourth.stop();  // in the queue
    third.join();
    // Had a cancelled one kept its permit, this would be the fifth.
    CHECK(weft::now() - start < 10s);
    CHECK(weft::now() - start >= 200ms);
  });
}

TEST_CASE("permits are conserved when waiters are cancelled at any moment") {
  with_workers([] {
    constexpr double rate = 20'000;
    auto const start = weft::now();
    weft::rate_limiter limit(rate, 3);
    std::atomic<int> through{0};
    int wanted = 0;
    std::vector<weft::join_handle<void>> steady;
    for (int i = 0; i < 3; ++i) {
      steady.push_back(weft::spawn([&] {
        for (int n = 0; n < 300; ++n) {
          limit.wait();
          through.fetch_add(1);
        }
      }));
      wanted += 300;
    }
    for (int round = 0; round < 400; ++round) {
      auto doomed = weft::spawn([&] {
        limit.wait();
        through.fetch_add(1);
      });
      for (int i = 0; i < round % 5; ++i) weft::yield();
      doomed.stop();
    }
    for (auto& h : steady) h.join();  // nobody waits for a permit that a cancelled one took along
    CHECK(through.load() >= wanted);
    CHECK(weft::now() - start >= std::chrono::duration<double>((through.load() - 3) / rate));
    // Nobody is counted as waiting any more: once a permit is due, try_take gets it.
    while (!limit.try_take()) weft::yield();
  });
}

TEST_CASE("rates and bursts without end, and the smallest, work") {
  with_workers([] {
    double const unlimited = std::numeric_limits<double>::infinity();
    weft::rate_limiter free(unlimited), heap(glacial, unlimited), both(unlimited, unlimited);
    for (int i = 0; i < 1000; ++i) {
      free.wait();
      heap.wait();
      both.wait();
    }
    CHECK(heap.try_take());
    weft::rate_limiter large(glacial, 100'000);
    for (int i = 0; i < 100'000; ++i) large.wait();
    CHECK_FALSE(large.try_take());
    weft::rate_limiter never(std::numeric_limits<double>::denorm_min());
    never.wait();
    CHECK_FALSE(never.try_take());
    auto waiter = weft::spawn([&] { never.wait(); });
    for (int turn = 0; turn < 10; ++turn) weft::yield();
    waiter.stop();
    CHECK_FALSE(never.try_take());
  });
}

TEST_CASE("a rate that is not positive, or a burst below one, is an invalid argument") {
  CHECK_THROWS_AS(weft::rate_limiter(0), std::invalid_argument);
  CHECK_THROWS_AS(weft::rate_limiter(-1, 5), std::invalid_argument);
  CHECK_THROWS_AS(weft::rate_limiter(std::nan("")), std::invalid_argument);
  CHECK_THROWS_AS(weft::rate_limiter(1, 0.5), std::invalid_argument);
  CHECK_THROWS_AS(weft::rate_limiter(1, 0), std::invalid_argument);
  CHECK_THROWS_AS(weft::rate_limiter(1, -3), std::invalid_argument);
  CHECK_THROWS_AS(weft::rate_limiter(1, std::nan("")), std::invalid_argument);
}

}  // namespace

TEST_CASE("a rate limiter is made as a member's default") {
  struct api {
    weft::rate_limiter limit = {100, 5};
  };
  weft::run([] {
    api a;
    CHECK(a.limit.try_take());
  });
}
