#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task_block.hpp"
#include "runtime/sched/worker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

struct tells {
  std::atomic<int>* of;
  ~tells() { ++*of; }
};

weft::options with(unsigned workers, std::chrono::nanoseconds grace) {
  weft::options o;
  o.workers = workers;
  o.shutdown_grace = grace;
  return o;
}

/// Starts `count` tasks, each with a context of its own apart from the root, that wait for ever, and returns when all wait.
void leave_waiting_apart(int count, std::atomic<int>& unwound) {
  weft::wait_group begun;
  for (int i = 0; i < count; ++i) {
    weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
    begun.add();
    weft::go([&] {
      tells const end{&unwound};
      begun.done();
      weft::make_chan<int>().recv();
    });
  }
  begun.wait();
}

/// Keeps a plain thread beside a run, so that nobody can say for certain that nothing comes any more.
class thread_beside {
 public:
  ~thread_beside() {
    ends_.count_down();
    thread_.join();
  }

 private:
  std::latch ends_{1};
  std::thread thread_{[this] { ends_.wait(); }};
};

}  // namespace

TEST_CASE("the end of run wakes a task that waits under without_cancel, at once if nothing else can", "[sched][end]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<int> unwound{0};
    auto const before = std::chrono::steady_clock::now();
    weft::run(with(workers, 1h), [&] { leave_waiting_apart(3, unwound); });
    CHECK(unwound == 3);
    CHECK(std::chrono::steady_clock::now() - before < 60s);
  }
}

TEST_CASE("the end of run wakes hundreds of contexts that stand apart, and what waits under each", "[sched][end]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<int> unwound{0};
    weft::run(with(workers, 1h), [&] { leave_waiting_apart(300, unwound); });
    CHECK(unwound == 300);
  }
}

TEST_CASE("beside a thread of the program, tasks under without_cancel are woken after half of the grace",
          "[sched][end]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    thread_beside const other;
    std::atomic<int> unwound{0};
    auto const before = std::chrono::steady_clock::now();
    weft::run(with(workers, 4s), [&] { leave_waiting_apart(2, unwound); });
    CHECK(unwound == 2);
    CHECK(std::chrono::steady_clock::now() - before >= 2s);
  }
}

TEST_CASE("what is finished under without_cancel within half of the grace is not disturbed", "[sched][end]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<bool> flushed{false};
    weft::run(with(workers, 20s), [&] {
      auto begun = weft::make_chan<int>();
      weft::go([&, begun] {
        try {
          begun.send(1);
          weft::make_chan<int>().recv();
        } catch (weft::cancelled const&) {
          weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
          weft::sleep_for(40ms);
          flushed = true;
        }
      });
      begun.recv();
    });
    CHECK(flushed);
  }
}

TEST_CASE("the end of run wakes a task that waits under a context from outside of the runtime", "[sched][end]") {
  std::stop_source stop;
  weft::context const outside = weft::context::from(stop.get_token());
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<int> unwound{0};
    weft::run(with(workers, 1h), [&] {
      auto begun = weft::make_chan<int>();
      weft::go([&, begun] {
        tells const end{&unwound};
        weft::scoped_context const in(outside);
        begun.send(1);
        weft::make_chan<int>().recv();
      });
      begun.recv();
    });
    CHECK(unwound == 1);
    CHECK_FALSE(outside.cancelled());  // it belongs to others
  }
}

TEST_CASE("a group, a join and a function that is due at the end are woken under without_cancel too", "[sched][end]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<int> unwound{0};
    weft::run(with(workers, 1h), [&] {
      weft::after_func(weft::this_task::context(), [&] {
        tells const end{&unwound};
        weft::make_chan<int>().recv();
      });
      weft::wait_group begun;
      weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
      begun.add(2);
      weft::go([&] {
        tells const end{&unwound};
        weft::task_group all;
        all.spawn([&] {
          tells const mine{&unwound};
          begun.done();
          weft::make_chan<int>().recv();
        });
        all.wait();
      });
      weft::go([&] {
        tells const end{&unwound};
        auto child = weft::spawn([&] {
          tells const mine{&unwound};
          begun.done();
          weft::make_chan<int>().recv();
        });
        child.join();
      });
      begun.wait();
    });
    CHECK(unwound == 5);
  }
}

