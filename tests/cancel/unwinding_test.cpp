// Cancellation and destructors: what waits, and what is spawned, while a stack unwinds and in weft's own destructors.

#include <weft/weft.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;

struct user {
  using type = std::string;
};

template <class F>
struct at_end {
  F f;
  ~at_end() { f(); }
};
template <class F>
at_end(F) -> at_end<F>;

/// Calls f in a destructor, in a cancelled context, while an exception unwinds the stack.
template <class F>
void while_unwinding(F f) {
  auto [ctx, cancel] = weft::with_cancel(weft::with_value<user>(weft::this_task::context(), "ann"));
  weft::scoped_context const in(ctx);
  cancel();
  try {
    at_end const cleanup{f};
    throw std::runtime_error("unwinding");
  } catch (std::runtime_error const&) {
  }
}

/// Whether the calling task's next wait would throw.
bool meets_a_cancellation() {
  try {
    weft::sleep_for(1us);
    return false;
  } catch (weft::cancelled const&) {
    return true;
  }
}

}  // namespace

TEST_CASE("while an exception unwinds the stack, spawned tasks start under without_cancel and keep the values") {
  with_workers([] {
    bool spawned_met = true;
    std::string name;
    while_unwinding([&] {
      spawned_met = weft::spawn(meets_a_cancellation).join();
      name = weft::spawn([] { return weft::this_task::value<user>().value_or("-"); }).join();
    });
    CHECK_FALSE(spawned_met);
    CHECK(name == "ann");

    auto const gone = weft::make_chan<bool>(1);
    while_unwinding([&] { weft::go([gone] { gone.send(meets_a_cancellation()); }); });
    CHECK(gone.recv() == false);
  });
}

TEST_CASE("a task spawned while unwinding is out of reach of a later cancellation too, but not of its handle's") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const gate = weft::make_chan<int>();
    weft::join_handle<int> kept, stopped;
    {
      weft::scoped_context const in(ctx);
      try {
        at_end const cleanup{[&] {
          kept = weft::spawn([gate] { return gate.recv().value_or(-1); });
          stopped = weft::spawn([gate] { return gate.recv().value_or(-1); });
        }};
        throw 1;
      } catch (int) {
      }
    }
    cancel();
    stopped.cancel();
    CHECK_THROWS_AS(stopped.join(), weft::cancelled);
    gate.send(7);
    CHECK(kept.join() == 7);
  });
}

TEST_CASE("groups, parallel_for, parallel_map and race work in a destructor that an exception runs") {
  with_workers([] {
    std::atomic<int> waited{0};
    auto const wait_and_count = [&](int n) {
      weft::sleep_for(1us);
      waited.fetch_add(n);
      return n;
    };
    int first = 0;
    std::vector<int> mapped;
    while_unwinding([&] {
      weft::task_group g;
      g.spawn(wait_and_count, 1);
      g.wait();
      weft::scope([&](weft::task_group& s) { s.spawn(wait_and_count, 10); });
      weft::parallel_for(std::vector{100, 200}, wait_and_count, {.limit = 1});
      mapped = weft::parallel_map(std::vector{1000, 2000}, wait_and_count);
      first = weft::race([&] { return wait_and_count(10'000); });
    });
    CHECK(waited == 13'311);
    CHECK(mapped == std::vector{1000, 2000});
    CHECK(first == 10'000);
  });
}

TEST_CASE("in a catch block spawned tasks inherit the context again") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    cancel();
    try {
      throw 1;
    } catch (int) {
      auto child = weft::spawn(meets_a_cancellation);
      weft::uncancellable const shield;
      CHECK(child.join());
    }
  });
}

TEST_CASE("what a defer waits for and spawns is not cancelled, also at the end of a block that no exception leaves") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    bool waited = false, spawned_met = true, group_met = true;
    {
      weft::defer const cleanup([&] {
        waited = !meets_a_cancellation();
        spawned_met = weft::spawn(meets_a_cancellation).join();
        weft::scope([&](weft::task_group& g) { g.spawn([&] { group_met = meets_a_cancellation(); }); });
      });
      cancel();
    }
    CHECK(waited);
    CHECK_FALSE(spawned_met);
    CHECK_FALSE(group_met);
    CHECK(meets_a_cancellation());
  });
}

TEST_CASE("the destructors of join_handle and task_group wait for their tasks although the caller is cancelled") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    weft::scoped_context const in(ctx);
    std::atomic<int> ended{0};
    auto const slow_to_end = [&] {
      weft::defer const last([&] {
        for (int i = 0; i < 3; ++i) weft::sleep_for(100us);
        ended.fetch_add(1);
      });
      weft::sleep_for(1h);
    };
    {
      auto const handle = weft::spawn(slow_to_end);
      weft::task_group group;
      group.spawn(slow_to_end);
      cancel();
    }
    CHECK(ended == 2);
  });
}

#if !WEFT_TSAN  // which bears no fork once a program has had threads
TEST_CASE("a cancelled wait in a destructor at the end of a block ends in std::terminate with a line that says so") {
  child_end const end = run_child([] {
    weft::run(weft::options{.workers = 2}, [] {
      auto closes = weft::spawn({.name = "closer"}, [] { at_end const flush{[] { weft::sleep_for(1h); }}; });
      closes.cancel();
      closes.join();
    });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("\"closer\"") != std::string::npos);
  CHECK(end.errors.find("weft::cancelled") != std::string::npos);
  CHECK(end.errors.find("destructor") != std::string::npos);
}

TEST_CASE("that line leaves out a name and a place of spawn that are not known") {
  child_end const end = run_child([] {
    weft::run(weft::options{.workers = 2}, [] {
      auto closes = weft::spawn([](int) { at_end const flush{[] { weft::sleep_for(1h); }}; }, 1);
      closes.cancel();
      closes.join();
    });
    return 0;
  });
  INFO(end.errors);
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find(" ends in std::terminate because of weft::cancelled") != std::string::npos);
  CHECK(end.errors.find("spawned at") == std::string::npos);
  CHECK(end.errors.find('"') == std::string::npos);
}

TEST_CASE("other ends by std::terminate say nothing of cancellation, and the handler that stood before is called") {
  child_end const end = run_child([] {
    std::set_terminate([] { ::_exit(33); });
    weft::run([] { at_end const throws{[] { throw std::runtime_error("not a cancellation"); }}; });
    return 0;
  });
  CHECK(end.exit_code == 33);
  CHECK(end.errors.empty());
}

TEST_CASE("an exception of a group that nobody saw goes to stderr") {
  child_end const end = run_child([] {
    weft::run([] {
      {
        weft::task_group g;
        g.spawn([] { throw std::runtime_error("nobody looked"); });
        while (!g.ctx().cancelled()) weft::yield();
      }
      {
        weft::task_group seen;
        seen.spawn([] { throw std::runtime_error("somebody looked"); });
        try {
          seen.wait();
        } catch (std::runtime_error const&) {
        }
        seen.spawn([] { weft::sleep_for(1h); });
      }
    });
    return 0;
  });
  CHECK(end.exit_code == 0);
  CHECK(end.errors.find("nobody looked") != std::string::npos);
  CHECK(end.errors.find("somebody looked") == std::string::npos);
  CHECK(end.errors.find("cancelled that") == std::string::npos);
}
#endif
