// select's rules where nothing has to wait, or one partner comes: what is ready, what is not, what comes back.
#include <atomic>
#include <weft/weft.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::on_recv;
using weft::on_send;
using weft::on_timeout;
using weft::otherwise;
using weft::when;
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_workers;

TEST_CASE("select takes the case that is ready and returns its index") {
  with_workers([] {
    auto a = weft::make_chan<int>(1), b = weft::make_chan<int>(1);
    a.send(1);
    int got = 0;
    CHECK(weft::select(on_recv(a, [&](int v) { got = v; }), on_recv(b, [&](int v) { got = -v; })) == 0);
    CHECK(got == 1);
    b.send(2);
    CHECK(weft::select(on_recv(a, [&](int v) { got = v; }), on_recv(b, [&](int v) { got = -v; })) == 1);
    CHECK(got == -2);
    CHECK(weft::select(on_recv(a), on_send(b, 3)) == 1);
    CHECK(b.recv() == 3);
    CHECK(weft::select(on_recv(a), on_recv(b), otherwise()) == 2);
  });
}

TEST_CASE("select waits for a partner on any of its channels") {
  with_workers([] {
    auto a = weft::make_chan<int>(), b = weft::make_chan<int>(), c = weft::make_chan<int>();
    auto const spawn_select = [&] {
      return weft::spawn([=] {
        int got = 0;
        auto const i =
            weft::select(on_recv(a, [&](int v) { got = v; }), on_recv(b, [&](int v) { got = v; }), on_send(c, 9));
        return std::pair(i, got);
      });
    };
    auto h = spawn_select();
    await_receivers(b);
    b.send(5);
    CHECK(h.join() == std::pair<std::size_t, int>(1, 5));
    CHECK(weft::test::waiting(a, false) == 0);
    CHECK(weft::test::waiting(c, true) == 0);
    h = spawn_select();
    await_senders(c);
    CHECK(c.recv() == 9);
    CHECK(h.join().first == 2);
    h = spawn_select();
    await_receivers(a);
    CHECK(a.try_send(4) == weft::chan_status::ok);
    CHECK(h.join() == std::pair<std::size_t, int>(0, 4));
  });
}

TEST_CASE("two selects meet each other") {
  with_workers([] {
    auto a = weft::make_chan<int>(), b = weft::make_chan<int>();
    auto h = weft::spawn([=] {
      int sum = 0;
      for (int i = 0; i < 500; ++i)
        weft::select(on_recv(a, [&](int v) { sum += v; }), on_recv(b, [&](int v) { sum += v; }));
      return sum;
    });
    for (int i = 0; i < 500; ++i) weft::select(on_send(b, 1), on_send(a, 1));
    CHECK(h.join() == 500);
  });
}

TEST_CASE("a nil channel's case is never ready, and a select of nothing waits for cancellation alone") {
  with_workers([] {
    weft::chan<int> nil;
    auto c = weft::make_chan<int>(1);
    c.send(1);
    for (int i = 0; i < 20; ++i) {
      CHECK(weft::select(on_recv(nil), on_send(nil, 1), on_recv(c)) == 2);
      c.send(1);
    }
    CHECK(weft::select(on_recv(nil), on_send(nil, 1), otherwise()) == 2);
    CHECK(weft::select(on_recv(nil), on_timeout(1ms)) == 1);
    auto none = weft::spawn([] { weft::select(); });
    auto nils = weft::spawn([nil] { weft::select(on_recv(nil), on_send(nil, 1)); });
    auto off = weft::spawn([c] { weft::select(weft::biased, when(false, on_recv(c))); });
    CHECK_FALSE(none.wait_for(2ms));
    CHECK_FALSE(nils.done());
    CHECK_FALSE(off.done());
    none.stop();
    nils.stop();
    off.stop();
  });
}

TEST_CASE("when(false, case) is never ready") {
  with_workers([] {
    auto c = weft::make_chan<int>(2);
    c.send(1);
    CHECK(weft::select(when(false, on_recv(c)), otherwise()) == 1);
    CHECK(weft::select(when(true, on_recv(c)), otherwise()) == 0);
    CHECK(weft::select(when(false, on_send(c, 1)), when(false, otherwise()), on_timeout(0s)) == 2);
    CHECK(weft::select(when(false, on_timeout(0s)), on_send(c, 1)) == 1);
  });
}

