// parallel_map, parallel_for, join_all.

#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {
using namespace weft::test;
using namespace std::chrono_literals;
}  // namespace

TEST_CASE("parallel_map gives the results in the order of the range") {
  with_workers([] {
    std::vector<int> const in{5, 1, 4, 2, 3};
    auto const out = weft::parallel_map(in,
                                        [](int const& n) {
                                          weft::sleep_for(std::chrono::microseconds(n * 20));
                                          return std::to_string(n);
                                        },
                                        {.limit = 3});
    CHECK(out == std::vector<std::string>{"5", "1", "4", "2", "3"});
    CHECK(weft::parallel_map(std::views::iota(0, 4), [](int n) { return n > 1; }) ==
          std::vector<bool>{false, false, true, true});
    auto pointers = weft::parallel_map(in, [](int n) { return std::make_unique<int>(n); });
    CHECK(*pointers.at(2) == 4);
    CHECK(weft::parallel_map(std::vector<int>(), [](int n) { return n; }).empty());
  });
}

TEST_CASE("parallel_map keeps copies of what is returned by reference") {
  with_workers([] {
    struct person {
      std::string name;
      int const age;
    };
    std::vector<person> const people{{"ann", 30}, {"bob", 40}};
    CHECK(weft::parallel_map(people, &person::name) == std::vector<std::string>{"ann", "bob"});
    CHECK(weft::parallel_map(people, [](person const& p) -> auto& { return p.age; }, {.limit = 1}) ==
          std::vector<int>{30, 40});
  });
}

TEST_CASE("an exception in parallel_map or parallel_for cancels the rest and comes out") {
  with_workers([] {
    std::atomic<int> finished{0};
    auto const f = [&](int n) {
      if (n == 3) throw std::runtime_error("three");
      weft::sleep_for(1h);
      return ++finished;
    };
    CHECK_THROWS_WITH(weft::parallel_map(std::views::iota(0, 8), f), "three");
    CHECK_THROWS_WITH(weft::parallel_for(std::views::iota(0, 8), f), "three");
    CHECK(finished == 0);
  });
}

TEST_CASE("parallel_for visits every element where it stands") {
  with_workers([] {
    std::vector<int> v(100, 1);
    weft::parallel_for(v, [](int& n) { n += 1; }, {.limit = 7});
    CHECK(std::ranges::all_of(v, [](int n) { return n == 2; }));
  });
}

TEST_CASE("every element of parallel_for begins although all before it wait") {
  with_workers([] {
    std::vector<int> v(1000);
    weft::latch all(std::ssize(v));
    weft::parallel_for(v, [&](int& n) {
      all.arrive_and_wait();
      ++n;
    });
    CHECK(std::ranges::count(v, 1) == std::ssize(v));
    weft::latch again(700);
    auto const out = weft::parallel_map(std::views::iota(0, 700), [&](int n) {
      again.arrive_and_wait();
      return n;
    });
    CHECK(std::ranges::equal(out, std::views::iota(0, 700)));
  });
}

