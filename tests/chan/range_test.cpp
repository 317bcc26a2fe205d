// Channels as ranges, and recv_many.
#include <weft/weft.hpp>

#include <algorithm>
#include <iterator>
#include <memory>
#include <numeric>
#include <ranges>
#include <string>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::test::await_senders;
using weft::test::with_workers;

static_assert(std::ranges::input_range<weft::chan<std::unique_ptr<int>>>);
static_assert(std::ranges::input_range<weft::receiver<int> const>);
static_assert(std::ranges::view<weft::receiver<std::string>>);
static_assert(!std::ranges::range<weft::sender<int>>);
// What is in the buffer is not how many are still to come.
static_assert(!std::ranges::sized_range<weft::receiver<int>> && !std::ranges::sized_range<weft::chan<int>>);
static_assert(std::copyable<std::ranges::iterator_t<weft::receiver<std::string>>>);
static_assert(!std::copyable<std::ranges::iterator_t<weft::receiver<std::unique_ptr<int>>>>);

template <class T>
weft::receiver<T> numbers(int n, std::size_t capacity = 0) {
  auto [tx, rx] = weft::make_ends<T>(capacity);
  weft::go([out = std::move(tx), n] {
    for (int i = 0; i < n; ++i)
      if (!out.push(static_cast<T>(i))) return;
  });
  return rx;
}

TEST_CASE("a range-for runs until the channel is closed and drained, by reference") {
  with_workers([] {
    int sum = 0;
    for (int& v : numbers<int>(10)) sum += std::exchange(v, 0);
    CHECK(sum == 45);
    auto c = weft::make_chan<std::unique_ptr<int>>(3);
    for (int i = 0; i < 3; ++i) c.send(std::make_unique<int>(i));
    c.close();
    std::vector<std::unique_ptr<int>> kept;
    for (auto& p : c) kept.push_back(std::move(p));
    CHECK(kept.size() == 3);
    CHECK(*kept[2] == 2);
  });
}

TEST_CASE("leaving a range-for loses no value") {
  with_workers([] {
    auto rx = numbers<int>(10);
    for (int v : rx)
      if (v == 3) break;
    CHECK(rx.recv() == 4);
    auto it = rx.begin();
    CHECK(*it == 5);
    ++it;  // receives nothing by itself
    CHECK(rx.recv() == 6);
    CHECK(*it == 7);
    CHECK(*it == 7);
    ++it;
    ++it;  // 8 is to be skipped, at the next look
    CHECK(*it == 9);
    it++;
    CHECK(it == rx.end());
  });
}

TEST_CASE("a receiver is a view and works with range adaptors and algorithms") {
  with_workers([] {
    std::vector<int> out;
    for (int v : numbers<int>(100) | std::views::filter([](int x) { return x % 2; }) | std::views::take(3))
      out.push_back(v);
    CHECK(out == std::vector{1, 3, 5});
    auto rx = numbers<int>(5);
    int sum = 0;
    std::ranges::for_each(rx, [&](int v) { sum += v; });
    CHECK(sum == 10);
    auto c = weft::make_chan<int>(4);
    for (int i = 0; i < 4; ++i) c.send(i);
    c.close();
    CHECK(std::ranges::distance(c) == 4);
  });
}

TEST_CASE("views::take takes what is still to come, whatever is in the buffer") {
  with_workers([] {
    for (std::size_t const capacity : {0, 1, 8}) {
      auto [tx, rx] = weft::make_ends<int>(capacity);
      weft::go([to = std::move(tx)] {
        for (int i = 0; i < 5; ++i) to.send(i);
      });
      std::vector<int> out;
      for (int v : rx | std::views::take(3)) out.push_back(v);
      for (int v : rx | std::views::transform([](int x) { return 10 * x; }) | std::views::take(5)) out.push_back(v);
      CHECK(out == std::vector{0, 1, 2, 30, 40});
    }
  });
}

TEST_CASE("a copy of an iterator has a copy of the value, and an end of its own") {
  with_workers([] {
    auto rx = numbers<int>(3);
    auto it = rx.begin();
    CHECK(*it == 0);
    auto other = it;
    rx = {};
    CHECK(*other == 0);
    it = other;
    ++it;
    CHECK(*it == 1);
    CHECK(*other == 0);
    auto more = numbers<int>(6);
    auto one = more.begin();
    auto two = one;  // before anybody has looked
    CHECK((*one == 0 && *two == 0));
    ++one;
    ++one;
    auto three = one;
    CHECK((*one == 2 && *three == 2));
    std::vector<int> const same{0, 1, 2, 3};
    auto all = numbers<int>(4) | std::views::common;
    CHECK(std::equal(same.begin(), same.end(), all.begin()));
  });
}

TEST_CASE("the iterator's end of a channel counts: the loop keeps what it loops over") {
  with_workers([] {
    auto rx = numbers<int>(5);
    int n = 0;
    for (int v : rx) {
      if (v == 0) rx = {};
      ++n;
    }
    CHECK(n == 5);
  });
}

TEST_CASE("recv_many waits for one value and takes what is there, in order") {
  with_workers([] {
    auto c = weft::make_chan<std::string>(100);
    auto h = weft::spawn([c] {
      std::vector<std::string> out{"old"};
      std::size_t const n = c.recv_many(out, 10);
      return std::pair(n, out);
    });
    weft::test::await_receivers(c);
    c.send("one");
    auto [n, out] = h.join();
    CHECK(n == 1);
    CHECK(out == std::vector<std::string>{"old", "one"});

    std::vector<std::string> expected;
    for (int i = 0; i < 90; ++i) {
      c.send(std::to_string(i));
      expected.push_back(std::to_string(i));
    }
    std::vector<std::string> all;
    CHECK(c.recv_many(all, 40) == 40);
    CHECK(c.recv_many(all, 0) == 0);
    CHECK(c.recv_many(all, 1000) == 50);
    CHECK(all == expected);
    c.close();
    CHECK(c.recv_many(all, 5) == 0);
  });
}

TEST_CASE("recv_many takes from waiting senders too and lets them go on") {
  with_workers([] {
    for (std::size_t capacity : {0u, 2u}) {
      auto c = weft::make_chan<int>(capacity);
      std::vector<weft::join_handle<void>> h;
      for (int i = 0; i < 6; ++i) {
        h.push_back(weft::spawn([c, i] { c.send(i); }));
        while (c.size() + weft::test::waiting(c, true) < h.size()) weft::yield();
      }
      std::vector<int> out;
      CHECK(c.recv_many(out, 5) == 5);
      CHECK(out == std::vector{0, 1, 2, 3, 4});
      CHECK(c.recv() == 5);
      for (auto& s : h) s.join();
    }
  });
}

TEST_CASE("recv_many into a vector of bool, and of a boxed type") {
  with_workers([] {
    auto c = weft::make_chan<bool>(8);
    for (int i = 0; i < 8; ++i) c.send(i % 3 == 0);
    std::vector<bool> out;
    CHECK(c.recv_many(out, 20) == 8);
    CHECK(out == std::vector<bool>{true, false, false, true, false, false, true, false});
    struct shared {
      std::shared_ptr<int> p;
    };
    auto d = weft::make_chan<shared>(50);
    for (int i = 0; i < 50; ++i) d.send({std::make_shared<int>(i)});
    std::vector<shared> all;
    CHECK(d.recv_many(all, 50) == 50);
    CHECK(*all.front().p == 0);
    CHECK(*all.back().p == 49);
  });
}

}  // namespace
