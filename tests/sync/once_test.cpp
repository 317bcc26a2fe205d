// weft::call_once and singleflight: one call for many callers.
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/observe/census.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::test::with_workers;

TEST_CASE("call_once calls once, and everybody who returns sees what the call did") {
  with_workers([] {
    for (int round = 0; round < 200; ++round) {
      auto flag = std::make_unique<weft::once_flag>();
      int calls = 0;
      std::atomic<int> unseen{0};
      auto use = [&] {
        weft::call_once(
            *flag,
            [&](int n) {
              weft::yield();
              calls += n;
            },
            1);
        if (calls != 1) unseen.fetch_add(1);
      };
      std::vector<weft::join_handle<void>> tasks;
      for (int i = 0; i < 4; ++i) tasks.push_back(weft::spawn(use));
      std::thread outside(use);
      use();
      for (auto& h : tasks) h.join();
      outside.join();
      CHECK(unseen.load() == 0);
    }
  });
}

TEST_CASE("when the call throws its caller gets the exception and the next caller calls") {
  with_workers([] {
    weft::once_flag flag;
    std::atomic<int> calls{0}, thrown{0};
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(weft::spawn([&] {
        try {
          weft::call_once(flag, [&] {
            weft::yield();
            if (calls.fetch_add(1) < 3) throw std::runtime_error("not yet");
          });
        } catch (std::runtime_error const&) {
          thrown.fetch_add(1);
        }
      }));
    }
    for (auto& h : tasks) h.join();
    CHECK(calls.load() == 4);
    CHECK(thrown.load() == 3);
  });
}

TEST_CASE("callers of one key share one call and its result, callers of another do not") {
  with_workers([] {
    weft::singleflight<std::string, int> flights;
    weft::latch inside(1), go_on(1);
    std::atomic<int> calls{0};
    auto leader = weft::spawn([&] {
      return flights.run("a", [&] {
        calls.fetch_add(1);
        inside.count_down();
        go_on.wait();
        return 42;
      });
    });
    inside.wait();
    std::vector<weft::join_handle<int>> followers;
    std::atomic<int> begun{0};
    for (int i = 0; i < 3; ++i) {
      followers.push_back(weft::spawn([&] {
        begun.fetch_add(1);
        return flights.run("a", [&] {
          calls.fetch_add(1);
          return 42;
        });
      }));
    }
    CHECK(flights.run("b", [] { return 7; }) == 7);
    while (begun.load() < 3) weft::yield();
    go_on.count_down();
    CHECK(leader.join() == 42);
    for (auto& h : followers) CHECK(h.join() == 42);
    CHECK(calls.load() >= 1);
    CHECK(flights.run("a", [] { return 1; }) == 1);  // no cache
  });
}

TEST_CASE("the exception of a shared call goes to all, and a cancelled leader's call is made anew") {
  struct plain_key {
    int value;
    bool operator<(plain_key const& other) const { return value < other.value; }
  };
  with_workers([] {
    weft::singleflight<plain_key, std::string> flights;
    CHECK_THROWS_AS(flights.run({1}, []() -> std::string { throw std::runtime_error("no"); }), std::runtime_error);
    weft::latch inside(1), never(1);
    auto leader = weft::spawn([&] {
      return flights.run({1}, [&] {
        inside.count_down();
        never.wait();
        return std::string("from the leader");
      });
    });
    inside.wait();
    auto follower = weft::spawn([&] { return flights.run({1}, [] { return std::string("from the follower"); }); });
    leader.cancel();
    CHECK_THROWS_AS(leader.join(), weft::cancelled);
    CHECK(follower.join() == "from the follower");
  });
}

TEST_CASE("a shared call that changes the key it was made with leaves nothing in the table") {
  with_workers([] {
    weft::singleflight<std::string, int> hashed;
    std::string url = "before";
    CHECK(hashed.run(url, [&] {
      url = "after";
      return 1;
    }) == 1);
    CHECK(hashed.run("before", [] { return 2; }) == 2);
    weft::singleflight<std::vector<int>, int> ordered;
    std::vector<int> path{1};
    auto const fails = [&]() -> int {
      path.push_back(2);
      throw std::runtime_error("no");
    };
    CHECK_THROWS_AS(ordered.run(path, fails), std::runtime_error);
    CHECK(ordered.run({1}, [] { return 3; }) == 3);
  });
}

