// Want of memory: each allocation that an operation makes fails once. The operation then throws std::bad_alloc or copes, nothing of it is
// left behind, and the runtime goes on. (A first wait with a time-out has nothing to fall back on, and is fatal: docs/errors.md.)
//
// Allocations fail on the thread that asked for it (failing.hpp). With one worker all tasks run on that thread.

#include <weft/weft.hpp>

#include <array>
#include <chrono>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "tests/memory/failing.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;
using failing::fail_after;
using failing::outstanding;
using failing::stop_failing;

namespace {

/// Until the tasks that have been started have ended.
void settle() {
  while (weft::current_metrics().live > 1) weft::yield();
}

struct outcome {
  int failures = 0;  // allocations that failed
  bool ended = false;
};

/// The operation with its first allocation failing, its second, and so on, until none is left to fail.
template <class Op>
outcome fail_each(Op& op) {
  constexpr int most = 200;
  outcome all;
  for (long n = 0; n < most; ++n) {
    bool thrown = false;
    fail_after(n);
    try {
      op();
    } catch (std::bad_alloc const&) {
      thrown = true;
    }
    bool const failed = stop_failing();
    settle();
    if (!failed) {
      all.ended = !thrown;
      return all;
    }
    all.failures += 1;
  }
  return all;
}

/// Again and again, since timers that are stopped are given back some dozens at a time: what leaks once a time leaks more than is kept.
template <class Op>
void survives(char const* name, Op op) {
  constexpr int times = 300, kept = 150;
  INFO(name);
  op();  // what is kept for later is made now
  settle();
  long const before = outstanding.load();
  int failures = 0;
  bool ended = true;
  for (int i = 0; i < times; ++i) {
    outcome const each = fail_each(op);
    failures += each.failures;
    ended = ended && each.ended;
    weft::yield();
  }
  for (int i = 0; i < 200 && outstanding.load() - before > kept; ++i) weft::sleep_for(1ms);  // looks at the timers
  CHECK(outstanding.load() - before <= kept);
  CHECK(ended);
  CHECK(failures >= times);
}

void require(bool holds) {
  if (!holds) throw std::logic_error("the operation did something else than it should");
}

struct key {
  using type = std::string;
};

std::string const long_name(100, 'n');

}  // namespace

TEST_CASE("the first error code of a program is made without memory", "[memory]") {
  fail_after(0);
  std::error_code const eof = weft::errc::eof;  // noexcept: it would end the program
  CHECK_FALSE(stop_failing());
  CHECK(eof.message() == "unexpected end of stream");
}

TEST_CASE("a spawn that has no memory throws, and leaves nothing") {
  weft::test::with_worker_count(1, [] {
    survives("a closure too large for the block", [] {
      std::array<char, 20'000> large{};
      large[7] = 3;
      require(weft::spawn([large] { return large[7]; }).join() == 3);
    });
    survives("a name", [] { weft::spawn(weft::task_options{.name = long_name}, [] {}).join(); });
    survives("what the task itself needs comes out of join",
             [] { require(weft::spawn([] { return std::string(100, 'x'); }).join().size() == 100); });
    survives("a task group", [] {
      weft::task_group all;
      all.spawn([large = std::array<char, 20'000>{}] { require(large[0] == 0); });
      all.wait();
    });
  });
}

TEST_CASE("channels, selects and timers that have no memory throw, and leave nothing") {
  weft::test::with_worker_count(1, [] {
    survives("make_chan", [] {
      auto const c = weft::make_chan<std::string>(4);
      c.send(std::string(100, 'v'));
      require(c.recv()->size() == 100);
    });
    survives("a channel of boxes", [] {
      auto [tx, rx] = weft::make_ends<std::array<std::string, 3>>();
      auto sender = weft::spawn([to = std::move(tx)] { to.send({long_name, long_name, long_name}); });
      auto const got = rx.recv();
      sender.join();  // throws what kept it from sending
      require(got && (*got)[2] == long_name);
    });
    survives("a timer", [] {
      weft::timer t(1h);
      require(t.stop());
    });
    survives("a selector", [] {
      auto const c = weft::make_chan<int>(1);
      c.send(1);
      int got = 0;
      weft::selector any;
      any.recv(c, [&](int v) { got = v; });
      any.timeout(1h, [] {});
      any.wait();
      require(got == 1);
    });
  });
}

TEST_CASE("contexts that have no memory throw, and leave nothing") {
  weft::test::with_worker_count(1, [] {
    survives("with_cancel", [] {
      // More than a worker keeps the memory of (context_memory.hpp).
      std::array<std::optional<std::pair<weft::context, weft::cancel_fn>>, 40> all;
      for (auto& each : all) each = weft::with_cancel();
      for (auto& each : all) each->second();
      require(all.front()->first.cancelled() && all.back()->first.cancelled());
    });
    survives("with_timeout and a value", [] {
      auto const [c, cancel] = weft::with_timeout(1h);
      weft::defer const at_end([&stop = cancel] { stop(); });  // else it lives for an hour
      auto const v = weft::with_value<key>(c, long_name);
      require(v.value<key>() == long_name);
    });
    survives("done", [] {
      auto const [c, cancel] = weft::with_cancel();
      auto const done = c.done();
      cancel();
      require(!done.recv());
    });
    survives("after_func of a context", [] {
      auto const [c, cancel] = weft::with_cancel();
      auto const stop = weft::after_func(c, [large = std::array<char, 20'000>{}] { require(large[0] == 0); });
      require(stop());
    });
    survives("after_func of a time", [] {
      auto const stop = weft::after_func(1h, [large = std::array<char, 20'000>{}] { require(large[0] == 0); });
      require(stop());
    });
    survives("within", [] { require(weft::within(1h, [] { return 1; }) == 1); });
    survives("a scope under a context", [] {
      auto const [c, cancel] = weft::with_cancel();
      weft::scoped_context const here(c);
      weft::scope([](weft::task_group& all) { all.spawn([] { weft::yield(); }); });
    });
  });
}
