// How a task_group ends: which exceptions come out of it and which do not, the limit, the waits that are cancelled.
#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/frozen.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;

/// Meets the cancellation of a context of the caller's own.
void end_by_own_cancellation() {
  auto [own, cancel] = weft::with_cancel();
  weft::scoped_context const in(own);
  cancel();
  weft::sleep_for(1h);
}

}  // namespace

TEST_CASE("a wait that the last child has ended returns, though it is cancelled before it goes on") {
  with_workers([] {
    auto const leave = weft::make_chan<int>();
    std::atomic<weft::task_id> id{0};
    auto waiter = weft::spawn([&] {
      weft::task_group g;
      g.spawn([leave] { leave.recv(); });
      id = weft::this_task::id();
      g.wait();
      return weft::this_task::context().cancelled();
    });
    while (id == 0) weft::yield();
    weft::rt::task& held = frozen(id);
    leave.close();
    while (weft::current_metrics().live != 2) weft::yield();  // this task and the waiter
    waiter.cancel();
    CHECK(thaw(held));
    CHECK(waiter.join());
  });
}

TEST_CASE(
    "a wait whose children have all ended before throws in a cancelled task, and finds them ended the next time") {
  with_workers([] {
    weft::task_group g;
    g.spawn([] { throw std::runtime_error("kept"); });
    while (!g.ctx().cancelled()) weft::yield();
    {
      auto [ctx, cancel] = weft::with_cancel();
      weft::scoped_context const in(ctx);
      cancel();
      CHECK_THROWS_AS(g.wait(), weft::cancelled);
    }
    CHECK_THROWS_WITH(g.wait(), "kept");
    CHECK_NOTHROW(g.wait());
  });
}

TEST_CASE(
    "a cancelled of its own that escapes a task is no error in a group that is being cancelled, and one in another") {
  with_workers([] {
    weft::task_group g;
    auto const ended = weft::make_chan<int>();
    g.spawn([ended] {
      (void)weft::this_task::context().done().recv();
      end_by_own_cancellation();
    });
    g.cancel();
    CHECK_NOTHROW(g.wait());

    std::atomic<bool> others_cancelled{false};
    auto const parked = weft::make_chan<int>();
    g.spawn([&] {
      weft::defer const mark([&] { others_cancelled = weft::this_task::context().cancelled(); });
      parked.send(1);
      weft::sleep_for(1h);
    });
    parked.recv();
    g.spawn(end_by_own_cancellation);
    CHECK_THROWS_AS(g.wait(), weft::cancelled);
    CHECK(others_cancelled);
    CHECK_FALSE(weft::this_task::context().cancelled());
    CHECK_NOTHROW(g.wait());
  });
}

TEST_CASE("a cancelled that a task joins from another is an error of its group") {
  with_workers([] {
    weft::task_group g;
    g.spawn([] {
      auto child = weft::spawn([] { weft::sleep_for(1h); });
      child.cancel();
      child.join();
    });
    CHECK_THROWS_AS(g.wait(), weft::cancelled);
  });
}

TEST_CASE("an exception that a task throws because it is cancelled comes out of wait if it is the first") {
  with_workers([] {
    weft::task_group g;
    auto const clean_up = [](char const* what) {
      try {
        weft::sleep_for(1h);
      } catch (weft::cancelled const&) {
        throw std::runtime_error(what);
      }
    };
    g.spawn(clean_up, "could not clean up");
    g.cancel();
    CHECK_THROWS_WITH(g.wait(), "could not clean up");
    auto const parked = weft::make_chan<int>();
    for (int i = 0; i < 5; ++i)
      g.spawn([&] {
        parked.send(1);
        clean_up("later");
      });
    for (int i = 0; i < 5; ++i) parked.recv();
    g.spawn([] { throw std::runtime_error("first"); });
    CHECK_THROWS_WITH(g.wait(), "first");
    CHECK_NOTHROW(g.wait());  // the further ones are dropped
  });
}

TEST_CASE("what on_error throws comes out of wait, and it is not called where exceptions cancel") {
  with_workers([] {
    std::atomic<int> calls{0};
    auto const refuse = [&](std::exception_ptr) {
      ++calls;
      throw std::logic_error("of on_error");
    };
    weft::task_group g({.cancel_on_error = false, .on_error = refuse});
    std::atomic<int> ended{0};
    for (int i = 0; i < 10; ++i)
      g.spawn([&] {
        weft::defer const mark([&] { ++ended; });
        throw std::runtime_error("of a task");
      });
    CHECK_THROWS_WITH(g.wait(), "of on_error");
    CHECK(ended == 10);
    CHECK(calls == 10);
    CHECK_NOTHROW(g.wait());

    weft::task_group strict({.on_error = refuse});
    strict.spawn([] { throw std::runtime_error("of a task"); });
    CHECK_THROWS_WITH(strict.wait(), "of a task");
    CHECK(calls == 10);
  });
}

