// All of weft's calls under many orders: none may preempt under a lock of weft's, which would stand still for ever, and none may lose a
// wake-up, which would be a deadlock.
#include <weft/sim.hpp>

#include <atomic>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/sim/bugs/planted.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

using namespace std::chrono_literals;
namespace sim = weft::sim;

namespace {

template <class F>
void holds_in_every_order(F f) {
  for (auto const pick : {sim::policy::random, sim::policy::pct, sim::policy::round_robin}) {
    sim::result const r = sim::explore(300, f, {.pick = pick});
    INFO("policy " << static_cast<int>(pick) << ", seed " << r.seed << ", " << r.choices);
    CHECK(r.what == "");
    CHECK_FALSE(r.failed);
  }
}

}  // namespace

TEST_CASE("channels, selects and topics hold in every order") {
  holds_in_every_order([] {
    auto a = weft::make_chan<int>(), b = weft::make_chan<int>(2);
    weft::broadcast<int> news(2);
    weft::watch<int> level(0);
    auto reader = news.subscribe();
    auto watcher = level.subscribe();
    int got = 0;
    weft::scope([&](weft::task_group& g) {
      g.spawn([&] {
        for (int i = 0; i < 4; ++i) a.send(i);
        a.close();
      });
      g.spawn([&] {
        for (int i = 0; i < 4; ++i)
          while (b.try_send(i) != weft::chan_status::ok) weft::yield();
        b.close();
      });
      g.spawn([&] {
        weft::selector s;
        bool open[2] = {true, true};
        // A closed channel is always ready: this polls it until the other is closed too, and must not starve the senders.
        s.recv(a, [&](std::optional<int> v) { v ? void(++got) : void(open[0] = false); });
        s.recv(b, [&](std::optional<int> v) { v ? void(++got) : void(open[1] = false); });
        while (open[0] || open[1]) (void)s.wait();
      });
      g.spawn([&] {
        for (int i = 1; i < 4; ++i) {
          news.send(i);
          level.send(i);
        }
        news.close();
      });
      g.spawn([&] {
        int last = 0;
        while (auto v = reader.recv()) must(*v > last, "news out of order"), last = *v;
        must(last == 3, "the last news was lost");
      });
      g.spawn([&] {
        while (watcher.get() != 3) (void)watcher.changed();
      });
    });
    must(got == 8, "values were lost");
  });
}

TEST_CASE("locks and their relatives hold in every order") {
  holds_in_every_order([] {
    weft::mutex m;
    weft::shared_mutex rw;
    weft::condition_variable c;
    weft::counting_semaphore<> permits(1);
    weft::barrier meet(3);
    weft::latch gone(3);
    weft::once_flag once;
    weft::singleflight<int, int> flight;
    weft::fiber_local<int> mine;
    int turns = 0, calls = 0, value = 0;
    std::vector<weft::join_handle<void>> all;
    for (int i = 0; i < 3; ++i)
      all.push_back(weft::spawn([&, i] {
        meet.arrive_and_wait();
        weft::call_once(once, [&] { ++calls; });
        must(calls == 1, "called more or less than once");
        {
          std::unique_lock lock(m);
          c.wait(lock, [&] { return turns == i; });
          ++turns;
          c.notify_all();
        }
        {
          weft::permit const one(permits);
          std::lock_guard const write(rw);
          ++value;
        }
        {
          std::shared_lock const read(rw);
          must(value >= 1 && value <= 3, "torn");
        }
        must(flight.run(1, [] { return 5; }) == 5, "another's result");
        *mine = i;
        weft::yield();
        must(*mine == i, "another's value");
        gone.count_down();
      }));
    gone.wait();
    weft::join_all(all);
    must(value == 3 && turns == 3, "an update was lost");
  });
}

TEST_CASE("contexts, groups and timers hold in every order") {
  holds_in_every_order([] {
    auto [ctx, cancel] = weft::with_timeout(5ms);
    std::atomic<int> cancelled = 0;
    {
      weft::task_group g(ctx);
      for (int i = 0; i < 3; ++i)
        g.spawn([&] {
          try {
            weft::make_chan<int>().recv();
          } catch (weft::cancelled const&) {
            ++cancelled;
            throw;
          }
        });
      g.spawn([c = cancel] {
        weft::sleep_for(5ms);
        c();
      });
    }
    must(cancelled <= 3, "cancelled twice");
    weft::timer t(2ms);
    auto h = weft::spawn([&] { (void)t.stop(); });
    weft::select(weft::on_recv(t.channel(), [](weft::time_point) {}), weft::on_timeout(3ms, [] {}));
    h.join();
    auto stop = weft::after_func(1ms, [] {});
    (void)stop();
    auto const squares = weft::parallel_map(std::vector{1, 2, 3}, [](int v) { return v * v; });
    must(std::accumulate(squares.begin(), squares.end(), 0) == 14, "a wrong sum");
    must(weft::race(
             [] {
               weft::sleep_for(1h);
               return 1;
             },
             [] { return 2; }) == 2,
         "the slow one won");
    auto sleeper = weft::spawn([] { weft::sleep_for(24h); });
    sleeper.stop();
    weft::rate_limiter limit(10, 1);
    for (int i = 0; i < 5; ++i) limit.wait();
  });
}

TEST_CASE("two threads may each have a simulated run") {
  std::string traces[2];
  std::vector<std::thread> threads;
  for (auto& trace : traces)
    threads.emplace_back([&trace] {
      sim::run({.seed = 11, .trace = &trace}, [] {
        weft::wait_group all;
        for (int i = 0; i < 50; ++i) all.go([] { weft::sleep_for(1ms); });
        all.wait();
      });
    });
  for (auto& t : threads) t.join();
  CHECK(traces[0] == traces[1]);
}

TEST_CASE("misuse of a simulated run ends the process with a message") {
  auto const says = [](auto body, char const* text) {
    child_end const end = run_child([&] {
      body();
      return 0;
    });
    INFO(end.errors);
    CHECK(end.signal != 0);
    CHECK(end.errors.find(text) != std::string::npos);
  };
  says([] { sim::run(1, [] { sim::run(2, [] {}); }); }, "inside a task");
  says([] { sim::wait_idle(); }, "wait_idle");
  if (races_are_reported) return;  // ThreadSanitizer allows no thread in a child of fork
  says(
      [] {
        sim::run(1, [] {
          auto c = weft::make_chan<int>();
          auto h = weft::spawn([&] { c.recv(); });
          sim::wait_idle();
          std::thread([&] { c.send(1); }).join();
        });
      },
      "another thread");
}