TEST_CASE("calls of parallel_for that do not wait share tasks") {
  with_workers([] {
    std::atomic<long> sum{0};
    auto const before = weft::current_metrics().spawns;
    weft::parallel_for(std::views::iota(0, 100'000), [&](int n) { sum.fetch_add(n, std::memory_order_relaxed); });
    CHECK(sum == 4'999'950'000);
    CHECK(weft::current_metrics().spawns - before < 10'000);
  });
}

TEST_CASE("parallel_for calls once for each element, whichever of the calls wait or throw", "[stress]") {
  with_workers([] {
    constexpr int count = 20'000;
    for (std::size_t const limit : {0, 1, 7}) {
      INFO("limit " << limit);
      std::vector<std::atomic<int>> calls(count);
      int told = 0;
      weft::group_options const options{
          .limit = limit, .cancel_on_error = false, .on_error = [&](std::exception_ptr const&) { ++told; }};
      std::atomic<std::size_t> inside{0}, most{0};
      weft::parallel_for(
          std::views::iota(0, count),
          [&](int n) {
            std::size_t const now = ++inside;
            for (std::size_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
            }
            weft::defer const leave([&] { --inside; });
            ++calls[static_cast<std::size_t>(n)];
            if (n % 3 == 0) weft::yield();
            if (n % 251 == 0) weft::sleep_for(10us);
            if (n % 100 == 7) throw std::runtime_error("seven");
          },
          options);
      CHECK(std::ranges::all_of(calls, [](auto const& c) { return c == 1; }));
      CHECK(told == count / 100);
      if (limit != 0) CHECK(most <= limit);
    }
  });
}

TEST_CASE("join_all joins in order") {
  with_workers([] {
    std::vector<weft::join_handle<int>> some;
    for (int i = 0; i < 10; ++i) some.push_back(weft::spawn([](int n) { return n; }, i));
    CHECK(weft::join_all(some) == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    std::vector<weft::join_handle<void>> none;
    none.push_back(weft::spawn([] {}));
    weft::join_all(none);
    CHECK_FALSE(none[0].joinable());
  });
}

TEST_CASE("after an exception parallel_map and parallel_for begin no more") {
  with_workers([] {
    std::atomic<int> begun{0};
    auto const f = [&](int n) {
      begun.fetch_add(1);
      if (n == 10) throw std::runtime_error("ten");
      if (n > 10) weft::sleep_for(1h);  // until the group is cancelled: how soon that is, is not what this is about
      return n;
    };
    CHECK_THROWS_WITH(weft::parallel_for(std::views::iota(0), f, {.limit = 2}), "ten");  // the range has no end
    CHECK(begun < 20);
  });
}

TEST_CASE(
    "an exception comes out of parallel_map and parallel_for while they wait for the next element, or for a place") {
  with_workers([] {
    auto const c = weft::make_chan<int>(2);
    auto const f = [](int n) {
      if (n == 1) throw std::runtime_error("one");
      weft::sleep_for(1h);
      return n;
    };
    for (std::size_t const limit : {0u, 1u}) {
      c.send(1);
      CHECK_THROWS_WITH(weft::parallel_for(c, f, {.limit = limit}), "one");
      c.send(1);
      CHECK_THROWS_WITH(weft::parallel_map(c.rx(), f, {.limit = limit}), "one");
    }
    c.send(2);
    auto h = weft::spawn([&] { weft::parallel_for(c, f); });
    while (c.size() != 0) weft::yield();  // it has taken the 2
    h.cancel();
    CHECK_THROWS_AS(h.join(), weft::cancelled);
    c.send(3);
    CHECK(c.recv() == 3);
  });
}

TEST_CASE("parallel_for and parallel_map take what a receiver gives, each value once") {
  with_workers([] {
    auto [tx, rx] = weft::make_ends<std::unique_ptr<int>>(4);
    auto producer = weft::spawn([out = std::move(tx)] {
      for (int i = 1; i <= 100; ++i) out.send(std::make_unique<int>(i));
    });
    std::atomic<int> sum{0};
    weft::parallel_for(rx, [&](std::unique_ptr<int>& p) { sum.fetch_add(*p); }, {.limit = 8});
    CHECK(sum == 5050);
    auto const texts = weft::make_chan<std::string>(3);
    for (char const* t : {"a", "bb", "ccc"}) texts.send(t);
    texts.close();
    CHECK(weft::parallel_map(texts, [](std::string const& s) { return s.size(); }) ==
          std::vector<std::size_t>{1, 2, 3});
  });
}

TEST_CASE(
    "where an exception does not cancel, parallel_map and parallel_for go through all, and on_error or the caller gets "
    "it") {
  with_workers([] {
    std::atomic<int> called{0};
    auto const odd_fails = [&](int n) {
      ++called;
      if (n % 2 == 1) throw std::runtime_error("odd");
      return n * 10;
    };
    auto const numbers = std::views::iota(0, 10);
    std::vector<std::string> told;
    weft::group_options const telling{.limit = 2, .cancel_on_error = false, .on_error = [&](std::exception_ptr e) {
                                        try {
                                          std::rethrow_exception(e);
                                        } catch (std::exception const& x) {
                                          told.emplace_back(x.what());
                                        }
                                      }};
    CHECK(weft::parallel_map(numbers, odd_fails, telling) == std::vector<int>{0, 20, 40, 60, 80});
    CHECK(called == 10);
    CHECK(told == std::vector<std::string>(5, "odd"));
    weft::parallel_for(numbers, odd_fails, telling);
    CHECK(called == 20);
    CHECK(told.size() == 10);
    CHECK_THROWS_WITH(weft::parallel_map(numbers, odd_fails, {.cancel_on_error = false}), "odd");
    CHECK_THROWS_WITH(weft::parallel_for(numbers, odd_fails, {.limit = 1, .cancel_on_error = false}), "odd");
    CHECK(called == 40);
  });
}

TEST_CASE("a parallel_map that is cancelled throws, and its tasks have ended") {
  with_workers([] {
    std::atomic<int> begun{0}, ended{0};
    auto const slow = [&](int n) {
      weft::defer const mark([&] { ++ended; });
      ++begun;
      weft::sleep_for(1h);
      return n;
    };
    for (std::size_t limit : {0, 2}) {
      auto mapping =
          weft::spawn([&] { return weft::parallel_map(std::views::iota(0, 6), slow, {.limit = limit}).size(); });
      int const first = limit == 0 ? 6 : 2;
      while (begun < first) weft::yield();
      mapping.cancel();
      CHECK_THROWS_AS(mapping.join(), weft::cancelled);
      CHECK(begun == first);
      CHECK(ended == first);
      begun = ended = 0;
    }
  });
}

TEST_CASE("join_all throws the first exception in order, and leaves the handles behind it joinable") {
  with_workers([] {
    std::vector<weft::join_handle<int>> some;
    auto const leave = weft::make_chan<int>();
    some.push_back(weft::spawn([] { return 0; }));
    some.push_back(weft::spawn([leave]() -> int {
      leave.recv();
      throw std::runtime_error("second");
    }));
    some.push_back(weft::spawn([]() -> int { throw std::runtime_error("third, but earlier"); }));
    some.push_back(weft::spawn([] { return 3; }));
    while (!some[2].done()) weft::yield();
    leave.close();
    CHECK_THROWS_WITH(weft::join_all(some), "second");
    CHECK_FALSE(some[0].joinable());
    CHECK_FALSE(some[1].joinable());
    CHECK_THROWS_WITH(some[2].join(), "third, but earlier");
    CHECK(some[3].join() == 3);

    std::vector<weft::join_handle<void>> none;
    none.push_back(weft::spawn([] { throw std::runtime_error("void"); }));
    none.push_back(weft::spawn([] {}));
    CHECK_THROWS_WITH(weft::join_all(none), "void");
    CHECK(none[1].joinable());
    std::vector<weft::join_handle<std::unique_ptr<int>>> owners;
    for (int i = 0; i < 3; ++i) owners.push_back(weft::spawn([i] { return std::make_unique<int>(i); }));
    CHECK(*weft::join_all(owners).at(2) == 2);
  });
}

TEST_CASE("a join_all of nothing is a cancellation point") {
  weft::run([] {
    auto [context, cancel] = weft::with_cancel();
    weft::scoped_context const in(context);
    std::vector<weft::join_handle<int>> some;
    std::vector<weft::join_handle<void>> none;
    CHECK(weft::join_all(some).empty());
    cancel();
    CHECK_THROWS_AS(weft::join_all(some), weft::cancelled);
    CHECK_THROWS_AS(weft::join_all(none), weft::cancelled);
  });
}

TEST_CASE("a join_all that is cancelled leaves what it waited for joinable") {
  with_workers([] {
    std::vector<weft::join_handle<int>> some;
    auto const leave = weft::make_chan<int>();
    for (int i = 0; i < 3; ++i)
      some.push_back(weft::spawn([leave, i] {
        if (i != 0) leave.recv();
        return i;
      }));
    while (!some[0].done()) weft::yield();
    std::atomic<bool> joining{false};
    auto joiner = weft::spawn([&] {
      joining = true;
      return weft::join_all(some).size();
    });
    while (!joining) weft::yield();
    joiner.cancel();
    CHECK_THROWS_AS(joiner.join(), weft::cancelled);
    leave.close();
    CHECK(some[1].join() == 1);
    CHECK(some[2].join() == 2);
  });
}
