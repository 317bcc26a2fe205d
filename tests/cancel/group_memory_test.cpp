// What a group and its contexts keep: nothing for a task that has ended.

#include <weft/weft.hpp>

#include <unistd.h>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;

#if WEFT_ASAN || WEFT_TSAN
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

std::size_t resident_bytes() {
  long all = 0, resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  if (f == nullptr) return 0;
  if (std::fscanf(f, "%ld %ld", &all, &resident) != 2) resident = 0;
  std::fclose(f);
  return static_cast<std::size_t>(resident) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// How many bytes of memory a group has gained by `tasks` children, after it has warmed up. 16 bytes a child would be 16 MB.
template <class F>
std::size_t growth(F f) {
  int const tasks = sanitized ? 20'000 : 1'000'000;
  weft::task_group g({.limit = 64});
  for (int i = 0; i < tasks / 10; ++i) g.spawn(f);
  std::size_t const before = resident_bytes();
  for (int i = 0; i < tasks; ++i) g.spawn(f);
  std::size_t const after = resident_bytes();
  g.wait();
  return after > before ? after - before : 0;
}

}  // namespace

TEST_CASE("a group keeps nothing of a million tasks that have ended, however they did") {
  with_worker_count(2, [] {
    std::size_t const bound = sanitized ? SIZE_MAX : 8u << 20;  // sanitizers keep freed memory back
    CHECK(growth([] {}) < bound);
    CHECK(growth([](std::stop_token) {}) < bound);
    CHECK(growth([] { weft::yield(); }) < bound);
    CHECK(growth([] { (void)weft::this_task::context().done(); }) < bound);
  });
}

TEST_CASE("a context keeps one bridge for all the stop tokens asked of it, and every token is stopped") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    std::vector<std::stop_token> tokens;
    for (int i = 0; i < 100; ++i) tokens.push_back(ctx.stop_token());
    std::vector<weft::join_handle<std::stop_token>> at_once;
    for (int i = 0; i < 20; ++i) at_once.push_back(weft::spawn([c = ctx] { return c.stop_token(); }));
    for (auto& h : at_once) tokens.push_back(h.join());
    CHECK(tokens.front() == tokens[99]);
    for (auto const& t : tokens) CHECK_FALSE(t.stop_requested());
    cancel();
    for (auto const& t : tokens) CHECK(t.stop_requested());
    CHECK(ctx.stop_token().stop_requested());
  });
}

namespace {

struct kept {
  using type = std::shared_ptr<int>;
};

/// Calls f under a context of its own; whether that is gone afterwards, with the value that it carries.
template <class F>
bool leaves_nothing(F f) {
  auto value = std::make_shared<int>(1);
  std::weak_ptr<int> const left = value;
  {
    weft::context const above = weft::with_value<kept>(weft::this_task::context(), std::move(value));
    weft::scoped_context const in(above);
    f();
  }
  for (int i = 0; i < 1000 && !left.expired(); ++i)
    weft::sleep_for(100us);  // a task that has ended lets go of it at last
  return left.expired();
}

}  // namespace

