// task_group and scope.

#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {
using namespace weft::test;
using namespace std::chrono_literals;
}  // namespace

TEST_CASE("wait returns when every task of the group has ended, and the group can be used again") {
  with_workers([] {
    weft::task_group g;
    std::atomic<int> ended{0};
    for (int round = 1; round <= 3; ++round) {
      for (int i = 0; i < 100; ++i)
        g.spawn(
            [&](int n) {
              if (n % 3 == 0) weft::sleep_for(10us);
              ended.fetch_add(1);
            },
            i);
      g.wait();
      CHECK(ended == round * 100);
    }
    g.wait();
  });
}

TEST_CASE("the first exception cancels the others and comes out of wait") {
  with_workers([] {
    weft::task_group g;
    auto const before = g.ctx();
    std::atomic<int> cancelled{0};
    for (int i = 0; i < 10; ++i)
      g.spawn([&] {
        try {
          weft::sleep_for(1h);
        } catch (weft::cancelled const&) {
          cancelled.fetch_add(1);
          throw;
        }
      });
    g.spawn([] {
      weft::yield();
      throw std::runtime_error("one failed");
    });
    CHECK_THROWS_WITH(g.wait(), "one failed");
    CHECK(cancelled == 10);
    CHECK_THROWS_WITH(std::rethrow_exception(before.cause()), "one failed");
    CHECK_FALSE(g.ctx().cancelled());
    std::atomic<bool> again{false};
    g.spawn([&] {
      weft::sleep_for(1us);
      again = true;
    });
    g.wait();
    CHECK(again);
  });
}

TEST_CASE("on_error takes the exceptions if they do not cancel, one at a time") {
  with_workers([] {
    std::vector<std::string> seen;
    weft::task_group g({.cancel_on_error = false, .on_error = [&](std::exception_ptr e) {
                          try {
                            std::rethrow_exception(e);
                          } catch (std::exception const& x) {
                            weft::yield();
                            seen.emplace_back(x.what());
                          }
                        }});
    std::atomic<int> ended{0};
    for (int i = 0; i < 50; ++i)
      g.spawn([&, i] {
        weft::sleep_for(1us);
        ended.fetch_add(1);
        if (i % 2 == 0) throw std::runtime_error("odd");
      });
    g.wait();
    CHECK(ended == 50);
    CHECK(seen.size() == 25);
  });
}

TEST_CASE("without cancel_on_error and on_error wait rethrows the first exception after all have ended") {
  with_workers([] {
    weft::task_group g({.cancel_on_error = false});
    std::atomic<int> ended{0};
    g.spawn([] { throw std::runtime_error("first"); });
    for (int i = 0; i < 10; ++i)
      g.spawn([&] {
        weft::sleep_for(10us);
        ended.fetch_add(1);
      });
    CHECK_THROWS_WITH(g.wait(), "first");
    CHECK(ended == 10);
  });
}

TEST_CASE("cancel ends the tasks and is no error") {
  with_workers([] {
    weft::task_group g;
    for (int i = 0; i < 10; ++i) g.spawn([] { weft::sleep_for(1h); });
    g.cancel();
    CHECK_NOTHROW(g.wait());
  });
}

TEST_CASE("a limit holds, and spawn waits for a place") {
  with_workers([] {
    weft::task_group g({.limit = 3});
    std::atomic<int> now{0}, most{0}, ended{0};
    for (int i = 0; i < 60; ++i)
      g.spawn([&] {
        int const n = now.fetch_add(1) + 1;
        for (int m = most; n > m && !most.compare_exchange_weak(m, n);) {
        }
        weft::sleep_for(10us);
        now.fetch_sub(1);
        ended.fetch_add(1);
      });
    g.wait();
    CHECK(ended == 60);
    CHECK(most <= 3);
  });
}

TEST_CASE("a spawn that waits for a place can be cancelled, and a higher limit lets it go on") {
  with_workers([] {
    weft::task_group g({.limit = 1});
    auto const hold = weft::make_chan<int>();
    g.spawn([hold] { (void)hold.recv(); });
    auto blocked = weft::spawn([&] { g.spawn([] {}); });
    blocked.cancel();
    CHECK_THROWS_AS(blocked.join(), weft::cancelled);
    std::atomic<bool> ran{false};
    auto raised = weft::spawn([&] { g.spawn([&] { ran = true; }); });
    weft::yield();
    g.limit(2);
    raised.join();
    hold.send(1);
    g.wait();
    CHECK(ran);
    g.limit(0);
    for (int i = 0; i < 10; ++i) g.spawn([] { weft::yield(); });
  });
}

TEST_CASE("tasks of a group may spawn into it") {
  with_workers([] {
    weft::task_group g;
    std::atomic<int> ended{0};
    std::function<void(int)> tree = [&](int depth) {
      if (depth > 0)
        for (int i = 0; i < 2; ++i) g.spawn([&tree, depth] { tree(depth - 1); });
      ended.fetch_add(1);
    };
    g.spawn([&] { tree(6); });
    g.wait();
    CHECK(ended == 127);
  });
}

TEST_CASE("a group is under the context it was given, and a cancelled wait leaves it to the destructor") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    std::atomic<bool> ended{false};
    {
      weft::task_group g(ctx);
      auto const ready = weft::make_chan<int>(1);
      g.spawn([&, ready] {
        weft::defer const mark([&] { ended = true; });
        ready.send(1);
        weft::sleep_for(1h);
      });
      (void)ready.recv();
      cancel();
      g.wait();
    }
    CHECK(ended);
    ended = false;
    auto owner = weft::spawn([&] {
      weft::task_group g(weft::context::background());
      g.spawn([&] {
        weft::defer const mark([&] { ended = true; });
        weft::sleep_for(1h);
      });
      g.wait();
    });
    owner.cancel();
    CHECK_THROWS_AS(owner.join(), weft::cancelled);
    CHECK(ended);
  });
}

