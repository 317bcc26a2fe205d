// Cancellation as a claimant of waits: it wakes tasks wherever they are parked, and nothing is lost when it races with a partner.

#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;

/// Whether a task that waits in f is woken by its handle's cancel, and by that of a context it is under.
template <class F>
void check_woken(F f) {
  for (int how = 0; how < 3; ++how) {
    auto [ctx, cancel] = weft::with_cancel();
    auto const ready = weft::make_chan<int>(1);
    weft::join_handle<void> waits;
    {
      weft::scoped_context const in(ctx);
      waits = weft::spawn([f, ready] {
        ready.send(1);
        f();
      });
    }
    (void)ready.recv();
    if (how == 2) weft::sleep_for(200us);  // it has parked by then, mostly
    if (how == 0) waits.cancel();
    else cancel();
    bool thrown = false;
    try {
      waits.join();
    } catch (weft::cancelled const& c) {
      thrown = c.code() == std::errc::operation_canceled;
    }
    CHECK(thrown);
  }
}

}  // namespace

TEST_CASE("a task that sleeps is woken") {
  with_workers([] {
    check_woken([] { weft::sleep_for(1h); });
    check_woken([] { weft::sleep_until(weft::time_point::max()); });
  });
}

TEST_CASE("a task that waits on a channel is woken") {
  with_workers([] {
    check_woken([ch = weft::make_chan<int>()] { (void)ch.recv(); });
    check_woken([ch = weft::make_chan<int>()] { ch.send(1); });
    check_woken([ch = weft::make_chan<int>()] { (void)ch.recv_for(1h); });
    check_woken([ch = weft::make_chan<int>()] { (void)ch.send_for(1, 1h); });
    check_woken([] { (void)weft::chan<int>().recv(); });
    check_woken([ch = weft::make_chan<int>()] {
      for (int& v : ch) (void)v;
    });
  });
}

TEST_CASE("a task that waits in a select is woken") {
  with_workers([] {
    check_woken([a = weft::make_chan<int>(), b = weft::make_chan<int>()] {
      weft::select(weft::on_recv(a), weft::on_send(b, 1));
    });
    check_woken([] { weft::select(); });
    check_woken([] { weft::select(weft::on_timeout(1h)); });
  });
}

TEST_CASE("a task that waits for another is woken, and its handle stays joinable") {
  // Apart, or the child may be woken first, and its end be what the wait returns for.
  constexpr auto spawn_apart = [] {
    weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
    return weft::spawn([] { weft::sleep_for(1h); });
  };
  with_workers([=] {
    check_woken([=] {
      auto child = spawn_apart();
      weft::defer const check([&] {
        if (!child.joinable()) std::abort();
      });
      child.join();
    });
    check_woken([=] {
      auto child = spawn_apart();
      child.wait();
    });
  });
}

TEST_CASE("a task that waits for something of sync is woken") {
  with_workers([] {
    check_woken([] {
      weft::counting_semaphore<> none(0);
      none.acquire();
    });
    check_woken([] {
      weft::mutex m;
      weft::condition_variable cv;
      std::unique_lock hold(m);
      weft::defer const check([&] {
        if (!hold.owns_lock()) std::abort();
      });
      cv.wait(hold);
    });
    check_woken([] {
      weft::wait_group group;
      group.add(1);
      weft::defer const done([&] { group.done(); });
      group.wait();
    });
  });
}

TEST_CASE("the handle's cancel reaches what the task has spawned") {
  with_workers([] {
    auto const ready = weft::make_chan<int>(2);
    auto const ended = weft::make_chan<int>(2);
    auto parent = weft::spawn([=] {
      weft::go([=] {
        weft::defer const tell([=] { ended.send(1); });
        ready.send(1);
        weft::sleep_for(1h);
      });
      auto child = weft::spawn([=] {
        weft::defer const tell([=] { ended.send(2); });
        ready.send(2);
        (void)weft::make_chan<int>().recv();
      });
      child.join();
    });
    (void)ready.recv();
    (void)ready.recv();
    parent.cancel();
    CHECK_THROWS_AS(parent.join(), weft::cancelled);
    CHECK(*ended.recv() + *ended.recv() == 3);
  });
}

TEST_CASE("a task that is cancelled before it began still starts, and meets its first cancellation point") {
  with_workers([] {
    for (int i = 0; i < 50; ++i) {
      std::atomic<bool> began{false}, went_on{false};
      auto child = weft::spawn([&] {
        began = true;
        weft::sleep_for(1h);
        went_on = true;
      });
      child.cancel();
      CHECK_THROWS_AS(child.join(), weft::cancelled);
      CHECK(began);
      CHECK_FALSE(went_on);
    }
  });
}

TEST_CASE(
    "a cancellation point throws under a cancelled context even if it could go ahead, and what cannot wait is none") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    cancel();
    auto const ch = weft::make_chan<int>(2);
    CHECK(ch.try_send(1) == weft::chan_status::ok);
    CHECK_THROWS_AS(ch.send(2), weft::cancelled);
    CHECK_THROWS_AS(ch.recv(), weft::cancelled);
    CHECK(ch.size() == 1);
    CHECK_THROWS_AS(weft::select(weft::on_recv(ch)), weft::cancelled);
    CHECK(weft::select(weft::on_recv(ch), weft::otherwise()) == 0);
    CHECK_NOTHROW(weft::yield());
    weft::mutex m;
    CHECK_NOTHROW(m.lock());
    m.unlock();
  });
}

