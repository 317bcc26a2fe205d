// Contexts as values: the tree, what they carry, how they are cancelled, and what a task's current context is.

#include <weft/weft.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;

struct user {
  using type = std::string;
};
struct depth {
  using type = int;
};

bool is_closed(weft::receiver<weft::unit> const& done) { return done.try_recv().error() == weft::chan_status::closed; }

}  // namespace

TEST_CASE("a context that is not cancelled has no error, no cause and an open done channel") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    CHECK_FALSE(ctx.cancelled());
    CHECK_FALSE(ctx.err());
    CHECK(ctx.cause() == nullptr);
    CHECK_FALSE(ctx.deadline().has_value());
    CHECK(ctx.done().try_recv().error() == weft::chan_status::empty);
    CHECK_NOTHROW(ctx.throw_if_cancelled());
    CHECK(ctx == weft::context(ctx));
    CHECK_FALSE(ctx == weft::context::background());
  });
}

TEST_CASE("cancelling reaches all below and nothing above or beside") {
  with_workers([] {
    auto [top, cancel_top] = weft::with_cancel();
    auto [middle, cancel_middle] = weft::with_cancel(top);
    auto [beside, cancel_beside] = weft::with_cancel(top);
    auto const below = weft::with_value<depth>(middle, 3);
    auto [leaf, cancel_leaf] = weft::with_timeout(below, 1h);
    auto const done = leaf.done();
    cancel_middle();
    CHECK(middle.cancelled());
    CHECK(below.cancelled());
    CHECK(leaf.cancelled());
    CHECK(is_closed(done));
    CHECK(leaf.err() == std::errc::operation_canceled);
    CHECK_FALSE(top.cancelled());
    CHECK_FALSE(beside.cancelled());
    CHECK_THROWS_AS(leaf.throw_if_cancelled(), weft::cancelled);
  });
}

TEST_CASE("the first cancellation's cause stays, and below it is the same") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto [child, cancel_child] = weft::with_cancel(ctx);
    cancel(std::make_exception_ptr(std::runtime_error("first")));
    cancel(std::make_exception_ptr(std::runtime_error("second")));
    auto const copy = cancel_child;
    copy();
    CHECK_THROWS_WITH(std::rethrow_exception(ctx.cause()), "first");
    CHECK_THROWS_WITH(std::rethrow_exception(child.cause()), "first");
  });
}

TEST_CASE("a cause is freed by whoever holds it last, in whatever order others read it") {
  with_workers([] {
    std::atomic<bool> read = false;  // relaxed: the count of the exception is all that orders the two tasks
    std::string said;
    auto [ctx, cancel] = weft::with_cancel();
    cancel(std::make_exception_ptr(std::runtime_error("a cause that says more than fits in a string")));
    cancel = {};
    auto reader = weft::spawn([&, cause = ctx.cause()]() mutable {
      try {
        std::rethrow_exception(std::exchange(cause, nullptr));
      } catch (std::runtime_error const& e) {
        said = e.what();
      }
      read.store(true, std::memory_order_relaxed);
    });
    auto last = weft::spawn([&, held = std::make_unique<weft::context>(ctx)]() mutable {
      while (!read.load(std::memory_order_relaxed)) weft::yield();
      held.reset();
    });
    ctx = weft::this_task::context();
    last.join();
    reader.join();
    CHECK(said == "a cause that says more than fits in a string");
  });
}

TEST_CASE("without a cause given the cause is a weft::cancelled") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    CHECK_THROWS_AS(std::rethrow_exception(ctx.cause()), weft::cancelled);
  });
}

TEST_CASE("a child of a cancelled context is born cancelled") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    auto [child, cancel_child] = weft::with_timeout(ctx, 1h);
    CHECK(child.cancelled());
    CHECK(is_closed(child.done()));
    CHECK(weft::with_value<depth>(ctx, 1).cancelled());
    CHECK_FALSE(weft::without_cancel(ctx).cancelled());
  });
}

