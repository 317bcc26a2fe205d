// What is received after stop and reset while ticks come and others race, and very many timers at once.

#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;
using weft::time_point;

}  // namespace

TEST_CASE("after a ticker's stop nothing is received, and after its reset nothing older than a period") {
  with_workers([] {
    weft::ticker every(5us);
    auto const rx = every.channel();
    for (int i = 0; i < 300; ++i) {
      compute_for(std::chrono::microseconds(i % 30));  // ticks come meanwhile, one is kept
      if (i % 3 == 0) weft::yield();
      if (i % 2 == 0) {
        every.stop();
        REQUIRE(rx.try_recv().error() == weft::chan_status::empty);
        compute_for(10us);
        if (i % 4 == 0) weft::yield();
        REQUIRE(rx.try_recv().error() == weft::chan_status::empty);
      }
      time_point const before = weft::now();
      std::chrono::microseconds const period(1 + i % 20);
      every.reset(period);
      auto const got = rx.recv();
      REQUIRE(got.has_value());
      REQUIRE(*got >= before + period);
    }
  });
}

TEST_CASE("a receiver that waits for ticks gets none that is later than another task's stop") {
  with_workers([] {
    for (int i = 0; i < 100; ++i) {
      std::optional<weft::ticker> every(std::in_place, 3us);
      std::atomic<int> received{0};
      auto receiver = weft::spawn([rx = every->channel(), &received] {
        time_point last{};
        for (time_point const at : rx) {
          last = at;
          ++received;
        }
        return last;
      });
      while (received < 2) weft::yield();
      compute_for(std::chrono::microseconds(i % 7));
      every->stop();
      time_point const stopped = weft::now();
      if (i % 10 == 0) weft::sleep_for(100us);
      every.reset();  // closes the channel
      REQUIRE(receiver.join() <= stopped);
    }
  });
}

TEST_CASE(
    "a stop by one task holds against the resets of others that have returned, and the last reset against the stops") {
  with_workers([] {
    weft::ticker const every(1h);
    auto const rx = every.channel();
    for (int i = 0; i < 100; ++i) {
      std::vector<weft::join_handle<void>> tasks;
      for (int n = 0; n < 4; ++n)
        tasks.push_back(weft::spawn([&, n] {
          for (int k = 0; k < 5; ++k) {
            every.reset(std::chrono::microseconds(1 + (n + k) % 3));
            if (n % 2 == 0) weft::yield();
            if (k % 2 == 0) every.stop();
          }
        }));
      for (auto& t : tasks) t.join();
      every.stop();
      REQUIRE(rx.try_recv().error() == weft::chan_status::empty);
      if (i % 10 == 0) REQUIRE(rx.recv_for(200us).error() == weft::chan_status::timeout);
      time_point const before = weft::now();
      every.reset(10us);
      REQUIRE(*rx.recv() >= before + 10us);
    }
  });
}

TEST_CASE("a timer that is reset while it fires gives one value for each reset that was received, the later one's") {
  with_workers([] {
    weft::timer const t(1h);
    auto const rx = t.channel();
    for (int i = 0; i < 500; ++i) {
      t.reset(std::chrono::microseconds(i % 10));
      compute_for(std::chrono::microseconds(i % 13));
      time_point const before = weft::now();
      t.reset(5us);
      auto const got = rx.recv();
      REQUIRE(*got >= before + 5us);
      REQUIRE(rx.try_recv().error() == weft::chan_status::empty);
      REQUIRE_FALSE(t.stop());
    }
  });
}

TEST_CASE("a million timers are pending at once: those that are due fire, not early, the others are stopped") {
  constexpr std::size_t n = WEFT_ASAN || WEFT_TSAN ? 50'000 : 1'000'000;
  constexpr std::size_t due_every = n / 500;
  with_worker_count(2, [] {
    std::vector<weft::timer> timers;
    timers.reserve(n);
    time_point const start = weft::now();
    for (std::size_t i = 0; i < n; ++i)  // 7919 is prime: a different order than that of their making
      timers.emplace_back(i % due_every == 0 ? std::chrono::nanoseconds(1ms + i % 7919 * 1us)
                                             : 1h + i * 7919 % n * 1us);
    std::vector<weft::join_handle<bool>> waits;
    for (std::size_t i = 0; i < n; i += due_every)
      waits.push_back(weft::spawn([rx = timers[i].channel(), earliest = start + 1ms + i % 7919 * 1us] {
        auto const at = rx.recv();
        return at.has_value() && *at >= earliest;
      }));
    CHECK(std::ranges::all_of(waits, [](auto& w) { return w.join(); }));
    std::size_t stopped = 0;
    for (auto const& t : timers) stopped += t.stop();
    CHECK(stopped == n - waits.size());
  });
}