TEST_CASE("an on_done case of the own context, or of one above, is taken instead of the exception") {
  with_workers([] {
    auto [above, cancel] = weft::with_cancel();
    auto [ctx, unused] = weft::with_cancel(above);
    auto other = weft::with_cancel();
    weft::scoped_context const in(ctx);
    auto const none = weft::make_chan<int>();
    weft::go([c = cancel] { c(); });
    CHECK(weft::select(weft::on_recv(none), weft::on_done(above)) == 1);
    CHECK(weft::select(weft::on_recv(none), weft::on_done(ctx)) == 1);
    CHECK_FALSE(ctx.done().recv().has_value());
    CHECK_FALSE(above.done().recv().has_value());
    CHECK_THROWS_AS(weft::select(weft::on_recv(none), weft::on_done(other.first)), weft::cancelled);
  });
}

TEST_CASE("no value is lost or doubled when a cancellation races with a rendezvous") {
  with_workers([] {
    constexpr int rounds = 500;
    for (int i = 0; i < rounds; ++i) {
      auto const ch = weft::make_chan<int>();
      auto receives = weft::spawn([ch] { return ch.recv(); });
      auto sends = weft::spawn([ch] {
        try {
          ch.send(1);
          return true;
        } catch (weft::cancelled const&) {
          return false;
        }
      });
      if (i % 2 == 0) weft::yield();
      if (i % 4 < 2) receives.cancel();
      else sends.cancel();
      bool received = false;
      if (i % 4 < 2) {
        try {
          received = receives.join().has_value();
        } catch (weft::cancelled const&) {
        }
        sends.cancel();
        REQUIRE(sends.join() == received);
      } else {
        bool const sent = sends.join();
        receives.cancel();
        try {
          received = receives.join().has_value();
        } catch (weft::cancelled const&) {
        }
        REQUIRE(received == sent);
      }
    }
  });
}

TEST_CASE("every value of a buffered channel is received once while its receivers are cancelled and replaced") {
  with_workers([] {
    constexpr int values = 2000, receivers = 4;
    auto const ch = weft::make_chan<int>(3);
    auto const seen = weft::make_chan<int>(values);
    auto const receive = [ch, seen] {
      for (;;) {
        auto const v = weft::select(weft::on_recv(ch, [](std::optional<int> got) { return got.value_or(-1); }));
        if (v < 0) return;
        (void)seen.try_send(v);
      }
    };
    auto producer = weft::spawn([ch] {
      for (int i = 0; i < values; ++i) ch.send(i);
      ch.close();
    });
    std::vector<weft::join_handle<void>> workers;
    for (int i = 0; i < receivers; ++i) workers.push_back(weft::spawn(receive));
    for (int turn = 0; !producer.done(); ++turn) {
      auto& each = workers[static_cast<std::size_t>(turn % receivers)];
      each.stop();
      each = weft::spawn(receive);
      weft::yield();
    }
    for (auto& each : workers) each.join();
    producer.join();
    std::vector<int> times(values);
    while (auto const v = seen.try_recv()) ++times[static_cast<std::size_t>(*v)];
    CHECK(std::count(times.begin(), times.end(), 1) == values);
  });
}

TEST_CASE("cancelling a context wakes a thousand tasks that wait under it") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const never = weft::make_chan<int>();
    std::atomic<int> woken{0};
    weft::wait_group all;
    {
      weft::scoped_context const in(ctx);
      for (int i = 0; i < 1000; ++i) {
        all.add();
        weft::go([&, i] {
          weft::defer const done([&] { all.done(); });
          try {
            if (i % 2 == 0) (void)never.recv();
            else weft::sleep_for(1h);
          } catch (weft::cancelled const&) {
            woken.fetch_add(1);
            throw;
          }
        });
      }
      for (int i = 0; i < 3; ++i) weft::yield();
    }
    cancel();
    all.wait();
    CHECK(woken == 1000);
  });
}

TEST_CASE(
    "if the partner was first, the operation has happened and returns, although the caller was cancelled meanwhile") {
  with_workers([] {
    for (int i = 0; i < 50; ++i) {
      auto const ch = weft::make_chan<int>();
      weft::wait_group group;
      group.add();
      auto receives = weft::spawn([ch] { return ch.recv(); });
      auto waits = weft::spawn([&group] { group.wait(); });
      while (weft::current_metrics().parked < 2) weft::yield();
      ch.send(7);
      receives.cancel();
      group.done();
      waits.cancel();
      REQUIRE(receives.join() == 7);
      REQUIRE_NOTHROW(waits.join());
    }
  });
}

TEST_CASE("a closed_channel out of a task that is cancelled is taken for the cancellation") {
  with_workers([] {
    auto const gate = weft::make_chan<int>(), closed = weft::make_chan<int>();
    closed.close();
    auto const fails = [gate, closed] {
      try {
        (void)gate.recv();
      } catch (weft::cancelled const&) {
      }
      weft::uncancellable const shield;
      closed.send(1);
    };
    auto [ctx, cancel] = weft::with_cancel();
    {
      weft::scoped_context const in(ctx);
      weft::go(fails);
    }
    while (weft::test::waiting(gate, false) == 0) weft::yield();
    cancel();
    while (weft::current_metrics().live > 1) weft::yield();  // else the process has ended

    weft::task_group group;
    group.spawn(fails);
    while (weft::test::waiting(gate, false) == 0) weft::yield();
    group.cancel();
    CHECK_NOTHROW(group.wait());

    group.spawn([closed] { closed.send(1); });
    CHECK_THROWS_AS(group.wait(), weft::closed_channel);
  });
}