TEST_CASE("a context that is cancelled by a cancelled from below is gone when nobody holds it") {
  with_workers([] {
    auto const meet_own = [] {
      auto [own, cancel] = weft::with_timeout(0s);
      weft::scoped_context const in(own);
      weft::sleep_for(1h);
    };
    auto const code_of = [](auto f) {
      try {
        f();
      } catch (weft::cancelled const& c) {
        return c.code();
      }
      return std::error_code();
    };
    CHECK(leaves_nothing([] { weft::sleep_for(1us); }));
    bool gone = leaves_nothing([&] {
      weft::task_group g;
      weft::context const of_tasks = g.ctx();
      g.spawn(meet_own);
      CHECK(code_of([&] { g.wait(); }) == std::errc::timed_out);
      CHECK(of_tasks.err() == std::errc::operation_canceled);
      CHECK(code_of([&] { std::rethrow_exception(of_tasks.cause()); }) == std::errc::operation_canceled);
    });
    CHECK(gone);
    gone = leaves_nothing([&] {
      weft::task_group g;
      g.spawn([] {
        auto child = weft::spawn([] { weft::sleep_for(1h); });
        child.cancel();
        child.join();
      });
      CHECK(code_of([&] { g.wait(); }) == std::errc::operation_canceled);
    });
    CHECK(gone);
    gone = leaves_nothing([&] {
      auto [above, cancel] = weft::with_cancel();
      auto [below, cancel_below] = weft::with_cancel(weft::without_cancel(above));
      cancel_below();
      cancel(below.cause());
      CHECK(code_of([c = above] { std::rethrow_exception(c.cause()); }) == std::errc::operation_canceled);
    });
    CHECK(gone);
    gone = leaves_nothing([&] {
      auto [one, cancel] = weft::with_cancel();
      auto [beside, cancel_beside] = weft::with_cancel();
      cancel_beside();
      cancel(beside.cause());  // keeps that one, as any exception would what it holds
      CHECK(code_of([c = one] { std::rethrow_exception(c.cause()); }) == std::errc::operation_canceled);
    });
    CHECK(gone);
  });
}

namespace {

/// A context's value that says how many of them there are.
struct counted {
  struct key {
    using type = counted;
  };
  explicit counted(std::atomic<long>& living) : n(&living) { n->fetch_add(1, std::memory_order_relaxed); }
  counted(counted const& o) : counted(*o.n) {}
  counted& operator=(counted const&) = delete;
  ~counted() { n->fetch_sub(1, std::memory_order_relaxed); }
  std::atomic<long>* n;
};

}  // namespace

TEST_CASE("a group that fails by an exception with a cancellation nested in it leaves none of its contexts behind") {
  std::atomic<long> living{0};
  with_workers([&] {
    {
      auto const marked = weft::with_value<counted::key>(weft::this_task::context(), counted(living));
      weft::scoped_context const in(marked);
      weft::task_group g;
      g.spawn([] {
        auto [below, cancel] = weft::with_cancel();
        cancel();
        weft::scoped_context const under(below);
        try {
          weft::sleep_for(1h);
        } catch (weft::cancelled const&) {
          std::throw_with_nested(std::runtime_error("could not load"));
        }
      });
      CHECK_THROWS_AS(g.wait(), std::runtime_error);
    }
    auto const give_up = weft::now() + 20s;
    while (living != 0 && weft::now() < give_up) weft::sleep_for(1ms);  // a task that has ended lets go of it at last
    CHECK(living == 0);
  });
}

namespace {

/// Deadlines that are taken back, each under a value of its own.
void make_deadlines(std::atomic<long>& living, int n) {
  for (int i = 0; i < n; ++i) {
    auto const marked = weft::with_value<counted::key>(weft::this_task::context(), counted(living));
    auto [below, cancel] = weft::with_timeout(marked, 1h);
    cancel();
  }
}

}  // namespace

TEST_CASE("a task that makes deadlines and takes them back, and does nothing else, does not keep them all") {
  std::atomic<long> living{0};
  with_workers([&] {
    auto const give_up = weft::now() + 60s;
    long made = 0;
    while (made - living < 20'000) {  // until so many are gone, while this goes on
      REQUIRE(weft::now() < give_up);
      make_deadlines(living, 100);
      made += 100;
    }
  });
  CHECK(living == 0);
}

TEST_CASE("tasks that make many deadlines in each turn, and take them back, do not keep them all") {
  std::atomic<long> living{0};
  with_worker_count(1, [&] {
    weft::task_group g;
    for (int t = 0; t < 2; ++t)
      g.spawn([&] {
        for (int turn = 0; turn < 500; ++turn) {
          make_deadlines(living, 100);
          weft::yield();
        }
      });
    g.wait();
    CHECK(living < 70'000);  // of 100,000
  });
  CHECK(living == 0);
}
