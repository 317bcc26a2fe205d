// Which calls are cancellation points and which are not, one by one; and that a task parked in any of them is woken.
#include <weft/weft.hpp>

#include <optional>
#include <string_view>
#include <thread>

#include "tests/cancel/points.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace weft::test;

TEST_CASE("every call that can wait throws in a cancelled context even if it could go ahead") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const calls = calls_that_could_go_ahead();
    cancel();
    for (call const& each : calls) {
      INFO(each.name);
      weft::scoped_context const in(ctx);
      CHECK(throws_cancelled(each.f));
      CHECK(throws_cancelled(each.f));  // cancellation is sticky
    }
    for (call const& each : calls_that_could_go_ahead()) {
      INFO(each.name);
      if (each.name == std::string_view("wait_signal")) continue;
      CHECK_NOTHROW(each.f());  // in a context that is not, they go ahead
    }
  });
}

TEST_CASE("yield, the locks, and calls that cannot wait are no cancellation points") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const calls = calls_that_are_none();
    cancel();
    weft::scoped_context const in(ctx);
    for (call const& each : calls) {
      INFO(each.name);
      CHECK_NOTHROW(each.f());
    }
  });
}

TEST_CASE("a task parked anywhere is woken at once by its handle's cancel and by its context's") {
  with_workers([] {
    for (bool own : {true, false}) {
      for (call const& each : calls_that_wait()) {
        INFO(each.name);
        auto [ctx, cancel] = weft::with_cancel();
        std::size_t const parked = weft::current_metrics().parked;
        weft::join_handle<bool> waits;
        {
          weft::scoped_context const in(ctx);
          waits = weft::spawn([f = each.f] { return throws_cancelled(f); });
        }
        while (weft::current_metrics().parked == parked) weft::yield();
        if (own) waits.cancel();
        else cancel();
        CHECK(waits.join());
      }
    }
  });
}

TEST_CASE("in an uncancellable block every call that can wait goes ahead in a cancelled context") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const calls = calls_that_could_go_ahead();
    cancel();
    weft::scoped_context const in(ctx);
    for (call const& each : calls) {
      INFO(each.name);
      // These run tasks of their own under the cancelled context, or wait for what never comes.
      std::string_view const name = each.name;
      if (name == "wait_signal" || name == "race" || name == "parallel_map" || name == "parallel_for") continue;
      weft::uncancellable const shield;
      CHECK_NOTHROW(each.f());
    }
  });
}

TEST_CASE("nothing on a plain thread is a cancellation point, though its runtime ends meanwhile") {
  for (unsigned workers : worker_counts) {
    auto const c = weft::make_chan<int>();
    int got = 0;
    std::thread plain;
    weft::run({.workers = workers}, [&] { plain = std::thread([&] { got = c.recv().value_or(-1); }); });
    c.send(3);
    plain.join();
    CHECK(got == 3);
  }
}

TEST_CASE("a wait that ends with its partner after the context was cancelled on another's branch goes on") {
  with_workers([] {
    auto [above, cancel_above] = weft::with_cancel();
    auto [own, cancel_own] = weft::with_cancel(above);
    auto [beside, cancel_beside] = weft::with_cancel(above);
    auto const c = weft::make_chan<int>();
    weft::join_handle<std::optional<int>> waits;
    {
      weft::scoped_context const in(own);
      waits = weft::spawn([c] { return c.recv(); });
    }
    cancel_beside();
    c.send(2);
    CHECK(waits.join() == 2);
  });
}
