// A task's own context ends without a locked instruction where nobody else has a reference: here its parent is cancelled meanwhile, and
// takes one (let_go in runtime/sched/cancel_node.cpp).

#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::with_workers;

namespace {
struct held_value {
  using type = std::shared_ptr<int>;
};
}  // namespace

TEST_CASE("contexts of tasks that end while what they inherited is cancelled go once each", "[stress]") {
  constexpr int rounds = weft::rt::tsan || weft::rt::asan ? 1000 : 20000, spawners = 4;
  with_workers([] {
    std::atomic<int> ended = 0;
    std::vector<std::weak_ptr<int>> values(rounds);
    for (auto& value : values) {
      auto [ctx, cancel] = weft::with_cancel();
      {
        auto held = std::make_shared<int>(0);
        value = held;
        weft::scoped_context const under(weft::with_value<held_value>(ctx, std::move(held)));
        weft::wait_group all;
        for (int i = 0; i < spawners; ++i)
          all.go([&ended] {
            // Its child makes it have a context of its own, and leaves it with the only reference.
            auto spawner = weft::spawn([&ended] {
              weft::spawn([&ended] { ended += 1; }).detach();
              weft::yield();
            });
            spawner.detach();
          });
        weft::yield();
        cancel();
        weft::uncancellable const to_the_end;
        all.wait();
      }
    }
    while (ended.load() < rounds * spawners) weft::yield();
    // The last references go when the tasks have ended, a moment after their last instruction.
    for (auto& value : values)
      while (!value.expired()) weft::yield();
    CHECK(ended == rounds * spawners);
  });
}

TEST_CASE("a task that makes its own context while its handle cancels it has one, and its child meets the cancellation",
          "[stress]") {
  constexpr int rounds = weft::rt::tsan || weft::rt::asan ? 1000 : 10000;
  with_workers([] {
    weft::chan<weft::unit> const never;
    int missing = rounds;
    for (int round = 0; round < rounds; ++round) {
      auto const [above, cancel_above] = weft::with_cancel();
      std::atomic<bool> begun = false, go = false;  // so that both do it within a few dozen nanoseconds
      auto parent = [&, under = above] {
        weft::scoped_context const in(under);
        return weft::spawn([&begun, &go, &never] {
          begun = true;
          for (int looks = 0; !go; ++looks)
            if (looks % 1024 == 1023) weft::yield();
          weft::spawn([&never] { (void)never.recv(); }).join();  // both would wait for ever
        });
      }();
      while (!begun) weft::yield();
      go = true;
      if (round % 3 == 0) cancel_above();  // so is what both make theirs below
      parent.cancel();
      try {
        parent.join();
      } catch (weft::cancelled const&) {
        --missing;
      }
    }
    CHECK(missing == 0);
  });
}

namespace {
/// A result that waits as it goes.
struct slow_to_go {
  explicit slow_to_go(weft::chan<int> const& c) : gone(std::make_unique<weft::chan<int>>(c)) {}
  slow_to_go(slow_to_go&&) = default;
  slow_to_go& operator=(slow_to_go&&) = delete;
  ~slow_to_go() {
    if (gone == nullptr) return;
    weft::sleep_for(std::chrono::microseconds(100));
    gone->send(1);
  }
  std::unique_ptr<weft::chan<int>> gone;
};
}  // namespace

TEST_CASE("a result that nobody takes may wait in its destructor after its task had a context of its own") {
  with_workers([] {
    auto const gone = weft::make_chan<int>(1);
    for (int i = 0; i < 50; ++i) {
      weft::spawn([&gone] {
        weft::spawn([] {}).join();
        return slow_to_go(gone);
      }).detach();
      CHECK(gone.recv() == 1);
    }
  });
}

namespace {
/// Keeps a lock on a thread of its own.
class held_lock {
 public:
  explicit held_lock(weft::rt::ranked_lock& lock)
      : thread_([this, &lock] {
          weft::rt::guard const hold(lock);
          taken_.count_down();
          let_go_.wait();
        }) {
    taken_.wait();
  }
  void release() {
    let_go_.count_down();
    thread_.join();
  }

 private:
  std::latch taken_{1}, let_go_{1};
  std::thread thread_;
};

void await(auto holds) {
  while (!holds()) std::this_thread::yield();
}
}  // namespace

// The wait begins under what the task has inherited; then it is given a context of its own, and what it has inherited is cancelled; and the one
// who cancels is held up before it comes to the own one.
TEST_CASE(
    "a task whose wait is cancelled from above finds its context cancelled, if a handle has made that meanwhile") {
  with_workers([] {
    weft::chan<weft::unit> const never;
    auto [above, cancel_above] = weft::with_cancel();
    auto const [older, cancel_older] = weft::with_cancel(above);  // cancelled before those that are made later
    auto& node = *above.node();
    held_lock at_h0(node.first_shard.lock), at_older(older.node()->lock);
    std::atomic<weft::rt::task*> waits = nullptr;
    std::atomic<int> found = -1;
    auto task = [&, under = above] {
      weft::scoped_context const in(under);
      return weft::spawn([&] {
        waits = weft::rt::current_task();
        try {
          (void)never.recv();
        } catch (weft::cancelled const&) {
          found = weft::this_task::context().cancelled() ? 1 : 0;
        }
      });
    }();
    std::thread director([&] {
      await([&] { return node.crowded.load(); });  // H0 wants the list: W1 is over
      auto* const own = new weft::rt::cancel_node(waits.load()->sched, &node, true);
      weft::rt::retain(&node);
      if (!weft::rt::put_into(waits.load()->own, *own)) found = -2;
      std::thread canceller([&] { cancel_above(); });
      await([&] { return node.is_cancelled(); });
      at_h0.release();
      await([&] { return found != -1; });
      at_older.release();
      canceller.join();
    });
    weft::blocking([&] { director.join(); });
    task.join();
    CHECK(found == 1);
  });
}
