// What the cancellation that unwinds a deadlock starts: it does so on the worker that has found it, which runs no task and holds no processor.

#include <weft/weft.hpp>

#include <memory>
#include <stop_token>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

/// Whether a program in which `begin` is done, and then two tasks wait for ever, is ended by weft::deadlock.
template <class F>
bool two_tasks_deadlock_after(unsigned workers, F begin) {
  weft::options o;
  o.workers = workers;
  try {
    weft::run(o, [&] {
      auto const kept = begin();
      weft::go([] { weft::make_chan<int>().recv(); });
      weft::select();
    });
  } catch (weft::deadlock const&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a deadlock is unwound to its end although its cancellation starts a function of after_func",
          "[observe][deadlock]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    int calls = 0;  // made before run returns
    CHECK(two_tasks_deadlock_after(workers,
                                   [&] { return weft::after_func(weft::context::background(), [&] { ++calls; }); }));
    CHECK(calls == 1);
  }
}

TEST_CASE("a deadlock is unwound to its end although a stop_callback spawns in its cancellation",
          "[observe][deadlock]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    int calls = 0;
    CHECK(two_tasks_deadlock_after(workers, [&] {
      auto const spawns = [&] { weft::go([&] { ++calls; }); };
      return std::make_unique<std::stop_callback<decltype(spawns)>>(weft::context::background().stop_token(), spawns);
    }));
    CHECK(calls == 1);
  }
}
