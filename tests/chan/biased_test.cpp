// Channels whose lock has become its usual thread's (runtime/base/bias.hpp), when others come by: other workers, plain threads, and tasks
// that have gone on elsewhere between two looks of one call.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::test::with_workers;

// Enough takings in a row for a bias, whatever was taken away before.
constexpr int until_biased = weft::rt::tsan || weft::rt::asan ? 1500 : 5000;

/// Sends and receives by itself, so that no other thread has a part in it. What it took beyond what it put in.
std::int64_t use_alone(weft::chan<std::int64_t> const& c, int times) {
  std::int64_t more = 0;
  for (int i = 0; i < times; ++i) {
    if (c.try_send(1) == weft::chan_status::ok) more -= 1;
    if (auto const v = c.try_recv()) more += *v;
  }
  return more;
}

/// A value whose copy waits: the task may come back on another worker.
struct slow_to_copy {
  std::int64_t value = 1;
  slow_to_copy() = default;
  slow_to_copy(slow_to_copy const& other) : value(other.value) { weft::sleep_for(std::chrono::microseconds(50)); }
  slow_to_copy(slow_to_copy&&) = default;
};

}  // namespace

TEST_CASE("values of a channel that its usual thread and others use at once come once each", "[stress]") {
  with_workers([] {
    auto const c = weft::make_chan<std::int64_t>(64);
    std::atomic<std::int64_t> balance = 0;
    std::atomic<bool> over = false;
    weft::wait_group usual;
    usual.go([&] {
      for (int round = 0; round < 200; ++round) balance += use_alone(c, until_biased);
      over = true;
    });
    // They come by now and then, so that the lock becomes biased in between.
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
      threads.emplace_back([&] {
        while (!over) {
          balance += use_alone(c, 3);
          std::this_thread::sleep_for(std::chrono::microseconds(300));
        }
      });
    weft::wait_group others;
    for (int i = 0; i < 4; ++i)
      others.go([&] {
        while (!over) {
          c.send(1);
          balance -= 1;
          balance += c.recv().value();
          weft::sleep_for(std::chrono::microseconds(200));
        }
      });
    usual.wait();
    others.wait();
    for (auto& t : threads) t.join();
    while (auto const v = c.try_recv()) balance += *v;
    CHECK(balance == 0);
  });
}

TEST_CASE("tasks that talk to each other on many channels may go on on any worker", "[stress]") {
  with_workers([] {
    constexpr int pairs = 8, rounds = 12, messages = weft::rt::tsan || weft::rt::asan ? 400 : 2500;
    std::atomic<std::int64_t> sum = 0;
    weft::wait_group all;
    for (int p = 0; p < pairs; ++p) {
      auto const there = weft::make_chan<std::int64_t>(p % 3), back = weft::make_chan<std::int64_t>();
      all.go([there, back, &sum] {
        for (int r = 0; r < rounds; ++r) {
          for (int i = 0; i < messages; ++i) {
            there.send(i);
            weft::select(weft::on_recv(back, [&](auto const& v) { sum += *v - i; }),
                         weft::on_recv(weft::chan<int>(), [](auto const&) {}));
          }
          weft::sleep_for(std::chrono::microseconds(100));  // and so is queued by whoever has time
        }
        there.close();
      });
      all.go([there, back] {
        while (auto const v = there.recv()) back.send(*v);
      });
    }
    all.wait();
    CHECK(sum == 0);
  });
}

TEST_CASE("a select whose copy waits takes the lock of the thread that it has come back on") {
  with_workers([] {
    auto const c = weft::make_chan<slow_to_copy>(4);
    constexpr int senders = 4, each = 100;
    weft::wait_group all;
    for (int i = 0; i < senders; ++i)
      all.go([&] {
        slow_to_copy const value;
        for (int k = 0; k < each; ++k) weft::select(weft::on_send(c, value));
      });
    std::int64_t received = 0, own = 0;
    while (received < senders * each) {
      // Meanwhile the lock becomes this thread's, again and again.
      for (int i = 0; i < until_biased; ++i) {
        own += c.try_send(slow_to_copy()) == weft::chan_status::ok ? 1 : 0;
        if (auto const v = c.try_recv()) received += v->value;
      }
      while (auto const v = c.try_recv()) received += v->value;
      received -= std::exchange(own, 0);
      weft::yield();
    }
    all.wait();
    CHECK(received == senders * each);
    CHECK(c.size() == 0);
  });
}
