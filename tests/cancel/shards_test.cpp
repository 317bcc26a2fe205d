// The lists of those who have parked under a context: one at first, one a processor once that was found locked, and a cancellation
// reaches all of them (H0 and C4, runtime/sched/cancel_node.hpp).

#include <weft/weft.hpp>

#include <atomic>
#include <thread>

#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/task.hpp"
#include "tests/chan/parked.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace weft::test;

namespace {

/// Whether a task has registered in s. Only those who are inside its lock write the list.
bool has_tasks(weft::rt::context_shard& s) {
  weft::rt::guard const hold(s.lock);
  weft::rt::tsan_ignore const lists;
  return s.head != nullptr;
}

bool has_tasks(weft::rt::spread_shards& shards) {
  for (unsigned i = 0; i < shards.count(); ++i)
    if (has_tasks(shards.of(i))) return true;
  return false;
}

}  // namespace

TEST_CASE("tasks that find their context's list locked get more of them, and a cancellation reaches all") {
  for (unsigned const workers : {2u, 4u}) {
    with_worker_count(workers, [workers] {
      auto [ctx, cancel] = weft::with_cancel();
      auto& node = *ctx.node();
      auto const first = weft::make_chan<int>(), second = weft::make_chan<int>(), third = weft::make_chan<int>();
      auto const waits_on = [&ctx](weft::chan<int> const& on) {
        weft::scoped_context const in(ctx);
        return weft::spawn([on] { return on.recv().value_or(0); });
      };
      auto in_first = waits_on(first);
      await_receivers(first);
      CHECK(has_tasks(node.first_shard));
      CHECK(node.spread.load() == nullptr);

      // The next one comes to a list that somebody has locked until he sees it come.
      std::atomic<bool> locked = false;
      std::thread holder([&] {
        weft::rt::guard const hold(node.first_shard.lock);
        locked = true;
        while (!node.crowded.load()) std::this_thread::yield();
      });
      while (!locked.load()) weft::yield();
      auto finds_it_locked = waits_on(second);
      while (!node.crowded.load()) weft::yield();
      holder.join();
      second.send(1);
      CHECK(finds_it_locked.join() == 1);
      REQUIRE(node.spread.load() != nullptr);
      CHECK(node.spread.load()->count() == workers);

      auto in_spread = waits_on(third);
      await_receivers(third);
      CHECK(has_tasks(*node.spread.load()));
      cancel();
      CHECK_THROWS_AS(in_first.join(), weft::cancelled);
      CHECK_THROWS_AS(in_spread.join(), weft::cancelled);
      CHECK_FALSE(has_tasks(node.first_shard));
      CHECK_FALSE(has_tasks(*node.spread.load()));
    });
  }
}

TEST_CASE("a task that does not park is in no list of its context") {
  with_workers([] {
    auto const [ctx, cancel] = weft::with_cancel();
    auto const out = weft::make_chan<int>(1);
    auto const sends = [&] {
      weft::scoped_context const in(ctx);
      return weft::spawn([out] { out.send(1); });
    };
    sends().join();
    CHECK(out.recv() == 1);
    CHECK_FALSE(ctx.node()->used.load());
  });
}