TEST_CASE("a deadline cancels with timed_out, not before its time") {
  with_workers([] {
    auto const start = weft::now();
    auto [ctx, cancel] = weft::with_timeout(2ms);
    CHECK(ctx.deadline() >= start + 2ms);
    CHECK_FALSE(ctx.done().recv().has_value());
    CHECK(weft::now() >= start + 2ms);
    CHECK(ctx.err() == std::errc::timed_out);
    try {
      std::rethrow_exception(ctx.cause());
    } catch (weft::cancelled const& c) {
      CHECK(c.code() == std::errc::timed_out);
    }
  });
}

TEST_CASE("the earlier of a context's deadline and its parent's counts") {
  with_workers([] {
    auto const at = weft::now() + 1h;
    auto [ctx, cancel] = weft::with_deadline(at);
    auto [later, cancel_later] = weft::with_deadline(ctx, at + 1h);
    auto [earlier, cancel_earlier] = weft::with_deadline(ctx, at - 1min);
    CHECK(ctx.deadline() == at);
    CHECK(later.deadline() == at);
    CHECK(earlier.deadline() == at - 1min);
    CHECK(weft::with_value<depth>(ctx, 1).deadline() == at);
    CHECK_FALSE(weft::without_cancel(ctx).deadline().has_value());
  });
}

TEST_CASE("a deadline that has passed cancels at once, one at max() never") {
  with_workers([] {
    CHECK(weft::with_timeout(-1s).first.err() == std::errc::timed_out);
    CHECK(weft::with_deadline(weft::now() - 1s).first.cancelled());
    auto [ctx, cancel] = weft::with_timeout(std::chrono::hours::max());
    CHECK_FALSE(ctx.deadline().has_value());
    cancel();
    CHECK(ctx.err() == std::errc::operation_canceled);
  });
}

TEST_CASE("values are found from below, the nearest first, and each key by its own type") {
  with_workers([] {
    auto const a = weft::with_value<user>(weft::this_task::context(), "ann");
    auto const b = weft::with_value<depth>(a, 1);
    auto [c, cancel] = weft::with_cancel(b);
    auto const d = weft::with_value<depth>(c, 2);
    CHECK(d.value<user>() == "ann");
    CHECK(d.value<depth>() == 2);
    CHECK(c.value<depth>() == 1);
    CHECK_FALSE(a.value<depth>().has_value());
    CHECK(weft::without_cancel(d).value<user>() == "ann");
  });
}

TEST_CASE("tasks inherit the current context with its values, deadline and cancellation") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel(weft::with_value<user>(weft::this_task::context(), "ann"));
    weft::join_handle<std::optional<std::string>> child;
    {
      weft::scoped_context const in(ctx);
      CHECK(weft::this_task::value<user>() == "ann");
      child = weft::spawn([] {
        auto const name = weft::this_task::value<user>();
        (void)weft::this_task::context().done().recv();
        return name;
      });
    }
    CHECK_FALSE(weft::this_task::value<user>().has_value());
    cancel();
    CHECK(child.join() == "ann");
  });
}

TEST_CASE("scoped contexts nest, and waiting is under the innermost") {
  with_workers([] {
    auto [outer, cancel_outer] = weft::with_cancel();
    auto [inner, cancel_inner] = weft::with_cancel();
    weft::scoped_context const in_outer(outer);
    {
      weft::scoped_context const in_inner(inner);
      CHECK(weft::this_task::context() == inner);
      cancel_inner();
      CHECK_THROWS_AS(weft::sleep_for(1h), weft::cancelled);
    }
    CHECK(weft::this_task::context() == outer);
    CHECK_NOTHROW(weft::sleep_for(1us));
    cancel_outer();
    CHECK_THROWS_AS(weft::sleep_for(1h), weft::cancelled);
    weft::scoped_context const shielded(weft::without_cancel(outer));
    CHECK_NOTHROW(weft::sleep_for(1us));
  });
}