TEST_CASE("on_send to a closed channel throws, with otherwise or not, also when it is closed meanwhile") {
  with_workers([] {
    auto c = weft::make_chan<std::string>(), never = weft::make_chan<std::string>();
    std::string v = "kept";
    auto h = weft::spawn([&] {
      try {
        weft::select(on_send(c, std::move(v)), on_recv(never));
      } catch (weft::closed_channel const&) {
        return true;
      }
      return false;
    });
    await_senders(c);
    c.close();
    CHECK(h.join());
    CHECK_THROWS_AS(weft::select(on_send(c, std::move(v)), otherwise()), weft::closed_channel);
    CHECK_THROWS_AS(weft::select(on_send(c, v)), weft::closed_channel);
    CHECK(v == "kept");
  });
}

TEST_CASE("on_send moves or copies its value only if the case happens") {
  struct counting {
    int* copies;
    explicit counting(int* n) : copies(n) {}
    counting(counting const& o) : copies(o.copies) { ++*copies; }
    counting(counting&&) noexcept = default;
  };
  with_workers([] {
    int copies = 0;
    counting const v(&copies);
    auto full = weft::make_chan<counting>();
    auto room = weft::make_chan<counting>(1);
    CHECK(weft::select(on_send(full, v), otherwise()) == 1);
    CHECK(weft::select(on_send(weft::chan<counting>(), v), on_timeout(0s)) == 1);
    CHECK(copies == 0);
    CHECK(weft::select(on_send(full, v), on_send(room, v)) == 1);
    CHECK(copies == 1);

    auto c = weft::make_chan<std::unique_ptr<int>>(1);
    auto p = std::make_unique<int>(1), q = std::make_unique<int>(2);
    CHECK(weft::select(on_send(c, std::move(p)), otherwise()) == 0);
    CHECK_FALSE(p);
    CHECK(weft::select(on_send(c, std::move(q)), otherwise()) == 1);
    CHECK(weft::select(on_send(c, q), on_timeout(1ms)) == 1);
    CHECK(*q == 2);
    CHECK(**c.recv() == 1);
    CHECK(weft::select(on_send(c, q)) == 0);  // an lvalue that cannot be copied is moved
    CHECK_FALSE(q);
  });
}

TEST_CASE(
    "an lvalue that a select waits to send is copied once a case, and the copies that are not sent are destroyed") {
  struct counted {
    std::atomic<int>* copies;  // several tasks copy and destroy
    std::atomic<int>* alive;
    counted(std::atomic<int>* c, std::atomic<int>* a) : copies(c), alive(a) { ++*alive; }
    counted(counted const& o) : copies(o.copies), alive(o.alive) { ++*copies, ++*alive; }
    counted(counted&& o) noexcept : copies(o.copies), alive(o.alive) { ++*alive; }
    ~counted() { --*alive; }
  };
  with_workers([] {
    std::atomic<int> copies = 0, alive = 0;
    counted const v(&copies, &alive);
    auto const a = weft::make_chan<counted>(), b = weft::make_chan<counted>(), c = weft::make_chan<counted>();
    auto const stop = weft::make_chan<int>();
    auto const wait = [&](auto const&... to) {
      auto waits = weft::spawn([&] { return weft::select(on_send(to, v)..., on_recv(stop)); });
      while (weft::current_metrics().parked != 1) weft::yield();
      return waits;
    };
    auto waits = wait(a);
    CHECK(a.recv().has_value());
    CHECK(waits.join() == 0);
    CHECK(copies == 1);  // the one that was received
    CHECK(alive == 1);
    waits = wait(a, b, c);
    stop.send(1);
    CHECK(waits.join() == 3);
    CHECK(copies == 4);  // for nothing
    CHECK(alive == 1);
    waits = wait(a, b, c);
    CHECK(b.try_recv().has_value());  // which could not wait for a copy
    CHECK(waits.join() == 1);
    CHECK(copies == 7);
    CHECK(alive == 1);
    waits = wait(a);
    waits.cancel();
    CHECK_THROWS_AS(waits.join(), weft::cancelled);
    CHECK(alive == 1);
  });
}

