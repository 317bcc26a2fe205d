// The turns that others have beside a tree of tasks that grows, counted by what has begun and not by the clock.

#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/support/catch.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::compute_for, weft::test::undisturbed;
using namespace std::chrono_literals;

namespace {

/// Tasks that wait, and go to the global queue together: a thread outside wakes them.
struct crowd {
  weft::chan<int> gate = weft::make_chan<int>();
  weft::wait_group all;
  std::atomic<int> begun{0};

  void gather(int size, std::chrono::nanoseconds each) {
    for (int i = 0; i < size; ++i)
      all.go([this, each] {
        (void)gate.recv();
        ++begun;
        compute_for(each);
      });
    weft::yield();  // all wait
  }
  void let_go() {
    std::thread([this] { gate.close(); }).join();
  }
};

/// Sixty-one of these take more than a millisecond: whenever their worker looks around, that is over.
constexpr auto long_turn = 20us;

/// Spawns itself again and ends, until `over` says so.
template <class F>
void grow(weft::wait_group& tree, F const& over) {
  compute_for(long_turn);
  if (!over()) tree.go([&] { grow(tree, over); });
}

}  // namespace

TEST_CASE("beside a tree that grows the oldest has its turn before the global queue is empty") {
  undisturbed(1, [] {
    constexpr int size = 200;
    crowd others;
    others.gather(size, 0ns);
    weft::wait_group tree;
    std::atomic<bool> over{false};
    std::atomic<int> begun_before{-1};
    auto const is_over = [&over] { return over.load(); };
    tree.go([&] {
      others.let_go();
      grow(tree, is_over);
    });
    tree.go([&] {
      begun_before = others.begun.load();
      over = true;
    });
    tree.wait();
    others.all.wait();
    CHECK(begun_before < size);
  });
}

TEST_CASE("the global queue has its turns beside a tree that grows and whose tasks take long") {
  undisturbed(1, [] {
    constexpr int size = 5, turns_for_each = 4 * 61;
    crowd others;
    others.gather(size, 0ns);
    weft::wait_group tree;
    std::atomic<int> turns{0};
    auto const is_over = [&] { return others.begun == size || ++turns >= 10 * size * turns_for_each; };
    tree.go([&] {
      others.let_go();
      grow(tree, is_over);
    });
    for (int i = 1; i < 8; ++i) tree.go([&] { grow(tree, is_over); });
    tree.wait();
    others.all.wait();
    CHECK(turns <= size * turns_for_each);
  });
}

TEST_CASE("what is queued here has its turns between tasks of the global queue that take long") {
  // With a monitor's thread, which asks for a look around where the global queue waits, but takes no processor.
  constexpr weft::options watched{.workers = 1, .hog_after = 0ns, .blocked_after = 0ns, .watchdog = 1h};
  weft::run(watched, [] {
    constexpr int size = 60;
    crowd others;
    others.gather(size, 3ms);
    auto there = weft::make_chan<int>(), back = weft::make_chan<int>();
    auto const answers = weft::spawn([&] {
      for (auto v : there) back.send(v);
    });
    std::atomic<int> most{0};
    auto const plays = weft::spawn([&] {
      others.let_go();
      for (int before = 0; before < size;) {
        there.send(1), back.recv();
        int const begun = others.begun;
        most = std::max(most.load(), begun - before);
        before = begun;
      }
      there.close();
    });
    plays.wait();
    answers.wait();
    others.all.wait();
    CHECK(most <= 4);
  });
}
