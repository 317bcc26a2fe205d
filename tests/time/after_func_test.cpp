// after_func: of a duration and of a context.

#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {
using namespace weft::test;
using namespace std::chrono_literals;
struct color {
  using type = int;
};
}  // namespace

TEST_CASE("after_func runs the function as a task when the duration has passed") {
  with_workers([] {
    auto const done = weft::make_chan<weft::time_point>(1);
    auto const start = weft::now();
    weft::task_id const mine = weft::this_task::id();
    auto const stop = weft::after_func(2ms, [done, mine] {
      if (weft::this_task::id() != mine) done.send(weft::now());
    });
    CHECK(*done.recv() >= start + 2ms);
    CHECK_FALSE(stop());
  });
}

TEST_CASE("stop prevents the function once, destroys it, and says so") {
  with_workers([] {
    auto kept = std::make_shared<int>(1);
    auto const stop = weft::after_func(1h, [kept] { FAIL(); });
    auto const same = stop;
    CHECK(kept.use_count() == 2);
    CHECK(same());
    CHECK(kept.use_count() == 1);
    CHECK_FALSE(stop());
  });
}

TEST_CASE("a function after no time starts at once, one after max() never") {
  with_workers([] {
    auto const done = weft::make_chan<int>(1);
    weft::after_func(-1s, [done] { done.send(1); });
    CHECK(done.recv() == 1);
    CHECK(weft::after_func(std::chrono::nanoseconds::max(), [] {})());
  });
}

TEST_CASE("what waits for max() is destroyed with its runtime, or when it is stopped") {
  auto const kept = std::make_shared<int>(1);
  weft::stop_fn late;
  {
    weft::runtime r;
    r.run([&] {
      (void)weft::after_func(std::chrono::hours::max(), [kept] {});
      late = weft::after_func(std::chrono::hours::max(), [kept] {});
      auto const stop = weft::after_func(std::chrono::hours::max(), [kept] {});
      CHECK(kept.use_count() == 4);
      CHECK(stop());
      CHECK_FALSE(stop());
      CHECK(kept.use_count() == 3);
    });
    CHECK(kept.use_count() == 3);
    r.shutdown();
    CHECK(kept.use_count() == 1);
    CHECK_FALSE(late());
  }
  CHECK_FALSE(late());
}

TEST_CASE("the function runs although the stop_fn was dropped") {
  with_workers([] {
    auto const done = weft::make_chan<int>(1);
    weft::after_func(1ms, [done] { done.send(1); });
    CHECK(done.recv() == 1);
  });
}

TEST_CASE("of a stop and a firing that race exactly one wins") {
  with_workers([] {
    std::atomic<int> ran{0};
    int stopped = 0;
    weft::wait_group all;
    for (int i = 0; i < 500; ++i) {
      all.add();
      auto const stop = weft::after_func(std::chrono::microseconds(i % 20), [&] {
        ran.fetch_add(1);
        all.done();
      });
      weft::yield();
      if (stop()) {
        ++stopped;
        all.done();
      }
    }
    all.wait();
    CHECK(ran + stopped == 500);
  });
}

TEST_CASE(
    "after_func of a duration in a blocking call: the task may have ended, and another taken its place, before it "
    "returns") {
  with_workers([] {
    std::atomic<bool> over{false};
    std::atomic<int> ran{0};
    auto others = weft::spawn([&] {
      while (!over) {
        weft::go([&over] { (void)over; });
        weft::yield();
      }
    });
    constexpr int rounds = 100;
    weft::wait_group all;
    all.add(rounds);
    for (int i = 0; i < rounds; ++i) {
      weft::blocking([&] {  // without a processor: what sleeps until the next timer must be told
        (void)weft::after_func(1ns, [&ran, &all] {
          ++ran;
          all.done();
        });
        std::this_thread::sleep_for(100us);
      });
    }
    all.wait();
    over = true;
    others.join();
    CHECK(ran == rounds);
  });
}

TEST_CASE("a function that is pending when the runtime ends is destroyed and does not run") {
  auto const kept = std::make_shared<int>(1);
  weft::stop_fn stop;
  weft::run([&] {
    stop = weft::after_func(1h, [kept] { std::abort(); });
    CHECK(kept.use_count() == 2);
  });
  CHECK(kept.use_count() == 1);
  CHECK_FALSE(stop());
}

TEST_CASE("a function whose time comes while the runtime ends has run to its end, or is destroyed") {
  std::atomic<int> kept{0}, late{0};
  struct token {
    std::atomic<int>* of;
    explicit token(std::atomic<int>& n) : of(&n) { ++*of; }
    token(token const& other) : of(other.of) { ++*of; }
    ~token() { --*of; }
  };
  for (int round = 0; round < 150; ++round) {
    weft::options chosen;
    chosen.workers = 1 + static_cast<unsigned>(round % 4);
    weft::runtime runtime(chosen);
    runtime.run([&] {
      for (int i = 0; i < 30; ++i)
        (void)weft::after_func(std::chrono::microseconds(20 + 10 * i), [t = token(kept), &late] {
          ++late;
          weft::yield();
          --late;
        });
    });
    runtime.shutdown();
    CHECK(runtime.metrics().live == 0);
  }
  CHECK(kept == 0);
  CHECK(late == 0);
}

