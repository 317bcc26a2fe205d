// weft::watch: the latest value, and being told of changes.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::await_receivers;
using weft::test::with_workers;

TEST_CASE("a watch gives its latest value, and a subscriber is told of what came after it subscribed") {
  with_workers([] {
    weft::watch<std::string> text("first");
    CHECK(text.get() == "first");
    auto sub = text.subscribe();
    CHECK(sub.get() == "first");
    CHECK_FALSE(sub.channel().try_recv());
    text.send("second");
    CHECK(text.get() == "second");
    CHECK(sub.get() == "second");
    CHECK(sub.changed() == "second");
    CHECK(sub.get() == "second");
    CHECK_FALSE(sub.channel().try_recv());
  });
}

TEST_CASE("of several changes a subscriber sees the last") {
  with_workers([] {
    weft::watch<int> number(0);
    auto one = number.subscribe(), two = number.subscribe();
    for (int i = 1; i <= 5; ++i) number.send(i);
    CHECK(one.changed() == 5);
    number.send(6);
    CHECK(one.changed() == 6);
    CHECK(two.changed() == 6);
    auto late = number.subscribe();
    CHECK_FALSE(late.channel().try_recv());
  });
}

TEST_CASE("changed waits for a change, and for the end of the watch") {
  with_workers([] {
    std::optional<weft::watch<int>> number(1);
    auto sub = number->subscribe();
    auto task = weft::spawn([sub] { return sub.changed(); });
    await_receivers(sub.channel());
    number->send(2);
    CHECK(task.join() == 2);
    auto last = weft::spawn([sub] { return sub.changed(); });
    await_receivers(sub.channel());
    number.reset();
    CHECK(last.join() == std::nullopt);
    CHECK(sub.get() == 2);  // the value outlives the watch
  });
}

TEST_CASE("a change that was not seen is still told after close, and then the end") {
  with_workers([] {
    weft::watch<int> number(1);
    auto copy = number;
    auto sub = number.subscribe();
    copy.send(2);
    number.close();
    number.close();
    CHECK_THROWS_AS(copy.send(3), weft::closed_channel);
    CHECK(copy.get() == 2);
    CHECK(sub.changed() == 2);
    CHECK(sub.changed() == std::nullopt);
    CHECK(number.subscribe().changed() == std::nullopt);
  });
}

TEST_CASE("a watch's subscriber works in a select") {
  with_workers([] {
    weft::watch<int> number(1);
    auto sub = number.subscribe();
    weft::go([number] { number.send(2); });
    int got = 0;
    weft::select(weft::on_recv(sub, [&](int v) { got = v; }), weft::on_timeout(std::chrono::hours(1)));
    CHECK(got == 2);
  });
}

TEST_CASE("no subscriber ends up with an old value, goes back, or sees get before changed") {
  with_workers([] {
    static constexpr int senders = 3, each = 300;
    weft::watch<std::vector<int>> state(std::vector<int>(senders, 0));
    weft::mutex turn;
    std::vector<weft::join_handle<bool>> readers;
    for (int i = 0; i < 3; ++i) {
      readers.push_back(weft::spawn([sub = state.subscribe(), i] {
        std::vector<int> before(senders, 0);
        auto const goes_on = [&](std::vector<int> const& v) {
          bool ok = true;
          for (std::size_t s = 0; s < v.size(); ++s) ok = ok && v[s] >= before[s];
          before = v;
          return ok;
        };
        while (auto v = sub.changed()) {
          if (!goes_on(*v)) return false;
          for (int n = 0; n < i; ++n) weft::yield();
          if (!goes_on(sub.get())) return false;
          before = *v;  // the next change may be older than what get() gave
        }
        return before == std::vector<int>(senders, each);
      }));
    }
    weft::wait_group group;
    for (int s = 0; s < senders; ++s) {
      group.go([&, s] {
        for (int i = 0; i < each; ++i) {
          {
            std::lock_guard hold(turn);
            auto next = state.get();
            ++next[static_cast<std::size_t>(s)];
            state.send(std::move(next));
          }
          weft::yield();
        }
      });
    }
    group.wait();
    state.close();
    for (auto& h : readers) CHECK(h.join());
  });
}

TEST_CASE("whatever was sent last at the same time, get and changed agree on it") {
  with_workers([] {
    for (int round = 0; round < 300; ++round) {
      weft::watch<std::string> text("");
      auto sub = text.subscribe();
      weft::wait_group group;
      for (char const* v : {"a", "b", "c"}) group.go([text, v] { text.send(v); });
      group.wait();
      CHECK(sub.changed() == text.get());
    }
  });
}

TEST_CASE("a cancelled changed leaves the change to be told") {
  with_workers([] {
    weft::watch<int> number(0);
    auto sub = number.subscribe();
    int wrong = 0;
    for (int round = 1; round <= 300; ++round) {
      auto doomed = weft::spawn([sub] { return sub.changed(); });
      for (int i = 0; i < round % 4; ++i) weft::yield();
      auto sender = weft::spawn([&, round] { number.send(round); });
      doomed.cancel();
      std::optional<int> got;
      try {
        got = doomed.join();
      } catch (weft::cancelled const&) {
        got = sub.changed();
      }
      wrong += got != round;
      sender.join();
    }
    CHECK(wrong == 0);
  });
}

TEST_CASE("if a copy throws, a watch has not changed") {
  with_workers([] {
    struct faulty {
      int number;
      int* copies_left;
      faulty(int n, int* left) : number(n), copies_left(left) {}
      faulty(faulty&&) noexcept = default;
      faulty(faulty const& other) : number(other.number), copies_left(other.copies_left) {
        if ((*copies_left)-- == 0) throw std::runtime_error("no more copies");
      }
    };
    int left = 1000;
    weft::watch<faulty> state(faulty(1, &left));
    auto one = state.subscribe(), two = state.subscribe();
    left = 1;
    CHECK_THROWS_AS(state.send(faulty(2, &left)), std::runtime_error);
    left = 1000;
    CHECK(state.get().number == 1);
    CHECK_FALSE(one.channel().try_recv());
    CHECK_FALSE(two.channel().try_recv());
  });
}

TEST_CASE("a watch works between plain threads") {
  weft::watch<int> number(0);
  auto sub = number.subscribe();
  std::thread sender([number] { number.send(4); });
  CHECK(sub.changed() == 4);
  sender.join();
}

TEST_CASE("get through a subscriber of no watch ends the process and names the call") {
  auto const end = weft::test::run_in_child([] {
    weft::watch<int>::subscriber none;
    (void)none.get();
  });
  CHECK(end.aborted);
  CHECK(end.said.find("watch::subscriber::get") != std::string::npos);
}

TEST_CASE("a watch that was moved to a task is closed with that task") {
  with_workers([] {
    weft::watch<int> all(0);
    auto first = all.subscribe();
    auto const sub = std::move(first);
    weft::go([all = std::move(all)] { all.send(1); });
    CHECK(sub.changed() == 1);
    CHECK(sub.changed() == std::nullopt);
  });
}

TEST_CASE("use of a watch that was moved from ends the process and names the call") {
  auto const end = weft::test::run_in_child([] {
    weft::watch<int> all(0);
    auto const kept = std::move(all);
    all.send(1);
  });
  CHECK(end.aborted);
  CHECK(end.said.find("watch::send: the handle was moved from") != std::string::npos);
}

}  // namespace
