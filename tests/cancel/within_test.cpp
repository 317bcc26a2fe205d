// within, uncancellable, and what unwinding does to cancellation.

#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <type_traits>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {
using namespace weft::test;
using namespace std::chrono_literals;
}  // namespace

TEST_CASE("within returns the value of what ends in time, and timed_out where the deadline ended it") {
  with_workers([] {
    CHECK(weft::within(1h, [] { return 3; }) == 3);
    auto const late = weft::within(1ms, [] {
      weft::sleep_for(1h);
      return 3;
    });
    REQUIRE_FALSE(late.has_value());
    CHECK(late.error() == std::errc::timed_out);
    CHECK(weft::within(1h, [] {}).has_value());
    CHECK_FALSE(weft::this_task::context().cancelled());
  });
}

TEST_CASE("a value that comes late is a value") {
  with_workers([] {
    auto const late = weft::within(1ms, [] {
      (void)weft::this_task::context().done().recv();
      return 3;
    });
    CHECK(late == 3);
  });
}

TEST_CASE("a result is not nested in another") {
  with_workers([] {
    auto const r =
        weft::within(1h, []() -> weft::result<int> { return std::unexpected(make_error_code(weft::errc::eof)); });
    static_assert(std::is_same_v<decltype(r), weft::result<int> const>);
    CHECK(r.error() == weft::errc::eof);
  });
}

TEST_CASE("exceptions of f come out of within") {
  with_workers([] { CHECK_THROWS_AS(weft::within(1h, [] { throw std::runtime_error("f"); }), std::runtime_error); });
}

TEST_CASE("an outer deadline that ends f inside two withins is the outer one's") {
  with_workers([] {
    bool inner_returned = false;
    auto const outer = weft::within(1ms, [&] {
      (void)weft::within(1h, [] { weft::sleep_for(1h); });
      inner_returned = true;
    });
    CHECK(outer.error() == std::errc::timed_out);
    CHECK_FALSE(inner_returned);
  });
}

TEST_CASE("a task's own cancellation passes through within") {
  with_workers([] {
    auto const ready = weft::make_chan<int>(1);
    auto child = weft::spawn([ready] {
      (void)weft::within(1h, [ready] {
        ready.send(1);
        weft::sleep_for(1h);
      });
    });
    (void)ready.recv();
    child.cancel();
    CHECK_THROWS_AS(child.join(), weft::cancelled);
  });
}

TEST_CASE("a cancellation that f joins from a child is not the deadline's") {
  with_workers([] {
    CHECK_THROWS_AS(weft::within(1h,
                                 [] {
                                   auto child = weft::spawn([] { weft::sleep_for(1h); });
                                   child.cancel();
                                   child.join();
                                 }),
                    weft::cancelled);
  });
}

TEST_CASE("waiting in an uncancellable block goes on, and behind it the cancellation is met") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    cancel();
    {
      weft::uncancellable const shield;
      weft::uncancellable const twice;
      CHECK_NOTHROW(weft::sleep_for(1us));
      CHECK_FALSE(weft::make_chan<int>().recv_for(1us).has_value());
    }
    CHECK_THROWS_AS(weft::sleep_for(1us), weft::cancelled);
    CHECK_THROWS_AS(weft::make_chan<int>(1).send(1), weft::cancelled);
  });
}

TEST_CASE("while an exception unwinds the stack waiting is uncancellable, in the catch block it is not") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    cancel();
    bool waited = false;
    struct waits {
      bool& done;
      ~waits() {
        weft::sleep_for(1us);
        done = true;
      }
    };
    bool thrown_again = false;
    try {
      waits const w{waited};
      throw std::runtime_error("unwinding");
    } catch (std::runtime_error const&) {
      try {
        weft::sleep_for(1us);
      } catch (weft::cancelled const&) {
        thrown_again = true;
      }
    }
    CHECK(waited);
    CHECK(thrown_again);
  });
}