TEST_CASE("what a group spawns is destroyed before wait returns") {
  with_workers([] {
    for (int i = 0; i < 100; ++i) {
      auto held = std::make_shared<int>(1);
      weft::task_group g;
      g.spawn([copy = held] { weft::yield(); });
      g.spawn([copy = std::make_unique<std::shared_ptr<int>>(held)] {});
      g.wait();
      REQUIRE(held.use_count() == 1);
    }
  });
}

TEST_CASE("scope waits, returns what f returns, and an exception of f's own wins") {
  with_workers([] {
    std::atomic<int> ended{0};
    int const r = weft::scope([&](weft::task_group& g) {
      for (int i = 0; i < 10; ++i) g.spawn([&] { ended.fetch_add(1); });
      return 5;
    });
    CHECK(r == 5);
    CHECK(ended == 10);
    std::atomic<bool> cancelled{false};
    CHECK_THROWS_WITH(weft::scope([&](weft::task_group& g) {
                        g.spawn([&] {
                          weft::defer const mark([&] { cancelled = true; });
                          weft::sleep_for(1h);
                        });
                        throw std::runtime_error("own");
                      }),
                      "own");
    CHECK(cancelled);
    CHECK_THROWS_WITH(weft::scope([](weft::task_group& g) { g.spawn([] { throw std::runtime_error("child"); }); }),
                      "child");
  });
}

TEST_CASE("groups are made, used and destroyed by many tasks at once") {
  with_workers([] {
    weft::task_group all;
    std::atomic<int> ended{0};
    for (int i = 0; i < 50; ++i)
      all.spawn([&] {
        for (int k = 0; k < 20; ++k) {
          weft::task_group g({.limit = 2});
          for (int n = 0; n < 5; ++n) g.spawn([&] { ended.fetch_add(1); });
          if (k % 2 == 0) g.wait();
        }
      });
    all.wait();
    CHECK(ended == 50 * 20 * 5);
  });
}

TEST_CASE("a group is cancelled, waited for and limited anew while others spawn into it, and no task is lost") {
  with_workers([] {
    weft::task_group g;
    std::atomic<int> spawned{0}, ended{0}, spawners{4};
    std::vector<weft::join_handle<void>> others;
    for (int i = 0; i < 4; ++i)
      others.push_back(weft::spawn([&] {
        for (int n = 0; n < 2'000; ++n) {
          g.spawn([&] {
            if (weft::this_task::id() % 4 == 0) weft::yield();
            ++ended;
          });
          ++spawned;
        }
        --spawners;
      }));
    for (std::size_t round = 0; spawners != 0; ++round) {
      g.limit(round % 3);
      if (round % 2 == 0) g.cancel();
      g.wait();
    }
    for (auto& o : others) o.join();
    g.limit(0);
    g.wait();
    CHECK_FALSE(g.ctx().cancelled());
    CHECK(spawned == 4 * 2'000);
    CHECK(ended == spawned);
  });
}

TEST_CASE(
    "a task that somebody spawned while wait() was about to return, and that has ended, keeps no cancelled context in "
    "place") {
  auto const found = weft::sim::explore(1'000, [] {
    std::atomic<bool> ended{false};  // wait() need not have waited for it
    weft::task_group g;
    g.spawn([&] { g.cancel(); });
    auto const somebody = weft::spawn([&] { g.spawn([&] { ended = true; }); });
    g.wait();
    if (ended && g.ctx().cancelled()) throw std::logic_error("the group is idle and stays cancelled");
  });
  INFO(found.choices);
  CHECK(found.what == "");
}

TEST_CASE("a closed_channel that another exception has led to does not hide it, whichever came first") {
  with_workers([] {
    for (int i = 0; i < 50; ++i) {
      auto [tx, rx] = weft::make_ends<int>();
      weft::task_group g;
      g.spawn([&, out = tx] {
        for (;;) out.send(1);
      });
      g.spawn([&] {
        (void)rx.recv();
        rx = {};  // as the unwinding does to a receiver that was passed along
        while (!g.ctx().cancelled()) weft::yield();
        throw std::runtime_error("why");
      });
      REQUIRE_THROWS_WITH(g.wait(), "why");
    }
    weft::task_group alone;
    alone.spawn([] { throw weft::closed_channel(); });
    CHECK_THROWS_AS(alone.wait(), weft::closed_channel);
  });
}

TEST_CASE("a channel whose last sender went with a group's task that an exception ended is abandoned") {
  with_workers([] {
    auto [tx, rx] = weft::make_ends<int>(1);
    auto [other, quiet] = weft::make_ends<int>(1);
    weft::task_group g;
    g.spawn([out = std::move(other)] { out.send(2); });
    g.wait();
    g.spawn([out = std::move(tx)] {
      out.send(1);
      throw std::runtime_error("midway");
    });
    CHECK_THROWS_WITH(g.wait(), "midway");
    CHECK(rx.recv() == 1);
    CHECK_FALSE(rx.recv());
    CHECK(rx.abandoned());
    CHECK(quiet.closed());
    CHECK_FALSE(quiet.abandoned());
  });
}

TEST_CASE("an own task_group outside of a runtime cannot spawn") {
  weft::task_group g;
  CHECK_THROWS_AS(g.spawn([] {}), weft::no_runtime);
  CHECK_NOTHROW(g.wait());
}