TEST_CASE("a task that begins to wait apart again and again ends with the grace, and is named", "[sched][end]") {
  child_end const end = run_child([] {
    weft::run(with(2, 200ms), [] {
      auto begun = weft::make_chan<int>();
      weft::go(weft::task_options{.name = "deaf"}, [begun] {
        begun.send(1);
        for (;;) {
          weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
          try {
            weft::make_chan<int>().recv();
          } catch (weft::cancelled const&) {
          }
        }
      });
      begun.recv();
    });
    return 0;
  });
  CHECK(end.exit_code == 70);
  CHECK(end.errors.find("\"deaf\", spawned at ") != std::string::npos);
}

TEST_CASE("a deadlock with tasks under without_cancel is thrown by run, and unwinds them", "[sched][end]") {
  std::stop_source stop;
  weft::context const outside = weft::context::from(stop.get_token());
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<int> unwound{0};
    CHECK_THROWS_AS(weft::run(with(workers, 1h),
                              [&] {
                                tells const end{&unwound};
                                leave_waiting_apart(2, unwound);
                                weft::go([&] {
                                  tells const mine{&unwound};
                                  weft::scoped_context const in(outside);
                                  weft::make_chan<int>().recv();
                                });
                                weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
                                weft::make_chan<int>().recv();
                              }),
                    weft::deadlock);
    CHECK(unwound == 4);
  }
}

TEST_CASE("a simulated run wakes tasks under without_cancel at its end", "[sched][end][sim]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    std::atomic<int> unwound{0};
    weft::sim::run(seed, [&] { leave_waiting_apart(3, unwound); });
    CHECK(unwound == 3);
  }
}

namespace {

struct held {
  using type = std::shared_ptr<void>;
};

/// A value of a context: notes if it goes inside of a walk over the tasks.
struct notes_walk {
  std::atomic<int>* inside;
  ~notes_walk() {
    if (weft::rt::current_task() != nullptr) return;  // not the thread that walks
    // A task's end takes the lock for a moment as well (G6). The thread that walks, if it goes under the lock, does not see it free.
    for (auto const give_up = weft::now() + 20s; weft::rt::gate.lock.is_locked();) {
      if (*inside != 0 || weft::now() > give_up) {
        ++*inside;
        return;
      }
    }
  }
};

}  // namespace

TEST_CASE(
    "what a context holds does not go inside of the walk that looks for those apart, though its task ends meanwhile",
    "[sched][end][stress]") {
  constexpr int rounds = weft::rt::tsan || weft::rt::asan ? 3 : 30, count = 3000;
  std::atomic<int> inside{0};
  auto const [outside, cancel] = weft::with_cancel();  // of no runtime
  for (int round = 0; round < rounds; ++round) {
    weft::run(with(1, 1h), [&, &context = outside] {
      std::vector<weft::chan<int>> closed_for;
      weft::wait_group begun, ended;
      for (int i = 0; i < count; ++i) {
        closed_for.push_back(weft::make_chan<int>());
        weft::scoped_context const apart(weft::with_value<held>(context, std::make_shared<notes_walk>(&inside)));
        begun.add();
        ended.add();
        weft::go([&, in = closed_for.back()] {
          begun.done();
          try {
            (void)in.recv();
          } catch (weft::cancelled const&) {
          }
          ended.done();
        });
      }
      begun.wait();
      weft::uncancellable const to_the_end;
      weft::rt::scheduler* const s = weft::rt::current_worker()->sched;
      weft::rt::cancel(s->root(), weft::rt::cancel_kind::cancelled, nullptr);  // as the end of run does
      std::atomic<bool> over{false};
      std::thread walker([&] {
        while (!over) s->call_detached();
      });
      for (std::size_t i = 0; i < count; ++i) {  // all of them, here and there
        closed_for[i * 769 % count].close();
        weft::yield();
      }
      ended.wait();
      over = true;
      weft::blocking([&] { walker.join(); });
    });
  }
  CHECK(inside == 0);
}
