// Which case select chooses: uniformly among the ready ones, at once and while it waits; in order if biased; never two.
#include <weft/weft.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <set>
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
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_worker_count;
using weft::test::with_workers;

/// Whether `counts` of `total` draws look uniform: chi-squared within a bound that a right one exceeds once in 10^9.
template <std::size_t N>
bool uniform(std::array<int, N> const& counts, int total) {
  double const expected = static_cast<double>(total) / N;
  double chi = 0;
  for (int n : counts) chi += (n - expected) * (n - expected) / expected;
  return chi < (N == 2 ? 40 : N == 3 ? 45 : 60);
}

TEST_CASE("among ready cases the choice is uniform, whatever stands between them") {
  with_worker_count(2, [] {
    constexpr int rounds = 6000;
    auto ready = weft::make_chan<int>(), empty = weft::make_chan<int>();
    ready.close();
    weft::chan<int> nil;
    std::array<int, 3> three{};
    for (int i = 0; i < rounds; ++i) {
      std::array const place{0, -1, -1, 1, -1, 2};
      auto const k =
          weft::select(on_recv(ready), on_recv(empty), on_recv(nil), on_recv(ready), on_send(empty, 1), on_timeout(0s));
      ++three.at(static_cast<std::size_t>(place.at(k)));
    }
    CHECK(uniform(three, rounds));
    std::array<int, 2> two{};
    auto full = weft::make_chan<int>(1);
    for (int i = 0; i < rounds; ++i) {
      ++two[weft::select(on_send(full, 1), on_send(full, 2))];
      (void)full.try_recv();
    }
    CHECK(uniform(two, rounds));
    std::array<int, 9> nine{};
    for (int i = 0; i < rounds; ++i)
      ++nine[weft::select(on_recv(ready), on_recv(ready), on_recv(ready), on_recv(ready), on_recv(ready),
                          on_recv(ready), on_recv(ready), on_recv(ready), on_recv(ready))];
    CHECK(uniform(nine, rounds));
  });
}

TEST_CASE("while it waits the choice among two sends, or two receives, on one channel is uniform") {
  with_worker_count(1, [] {
    constexpr int rounds = 4000;
    auto c = weft::make_chan<int>();
    std::array<int, 2> sent{}, received{};
    auto h = weft::spawn([&] {
      for (int i = 0; i < rounds; ++i) ++sent[weft::select(on_send(c, 0), on_send(c, 1))];
      for (int i = 0; i < rounds; ++i) ++received[weft::select(on_recv(c), on_recv(c))];
    });
    std::array<int, 2> seen{};
    for (int i = 0; i < rounds; ++i) {
      await_senders(c);
      ++seen.at(static_cast<std::size_t>(*c.recv()));
    }
    for (int i = 0; i < rounds; ++i) {
      await_receivers(c);
      c.send(0);
    }
    h.join();
    CHECK(seen == sent);  // the value that came is that of the case that select says it was
    CHECK(uniform(sent, rounds));
    CHECK(uniform(received, rounds));
  });
}

TEST_CASE("biased takes the first in the order written, also while it waits") {
  with_workers([] {
    auto a = weft::make_chan<int>(200), b = weft::make_chan<int>(200), c = weft::make_chan<int>();
    for (int i = 0; i < 100; ++i) a.send(i), b.send(i);
    for (int i = 0; i < 100; ++i) CHECK(weft::select(weft::biased, on_recv(c), on_recv(b), on_recv(a)) == 1);
    CHECK(weft::select(weft::biased, on_timeout(0s), on_recv(a), otherwise()) == 0);
    for (int i = 0; i < 20; ++i) {
      auto h = weft::spawn([=] { return weft::select(weft::biased, on_send(c, 1), on_send(c, 2), on_recv(b)); });
      await_senders(c, 2);
      CHECK(c.recv() == 1);
      CHECK(h.join() == 0);
    }
  });
}

TEST_CASE("a select never meets itself") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    CHECK(weft::select(on_send(c, 1), on_recv(c), on_timeout(1ms)) == 2);
    CHECK(weft::select(on_recv(c), on_send(c, 1), otherwise()) == 2);
    for (std::size_t capacity : {0u, 10u}) {
      auto d = weft::make_chan<int>(capacity);
      std::vector<weft::join_handle<bool>> h;
      for (int me = 0; me < 2; ++me)
        h.push_back(weft::spawn([d, me, capacity] {
          bool alone = false;
          auto const look = [&](int v) { alone |= capacity == 0 && v == me; };
          for (int i = 0; i < 1000; ++i) {
            if (me == 0 || i % 2 == 0) weft::select(on_send(d, me), on_recv(d, look));
            else weft::select(on_recv(d, look), on_send(d, me));
          }
          return alone;
        }));
      for (auto& one : h) CHECK_FALSE(one.join());
    }
  });
}

