// Deadlocks where a process has several runtimes.

#include <weft/weft.hpp>

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "tests/support/catch.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

weft::options with(unsigned workers) {
  weft::options o;
  o.workers = workers;
  return o;
}

/// what() of the deadlock that the runtime ends f with; nothing, if it returns.
template <class F>
std::optional<std::string> deadlock_in(weft::runtime& runtime, F f) {
  try {
    runtime.run(f);
    return std::nullopt;
  } catch (weft::deadlock const& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("a deadlock beside a second runtime that has nothing to do is found", "[observe][deadlock]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::runtime beside(with(workers));
    beside.run([] { weft::sleep_for(1ms); });  // it has threads
    weft::runtime runtime(with(workers));
    auto const what = deadlock_in(runtime, [] { weft::make_chan<int>().recv(); });
    REQUIRE(what.has_value());
    CHECK(what->find("1 task: 1 parked") != std::string::npos);
  }
}

TEST_CASE("a deadlock beside a runtime that has been shut down is found", "[observe][deadlock]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::runtime beside(with(workers));
    beside.run([] { weft::sleep_for(1ms); });
    beside.shutdown();
    weft::runtime runtime(with(workers));
    auto const what = deadlock_in(runtime, [] {
      auto const c = weft::make_chan<int>();
      auto const giving_up = weft::spawn([c] { c.recv(); });
      giving_up.wait();
    });
    CHECK(what.has_value());
  }
}

TEST_CASE("tasks of two runtimes that wait for each other are dead in both", "[observe][deadlock]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::runtime one(with(workers));
    weft::runtime other(with(workers));
    auto const a = weft::make_chan<int>();
    auto const b = weft::make_chan<int>();
    std::optional<std::string> in_other;
    std::thread second([&] {
      in_other = deadlock_in(other, [=] {
        a.recv();
        b.send(1);
      });
    });
    auto const in_one = deadlock_in(one, [=] {
      b.recv();
      a.send(1);
    });
    second.join();
    CHECK(in_one.has_value());
    CHECK(in_other.has_value());
  }
}

TEST_CASE("what a second runtime may still do is no deadlock", "[observe][deadlock]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::runtime beside(with(workers));
    weft::runtime runtime(with(workers));
    auto const ch = weft::make_chan<int>();
    beside.go([ch] {
      weft::sleep_for(40ms);  // a timer
      ch.send(1);
      weft::blocking([] { std::this_thread::sleep_for(40ms); });
      ch.send(2);
      weft::test::compute_for(40ms);
      ch.send(3);
    });
    auto const what = deadlock_in(runtime, [ch] {
      for (int i = 1; i <= 3; ++i)
        if (ch.recv() != i) std::terminate();
    });
    CHECK_FALSE(what.has_value());
  }
}

TEST_CASE("two runtimes that wake each other's tasks with pauses are never taken for dead",
          "[observe][deadlock][stress]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::runtime one(with(workers));
    weft::runtime other(with(workers));
    auto const there = weft::make_chan<int>();
    auto const back = weft::make_chan<int>();
    auto const beat = weft::make_chan<int>();
    std::thread clock([=] {  // around the pause after which the question is asked
      for (int i = 0; i < 120; ++i) {
        std::this_thread::sleep_for(std::chrono::microseconds(2500 + 37 * (i % 40)));
        beat.send(i);
      }
      beat.close();
    });
    other.go([=] {
      while (auto v = there.recv()) back.send(*v + 1);
      back.close();
    });
    long sum = 0;
    auto const what = deadlock_in(one, [&] {
      while (auto v = beat.recv()) {
        there.send(*v);
        sum += back.recv().value();
      }
      there.close();
    });
    clock.join();
    CHECK_FALSE(what.has_value());
    CHECK(sum == 120 * 121 / 2);
  }
}
