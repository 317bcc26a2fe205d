// What a channel promises to those who send and receive: order, rendezvous, buffering, close, nil, limits in time.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_workers;

TEST_CASE("values come out of any buffer size in the order in which they went in") {
  with_workers([] {
    for (std::size_t capacity : {0u, 1u, 2u, 7u, 100u}) {
      auto c = weft::make_chan<int>(capacity);
      auto h = weft::spawn([c] {
        for (int i = 0; i < 300; ++i) c.send(i);
      });
      bool ordered = true;
      for (int i = 0; i < 300; ++i) ordered &= c.recv() == i;
      CHECK(ordered);
      h.join();
    }
  });
}

TEST_CASE("several senders and receivers pass on every value exactly once") {
  with_workers([] {
    for (std::size_t capacity : {0u, 1u, 10u}) {
      auto c = weft::make_chan<int>(capacity);
      auto counts = weft::make_chan<std::map<int, int>>();
      for (int p = 0; p < 4; ++p)
        weft::go([c] {
          for (int i = 0; i < 500; ++i) c.send(i);
        });
      for (int p = 0; p < 4; ++p)
        weft::go([c, counts] {
          std::map<int, int> seen;
          for (int i = 0; i < 500; ++i) ++seen[*c.recv()];
          counts.send(std::move(seen));
        });
      std::map<int, int> all;
      for (int p = 0; p < 4; ++p) {
        auto const seen = *counts.recv();
        for (auto [v, n] : seen) all[v] += n;
      }
      CHECK(all.size() == 500);
      bool four_each = true;
      for (auto [v, n] : all) four_each &= n == 4;
      CHECK(four_each);
    }
  });
}

TEST_CASE("a rendezvous send returns only when a receiver has the value") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    std::atomic<bool> returned{false};
    auto h = weft::spawn([&] {
      c.send(1);
      returned = true;
    });
    await_senders(c);
    CHECK_FALSE(returned.load());
    CHECK(c.size() == 0);
    CHECK(c.recv() == 1);
    h.join();
    CHECK(returned.load());
  });
}

TEST_CASE("a buffered send waits only while the buffer is full") {
  with_workers([] {
    auto c = weft::make_chan<int>(2);
    c.send(1);
    c.send(2);
    CHECK(c.size() == 2);
    CHECK(c.capacity() == 2);
    auto h = weft::spawn([&] { c.send(3); });
    await_senders(c);
    CHECK(c.try_send(4) == chan_status::full);
    CHECK(c.recv() == 1);
    h.join();  // the place that 1 left is 3's
    CHECK(c.size() == 2);
    CHECK(c.recv() == 2);
    CHECK(c.recv() == 3);
  });
}

TEST_CASE("what the sender did before a send is visible to who receives the value") {
  with_workers([] {
    for (std::size_t capacity : {0u, 1u}) {
      auto c = weft::make_chan<int>(capacity);
      std::vector<int> written(200);  // plain memory: a sanitizer would see a race
      auto h = weft::spawn([&] {
        for (int i = 0; i < 200; ++i) {
          written[static_cast<std::size_t>(i)] = i + 1;
          c.send(i);
        }
      });
      bool seen = true;
      for (int i = 0; i < 200; ++i) {
        int const v = *c.recv();
        seen &= written[static_cast<std::size_t>(v)] == v + 1;
      }
      CHECK(seen);
      h.join();
    }
  });
}

TEST_CASE("blocked receivers are served first come, first served") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    std::vector<weft::join_handle<int>> h;
    for (std::size_t i = 0; i < 5; ++i) {
      h.push_back(weft::spawn([c] { return *c.recv(); }));
      await_receivers(c, i + 1);
    }
    for (int i = 0; i < 5; ++i) c.send(i);
    for (int i = 0; i < 5; ++i) CHECK(h[static_cast<std::size_t>(i)].join() == i);
  });
}

TEST_CASE("blocked senders are served first come, first served, behind what is buffered") {
  with_workers([] {
    for (std::size_t capacity : {0u, 2u}) {
      auto c = weft::make_chan<int>(capacity);
      for (int i = 0; i < static_cast<int>(capacity); ++i) c.send(-2 + i);
      std::vector<weft::join_handle<void>> h;
      for (int i = 0; i < 5; ++i) {
        h.push_back(weft::spawn([c, i] { c.send(i); }));
        await_senders(c, h.size());
      }
      for (int i = -static_cast<int>(capacity); i < 5; ++i) CHECK(c.recv() == i);
      for (auto& s : h) s.join();
    }
  });
}

TEST_CASE("after close what is buffered is still received, then nothing") {
  with_workers([] {
    auto c = weft::make_chan<int>(3);
    c.send(1);
    c.send(2);
    CHECK_FALSE(c.closed());
    CHECK(c.close());
    CHECK(c.closed());
    CHECK_FALSE(c.close());
    CHECK(c.recv() == 1);
    CHECK(c.try_recv().value() == 2);
    CHECK(c.recv() == std::nullopt);
    CHECK(c.try_recv().error() == chan_status::closed);
    CHECK(c.recv_for(1h).error() == chan_status::closed);
  });
}

TEST_CASE("close wakes every receiver with nothing") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    std::vector<weft::join_handle<bool>> h;
    for (int i = 0; i < 4; ++i) h.push_back(weft::spawn([c] { return !c.recv().has_value(); }));
    await_receivers(c, 4);
    CHECK(c.close());
    for (auto& one : h) CHECK(one.join());
  });
}