TEST_CASE("a cancelled task still waits for another's call_once, and returns when that has returned") {
  with_workers([] {
    weft::once_flag flag;
    auto begun = weft::make_chan<int>(1), go_on = weft::make_chan<int>();
    std::atomic<bool> called{false};
    auto caller = weft::spawn([&] {
      weft::call_once(flag, [&] {
        begun.send(1);
        go_on.recv();
        called.store(true);
      });
    });
    begun.recv();
    auto doomed = weft::spawn([&] {
      weft::call_once(flag, [] {});
      return called.load();
    });
    for (int turn = 0; turn < 5; ++turn) weft::yield();
    doomed.cancel();
    for (int turn = 0; turn < 5; ++turn) weft::yield();
    CHECK_FALSE(doomed.done());
    go_on.send(1);
    CHECK(doomed.join());
    caller.join();
  });
}

/// Tasks that wait for somebody's call. One that waited for the mutex before, and has been given it, is parked to the metrics until it runs.
std::size_t following() {
  auto const now = weft::rt::take_census(nullptr);
  return static_cast<std::size_t>(std::ranges::count_if(now.tasks, [](weft::rt::task_entry const& t) {
    return t.state == weft::rt::task_state::parked && t.reason == weft::rt::wait_reason::condition_variable;
  }));
}

/// A flight that is held until `followers` tasks wait for it.
template <class V, class Result>
struct held_flight {
  weft::singleflight<std::string, V> flights;
  std::atomic<int> calls{0};
  weft::latch inside{1}, go_on{1};
  weft::join_handle<V> leader;
  std::vector<weft::join_handle<V>> followers;

  held_flight(int n, Result result) {
    auto const call = [this, result] {
      return flights.run("key", [this, result] {
        int const number = ++calls;
        if (number == 1) inside.count_down();
        go_on.wait();
        return result(number);
      });
    };
    leader = weft::spawn(call);
    inside.wait();
    for (int i = 0; i < n; ++i) followers.push_back(weft::spawn(call));
    while (following() < static_cast<std::size_t>(n)) weft::yield();
  }
};

TEST_CASE("callers of one key that wait share exactly one call, and the next caller makes another") {
  with_workers([] {
    held_flight<int, int (*)(int)> flight(5, [](int n) { return n * 10; });
    CHECK(flight.calls == 1);
    flight.go_on.count_down();
    CHECK(flight.leader.join() == 10);
    for (auto& h : flight.followers) CHECK(h.join() == 10);
    CHECK(flight.calls == 1);
    CHECK(flight.flights.run("key", [] { return 3; }) == 3);
  });
}

TEST_CASE("what a shared call throws goes to every caller that waits, and is not kept") {
  with_workers([] {
    held_flight<int, int (*)(int)> flight(4, [](int) -> int { throw std::runtime_error("shared"); });
    flight.go_on.count_down();
    CHECK_THROWS_AS(flight.leader.join(), std::runtime_error);
    for (auto& h : flight.followers) CHECK_THROWS_AS(h.join(), std::runtime_error);
    CHECK(flight.calls == 1);
    CHECK(flight.flights.run("key", [] { return 3; }) == 3);
  });
}

TEST_CASE("those that wait for a cancelled leader get the result of a call made anew") {
  with_workers([] {
    held_flight<int, int (*)(int)> flight(4, [](int n) { return n; });
    flight.leader.cancel();
    CHECK_THROWS_AS(flight.leader.join(), weft::cancelled);
    flight.go_on.count_down();
    for (auto& h : flight.followers) CHECK(h.join() >= 2);
    CHECK(flight.calls >= 2);
  });
}

TEST_CASE("a follower that is cancelled leaves the shared call alone") {
  with_workers([] {
    held_flight<int, int (*)(int)> flight(2, [](int) { return 6; });
    flight.followers[0].cancel();
    CHECK_THROWS_AS(flight.followers[0].join(), weft::cancelled);
    flight.go_on.count_down();
    CHECK(flight.leader.join() == 6);
    CHECK(flight.followers[1].join() == 6);
    CHECK(flight.calls == 1);
  });
}

}  // namespace

TEST_CASE("callers may share a call that has no result, but may throw") {
  with_workers([] {
    weft::singleflight<std::string, void> flights;
    int calls = 0;
    flights.run("k", [&] { ++calls; });
    flights.run("k", [&] { return ++calls; });
    CHECK(calls == 2);
    CHECK_THROWS_AS(flights.run("k", []() -> void { throw std::runtime_error("no"); }), std::runtime_error);
    auto const entered = weft::make_chan<int>(), leave = weft::make_chan<int>();
    auto first = weft::spawn([&] {
      flights.run("k", [&] {
        entered.send(1);
        leave.recv();
        ++calls;
      });
    });
    entered.recv();
    auto second = weft::spawn([&] { flights.run("k", [&] { calls += 100; }); });
    while (following() < 1) weft::yield();
    leave.send(1);
    first.join();
    second.join();
    CHECK(calls == 3);
  });
}
