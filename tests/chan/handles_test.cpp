// Handles: what counts as an end, what happens when an end has none left, equality, misuse, and who keeps what alive.
#include <weft/weft.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::chan_status;
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_workers;

TEST_CASE("the last sender's going closes the channel, and what is buffered is still received") {
  with_workers([] {
    auto [tx, rx] = weft::make_ends<int>(4);
    {
      auto copy = tx;
      tx = {};
      copy.send(7);
      CHECK_FALSE(rx.closed());
    }
    CHECK(rx.closed());
    CHECK_FALSE(rx.abandoned());
    CHECK(rx.recv() == 7);
    CHECK(rx.recv() == std::nullopt);
  });
}

TEST_CASE("the last sender's going wakes a blocked receiver") {
  with_workers([] {
    auto [tx, rx] = weft::make_ends<int>();
    auto h = weft::spawn([in = rx] { return in.recv(); });
    await_receivers(rx);
    tx = {};
    CHECK(h.join() == std::nullopt);
  });
}

TEST_CASE("the last receiver's going makes senders throw, before and while they wait") {
  with_workers([] {
    auto [tx, rx] = weft::make_ends<std::string>(1);
    tx.send("buffered");
    auto h = weft::spawn([out = tx] {
      try {
        out.send("waits");
      } catch (weft::closed_channel const&) {
        return true;
      }
      return false;
    });
    await_senders(tx);
    rx = {};
    CHECK(h.join());
    CHECK_THROWS_AS(tx.send("x"), weft::closed_channel);
    CHECK(tx.try_send("x") == chan_status::closed);
    CHECK_FALSE(tx.push("x"));
  });
}

TEST_CASE("a chan counts as both ends") {
  with_workers([] {
    auto c = weft::make_chan<int>(1);
    auto rx = c.rx();
    auto tx = c.tx();
    tx = {};
    CHECK_FALSE(rx.closed());
    rx = {};
    c.send(1);
    rx = c.rx();
    c = {};
    CHECK(rx.closed());
    CHECK(rx.recv() == 1);
  });
}

TEST_CASE("abandoned tells an exception's unwinding from an ordinary end") {
  with_workers([] {
    auto [tx, rx] = weft::make_ends<int>(1);
    try {
      auto last = std::exchange(tx, {});
      last.send(1);
      throw std::runtime_error("midway");
    } catch (std::runtime_error const&) {
    }
    CHECK(rx.recv() == 1);
    CHECK(rx.recv() == std::nullopt);
    CHECK(rx.abandoned());

    auto d = weft::make_chan<int>();
    auto drx = d.rx();
    d.close();
    try {
      auto last = std::move(d);
      throw 1;
    } catch (int) {
    }
    CHECK_FALSE(drx.abandoned());  // it was closed before
  });
}

TEST_CASE("handles are equal if they mean the same channel") {
  auto c = weft::make_chan<int>();
  auto d = weft::make_chan<int>();
  CHECK(c == c.rx());
  CHECK(c.tx() == c);
  CHECK(c.tx() == c.rx());
  CHECK(c != d);
  CHECK(weft::sender<int>() == weft::receiver<int>());
  weft::sender<int> s = c;
  s = d;
  CHECK(s == d);
  CHECK(s);
}

TEST_CASE("channels and their ends are keys") {
  auto c = weft::make_chan<int>();
  auto d = weft::make_chan<int>();
  std::unordered_map<weft::sender<int>, char const*> names{{c, "c"}, {d, "d"}, {weft::sender<int>(), "nil"}};
  CHECK(names.at(c.tx()) == std::string("c"));
  CHECK(names.at(weft::sender<int>()) == std::string("nil"));
  CHECK(std::hash<weft::chan<int>>()(c) == std::hash<weft::receiver<int>>()(c.rx()));
}