TEST_CASE("close makes every blocked sender throw and leaves its value untouched") {
  with_workers([] {
    auto c = weft::make_chan<std::string>();
    std::vector<weft::join_handle<std::string>> h;
    for (int i = 0; i < 3; ++i)
      h.push_back(weft::spawn([c] {
        std::string v(100, 'v');
        try {
          c.send(std::move(v));
          return std::string("sent");
        } catch (weft::closed_channel const&) {
          return v;
        }
      }));
    await_senders(c, 3);
    c.close();
    for (auto& one : h) CHECK(one.join() == std::string(100, 'v'));
    CHECK(c.recv() == std::nullopt);
  });
}

TEST_CASE("operations on a closed channel do not send") {
  with_workers([] {
    auto c = weft::make_chan<std::unique_ptr<int>>(1);
    c.close();
    auto v = std::make_unique<int>(1);
    CHECK_THROWS_AS(c.send(std::move(v)), weft::closed_channel);
    CHECK(v);
    CHECK(c.try_send(v) == chan_status::closed);
    CHECK(c.send_for(std::move(v), 1h) == chan_status::closed);
    CHECK(v);
    CHECK_FALSE(c.push(std::make_unique<int>(2)));
    CHECK(c.size() == 0);
  });
}

TEST_CASE("try operations say full, empty and ok, and move only if ok") {
  with_workers([] {
    auto c = weft::make_chan<std::string>(1);
    CHECK(c.try_recv().error() == chan_status::empty);
    std::string a(50, 'a'), b(50, 'b');
    CHECK(c.try_send(std::move(a)) == chan_status::ok);
    CHECK(a.empty());
    CHECK(c.try_send(std::move(b)) == chan_status::full);
    CHECK(b == std::string(50, 'b'));
    CHECK(c.try_recv().value() == std::string(50, 'a'));
    CHECK(c.try_send(b) == chan_status::ok);
    CHECK(b == std::string(50, 'b'));
  });
}

TEST_CASE("try operations meet a partner that waits") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    auto r = weft::spawn([c] { return *c.recv(); });
    await_receivers(c);
    CHECK(c.try_send(5) == chan_status::ok);
    CHECK(r.join() == 5);
    auto s = weft::spawn([c] { c.send(6); });
    await_senders(c);
    CHECK(c.try_recv().value() == 6);
    s.join();
  });
}

TEST_CASE("timed operations end in time, and with a partner if one comes") {
  with_workers([] {
    auto c = weft::make_chan<std::string>();
    auto const begin = weft::now();
    CHECK(c.recv_for(5ms).error() == chan_status::timeout);
    std::string v(40, 'v');
    CHECK(c.send_for(std::move(v), 5ms) == chan_status::timeout);
    CHECK(v == std::string(40, 'v'));
    CHECK(weft::now() - begin >= 10ms);
    CHECK(c.recv_for(-1s).error() == chan_status::timeout);
    CHECK(c.send_for(v, 0s) == chan_status::timeout);
    CHECK(weft::test::waiting(c, true) + weft::test::waiting(c, false) == 0);
    auto s = weft::spawn([&] { return c.send_for(v, std::chrono::hours::max()); });
    CHECK(c.recv_for(1h).value() == v);
    CHECK(s.join() == chan_status::ok);
  });
}

TEST_CASE("the nil channel blocks for ever, except for those that need not") {
  with_workers([] {
    weft::chan<int> nil;
    CHECK_FALSE(nil);
    CHECK(nil.size() == 0);
    CHECK(nil.capacity() == 0);
    CHECK_FALSE(nil.closed());
    CHECK(nil.try_send(1) == chan_status::full);
    CHECK(nil.try_recv().error() == chan_status::empty);
    CHECK(nil.send_for(1, 1ms) == chan_status::timeout);
    CHECK(nil.recv_for(1ms).error() == chan_status::timeout);
    CHECK_THROWS_AS(nil.close(), weft::nil_channel);
    CHECK(nil == weft::chan<int>());
    auto r = weft::spawn([nil] { return nil.recv(); });
    auto s = weft::spawn([nil] { nil.send(1); });
    auto m = weft::spawn([nil] {
      std::vector<int> out;
      return nil.recv_many(out, 3);
    });
    CHECK_FALSE(r.wait_for(2ms));
    CHECK_FALSE(s.done());
    CHECK_FALSE(m.done());
    r.stop();  // only cancellation ends them
    s.stop();
    m.stop();
  });
}

TEST_CASE("a close that races with a receive loses no value that was sent") {
  with_workers([] {
    for (int i = 0; i < 300; ++i) {
      auto c = weft::make_chan<int>(1);
      c.send(1);
      auto h = weft::spawn([c] { return c.try_recv().has_value(); });
      c.close();
      bool const here = c.recv().has_value();
      bool const there = h.join();
      CHECK(here != there);
    }
  });
}

TEST_CASE("a capacity that cannot be addressed is an exception") {
  CHECK_THROWS_AS(weft::make_chan<std::string>(SIZE_MAX / 8), std::length_error);
  CHECK(weft::make_chan<weft::unit>(SIZE_MAX).capacity() == SIZE_MAX);
}

}  // namespace
