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

}  // namespace

TEST_CASE("what a waiting task has spawned begins in the order of the spawns, and what that spawns before the rest") {
  undisturbed([] {
    notes tree;
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
    CHECK(tree.begun == std::vector<int>{9, 1, 11, 12, 13, 2, 21, 22, 23, 3, 31, 32, 33});
  });
}

TEST_CASE("a task that yields in a tree lets the rest of it go on in the same order") {
  undisturbed([] {
    notes tree;
    weft::wait_group all;
    for (int i = 1; i <= 4; ++i)
      all.go([&tree, i] {
        tree.add(i);
        weft::yield();
        tree.add(10 * i);
      });
    all.wait();
    CHECK(tree.begun == std::vector<int>{1, 2, 3, 4, 10, 20, 30, 40});
  });
}

TEST_CASE(
    "the order of spawns is kept behind a tree that has gone, and in a tree whose nodes sleep, yield or wake many") {
  undisturbed([] {
    notes after;
    weft::wait_group tree, all;
    tree.go([] {});
    tree.wait();
    for (int i = 1; i <= 3; ++i) all.go([&after, i] { after.add(i); });
    weft::yield();
    all.wait();
    CHECK(after.begun == std::vector<int>{1, 2, 3});
  });
  enum class leaves_by { sleep, yield, broadcast };
  for (auto const way : {leaves_by::sleep, leaves_by::yield, leaves_by::broadcast}) {
    undisturbed([way] {
      notes tree;
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
      std::vector<int> const children_ahead{1, 11, 12, 13, 2, 3};
      CHECK(tree.begun == children_ahead);
    });
  }
}

TEST_CASE("what a parent spawns for each result that it gets begins in the order of the spawns") {
  undisturbed([] {
    notes tree;
    auto const root = weft::spawn([&] {
      weft::wait_group all;
      for (int i = 1; i <= 2; ++i)
        all.go([&tree, i] {
          constexpr int at_once = 4, jobs = 9;
          tree.add(i);
          auto done = weft::make_chan<int>(at_once);
          int begun = 0;
          auto const begin = [&] {
            weft::go([&tree, done, who = 10 * i + ++begun] { tree.add(who), done.send(who); });
          };
          while (begun < at_once) begin();
          for (int ended = 0; ended < jobs; ++ended) {
            (void)done.recv();
            if (begun < jobs) begin();
          }
        });
      all.wait();
    });
    root.wait();
    std::vector<int> of_first, of_second;
    for (int const who : tree.begun)
      if (who > 10) (who < 20 ? of_first : of_second).push_back(who);
    CHECK(of_first == std::vector<int>{11, 12, 13, 14, 15, 16, 17, 18, 19});
    CHECK(of_second == std::vector<int>{21, 22, 23, 24, 25, 26, 27, 28, 29});
  });
}

TEST_CASE("a second wait of a node in a tree is for its second children, and the rest of the tree waits") {
  undisturbed([] {
    notes tree;
    auto const root = weft::spawn([&] {
      weft::wait_group all;
      for (int i = 1; i <= 2; ++i)
        all.go([&tree, i] {
          for (int phase = 0; phase < 2; ++phase) {
            weft::wait_group mine;
            for (int j = 1; j <= 2; ++j) mine.go([&tree, who = 10 * i + 2 * phase + j] { tree.add(who); });
            mine.wait();
          }
        });
      all.wait();
    });
    root.wait();
    CHECK(tree.begun == std::vector<int>{11, 12, 13, 14, 21, 22, 23, 24});
  });
}

TEST_CASE("what a node has spawned before it wakes many begins before what it spawns after") {
  undisturbed([] {
    notes tree;
    auto never = weft::make_chan<int>();
    weft::wait_group all, waiters;
    for (int i = 0; i < 2; ++i) waiters.go([never] { (void)never.recv(); });
    weft::yield();  // both wait
    auto const root = weft::spawn([&] {
      weft::wait_group mine;
      for (int i = 1; i <= 2; ++i)
        mine.go([&, i] {
          tree.add(i);
          if (i != 1) return;
          for (int j = 1; j <= 2; ++j) all.go([&tree, j] { tree.add(10 + j); });
          never.close();
          for (int j = 3; j <= 4; ++j) all.go([&tree, j] { tree.add(10 + j); });
          all.wait();
        });
      mine.wait();
    });
    root.wait();
    waiters.wait();
    CHECK(tree.begun == std::vector<int>{1, 11, 12, 2, 13, 14});
  });
}

TEST_CASE("what a task has spawned that then blocks its thread begins in the order of the spawns, in a tree too") {
  weft::run({.workers = 1, .hog_after = 0ns}, [] {
    notes tree;
    auto const root = weft::spawn([&] {
      weft::wait_group mine;
      for (int i = 1; i <= 2; ++i)
        mine.go([&tree, &mine, i] {
          tree.add(i);
          if (i != 1) return;
          std::latch end(3);
          for (int j = 1; j <= 3; ++j) mine.go([&tree, &end, j] { tree.add(10 + j), end.count_down(); });
          weft::blocking([&] { end.wait(); });
        });
      mine.wait();
    });
    root.wait();
    CHECK(tree.begun == std::vector<int>{1, 11, 12, 13, 2});
  });
}
