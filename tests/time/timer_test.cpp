// timer, ticker, after, tick.

#include <weft/weft.hpp>

#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {
using namespace weft::test;
using namespace std::chrono_literals;
using weft::time_point;
}  // namespace

TEST_CASE("a timer sends the time once, not before its duration has passed") {
  with_workers([] {
    time_point const start = weft::now();
    weft::timer t(3ms);
    auto const got = t.channel().recv();
    REQUIRE(got.has_value());
    CHECK(*got >= start + 3ms);
    CHECK(t.channel().try_recv().error() == weft::chan_status::empty);
    CHECK_FALSE(t.stop());
  });
}

TEST_CASE("a timer whose duration is zero or negative is ready at once, one of max() never") {
  with_workers([] {
    weft::timer now(0ms), before(-1h), never(std::chrono::nanoseconds::max());
    CHECK(now.channel().try_recv().has_value());
    CHECK(weft::select(weft::on_recv(before), weft::otherwise()) == 0);
    CHECK_FALSE(never.channel().recv_for(1ms).has_value());
    CHECK(never.stop());
    CHECK_FALSE(never.stop());
    CHECK_FALSE(never.reset(std::chrono::nanoseconds::max()));
    CHECK(never.reset(0ms));
    CHECK(never.channel().try_recv().has_value());
    CHECK_FALSE(never.stop());
  });
}

TEST_CASE("stop returns true while the timer is pending and no value comes after it") {
  with_workers([] {
    weft::timer t(1h);
    CHECK(t.stop());
    CHECK_FALSE(t.stop());
    CHECK_FALSE(t.reset(1ms));
    CHECK(t.channel().recv().has_value());
  });
}

TEST_CASE("stop and reset take back a value that nobody has received") {
  with_workers([] {
    weft::timer t(0ms);
    CHECK(t.stop());
    CHECK(t.channel().try_recv().error() == weft::chan_status::empty);
    t.reset(0ms);
    CHECK(t.reset(1h));
    CHECK(t.channel().try_recv().error() == weft::chan_status::empty);
    CHECK(t.stop());
  });
}

TEST_CASE("a reset to an earlier or a later time holds, and the value is never older than the reset") {
  with_workers([] {
    weft::timer t(1h);
    for (int i = 0; i < 200; ++i) {
      auto const wait = std::chrono::microseconds(i % 4 * 50);
      time_point const reset_at = weft::now();
      t.reset(wait);
      if (i % 3 == 0) weft::sleep_for(100us);  // the value may be there already when the next reset comes
      if (i % 3 == 2) continue;
      auto const got = t.channel().recv();
      REQUIRE(got.has_value());
      REQUIRE(*got >= reset_at + wait);
    }
  });
}

TEST_CASE("no stale value is received after stop has returned, whoever races with it") {
  with_workers([] {
    for (int i = 0; i < 300; ++i) {
      weft::timer t(std::chrono::microseconds(i % 30));
      auto stops = weft::spawn([t] {
        weft::yield();
        return t.stop();
      });
      bool const prevented = stops.join();
      bool const received = t.channel().try_recv().has_value();
      REQUIRE(prevented);  // nobody received, so stop found it pending or took the value back
      REQUIRE_FALSE(received);
    }
  });
}

TEST_CASE("of a stop and a receive that race exactly one has the value") {
  with_workers([] {
    for (int i = 0; i < 300; ++i) {
      weft::timer t(std::chrono::microseconds(i % 30));
      auto stops = weft::spawn([t] { return t.stop(); });
      bool received = t.channel().try_recv().has_value();
      bool const prevented = stops.join();
      received = received || t.channel().try_recv().has_value();
      REQUIRE(prevented != received);
    }
  });
}

TEST_CASE("copies of a timer are one timer, and the last one's going closes the channel") {
  with_workers([] {
    weft::receiver<time_point> rx;
    {
      weft::timer t(1h);
      weft::timer same = t;
      rx = t.channel();
      CHECK(same.stop());
      CHECK_FALSE(t.stop());
      weft::timer other(1h);
      other = same;
      CHECK_FALSE(other.reset(1h));
      CHECK(t.stop());
      CHECK_FALSE(rx.closed());
    }
    CHECK_FALSE(rx.recv().has_value());
  });
}

TEST_CASE("a ticker sends once a period, and a slow receiver misses ticks") {
  with_workers([] {
    weft::ticker every(1ms);
    auto const rx = every.channel();
    time_point last = *rx.recv();
    for (int i = 0; i < 5; ++i) {
      time_point const next = *rx.recv();
      CHECK(next > last);
      last = next;
    }
    weft::sleep_for(10ms);
    CHECK(rx.size() == 1);
    every.stop();
    CHECK(rx.try_recv().error() == weft::chan_status::empty);
    every.reset(1ms);
    CHECK(rx.recv().has_value());
    every.reset(1h);
    CHECK(rx.try_recv().error() == weft::chan_status::empty);
  });
}

TEST_CASE("a period that is not positive is refused") {
  with_worker_count(1, [] {
    CHECK_THROWS_AS(weft::ticker(0ms), std::invalid_argument);
    CHECK_THROWS_AS(weft::tick(-1ms), std::invalid_argument);
    weft::ticker every(1h);
    CHECK_THROWS_AS(every.reset(0s), std::invalid_argument);
  });
}