TEST_CASE(
    "a function of a context that outlives its runtime is destroyed with that, or has run, whoever cancels when") {
  struct token {
    std::atomic<int>* of;
    explicit token(std::atomic<int>& n) : of(&n) { ++*of; }
    token(token const& other) : of(other.of) { ++*of; }
    ~token() { --*of; }
  };
  std::atomic<int> kept{0}, ran{0}, stopped{0};
  constexpr int rounds = 150, each = 8;
  for (int round = 0; round < rounds; ++round) {
    std::vector<weft::cancel_fn> cancels;
    std::vector<weft::stop_fn> stops;
    std::thread canceller;
    {
      weft::options chosen;
      chosen.workers = 1 + static_cast<unsigned>(round % 4);
      weft::runtime runtime(chosen);
      runtime.run([&] {
        for (int i = 0; i < each; ++i) {
          auto [ctx, cancel] = weft::with_cancel(weft::without_cancel(weft::this_task::context()));
          stops.push_back(weft::after_func(ctx, [t = token(kept), &ran] {
            weft::yield();
            ++ran;
          }));
          cancels.push_back(cancel);
        }
      });
      canceller = std::thread([&cancels] {
        for (int i = 0; i < each / 2; ++i) cancels[static_cast<std::size_t>(i)]();
      });
      runtime.shutdown();
      CHECK(runtime.metrics().live == 0);
    }
    canceller.join();
    for (auto const& cancel : cancels) cancel();
    for (auto const& stop : stops) stopped += stop();
  }
  CHECK(kept == 0);
  CHECK(stopped == 0);
  CHECK(ran <= rounds * each / 2);
}

TEST_CASE("after_func of a context runs once that is cancelled, with its values and without its cancellation") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const done = weft::make_chan<int>(1);
    auto const stop = weft::after_func(weft::with_value<color>(ctx, 7), [done] {
      weft::sleep_for(1ms);  // would throw under the cancelled context
      done.send(*weft::this_task::value<color>());
    });
    CHECK_FALSE(done.recv_for(1ms).has_value());
    cancel();
    CHECK(done.recv() == 7);
    CHECK_FALSE(stop());
  });
}

TEST_CASE("a function that a plain thread registered runs beside the only task, which cancels and then computes") {
  weft::runtime r({.workers = 1});
  std::atomic<int> step = 0;
  std::optional<weft::context> shared;
  auto only = r.spawn([&] {
    auto [ctx, cancel] = weft::with_cancel();
    shared = ctx;
    step = 1;
    while (step != 2) {
    }
    cancel();
    while (step != 3) {
    }
  });
  while (step != 1) std::this_thread::yield();
  auto const stop = weft::after_func(*shared, [&step] { step = 3; });
  step = 2;
  only.join();
  CHECK_FALSE(stop());
}

TEST_CASE("after_func of a context that is cancelled already starts at once") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    auto const done = weft::make_chan<int>(1);
    auto const stop = weft::after_func(ctx, [done] { done.send(1); });
    CHECK_FALSE(stop());
    CHECK(done.recv() == 1);
  });
}

TEST_CASE("a stopped after_func of a context does not run when that is cancelled") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto kept = std::make_shared<int>(1);
    auto const stop = weft::after_func(ctx, [kept] { std::abort(); });
    CHECK(stop());
    CHECK(kept.use_count() == 1);
    CHECK_FALSE(stop());
    cancel();
  });
}

TEST_CASE("a function registered with a context that nobody holds runs when the parent is cancelled") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const done = weft::make_chan<int>(2);
    weft::after_func(weft::with_value<color>(weft::with_value<color>(ctx, 1), 2),
                     [done] { done.send(*weft::this_task::value<color>()); });
    auto const stop = weft::after_func(weft::with_cancel(ctx).first, [done] { done.send(3); });
    CHECK(stop());
    cancel();
    CHECK(done.recv() == 2);
    CHECK_FALSE(done.try_recv().has_value());
  });
}

TEST_CASE("after_func of a context that its deadline cancels runs then") {
  with_workers([] {
    auto const done = weft::make_chan<std::error_code>(1);
    auto [ctx, cancel] = weft::with_timeout(1ms);
    weft::after_func(ctx, [done, of = ctx] { done.send(of.err()); });
    CHECK(*done.recv() == std::errc::timed_out);
  });
}

TEST_CASE("functions of contexts and their stops race without loss") {
  with_workers([] {
    std::atomic<int> ran{0};
    std::atomic<int> stopped{0};
    weft::wait_group all;
    for (int i = 0; i < 200; ++i) {
      auto [ctx, cancel] = weft::with_cancel();
      all.add(3);
      auto stop = weft::after_func(ctx, [&] {
        ran.fetch_add(1);
        all.done();
      });
      weft::go([&, stop] {
        if (stop()) stopped.fetch_add(1), all.done();
        all.done();
      });
      weft::go([&, c = cancel] {
        c();
        all.done();
      });
    }
    all.wait();
    CHECK(ran + stopped == 200);
  });
}

TEST_CASE("after_func needs a runtime: the caller's or the context's") {
  CHECK_THROWS_AS(weft::after_func(1s, [] {}), weft::no_runtime);
  CHECK_THROWS_AS(weft::after_func(weft::context::background(), [] {}), weft::no_runtime);
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const done = weft::make_chan<int>(1);
    std::thread plain([&, of = ctx] { weft::after_func(of, [done] { done.send(1); }); });
    plain.join();
    cancel();
    CHECK(done.recv() == 1);
  });
}
