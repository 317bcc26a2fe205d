// Cancellation of channel operations and select: who throws, who does not, and that nothing is lost.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::on_recv;
using weft::on_send;
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_workers;

template <class F>
bool is_cancelled(F f) {
  try {
    f();
  } catch (weft::cancelled const&) {
    return true;
  }
  return false;
}

TEST_CASE("operations that can wait throw in a cancelled context even if they could go ahead, try operations do not") {
  with_workers([] {
    auto c = weft::make_chan<int>(10);
    c.send(1);
    c.send(2);
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    weft::scoped_context in(ctx);
    CHECK(is_cancelled([&] { c.send(3); }));
    CHECK(is_cancelled([&] { (void)c.push(3); }));
    CHECK(is_cancelled([&] { (void)c.send_for(3, 1h); }));
    CHECK(is_cancelled([&] { c.recv(); }));
    CHECK(is_cancelled([&] { (void)c.recv_for(0s); }));
    CHECK(is_cancelled([&] {
      std::vector<int> out;
      c.recv_many(out, 5);
    }));
    CHECK(is_cancelled([&] {
      for (int v : c) (void)v;
    }));
    CHECK(is_cancelled([&] { weft::select(on_recv(c)); }));
    CHECK(is_cancelled([&] { weft::select(on_send(c, 1), weft::on_timeout(0s)); }));
    CHECK(c.size() == 2);
    CHECK(c.try_recv().value() == 1);
    CHECK(c.try_send(3) == weft::chan_status::ok);
    CHECK(weft::select(on_recv(c), weft::otherwise()) == 0);
    CHECK(weft::select(on_recv(weft::chan<int>()), weft::otherwise()) == 1);
    CHECK(c.close());
  });
}

TEST_CASE("sends to a closed channel are cancellation points, for values of every kind") {
  struct boxed {
    std::unique_ptr<int> p = std::make_unique<int>(1);
    boxed() = default;
    boxed(boxed&& other) noexcept(false) : p(std::move(other.p)) {}
    boxed& operator=(boxed&&) = default;
  };
  static_assert(weft::detail::is_boxed<boxed>);
  auto const all = []<class T>(T v) {
    auto c = weft::make_chan<T>(1);
    c.close();
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    {
      weft::scoped_context in(ctx);
      CHECK(is_cancelled([&] { c.send(std::move(v)); }));
      CHECK(is_cancelled([&] { (void)c.push(T()); }));
      CHECK(is_cancelled([&] { (void)c.send_for(std::move(v), 0s); }));
      CHECK(is_cancelled([&] { weft::select(on_send(c, std::move(v))); }));
    }
    CHECK(c.send_for(std::move(v), 0s) == weft::chan_status::closed);
    return v;
  };
  with_workers([&] {
    CHECK(all(3) == 3);
    CHECK(*all(std::make_unique<int>(4)) == 4);
    CHECK(all(boxed()).p);
  });
}

TEST_CASE("a blocked operation is woken by cancellation and leaves no trace") {
  with_workers([] {
    auto c = weft::make_chan<std::string>(), d = weft::make_chan<std::string>();
    auto [ctx, cancel] = weft::with_cancel();
    std::string value(60, 'v');
    auto const under = [context = ctx](auto f) {
      return weft::spawn([f, context] {
        weft::scoped_context in(context);
        return is_cancelled(f);
      });
    };
    auto r = under([&] { c.recv(); });
    auto s = under([&] { d.send(std::move(value)); });
    auto both = under([&] { weft::select(on_recv(c), on_send(d, "other")); });
    auto nil = under([] { weft::chan<int>().recv(); });
    await_receivers(c, 2);
    await_senders(d, 2);
    cancel();
    CHECK(r.join());
    CHECK(s.join());
    CHECK(both.join());
    CHECK(nil.join());
    CHECK(value == std::string(60, 'v'));
    CHECK(weft::test::waiting(c, false) == 0);
    CHECK(weft::test::waiting(d, true) == 0);
    CHECK(c.try_send("x") == weft::chan_status::full);
    CHECK(d.try_recv().error() == weft::chan_status::empty);
  });
}

TEST_CASE("on_done of the own context, or one above, is taken instead of throwing") {
  with_workers([] {
    auto never = weft::make_chan<int>();
    auto [outer, cancel_outer] = weft::with_cancel();
    auto [inner, cancel_inner] = weft::with_cancel(outer);
    auto [other, cancel_other] = weft::with_cancel();
    auto waits = weft::spawn([&, mine = inner, above = outer] {
      weft::scoped_context in(mine);
      return weft::select(on_recv(never), weft::on_done(above));
    });
    auto throws = weft::spawn([&, mine = inner, foreign = other] {
      weft::scoped_context in(mine);
      return is_cancelled([&] { weft::select(on_recv(never), weft::on_done(foreign)); });
    });
    await_receivers(never, 2);
    cancel_outer();
    CHECK(waits.join() == 1);
    CHECK(throws.join());
    auto ready = weft::make_chan<int>(1);
    ready.send(1);
    weft::scoped_context in(inner);
    CHECK(weft::select(on_recv(ready), weft::on_done(inner)) == 1);  // at entry too, even if another case is ready
    CHECK(is_cancelled([&, foreign = other] { weft::select(on_recv(ready), weft::on_done(foreign)); }));
  });
}