TEST_CASE("where exceptions do not cancel, a task's cancelled of its own is one of them") {
  with_workers([] {
    std::vector<std::string> seen;
    weft::task_group g({.cancel_on_error = false, .on_error = [&](std::exception_ptr e) {
                          try {
                            std::rethrow_exception(e);
                          } catch (weft::cancelled const&) {
                            seen.emplace_back("cancelled");
                          } catch (std::exception const& x) {
                            seen.emplace_back(x.what());
                          }
                        }});
    g.spawn(end_by_own_cancellation);
    g.wait();
    CHECK(seen == std::vector<std::string>{"cancelled"});
    CHECK_FALSE(g.ctx().cancelled());
    g.spawn([] { weft::sleep_for(1h); });
    g.cancel();
    g.wait();
    CHECK(seen.size() == 1);
  });
}

TEST_CASE("where the body of a scope and its children throw, the body's exception wins, whichever came first") {
  with_workers([] {
    auto const fails = [] {
      try {
        weft::sleep_for(1h);
      } catch (weft::cancelled const&) {
        throw std::runtime_error("child, later");
      }
    };
    auto const children_last = [&] {
      weft::scope([&](weft::task_group& g) {
        auto const parked = weft::make_chan<int>();
        g.spawn([&] {
          parked.send(1);
          fails();
        });
        parked.recv();
        throw std::logic_error("body");
      });
    };
    auto const children_first = [] {
      weft::scope([](weft::task_group& g) -> int {
        g.spawn([] { throw std::runtime_error("child, first"); });
        (void)g.ctx().done().recv();
        throw std::logic_error("body");
      });
    };
    CHECK_THROWS_WITH(children_last(), "body");
    CHECK_THROWS_WITH(children_first(), "body");
  });
}

TEST_CASE("a body of a scope that is cancelled while it runs has its children cancelled and waited for") {
  with_workers([] {
    std::atomic<bool> ended{false};
    auto const begun = weft::make_chan<int>();
    auto caller = weft::spawn([&] {
      weft::scope([&](weft::task_group& g) {
        g.spawn([&] {
          weft::defer const mark([&] { ended = true; });
          (void)weft::this_task::context().done().recv();
        });
        begun.send(1);
        weft::sleep_for(1h);
      });
    });
    begun.recv();
    caller.cancel();
    CHECK_THROWS_AS(caller.join(), weft::cancelled);
    CHECK(ended);
  });
}

TEST_CASE("a scope may return a reference, what cannot be copied, and nothing") {
  with_workers([] {
    int there = 1;
    int& same = weft::scope([&](weft::task_group& g) -> int& {
      g.spawn([&] { there = 2; });
      return there;
    });
    CHECK(&same == &there);
    CHECK(there == 2);
    CHECK(*weft::scope([](weft::task_group&) { return std::make_unique<int>(3); }) == 3);
    weft::scope([](weft::task_group&) {});
  });
}

TEST_CASE("a task of a group has the name and the stack that its options say, with arguments or without") {
  with_workers([] {
    weft::task_group g;
    std::string plain, with_arguments;
    std::atomic<bool> deep{false};
    g.spawn({.name = "plain"}, [&] { plain = weft::this_task::name(); });
    g.spawn(
        {.name = "counted"}, [&](int n) { with_arguments = std::string(weft::this_task::name()) + std::to_string(n); },
        3);
    g.spawn({.name = "deep", .stack_size = 4 * 1024 * 1024}, [&] {
      char volatile room[2 * 1024 * 1024];
      room[0] = 1;
      room[sizeof room - 1] = 1;
      deep = room[0] == 1;
    });
    g.wait();
    CHECK(plain == "plain");
    CHECK(with_arguments == "counted3");
    CHECK(deep);
  });
}

TEST_CASE("a lower limit holds back what is spawned from then on, and none lets all go that wait") {
  with_workers([] {
    weft::task_group g({.limit = 3});
    auto const leave = weft::make_chan<int>();
    std::atomic<int> begun{0};
    auto const task = [&] {
      ++begun;
      leave.recv();
    };
    for (int i = 0; i < 3; ++i) g.spawn(task);
    while (begun != 3) weft::yield();
    g.limit(2);
    std::vector<weft::join_handle<void>> spawners;
    for (int i = 0; i < 4; ++i) spawners.push_back(weft::spawn([&] { g.spawn(task); }));
    while (weft::current_metrics().parked < 7) weft::yield();
    leave.send(1);  // two are left: as many as may be
    while (weft::current_metrics().parked < 6) weft::yield();
    CHECK(begun == 3);
    leave.send(1);  // now one may follow
    while (begun != 4) weft::yield();
    while (weft::current_metrics().parked < 5) weft::yield();
    CHECK(begun == 4);
    g.limit(0);
    for (auto& s : spawners) s.join();
    while (begun != 7) weft::yield();
    leave.close();
    g.wait();
  });
}