TEST_CASE("a copy for on_send that had a context of its own in force leaves select cancellable") {
  struct waits {
    waits() = default;
    waits(waits const&) { weft::scoped_context const own(weft::without_cancel(weft::this_task::context())); }
  };
  with_workers([] {
    auto room = weft::make_chan<waits>();
    auto [ctx, cancel] = weft::with_cancel();
    auto sending = weft::spawn([&] {
      weft::scoped_context const in(ctx);
      waits const v;
      weft::select(on_send(room, v));
    });
    await_senders(room);
    cancel();
    CHECK_THROWS_AS(sending.join(), weft::cancelled);
  });
}

TEST_CASE("a copy for on_send that throws comes out of select, and nothing has happened") {
  struct refuses {
    refuses() = default;
    refuses(refuses const&) { throw std::runtime_error("no copy"); }
    refuses(refuses&&) noexcept = default;
  };
  with_workers([] {
    refuses const v;
    auto const room = weft::make_chan<refuses>(1), none = weft::make_chan<refuses>();
    auto const other = weft::make_chan<int>(1);
    CHECK_THROWS_WITH(weft::select(on_send(room, v)), "no copy");
    CHECK_THROWS_WITH(weft::select(on_send(none, v), on_recv(other)), "no copy");  // before it waits
    CHECK(weft::select(on_send(none, v), otherwise()) == 1);
    CHECK(room.size() == 0);
    CHECK(none.try_recv().error() == weft::chan_status::empty);
    other.send(1);
    CHECK(weft::select(on_send(none, v), on_recv(other)) == 1);
    other.send(2);
    CHECK(other.recv() == 2);
  });
}

TEST_CASE("timeouts and deadlines happen when nothing else does, a past one at once, max() never") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    auto const begin = weft::now();
    CHECK(weft::select(on_recv(c), on_timeout(1h), on_timeout(4ms), on_timeout(2h)) == 2);
    CHECK(weft::now() - begin >= 4ms);
    CHECK(weft::select(on_recv(c), weft::on_deadline(weft::now() + 2ms)) == 1);
    CHECK(weft::select(on_recv(c), weft::on_deadline(weft::now() - 1s)) == 1);
    CHECK(weft::select(on_recv(c), on_timeout(-1s), on_timeout(std::chrono::hours::max())) == 1);
    CHECK(weft::select(weft::on_deadline(weft::time_point::max()), on_timeout(1ms)) == 1);
    CHECK(weft::select(on_recv(c), on_timeout(1h), otherwise()) == 2);
    CHECK(weft::select(on_recv(c), on_timeout(0s), otherwise()) == 1);
    CHECK(weft::test::waiting(c, false) == 0);
  });
}

TEST_CASE("on_join joins the task that ended: its result, or its exception") {
  with_workers([] {
    auto never = weft::make_chan<int>();
    auto quick = weft::spawn([] { return std::string("done"); });
    auto slow = weft::spawn([never] { return never.recv().has_value(); });
    std::string got;
    CHECK(weft::select(weft::on_join(quick, [&](std::string s) { got = std::move(s); }), weft::on_join(slow)) == 0);
    CHECK(got == "done");
    CHECK_FALSE(quick.joinable());
    // A handle without a task is never ready.
    CHECK(weft::select(weft::on_join(quick), weft::on_join(slow), on_timeout(1ms)) == 2);
    auto thrower = weft::spawn([]() -> int { throw std::runtime_error("inside"); });
    CHECK_THROWS_AS(weft::select(weft::on_join(thrower, [](int) {}), weft::on_join(slow)), std::runtime_error);
    auto nothing = weft::spawn([] {});
    CHECK(weft::select(weft::on_join(nothing, [] { return 3; }), on_timeout(1h, [] { return 4; })) == 3);
    slow.stop();
  });
}

TEST_CASE("more than eight cases work as few do") {
  with_workers([] {
    std::array<weft::chan<int>, 10> c;
    for (auto& one : c) one = weft::make_chan<int>();
    auto h = weft::spawn([c] {
      for (int i = 0; i < 200; ++i) c[static_cast<std::size_t>(i * 7 % 10)].send(i);
    });
    long sum = 0;
    auto const add = [&](int v) { sum += v; };
    for (int i = 0; i < 200; ++i)
      weft::select(on_recv(c[0], add), on_recv(c[1], add), on_recv(c[2], add), on_recv(c[3], add), on_recv(c[4], add),
                   on_recv(c[5], add), on_recv(c[6], add), on_recv(c[7], add), on_recv(c[8], add), on_recv(c[9], add));
    CHECK(sum == 199 * 100);
    h.join();
  });
}