TEST_CASE("a scope that its task has left behind is in force in no other task") {
  // Reachable, and never destroyed: that takes their tasks.
  static auto& left = *new std::vector<weft::scoped_context*>;
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    for (int i = 0; i < 20; ++i) {
      weft::spawn([c = ctx] { left.push_back(new weft::scoped_context(c)); }).join();
      CHECK(weft::spawn([c = ctx] { return weft::this_task::context() != c; }).join());
    }
    cancel();
    CHECK_NOTHROW(weft::spawn([] { weft::sleep_for(1ms); }).join());
  });
}

TEST_CASE("a context may outlive its task, its parents' handles and its runtime") {
  weft::context kept, root;
  weft::cancel_fn cancel;
  weft::run([&] {
    auto made =
        weft::spawn([] { return weft::with_cancel(weft::with_value<user>(weft::this_task::context(), "ann")); }).join();
    kept = made.first;
    cancel = made.second;
    root = weft::context::background();
    CHECK_FALSE(kept.cancelled());
  });
  CHECK(root.cancelled());
  CHECK(kept.cancelled());
  CHECK(kept.value<user>() == "ann");
  CHECK(is_closed(kept.done()));
  cancel();
  auto [child, cancel_child] = weft::with_cancel(kept);
  CHECK(child.cancelled());
}

TEST_CASE("on a plain thread there are contexts without a runtime, but no deadlines") {
  auto [ctx, cancel] = weft::with_cancel();
  auto [child, cancel_child] = weft::with_cancel(ctx);
  std::thread other([c = cancel] { c(); });
  CHECK_FALSE(child.done().recv().has_value());
  other.join();
  CHECK(ctx.cancelled());
  CHECK_FALSE(weft::context().cancelled());
  CHECK_THROWS_AS(weft::with_timeout(1s), weft::no_runtime);
}

TEST_CASE("what a plain thread derives from a runtime's context belongs to that runtime") {
  struct key {
    using type = int;
  };
  weft::runtime r({.workers = 1});
  auto const root = r.run([] { return weft::context::background(); });
  auto const [below, cancel] = weft::with_cancel(weft::with_value<key>(weft::without_cancel(root), 1));
  CHECK(weft::with_timeout(below, 1h).first.deadline());
  std::atomic<int> ran{0};
  (void)weft::after_func(below, [&] { ran = 1; });
  weft::task_group group(below);
  group.spawn([&] { weft::make_chan<int>().recv(); });
  cancel();
  group.wait();
  while (ran == 0) std::this_thread::yield();
}

TEST_CASE("stop_token bridges pass a stop request on to a context and a cancellation on to a token") {
  with_workers([] {
    std::stop_source source;
    auto const from = weft::context::from(source.get_token());
    CHECK_FALSE(from.cancelled());
    source.request_stop();
    CHECK(from.err() == std::errc::operation_canceled);
    CHECK(weft::context::from(source.get_token()).cancelled());
    CHECK_FALSE(weft::context::from(std::stop_token()).cancelled());

    auto [ctx, cancel] = weft::with_cancel();
    auto const token = ctx.stop_token();
    int called = 0;
    std::stop_callback const callback(token, [&called] { ++called; });
    CHECK_FALSE(token.stop_requested());
    cancel();
    CHECK(token.stop_requested());
    CHECK(called == 1);
    CHECK(ctx.stop_token().stop_requested());
  });
}

TEST_CASE(
    "a stop request wakes the tasks that wait under a context made from its token, from whatever thread it comes") {
  with_workers([] {
    for (bool from_thread : {false, true}) {
      std::stop_source source;
      auto const begun = weft::make_chan<int>();
      auto const [below, cancel] = weft::with_cancel(weft::context::from(source.get_token()));
      std::vector<weft::join_handle<std::error_code>> waits;
      auto const wait_for = [&](auto f) {
        waits.push_back(weft::spawn([&, f] {
          weft::scoped_context const in(below);
          begun.send(1);
          try {
            f();
          } catch (weft::cancelled const& c) {
            return c.code();
          }
          return std::error_code();
        }));
        begun.recv();
      };
      wait_for([] { weft::sleep_for(1h); });
      wait_for([] { weft::make_chan<int>().recv(); });
      wait_for([] { weft::select(weft::on_timeout(1h)); });
      wait_for([] {
        weft::task_group g;
        g.spawn([] { weft::sleep_for(1h); });
        g.wait();
      });
      while (weft::current_metrics().parked < 5) weft::yield();
      if (from_thread) std::thread([&] { source.request_stop(); }).join();
      else source.request_stop();
      for (auto& w : waits) CHECK(w.join() == std::errc::operation_canceled);
    }
  });
}