TEST_CASE("after sends one value and closes the channel") {
  with_workers([] {
    time_point const start = weft::now();
    std::vector<time_point> got;
    for (time_point at : weft::after(2ms)) got.push_back(at);
    REQUIRE(got.size() == 1);
    CHECK(got[0] >= start + 2ms);

    auto const at_once = weft::after(0s);
    CHECK(at_once.recv().has_value());
    CHECK_FALSE(at_once.recv().has_value());
    CHECK_FALSE(weft::after(std::chrono::hours::max()).recv_for(1ms).has_value());
  });
}

TEST_CASE("a receiver of after or tick that is dropped leaves nothing behind") {
  with_workers([] {
    for (int i = 0; i < 1000; ++i) {
      (void)weft::after(i % 2 == 0 ? std::chrono::nanoseconds(1h) : std::chrono::nanoseconds(10us));
      (void)weft::tick(i % 2 == 0 ? std::chrono::nanoseconds(1h) : std::chrono::nanoseconds(10us));
    }
    CHECK(weft::tick(1ms).recv().has_value());
  });
}

TEST_CASE("timers stand in a select as sources") {
  with_workers([] {
    auto const ch = weft::make_chan<int>();
    weft::timer soon(1ms), late(1h);
    weft::ticker every(1h);
    std::size_t const which = weft::select(weft::on_recv(ch, [](int) {}), weft::on_recv(late, [](time_point) {}),
                                           weft::on_recv(soon, [](time_point) {}), weft::on_recv(every, [] {}));
    CHECK(which == 2);
    CHECK(weft::select(weft::on_recv(ch),
                       weft::on_recv(weft::after(1ms), [](std::optional<time_point> t) { CHECK(t); })) == 1);
  });
}

TEST_CASE("a timer can be stopped, reset and waited for from a plain thread") {
  weft::runtime runtime;
  weft::timer const t = runtime.run([] { return weft::timer(1h); });
  CHECK(t.stop());
  t.reset(1ms);
  CHECK(t.channel().recv().has_value());
  CHECK_FALSE(t.reset(1h));
  CHECK(t.stop());
}

TEST_CASE("without a runtime there are no timers") {
  CHECK_THROWS_AS(weft::timer(1s), weft::no_runtime);
  CHECK_THROWS_AS(weft::after(1s), weft::no_runtime);
}

TEST_CASE("timers that are pending when their runtime ends are let go, and may outlive it") {
  std::optional<weft::timer> kept;
  weft::receiver<time_point> ticks;
  weft::run([&] {
    kept.emplace(1h);
    ticks = weft::tick(10us);
    (void)ticks.recv();
  });
  CHECK(kept->stop());
  ticks = {};
}

TEST_CASE("what after() and tick() gave is closed with its runtime, also under a thread that waits for it") {
  weft::receiver<time_point> late, ticks, waited_for;
  std::atomic<bool> waits = false;
  std::optional<std::thread> waiter;
  std::optional<weft::runtime> of(std::in_place);
  of->run([&] {
    late = weft::after(1h);
    ticks = weft::tick(1h);
    waited_for = weft::after(1h);
  });
  waiter.emplace([&] {
    waits = true;
    CHECK_FALSE(waited_for.recv());
  });
  while (!waits) std::this_thread::yield();
  of.reset();
  waiter->join();
  CHECK_FALSE(late.recv());
  CHECK_FALSE(ticks.recv());
}

TEST_CASE("what after() and tick() gave is closed, and what after_func() keeps destroyed, by shutdown() already") {
  weft::runtime ended, other;
  auto const kept = std::make_shared<int>(1);
  auto [once, often] = ended.run([kept] {
    (void)weft::after_func(1h, [kept] {});
    return std::pair(weft::after(1h), weft::tick(1h));
  });
  auto waiting = other.spawn([rx = once] { return rx.recv().has_value(); });
  while (other.metrics().parked == 0) std::this_thread::yield();
  ended.shutdown();
  CHECK(kept.use_count() == 1);
  CHECK(once.closed());
  CHECK(often.closed());
  CHECK_FALSE(waiting.join());
}

TEST_CASE("what shutdown() destroys may call shutdown() itself") {
  weft::runtime ended;
  struct service {
    weft::runtime& of;
    bool& gone;
    ~service() {
      of.shutdown();
      gone = true;
    }
  };
  bool gone = false;
  ended.run([&] { (void)weft::after_func(1h, [kept = std::make_shared<service>(ended, gone)] { (void)kept; }); });
  CHECK_FALSE(gone);
  ended.shutdown();
  CHECK(gone);
}

TEST_CASE("many timers, stopped, reset and fired at once by several tasks, all come right") {
  with_workers([] {
    constexpr int tasks = 8, rounds = 200;
    std::vector<weft::join_handle<int>> all;
    for (int n = 0; n < tasks; ++n)
      all.push_back(weft::spawn([n] {
        int received = 0;
        weft::timer t(1h);
        for (int i = 0; i < rounds; ++i) {
          time_point const at = weft::now();
          t.reset(std::chrono::microseconds((i * 7 + n) % 40));
          if (i % 2 == 0) t.stop(), t.reset(10us);
          auto const got = t.channel().recv();
          if (got && *got >= at) ++received;
        }
        return received;
      }));
    for (auto& each : all) CHECK(each.join() == rounds);
  });
}
