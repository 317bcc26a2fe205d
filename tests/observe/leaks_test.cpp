#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

void until_parked(std::size_t n) {
  while (weft::current_metrics().parked < n) weft::yield();
}

}  // namespace

TEST_CASE("a task that holds both ends of the channel it receives from is a leak, listed by its place of spawn",
          "[observe][leaks]") {
  weft::test::with_workers([] {
    unsigned line = 0;
    auto ch = weft::make_chan<int>();
    for (int i = 0; i < 3; ++i) {
      line = __LINE__ + 1;
      weft::go([ch] { (void)ch.recv(); });
    }
    weft::go(weft::task_options{.name = "other"}, [ch] { (void)ch.recv(); });
    auto const found = weft::leaks(10s);
    ch.close();
    REQUIRE(found.size() == 2);
    CHECK(found[0].tasks == 3);
    CHECK(found[0].line == line);
    CHECK(contains(found[0].file, "leaks_test.cpp"));
    CHECK(contains(found[0].report, "waits on channel receive"));
    CHECK(found[1].tasks == 1);
    CHECK(contains(found[1].report, "\"other\""));
  });
}

TEST_CASE("a leak is found as soon as all is at rest, however often it is asked for", "[observe][leaks]") {
  weft::test::with_workers([] {
    for (int i = 0; i < 30; ++i) {
      auto ch = weft::make_chan<int>();
      weft::go([ch] { (void)ch.recv(); });
      std::size_t const found = weft::leaks(10s).size();
      ch.close();
      REQUIRE(found == 1);
    }
  });
}

TEST_CASE("what ends by itself is no leak, however late", "[observe][leaks]") {
  weft::test::with_workers([] {
    auto ch = weft::make_chan<int>();
    weft::go([ch] { weft::sleep_for(20ms); });
    weft::go([ch] { (void)ch.recv_for(30ms); });
    auto [tx, rx] = weft::make_ends<int>(0);
    weft::go([from = std::move(rx)] { (void)from.recv(); });  // its sender is dropped by the next
    weft::go([to = std::move(tx)] { weft::sleep_for(10ms); });
    CHECK(weft::leaks(10s).empty());
  });
}

TEST_CASE("while others go on, a wait on the nil channel and its joins are known as leaks, a wait on a channel is not",
          "[observe][leaks]") {
  weft::test::with_workers([] {
    weft::chan<int> const nil;
    auto ch = weft::make_chan<int>();
    auto [ctx, cancel] = weft::with_cancel();
    weft::task_group group(ctx);
    group.spawn([&] { weft::sleep_for(1h); });
    group.spawn([&] { (void)ch.recv(); });
    group.spawn([&] { (void)nil.recv(); });
    group.spawn([&] { weft::select(); });
    group.spawn([&] { (void)nil.recv_for(1h); });
    group.spawn([&] {
      auto waits = weft::spawn([&] { (void)nil.recv(); });
      weft::yield();
      waits.join();
    });
    until_parked(7);
    std::size_t tasks = 0;
    for (weft::leak const& l : weft::leaks(0s)) tasks += l.tasks;
    group.cancel();
    // Without ThreadSanitizer the join may have run its child on its own stack: then the joiner is not known to join it.
    CHECK(tasks >= 3);
    CHECK(tasks <= 4);
  });
}

TEST_CASE("who waits to join the caller is no leak", "[observe][leaks]") {
  weft::test::with_workers([] {
    auto asks = weft::spawn([] {
      auto const found = weft::leaks(10s);
      return found.size();
    });
    auto waits = weft::spawn([&] { return asks.join(); });
    CHECK(waits.join() == 0);
  });
}

TEST_CASE("another thread of the program that may do something keeps leaks from being said", "[observe][leaks]") {
  weft::test::with_workers([] {
    std::atomic<bool> end{false};
    std::thread other([&] {
      while (!end) std::this_thread::sleep_for(1ms);
    });
    auto ch = weft::make_chan<int>();
    weft::go([ch] { (void)ch.recv(); });
    CHECK(weft::leaks(20ms).empty());
    end = true;
    other.join();
    CHECK(weft::leaks(10s).size() == 1);
    ch.close();
  });
}

TEST_CASE("leaks are asked for in tasks alone", "[observe][leaks]") {
  CHECK_THROWS_AS(weft::leaks(), weft::no_runtime);
  CHECK_THROWS_AS(weft::leak_guard(), weft::no_runtime);
}

TEST_CASE("a leak guard tells of the tasks that outlive it, and of no others", "[observe][leaks]") {
  weft::test::with_workers([] {
    auto ch = weft::make_chan<int>();
    auto before = weft::spawn([ch] { (void)ch.recv(); });
    std::string report;
    int calls = 0;
    auto const note = [&](std::string const& text) {
      report = text;
      ++calls;
    };
    {
      weft::leak_guard const clean(note);
      auto ends = weft::spawn([] { weft::sleep_for(5ms); });
      weft::go([] { weft::yield(); });
      ends.join();
    }
    CHECK(calls == 0);
    {
      weft::leak_guard const leaking(note, 10s);
      weft::go(weft::task_options{.name = "left behind"}, [ch] { (void)ch.recv(); });
      CHECK(leaking.check().size() == 1);
    }
    CHECK(calls == 1);
    CHECK(contains(report, "weft: 1 task: 1 parked"));
    CHECK(contains(report, "\"left behind\""));
    {
      weft::leak_guard const impatient(note, 1ms);
      weft::go(weft::task_options{.name = "sleeps"}, [ch] { (void)ch.recv_for(1h); });
    }
    CHECK(calls == 2);
    CHECK(contains(report, "\"sleeps\""));
    ch.close();
    before.join();
  });
}

TEST_CASE("a leak guard that an exception unwinds says nothing", "[observe][leaks]") {
  weft::test::with_workers([] {
    auto ch = weft::make_chan<int>();
    bool told = false;
    try {
      weft::leak_guard const g([&](std::string const&) { told = true; });
      weft::go([ch] { (void)ch.recv(); });
      throw std::runtime_error("the test failed");
    } catch (std::runtime_error const&) {
    }
    CHECK_FALSE(told);
    ch.close();
  });
}

TEST_CASE("in a simulated run leaks are found at once", "[observe][leaks]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    auto const found = weft::sim::run(seed, [] {
      auto ch = weft::make_chan<int>();
      weft::go([] { weft::sleep_for(1h); });
      weft::go([ch] { (void)ch.recv(); });
      auto result = weft::leaks(24h);
      ch.close();
      return result;
    });
    REQUIRE(found.size() == 1);
    CHECK(found[0].tasks == 1);
  }
}

TEST_CASE("a leak guard without a handler aborts and says where it was made", "[observe][leaks][death]") {
  child_end const end = run_child([] {
    weft::run([] {
      auto ch = weft::make_chan<int>();
      weft::leak_guard const g;
      weft::go([ch] { (void)ch.recv(); });
    });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(contains(end.errors, "these tasks outlive the leak_guard made at "));
  CHECK(contains(end.errors, "leaks_test.cpp:"));
  CHECK(contains(end.errors, "waits on channel receive"));
}