TEST_CASE("a context made from a stop token may go before the stop is requested, or while it is") {
  with_workers([] {
    for (int i = 0; i < 100; ++i) {
      std::stop_source source;
      auto kept = std::make_unique<weft::context>(weft::context::from(source.get_token()));
      auto const child = weft::with_cancel(*kept).first;
      auto stopping = weft::spawn([source]() mutable { source.request_stop(); });
      if (i % 2 == 0) weft::yield();
      kept.reset();
      stopping.join();
      REQUIRE(child.cancelled());
      (void)weft::context::from(source.get_token());
    }
    std::stop_source source;
    (void)weft::context::from(source.get_token());
    CHECK(source.request_stop());
  });
}

TEST_CASE("a callable that takes a stop_token gets its task's") {
  with_workers([] {
    auto const ready = weft::make_chan<int>(1);
    auto child = weft::spawn(
        [ready](std::stop_token stop, int n) {
          ready.send(n);
          while (!stop.stop_requested()) weft::yield();
          return n;
        },
        7);
    CHECK(ready.recv() == 7);
    child.cancel();
    CHECK(child.join() == 7);
  });
}

TEST_CASE("who finds done closed finds the context cancelled for everything else, too", "[stress]") {
  with_workers([] {
    constexpr int rounds = 400;
    int missed = 0;
    auto const counts = [&](auto f) {
      for (int i = 0; i < rounds; ++i) {
        auto const [ctx, stop] = weft::with_timeout(50us);
        weft::scoped_context const in(ctx);
        auto const never = weft::make_chan<int>();
        weft::select(weft::on_recv(never), weft::on_done(ctx));
        try {
          if (f(ctx)) ++missed;
        } catch (weft::cancelled const& e) {
          if (e.code() != std::errc::timed_out) ++missed;
        }
      }
    };
    counts([](weft::context const& c) { return !c.cancelled(); });
    counts([](weft::context const& c) { return c.throw_if_cancelled(), true; });
    counts([](weft::context const&) { return weft::sleep_for(0s), true; });
    counts([](weft::context const&) { return weft::make_chan<int>(1).send(1), true; });
    CHECK(missed == 0);
  });
}

TEST_CASE("who sees err set finds done closed, and who finds it closed sees err set") {
  with_workers([] {
    for (int i = 0; i < 200; ++i) {
      auto [ctx, cancel] = weft::with_cancel();
      auto sees_err = weft::spawn([c = ctx] {
        auto const done = c.done();
        while (!c.err()) weft::yield();
        return done.try_recv().error() == weft::chan_status::closed && c.cause() != nullptr;
      });
      auto finds_closed = weft::spawn([c = ctx] {
        (void)c.done().recv();
        return c.err() == std::errc::operation_canceled && c.cause() != nullptr;
      });
      weft::yield();
      cancel();
      REQUIRE(sees_err.join());
      REQUIRE(finds_closed.join());
    }
  });
}

TEST_CASE(
    "go and spawn are no cancellation points, and what they start under a cancelled context meets its first one") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const met = weft::make_chan<bool>(2);
    auto const meet = [met] {
      try {
        weft::sleep_for(1us);
        (void)met.try_send(false);
      } catch (weft::cancelled const&) {
        (void)met.try_send(true);
        throw;
      }
    };
    {
      weft::scoped_context const in(ctx);
      cancel();
      CHECK_NOTHROW(weft::go(meet));
      CHECK_NOTHROW(weft::spawn(meet).detach());
    }
    CHECK(met.recv() == true);
    CHECK(met.recv() == true);
  });
}