TEST_CASE("a select that waits on both sides of one channel is found from both") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    for (int i = 0; i < 200; ++i) {
      auto h = weft::spawn([c] { return weft::select(on_send(c, 5), on_recv(c)); });
      await_senders(c);
      await_receivers(c);
      if (i % 2 == 0) {
        CHECK(c.recv() == 5);
        CHECK(h.join() == 0);
      } else {
        c.send(6);
        CHECK(h.join() == 1);
      }
    }
  });
}

TEST_CASE("exactly one case happens: what a select sends on four channels arrives once") {
  with_workers([] {
    constexpr int n = 5000;
    std::array<weft::chan<int>, 4> c;
    for (auto& one : c) one = weft::make_chan<int>();
    auto merged = weft::make_chan<int>();
    weft::go([c] {
      for (int i = 0; i < n; ++i) weft::select(on_send(c[0], i), on_send(c[1], i), on_send(c[2], i), on_send(c[3], i));
      for (auto& one : c) one.close();
    });
    weft::go([c, merged] {
      std::vector<weft::join_handle<void>> mux;
      for (auto& one : c)
        mux.push_back(weft::spawn([merged, one] {
          for (int v : one) merged.send(v);
        }));
      for (auto& m : mux) m.join();
      merged.close();
    });
    std::vector<bool> seen(n);
    int twice = 0, total = 0;
    for (int v : merged) {
      twice += seen[static_cast<std::size_t>(v)];
      seen[static_cast<std::size_t>(v)] = true;
      ++total;
    }
    CHECK(twice == 0);
    CHECK(total == n);
  });
}

TEST_CASE("exactly once under races of selects with timeouts and closes") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    constexpr int n = 3000;
    auto sender = weft::spawn([c] {
      int sent = 0;
      for (int i = 0; sent < n; ++i)
        weft::select(on_send(c, sent, [&] { ++sent; }), on_timeout(std::chrono::microseconds(20 + i % 3)));
      c.close();
    });
    int expected = 0, wrong = 0;
    bool open = true;
    while (open)
      weft::select(on_recv(c,
                           [&](std::optional<int> v) {
                             if (!v) open = false;
                             else wrong += *v != expected++;
                           }),
                   on_timeout(std::chrono::microseconds(20 + expected % 2)));
    sender.join();
    CHECK(expected == n);
    CHECK(wrong == 0);
  });
}

TEST_CASE("four channels under plain operations and selects at once lose nothing") {
  with_workers([] {
    constexpr int n = 1500;
    std::array<weft::chan<int>, 4> c{weft::make_chan<int>(), weft::make_chan<int>(), weft::make_chan<int>(2),
                                     weft::make_chan<int>(3)};
    std::vector<weft::join_handle<void>> h;
    for (auto& one : c) {
      h.push_back(weft::spawn([one] {
        for (int i = 0; i < n; ++i) one.send(0);
      }));
      h.push_back(weft::spawn([one] {
        for (int i = 0; i < n; ++i) one.recv();
      }));
    }
    h.push_back(weft::spawn([c]() mutable {
      std::array<int, 4> done{};
      auto const count = [&](std::size_t k) {
        if (++done[k] == n) c[k] = {};
      };
      for (int i = 0; i < 4 * n; ++i)
        count(weft::select(on_send(c[0], 0), on_send(c[1], 0), on_send(c[2], 0), on_send(c[3], 0)));
    }));
    h.push_back(weft::spawn([c]() mutable {
      std::array<int, 4> done{};
      auto const count = [&](std::size_t k) {
        if (++done[k] == n) c[k] = {};
      };
      for (int i = 0; i < 4 * n; ++i) count(weft::select(on_recv(c[0]), on_recv(c[1]), on_recv(c[2]), on_recv(c[3])));
    }));
    for (auto& one : h) one.join();
    for (auto& one : c) CHECK(one.size() == 0);
  });
}

}  // namespace
