// The order in which tasks of a tree begin, with one worker that keeps its processor.

#include <weft/weft.hpp>

#include <chrono>
#include <latch>
#include <mutex>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::undisturbed;
using namespace std::chrono_literals;

namespace {

/// What the tasks of a tree note.
struct notes {
  weft::mutex lock;
  std::vector<int> begun;

  void add(int who) {
    std::lock_guard const hold(lock);
    begun.push_back(who);
  }
};

/// What f(notes&) has had noted by its tasks, as the first task of a runtime. It has no monitor's thread, so that its worker looks around each 61st
/// turn only: no tree here is as large, and none gets to the turn that the oldest has once a millisecond.
template <class F>
std::vector<int> noted(F const& f) {
  notes tree;
  undisturbed(1, [&] { f(tree); });
  return tree.begun;
}

/// A task waits for `count` others, of which each is node(i), from 1 on: the tree is what these spawn.
template <class F>
void below_a_root(int count, F const& node) {
  auto const root = weft::spawn([&] {
    weft::wait_group all;
    for (int i = 1; i <= count; ++i) all.go([&node, i] { node(i); });
    all.wait();
  });
  root.wait();
}

}  // namespace

TEST_CASE("what a waiting task has spawned begins in the order of the spawns, and what that spawns before the rest") {
  auto const begun = noted([](notes& tree) {
    weft::latch end(1 + 3 + 9);
    weft::go([&] { tree.add(9), end.count_down(); });
    auto const root = weft::spawn([&] {
      weft::wait_group all;
      for (int i = 1; i <= 3; ++i)
        all.go([&tree, &end, i] {
          tree.add(i);
          weft::wait_group mine;
          for (int j = 1; j <= 3; ++j) mine.go([&tree, &end, i, j] { tree.add(10 * i + j), end.count_down(); });
          mine.wait();
          end.count_down();
        });
      all.wait();
    });
    end.wait();
  });
  CHECK(begun == std::vector<int>{9, 1, 11, 12, 13, 2, 21, 22, 23, 3, 31, 32, 33});
}

TEST_CASE("a task that yields in a tree lets the rest of it go on in the same order") {
  auto const begun = noted([](notes& tree) {
    weft::wait_group all;
    for (int i = 1; i <= 4; ++i)
      all.go([&tree, i] {
        tree.add(i);
        weft::yield();
        tree.add(10 * i);
      });
    all.wait();
  });
  CHECK(begun == std::vector<int>{1, 2, 3, 4, 10, 20, 30, 40});
}

TEST_CASE(
    "the order of spawns is kept behind a tree that has gone, and in a tree whose nodes sleep, yield or wake many") {
  auto const behind = noted([](notes& after) {
    weft::wait_group tree, all;
    tree.go([] {});
    tree.wait();
    for (int i = 1; i <= 3; ++i) all.go([&after, i] { after.add(i); });
    weft::yield();
    all.wait();
  });
  CHECK(behind == std::vector<int>{1, 2, 3});
  enum class leaves_by { sleep, yield, broadcast };
  for (auto const way : {leaves_by::sleep, leaves_by::yield, leaves_by::broadcast}) {
    auto const begun = noted([way](notes& tree) {
      auto never = weft::make_chan<int>();
      weft::wait_group all, waiters;
      for (int i = 0; i < 2; ++i) waiters.go([never] { (void)never.recv(); });
      weft::yield();  // both wait
      for (int i = 1; i <= 3; ++i)
        all.go([&, i] {
          tree.add(i);
          if (i != 1) return;
          for (int j = 1; j <= 3; ++j) all.go([&tree, j] { tree.add(10 + j); });
          if (way == leaves_by::sleep) weft::sleep_for(1ms);
          else if (way == leaves_by::yield) weft::yield();
          else never.close();
        });
      all.wait();
      if (way != leaves_by::broadcast) never.close();
      waiters.wait();
    });
    std::vector<int> const children_ahead{1, 11, 12, 13, 2, 3};
    CHECK(begun == children_ahead);
  }
}

TEST_CASE("what a parent spawns for each result that it gets begins in the order of the spawns") {
  auto const begun = noted([](notes& tree) {
    below_a_root(2, [&tree](int i) {
      constexpr int at_once = 4, jobs = 9;
      tree.add(i);
      auto done = weft::make_chan<int>(at_once);
      int started = 0;
      auto const begin = [&] { weft::go([&tree, done, who = 10 * i + ++started] { tree.add(who), done.send(who); }); };
      while (started < at_once) begin();
      for (int ended = 0; ended < jobs; ++ended) {
        (void)done.recv();
        if (started < jobs) begin();
      }
    });
  });
  std::vector<int> of_first, of_second;
  for (int const who : begun)
    if (who > 10) (who < 20 ? of_first : of_second).push_back(who);
  CHECK(of_first == std::vector<int>{11, 12, 13, 14, 15, 16, 17, 18, 19});
  CHECK(of_second == std::vector<int>{21, 22, 23, 24, 25, 26, 27, 28, 29});
}

TEST_CASE("a second wait of a node in a tree is for its second children, and the rest of the tree waits") {
  auto const begun = noted([](notes& tree) {
    below_a_root(2, [&tree](int i) {
      for (int phase = 0; phase < 2; ++phase) {
        weft::wait_group mine;
        for (int j = 1; j <= 2; ++j) mine.go([&tree, who = 10 * i + 2 * phase + j] { tree.add(who); });
        mine.wait();
      }
    });
  });
  CHECK(begun == std::vector<int>{11, 12, 13, 14, 21, 22, 23, 24});
}

TEST_CASE("what a node has spawned before it wakes many begins before what it spawns after") {
  auto const begun = noted([](notes& tree) {
    auto never = weft::make_chan<int>();
    weft::wait_group all, waiters;
    for (int i = 0; i < 2; ++i) waiters.go([never] { (void)never.recv(); });
    weft::yield();  // both wait
    below_a_root(2, [&](int i) {
      tree.add(i);
      if (i != 1) return;
      for (int j = 1; j <= 2; ++j) all.go([&tree, j] { tree.add(10 + j); });
      never.close();
      for (int j = 3; j <= 4; ++j) all.go([&tree, j] { tree.add(10 + j); });
      all.wait();
    });
    waiters.wait();
  });
  CHECK(begun == std::vector<int>{1, 11, 12, 2, 13, 14});
}

TEST_CASE("what a task has spawned that then blocks its thread begins in the order of the spawns, in a tree too") {
  auto const begun = noted([](notes& tree) {
    // A second thread begins, and so the monitor: each pick may be the oldest's turn. These are as many as are picked up to then.
    constexpr int nodes = 2, oldest = 8;
    std::latch end(3);
    below_a_root(nodes + oldest, [&](int i) {
      if (i > nodes) return;
      tree.add(i);
      if (i != 1) return;
      for (int j = 1; j <= 3; ++j) weft::go([&tree, &end, j] { tree.add(10 + j), end.count_down(); });
      weft::blocking([&] { end.wait(); });
    });
  });
  CHECK(begun == std::vector<int>{1, 11, 12, 13, 2});
}