TEST_CASE("done().recv() returns when its context is cancelled, also the caller's own") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto h = weft::spawn([mine = ctx] {
      weft::scoped_context in(mine);
      return !mine.done().recv().has_value();
    });
    auto done = ctx.done();
    await_receivers(done);
    CHECK(done.try_recv().error() == weft::chan_status::empty);
    cancel();
    CHECK(h.join());
    CHECK(done.try_recv().error() == weft::chan_status::closed);
    weft::scoped_context in(ctx);
    CHECK_FALSE(ctx.done().recv().has_value());
  });
}

TEST_CASE("the done channel of a context that is neither the own one nor above is as any other to a cancelled task") {
  with_workers([] {
    auto [foreign, cancel_foreign] = weft::with_cancel();
    auto [own, cancel_own] = weft::with_cancel();
    auto [below, cancel_below] = weft::with_cancel(own);
    cancel_foreign();
    cancel_own();
    weft::scoped_context in(own);
    for (auto const& other : {foreign, below}) {
      auto const done = other.done();
      CHECK(is_cancelled([&] { done.recv(); }));
      CHECK(is_cancelled([&] { (void)done.recv_for(1h); }));
      CHECK(is_cancelled([&] {
        for (weft::unit u : done) (void)u;
      }));
      CHECK(is_cancelled([&] {
        std::vector<weft::unit> out;
        done.recv_many(out, 1);
      }));
      CHECK(is_cancelled([&] { weft::select(weft::on_done(other)); }));
      CHECK(is_cancelled([&] { weft::select(weft::on_done(other), weft::on_timeout(0s)); }));
      CHECK(is_cancelled([&] { weft::select(on_recv(other.done())); }));
      CHECK(weft::select(weft::on_done(other), weft::on_done(own)) == 1);
      CHECK(weft::select(weft::on_done(other), weft::otherwise()) == 0);  // no cancellation point
      weft::selector s;
      s.done(other);
      CHECK(is_cancelled([&] { s.wait(); }));
      CHECK(s.done(own) == 1);
      CHECK(s.wait() == 1);
      weft::uncancellable const shield;
      CHECK_FALSE(done.recv().has_value());
    }
  });
}

TEST_CASE("a wait for another context's end is thrown out of where the own one is cancelled first") {
  with_workers([] {
    auto const ends_by = [](auto wait) {
      auto [foreign, cancel_foreign] = weft::with_cancel();
      auto [own, cancel_own] = weft::with_cancel();
      auto h = weft::spawn([mine = own, other = foreign, wait] {
        weft::scoped_context in(mine);
        return is_cancelled([&] { wait(other, mine); });
      });
      await_receivers(foreign.done());
      cancel_own();
      cancel_foreign();  // on one worker before the task goes on
      return h.join();
    };
    CHECK(ends_by([](auto& other, auto&) { other.done().recv(); }));
    CHECK(ends_by([](auto& other, auto&) { weft::select(weft::on_done(other)); }));
    CHECK_FALSE(ends_by([](auto& other, auto& mine) { weft::select(weft::on_done(other), weft::on_done(mine)); }));
  });
}

TEST_CASE("a context above a without_cancel is none of those above whose end answers a cancellation") {
  with_workers([] {
    auto [above, cancel_above] = weft::with_cancel();
    auto [own, cancel_own] = weft::with_cancel(weft::without_cancel(above));
    cancel_above();
    weft::scoped_context in(own);
    CHECK_FALSE(above.done().recv().has_value());
    CHECK(weft::select(weft::on_done(above)) == 0);
    cancel_own();
    CHECK(is_cancelled([&, up = above] { up.done().recv(); }));
    CHECK(is_cancelled([&, up = above] { weft::select(weft::on_done(up)); }));
  });
}

TEST_CASE("a value is either received or still in the channel, however a cancellation races with it") {
  with_workers([] {
    for (std::size_t capacity : {0u, 1u}) {
      int received = 0, sent = 0;
      auto c = weft::make_chan<int>(capacity);
      for (int i = 0; i < 300; ++i) {
        auto [ctx, cancel] = weft::with_cancel();
        auto r = weft::spawn([c, mine = ctx] {
          weft::scoped_context in(mine);
          try {
            return c.recv().has_value();
          } catch (weft::cancelled const&) {
            return false;
          }
        });
        auto s = weft::spawn([c, mine = ctx] {
          weft::scoped_context in(mine);
          try {
            c.send(1);
            return true;
          } catch (weft::cancelled const&) {
            return false;
          }
        });
        if (i % 2 == 0) weft::yield();
        cancel();
        received += r.join();
        sent += s.join();
        while (c.try_recv()) ++received;
      }
      CHECK(received == sent);
    }
  });
}

TEST_CASE("waiting is not cancelled while an exception unwinds, and in an uncancellable block") {
  with_workers([] {
    auto c = weft::make_chan<int>(1);
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    weft::scoped_context in(ctx);
    struct sends_at_end {
      weft::chan<int> c;
      ~sends_at_end() { c.send(1); }
    };
    try {
      sends_at_end guard{c};
      throw 1;
    } catch (int) {
    }
    CHECK(c.size() == 1);
    weft::uncancellable shield;
    CHECK(c.recv() == 1);
    CHECK(weft::select(on_recv(c), weft::on_timeout(1ms)) == 1);
  });
}

}  // namespace
