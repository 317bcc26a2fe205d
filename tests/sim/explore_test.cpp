#include <weft/sim.hpp>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>

#include "tests/support/catch.hpp"

namespace sim = weft::sim;
using namespace std::chrono_literals;

namespace {

void lost_update() {
  weft::mutex lock;
  int balance = 0;
  weft::wait_group all;
  for (int i = 0; i < 4; ++i)
    all.go([&] {
      int seen = 0;
      {
        std::lock_guard const hold(lock);
        seen = balance;
      }
      std::lock_guard const hold(lock);
      balance = seen + 1;
    });
  all.wait();
  if (balance != 4) throw std::logic_error("balance");
}

void sound() {
  weft::mutex lock;
  int balance = 0;
  weft::wait_group all;
  for (int i = 0; i < 4; ++i)
    all.go([&] {
      std::lock_guard const hold(lock);
      ++balance;
    });
  all.wait();
  if (balance != 4) throw std::logic_error("balance");
}

}  // namespace

TEST_CASE("explore finds nothing in a sound program, under each policy") {
  for (auto const pick : {sim::policy::random, sim::policy::pct, sim::policy::round_robin}) {
    sim::result const r = sim::explore(300, sound, {.pick = pick});
    CHECK_FALSE(r.failed);
    CHECK(r.runs == 300);
    CHECK(r.choices.empty());
  }
}

TEST_CASE("what explore finds, its seed and its choices fail again in the same way") {
  for (auto const pick : {sim::policy::random, sim::policy::pct, sim::policy::round_robin}) {
    sim::result const r = sim::explore(1000, lost_update, {.seed = 100, .pick = pick});
    REQUIRE(r.failed);
    CHECK(r.what == "balance");
    CHECK(r.seed >= 100);
    CHECK(r.runs == r.seed - 100 + 1);
    CHECK_THROWS_AS(sim::run({.seed = r.seed, .pick = pick}, lost_update), std::logic_error);
    for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(sim::replay(r.choices, lost_update), std::logic_error);
  }
}

TEST_CASE("the choices are shortened to what the failure needs") {
  sim::result const r = sim::explore(1000, lost_update);
  REQUIRE(r.failed);
  INFO(r.choices);
  CHECK(std::count(r.choices.begin(), r.choices.end(), '-') <= 2);  // one preemption, and perhaps the return from it
}

TEST_CASE("what is found beside a task that polls is shortened, and not taken for a run without an end") {
  auto const polls = [] {
    weft::mutex lock;
    bool stop = false;
    int balance = 0;
    auto const add = [&] {
      int seen = 0;
      {
        std::lock_guard const hold(lock);
        seen = balance;
      }
      std::lock_guard const hold(lock);
      balance = seen + 1;
    };
    weft::wait_group all;
    all.go([&] {
      for (;;) {
        std::lock_guard const hold(lock);
        if (stop) return;
      }
    });
    all.go(add);
    all.go([&] {
      add();
      std::lock_guard const hold(lock);
      stop = true;
    });
    all.wait();
    if (balance != 2) throw std::runtime_error("balance");
  };
  sim::result const r = sim::explore(1000, polls);
  REQUIRE(r.failed);
  CHECK(r.what == "balance");
  CHECK(std::count(r.choices.begin(), r.choices.end(), '-') <= 4);
  CHECK_THROWS_WITH(sim::replay(r.choices, polls), "balance");
}

TEST_CASE("replay without choices is an ordinary run, and returns its result") {
  CHECK(sim::replay("w1", [] { return 5; }) == 5);
  sim::replay("w1", sound);
}

TEST_CASE("choices that do not fit the program are told from its failures") {
  sim::result const r = sim::explore(1000, lost_update);
  REQUIRE(r.failed);
  CHECK_THROWS_AS(sim::replay(r.choices, [] {}), sim::mismatch);
  CHECK_THROWS_AS(sim::replay("w1-0p1/77", lost_update), sim::mismatch);
  CHECK_THROWS_AS(sim::replay("w1-0t1/2", lost_update), sim::mismatch);
  for (char const* text : {"", "w2", "w1-", "w1-3", "w1-3x1/2", "w1-3p2/2", "w1-3p0/2", "w1-3p1", "w1 3p1/2",
                           "w1-3p1/2,", "w1-5p1/2-18446744073709551615p1/2", "w1-18446744073709551615p1/2-0p1/2"})
    CHECK_THROWS_AS(sim::replay(text, lost_update), std::invalid_argument);
}

TEST_CASE("explore finds a deadlock and replays it") {
  auto const philosophers = [] {
    weft::mutex a, b;
    weft::wait_group all;
    all.go([&] {
      std::lock_guard const one(a);
      std::lock_guard const two(b);
    });
    all.go([&] {
      std::lock_guard const one(b);
      std::lock_guard const two(a);
    });
    all.wait();
  };
  sim::result const r = sim::explore(1000, philosophers);
  REQUIRE(r.failed);
  CHECK(r.what.find("deadlock") != std::string::npos);
  CHECK_THROWS_AS(sim::replay(r.choices, philosophers), weft::deadlock);
}

TEST_CASE("a run in which only tickers go on that nobody receives from is deadlocked, and ends") {
  auto const waits = [] {
    weft::ticker beat(1s);
    auto const nothing = weft::make_chan<int>();
    (void)nothing.recv();
  };
  CHECK_THROWS_AS(sim::run(1, waits), weft::deadlock);
  auto const crossed = sim::explore(200, [] {
    weft::mutex a, b;
    weft::task_group g;
    g.spawn([&] {
      weft::ticker beat(1s);
      std::lock_guard const first(a);
      weft::yield();
      std::lock_guard const second(b);
    });
    g.spawn([&] {
      std::lock_guard const first(b);
      weft::yield();
      std::lock_guard const second(a);
    });
    g.wait();
  });
  CHECK(crossed.failed != 0);
  CHECK(crossed.what.find("deadlock") != std::string::npos);
  // But one that somebody looks at now and then, or that runs beside another timer, is none.
  sim::run(1, [] {
    weft::ticker beat(1ms);
    weft::sleep_for(10min);
    CHECK(beat.channel().recv());
  });
}

TEST_CASE("a biased select takes no later case where what made that ready came after what made an earlier one ready") {
  auto const r = sim::explore(300, [] {
    auto const quit = weft::make_chan<int>();
    auto const work = weft::make_chan<int>(100);
    auto closer = weft::spawn([=] {
      quit.close();
      work.close();
    });
    bool stop = false;
    for (int i = 0; i < 20 && !stop; ++i)
      weft::select(weft::biased, weft::on_recv(quit, [&](auto const&) { stop = true; }), weft::on_send(work, 1),
                   weft::otherwise());
    closer.join();
    auto const high = weft::make_chan<int>(1), low = weft::make_chan<int>(1);
    auto sender = weft::spawn([=] {
      high.send(1);
      low.send(2);
    });
    int first = 0;
    weft::select(weft::biased, weft::on_recv(high, [&](auto const& v) { first = *v; }),
                 weft::on_recv(low, [&](auto const& v) { first = *v; }));
    if (first != 1) throw std::logic_error("the later value came first");
    sender.join();
  });
  CHECK(r.failed == 0);
  INFO(r.what);
}