TEST_CASE("a handle that was moved from can be assigned, destroyed and moved, and nothing else") {
  auto c = weft::make_chan<int>(1);
  auto d = std::move(c);
  auto still_moved = std::move(c);
  c = d;
  c.send(1);
  CHECK(d.recv() == 1);
  weft::chan<int> nil;
  auto nil2 = std::move(nil);
  CHECK_FALSE(nil2);
#if !WEFT_TSAN
  const auto dies = [](auto use, char const* named) {
    auto const end = weft::test::run_in_child([&] {
      auto a = weft::make_chan<int>(1);
      auto b = std::move(a);
      use(a);
    });
    INFO(named << ": " << end.said);
    CHECK(end.aborted);
    CHECK(end.said.find(named) != std::string::npos);
    CHECK(end.said.find("moved from") != std::string::npos);
  };
  using handle = weft::chan<int>&;
  dies([](handle a) { a.send(1); }, "send");
  dies([](handle a) { (void)a.try_send(1); }, "try_send");
  dies([](handle a) { a.recv(); }, "recv");
  dies([](handle a) { (void)a.try_recv(); }, "try_recv");
  dies([](handle a) { a.close(); }, "close");
  dies([](handle a) { (void)a.size(); }, "size");
  dies([](handle a) { auto copy = a; }, "copying");
  dies([](handle a) { auto end = a.tx(); }, "converting");
  dies([](handle a) { (void)(a == a); }, "comparing");
  dies(
      [](handle a) {
        if (a) return;
      },
      "bool");
  dies(
      [](handle a) {
        for (int v : a) (void)v;
      },
      "begin");
  dies([](handle a) { weft::select(weft::on_recv(a), weft::otherwise()); }, "select");
#endif
}

struct counted {
  static inline int alive = 0;
  counted() { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  counted(counted const&) { ++alive; }
  ~counted() { --alive; }
};

TEST_CASE("the last handle's going destroys what is buffered") {
  {
    auto c = weft::make_chan<counted>(5);
    for (int i = 0; i < 7; ++i) (void)c.try_send(counted());
    (void)c.try_recv();
    (void)c.try_send(counted());  // the ring has wrapped
    CHECK(counted::alive == 5);
    auto tx = c.tx();
    c.close();
    c = {};
    CHECK(counted::alive == 5);
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("a running operation keeps its channel alive when its handle goes") {
  with_workers([] {
    for (int i = 0; i < 50; ++i) {
      std::optional<weft::chan<int>> c(weft::make_chan<int>());
      auto rx = c->rx();
      auto h = weft::spawn([&c] { return c->recv(); });
      await_receivers(rx);
      c.reset();  // the task's own handle
      CHECK(h.join() == std::nullopt);

      std::optional<weft::chan<int>> d(weft::make_chan<int>());
      auto t = weft::spawn([&d] { return d->recv_for(std::chrono::milliseconds(1)); });
      while (!t.done() && weft::test::waiting(*d, false) == 0) weft::yield();
      d.reset();  // every handle: the waiting call is closed, or times out on a channel that only it needs
      CHECK_FALSE(t.join().has_value());
    }
  });
}

TEST_CASE("channels can be sent over channels, and a struct can hold a channel of itself") {
  struct request {
    int n;
    weft::chan<request> answer;
  };
  with_workers([] {
    auto c = weft::make_chan<request>();
    auto h = weft::spawn([c] {
      request r = *c.recv();
      r.answer.send({r.n + 1, {}});
    });
    auto back = weft::make_chan<request>();
    c.send({41, back});
    CHECK(back.recv()->n == 42);
    h.join();
  });
}

}  // namespace

TEST_CASE("a channel whose last sender went with a task that an exception ended is abandoned") {
  weft::test::with_workers([] {
    auto [tx, rx] = weft::make_ends<int>();
    auto failing = weft::spawn([last = std::move(tx)] { throw 5; });
    CHECK_FALSE(rx.recv());
    CHECK(rx.abandoned());
    CHECK_THROWS_AS(failing.join(), int);
    auto [tx2, rx2] = weft::make_ends<int>();
    weft::spawn([last = std::move(tx2)] {}).join();
    CHECK_FALSE(rx2.recv());
    CHECK_FALSE(rx2.abandoned());
  });
}