TEST_CASE("defer runs at the end of the block, whichever way it is left, and may wait there") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    int ran = 0;
    {
      weft::defer const last([&] { CHECK(ran++ == 1); });
      weft::defer const first([&] {
        weft::sleep_for(1us);
        CHECK(ran++ == 0);
      });
      cancel();
      CHECK(ran == 0);
    }
    CHECK(ran == 2);
    try {
      weft::defer const d([&] { ++ran; });
      throw 1;
    } catch (int) {
    }
    CHECK(ran == 3);
  });
}

TEST_CASE(
    "within tells its own deadline from that of a context which f has put in force, and from what f has cancelled") {
  with_workers([] {
    auto const code_of = [](auto f) {
      try {
        (void)weft::within(1h, f);
      } catch (weft::cancelled const& c) {
        return c.code();
      }
      return std::error_code();
    };
    CHECK(code_of([] {
            auto [inner, cancel] = weft::with_timeout(1ms);
            weft::scoped_context const in(inner);
            weft::sleep_for(1h);
          }) == std::errc::timed_out);
    CHECK(code_of([] {
            auto [inner, cancel] = weft::with_cancel();
            weft::scoped_context const in(inner);
            cancel();
            weft::sleep_for(1h);
          }) == std::errc::operation_canceled);
    CHECK(code_of([] {
            auto [beside, cancel] = weft::with_timeout(weft::context::background(), 1ms);
            weft::scoped_context const in(beside);
            weft::sleep_for(1h);
          }) == std::errc::timed_out);
  });
}

TEST_CASE("a deadline of within reaches f under contexts that f has put in force below it") {
  with_workers([] {
    auto const below = [](auto make) {
      return weft::within(1ms, [&] {
        auto const made = make();
        weft::scoped_context const in(made.first);
        weft::sleep_for(1h);
      });
    };
    CHECK(below([] { return weft::with_cancel(); }).error() == std::errc::timed_out);
    CHECK(below([] { return weft::with_timeout(1h); }).error() == std::errc::timed_out);
    CHECK(below([] { return weft::with_cancel(weft::with_cancel().first); }).error() == std::errc::timed_out);
    bool reached = true;
    auto const apart = weft::within(1ms, [&] {
      weft::scoped_context const in(weft::without_cancel(weft::this_task::context()));
      weft::sleep_for(5ms);
      reached = false;
    });
    CHECK(apart.has_value());  // a late value is a value
    CHECK_FALSE(reached);
  });
}

TEST_CASE("a deadline of within that ends a group or a task of f's which f joins is within's own") {
  with_workers([] {
    std::atomic<int> ended{0};
    auto const sleeps = [&] {
      weft::defer const mark([&] { ++ended; });
      weft::sleep_for(1h);
    };
    CHECK(weft::within(1ms, [&] { weft::scope([&](weft::task_group& g) { g.spawn(sleeps); }); }).error() ==
          std::errc::timed_out);
    CHECK(ended == 1);
    CHECK(weft::within(1ms, [&] { weft::spawn(sleeps).join(); }).error() == std::errc::timed_out);
    CHECK(ended == 2);
    CHECK(weft::within(1ms, [&] { return weft::race([&] { sleeps(); }, [&] { sleeps(); }); }).error() ==
          std::errc::timed_out);
    CHECK(ended == 4);
  });
}

TEST_CASE("within takes no time, and any duration type, of which max() never ends it") {
  with_workers([] {
    CHECK(weft::within(0s, [] { weft::sleep_for(1h); }).error() == std::errc::timed_out);
    CHECK(weft::within(-1h, [] { weft::yield(); }).has_value());
    CHECK(weft::within(std::chrono::hours::max(), [] { weft::sleep_for(1us); }).has_value());
    CHECK(weft::within(std::chrono::duration<double>(1e-3), [] { weft::sleep_for(1h); }).error() ==
          std::errc::timed_out);
    auto const owner = weft::within(1h, [] { return std::make_unique<int>(7); });
    CHECK(**owner == 7);
  });
}
