// weft::oneshot: one value from the first to send, for one receiver.
#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::test::await_receivers;
using weft::test::with_workers;

TEST_CASE("the first send to a oneshot is told so and its value is received, later ones are dropped") {
  with_workers([] {
    weft::oneshot<int> once;
    CHECK(once.send(1));
    CHECK_FALSE(once.send(2));
    auto const same = once;
    CHECK_FALSE(same.send(3));
    CHECK(same.recv() == 1);
    CHECK_FALSE(once.send(4));  // there is room, but it is over
    CHECK_THROWS_AS(once.recv(), weft::closed_channel);
  });
}

TEST_CASE("of many senders at once to a oneshot exactly one is first, and the receiver gets its value") {
  with_workers([] {
    for (int round = 0; round < 300; ++round) {
      weft::oneshot<int> once;
      std::atomic<int> firsts{0}, winner{0};
      std::vector<weft::join_handle<void>> tasks;
      for (int i = 1; i <= 4; ++i) {
        tasks.push_back(weft::spawn([=, &firsts, &winner] {
          if (once.send(i)) {
            firsts.fetch_add(1);
            winner.store(i);
          }
        }));
      }
      int const got = once.recv();
      for (auto& h : tasks) h.join();
      CHECK(firsts.load() == 1);
      CHECK(winner.load() == got);
    }
  });
}

TEST_CASE("of many receivers of a oneshot one gets the value, the others find it closed") {
  with_workers([] {
    weft::oneshot<std::unique_ptr<int>> once;
    std::atomic<int> got{0}, closed{0};
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(weft::spawn([=, &got, &closed] {
        try {
          got.fetch_add(*once.recv());
        } catch (weft::closed_channel const&) {
          closed.fetch_add(1);
        }
      }));
    }
    await_receivers(once.channel(), 5);
    CHECK(once.send(std::make_unique<int>(7)));
    for (auto& h : tasks) h.join();
    CHECK(got.load() == 7);
    CHECK(closed.load() == 4);
  });
}

TEST_CASE("a oneshot works between plain threads, and in a select") {
  weft::oneshot<std::string> once;
  std::thread sender([once] { once.send("from a thread"); });
  CHECK(once.recv() == "from a thread");
  sender.join();
  with_workers([] {
    weft::oneshot<int> reply;
    weft::go([reply] { reply.send(5); });
    int got = 0;
    weft::select(weft::on_recv(reply, [&](int v) { got = v; }), weft::on_timeout(std::chrono::hours(1)));
    CHECK(got == 5);
    bool over = false;
    weft::select(weft::on_recv(reply, [&](std::optional<int> v) { over = !v; }));
    CHECK(over);
  });
}

TEST_CASE("a receiver of a oneshot finds it closed when every handle has gone without a send") {
  with_workers([] {
    weft::receiver<int> rx;
    {
      weft::oneshot<int> once;
      rx = once.channel();
    }
    CHECK_FALSE(rx.recv());
  });
}

TEST_CASE("a cancelled recv of a oneshot takes nothing, or returns with the value") {
  with_workers([] {
    for (int round = 0; round < 300; ++round) {
      weft::oneshot<int> once;
      auto doomed = weft::spawn([once] { return once.recv(); });
      for (int i = 0; i < round % 4; ++i) weft::yield();
      auto sender = weft::spawn([once] { return once.send(9); });
      doomed.cancel();
      int got = 0;
      try {
        got = doomed.join();
      } catch (weft::cancelled const&) {
        got = once.recv();
      }
      CHECK(got == 9);
      CHECK(sender.join());
    }
  });
}

/// Boxed in a channel, for its move may throw; neither assignable nor made without arguments.
struct awkward {
  explicit awkward(int v, int* f = nullptr) : value(v), fail_on(f) {}
  awkward(awkward&& other) noexcept(false) : value(other.value), fail_on(other.fail_on) {
    if (fail_on != nullptr && --*fail_on == 0) throw std::runtime_error("cannot move now");
    other.value = 0;
  }
  awkward& operator=(awkward&&) = delete;
  int value;
  int* fail_on;
};

TEST_CASE("a move that throws leaves a oneshot unsent, or its value still to be received") {
  with_workers([] {
    weft::oneshot<awkward> once;
    int countdown = 1;
    CHECK_THROWS_AS(once.send(awkward(1, &countdown)), std::runtime_error);
    countdown = 2;  // the one into the oneshot works, the one out of it does not
    CHECK(once.send(awkward(2, &countdown)));
    CHECK_FALSE(once.send(awkward(3)));
    CHECK_THROWS_AS(once.recv(), std::runtime_error);
    CHECK(once.recv().value == 2);
    CHECK_THROWS_AS(once.recv(), weft::closed_channel);
  });
}

}  // namespace