TEST_CASE("select with otherwise sees a channel that is always ready through its change of place") {
  with_workers([] {
    for (int i = 0; i < 400; ++i) {
      auto a = weft::make_chan<int>(1), b = weft::make_chan<int>(1);
      a.send(1);
      auto h = weft::spawn([=] { return weft::select(on_recv(a), on_recv(b), otherwise()) != 2; });
      auto k = weft::spawn([=] { return weft::select(on_recv(b), on_recv(a), otherwise()) != 2; });
      b.send(1);  // from here on b is ready, before a ceases to be
      (void)a.try_recv();
      int const found = h.join() + k.join();
      CHECK(found >= 1);
    }
    for (int i = 0; i < 400; ++i) {
      auto a = weft::make_chan<int>(1);
      auto b = weft::make_chan<int>();
      a.send(1);
      auto h = weft::spawn([=] { return weft::select(on_recv(a), on_recv(b), otherwise()) != 2; });
      b.close();
      (void)a.try_recv();
      CHECK(h.join());
    }
  });
}

TEST_CASE("on_send sends to a chan or a sender, on_recv receives from a chan or a receiver, given as lvalues or not") {
  with_workers([] {
    auto const c = weft::make_chan<std::string>(2);
    auto const tx = c.tx();
    auto const rx = c.rx();
    CHECK(weft::select(on_send(tx, "a"), otherwise()) == 0);
    CHECK(weft::select(on_send(c.tx(), std::string("b")), otherwise()) == 0);
    std::string got;
    weft::select(on_recv(rx, [&](std::string& v) { got += v; }));
    weft::select(on_recv(c.rx(), [&](std::string v) { got += v; }));
    CHECK(got == "ab");
  });
}

TEST_CASE("on_done of any context is taken when that is cancelled, before select or while it waits") {
  with_workers([] {
    auto never = weft::make_chan<int>();
    auto [first, cancel_first] = weft::with_cancel();
    auto [second, cancel_second] = weft::with_cancel();
    cancel_first();
    CHECK(weft::select(on_recv(never), weft::on_done(second), weft::on_done(first)) == 2);
    CHECK(weft::select(weft::on_done(second), otherwise()) == 1);
    auto waits = weft::spawn([&, of = second] {
      return weft::select(on_recv(never, [](int) { return 0; }), weft::on_done(of, [] { return 7; }));
    });
    await_receivers(never);
    cancel_second();
    CHECK(waits.join() == 7);
    CHECK(weft::select(weft::on_done(weft::context::background()), on_timeout(1ms)) == 1);
  });
}

TEST_CASE("a task whose on_join did not happen stays joinable, and one that was cancelled makes select throw that") {
  with_workers([] {
    auto const gate = weft::make_chan<int>();
    auto slow = weft::spawn([gate] { return std::make_unique<int>(*gate.recv()); });
    auto quick = weft::spawn([] { return std::make_unique<int>(1); });
    int got = 0;
    CHECK(weft::select(weft::on_join(slow), weft::on_join(quick, [&](std::unique_ptr<int> p) { got = *p; })) == 1);
    CHECK(got == 1);
    CHECK(slow.joinable());
    CHECK_FALSE(quick.joinable());
    gate.send(5);
    CHECK(weft::select(weft::on_join(slow, [](std::unique_ptr<int>& p) { return *p; })) == 5);
    auto cancelled = weft::spawn([] { weft::sleep_for(1h); });
    cancelled.cancel();
    CHECK_THROWS_AS(weft::select(weft::on_join(cancelled)), weft::cancelled);
    CHECK_FALSE(weft::this_task::context().cancelled());
  });
}

TEST_CASE("a value of which a case waits in vain stays where it is") {
  with_workers([] {
    auto const c = weft::make_chan<std::unique_ptr<int>>();
    auto p = std::make_unique<int>(1), q = std::make_unique<int>(2);
    CHECK(weft::select(on_send(c, std::move(p)), on_send(c, q), on_timeout(1ms)) == 2);
    CHECK(*p == 1);
    CHECK(*q == 2);
    auto receives = weft::spawn([c] { return **c.recv(); });
    auto const which = weft::select(on_send(c, std::move(p)), on_send(c, q));
    CHECK(receives.join() == static_cast<int>(which) + 1);
    CHECK((which == 0 ? !p && q : p && !q));  // the one that happened, and no other
  });
}

}  // namespace