TEST_CASE("spawns that wait for a place get it in the order in which they came") {
  with_workers([] {
    weft::task_group g({.limit = 1});
    auto const leave = weft::make_chan<int>();
    std::vector<int> order;
    g.spawn([leave] { leave.recv(); });
    std::vector<weft::join_handle<void>> spawners;
    for (int i = 0; i < 5; ++i) {
      spawners.push_back(weft::spawn([&, i] { g.spawn([&, i] { order.push_back(i); }); }));
      while (weft::current_metrics().parked < static_cast<std::size_t>(i) + 2) weft::yield();
    }
    leave.close();
    for (auto& s : spawners) s.join();
    g.wait();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
  });
}

TEST_CASE("a spawn that fails gives its place back") {
  struct not_copied {
    not_copied() = default;
    not_copied(not_copied const&) { throw std::runtime_error("no copy"); }
    void operator()() const {}
  };
  with_workers([] {
    weft::task_group g({.limit = 1});
    not_copied const f;
    for (int i = 0; i < 3; ++i) CHECK_THROWS_WITH(g.spawn(f), "no copy");
    bool ran = false;
    g.spawn([&] { ran = true; });
    g.wait();
    CHECK(ran);
  });
}

TEST_CASE("what is spawned into a group that is cancelled begins, and meets its first cancellation point") {
  with_workers([] {
    weft::task_group g;
    g.cancel();
    bool met = false;
    g.spawn([&] {
      try {
        weft::sleep_for(1h);
      } catch (weft::cancelled const&) {
        met = true;
        throw;
      }
    });
    CHECK_NOTHROW(g.wait());
    CHECK(met);
    CHECK_FALSE(g.ctx().cancelled());
  });
}

TEST_CASE("who spawned with a group's own context is woken when a task of it fails") {
  with_workers([] {
    weft::task_group g;
    auto const never = weft::make_chan<int>();
    auto const outcome = weft::make_chan<bool>(1);
    auto watcher = weft::spawn([&, ctx = g.ctx()] {
      weft::scoped_context const in(ctx);
      try {
        never.recv();
      } catch (weft::cancelled const&) {
        (void)outcome.try_send(true);
      }
    });
    g.spawn([] { throw std::runtime_error("first"); });
    watcher.join();  // first: ThreadSanitizer does not see that an exception is counted, in the standard library
    CHECK(outcome.try_recv() == true);
    CHECK_THROWS_WITH(g.wait(), "first");
  });
}

TEST_CASE("the exceptions beside the first are kept as a list until the next wait") {
  with_workers([] {
    weft::task_group g;
    auto const throws = [&g](char const* what) {
      g.spawn([what] {
        weft::uncancellable const shield;
        throw std::runtime_error(what);
      });
    };
    auto const said = [&g] {
      std::multiset<std::string> all;
      for (std::exception_ptr const& e : g.other_errors()) {
        try {
          std::rethrow_exception(e);
        } catch (std::runtime_error const& error) {
          all.insert(error.what());
        }
      }
      return all;
    };
    CHECK(g.other_errors().empty());
    for (char const* what : {"a", "b", "c"}) throws(what);
    g.spawn([] { (void)weft::make_chan<int>().recv(); });  // ended by the cancellation: none
    std::string first;
    try {
      g.wait();
    } catch (std::runtime_error const& e) {
      first = e.what();
    }
    std::multiset<std::string> all = said();
    CHECK(all.size() == 2);
    all.insert(first);
    CHECK(all == std::multiset<std::string>{"a", "b", "c"});

    g.spawn([] {});
    g.wait();
    CHECK(g.other_errors().empty());

    for (std::size_t i = 0; i < weft::task_group::most_other_errors + 10; ++i) throws("one of many");
    CHECK_THROWS_WITH(g.wait(), "one of many");
    CHECK(g.other_errors().size() == weft::task_group::most_other_errors);
  });
}

#if !WEFT_TSAN  // which bears no fork once a program has had threads
TEST_CASE("of a scope whose body threw, the children's exceptions go to stderr, those of a wait do not") {
  child_end const end = run_child([] {
    weft::run([] {
      try {
        weft::scope([](weft::task_group& g) {
          g.spawn([] { throw std::runtime_error("of the child"); });
          (void)g.ctx().done().recv();
          throw 1;
        });
      } catch (int) {
      }
      try {
        weft::scope([](weft::task_group& g) {
          for (int i = 0; i < 3; ++i) g.spawn([] { throw std::runtime_error("one of three"); });
        });
      } catch (std::runtime_error const&) {
      }
    });
    return 0;
  });
  CHECK(end.exit_code == 0);
  CHECK(end.errors.find("of the child") != std::string::npos);
  CHECK(end.errors.find("one of three") == std::string::npos);
}
#endif
