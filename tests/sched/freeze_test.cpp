#include <weft/weft.hpp>

#include <atomic>

#include "tests/support/catch.hpp"
#include "tests/support/frozen.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;
namespace rt = weft::rt;
using weft::test::frozen;

namespace {

/// Lets everything run that can.
void let_others_run() {
  for (int i = 0; i < 200; ++i) weft::yield();
  weft::sleep_for(2ms);
}

}  // namespace

TEST_CASE("a frozen task that is sent a value has it, and goes on when it is thawed", "[sched][freeze]") {
  weft::test::with_workers([] {
    auto ch = weft::make_chan<int>();
    std::atomic<weft::task_id> id{0};
    std::atomic<int> got{0};
    auto h = weft::spawn([&] {
      id = weft::this_task::id();
      got = ch.recv().value();
    });
    while (id == 0) weft::yield();
    rt::task& t = frozen(id);
    CHECK(ch.try_send(7) == weft::chan_status::ok);
    CHECK(ch.try_send(8) == weft::chan_status::full);
    let_others_run();
    CHECK(got == 0);
    CHECK_FALSE(rt::freeze(t));
    bool const owed = rt::thaw(t);
    CHECK(owed);
    if (owed) rt::ready(t);
    h.join();
    CHECK(got == 7);
  });
}

TEST_CASE("a frozen task that nobody wakes waits on after the thaw", "[sched][freeze]") {
  weft::test::with_workers([] {
    auto ch = weft::make_chan<int>();
    std::atomic<weft::task_id> id{0};
    auto h = weft::spawn([&] {
      id = weft::this_task::id();
      return ch.recv().value();
    });
    while (id == 0) weft::yield();
    rt::task& t = frozen(id);
    CHECK_FALSE(rt::thaw(t));
    ch.send(3);
    CHECK(h.join() == 3);
  });
}

TEST_CASE("a timeout and a cancellation of a frozen task take effect at the thaw", "[sched][freeze]") {
  weft::test::with_workers([] {
    auto ch = weft::make_chan<int>();
    std::atomic<weft::task_id> id{0};
    weft::join_handle<weft::chan_status> timed;
    rt::task* held = nullptr;
    while (held == nullptr) {  // on a machine that stands still the time may be up before the freeze: anew then
      id = 0;
      timed = weft::spawn([&] {
        id = weft::this_task::id();
        return ch.recv_for(20ms).error();
      });
      while (id == 0) weft::yield();
      while (held == nullptr && !timed.done()) {
        rt::task* const waits = weft::test::task_with(id);
        if (waits != nullptr && rt::freeze(*waits)) held = waits;
        else weft::yield();
      }
    }
    rt::task& t = *held;
    weft::sleep_for(40ms);
    CHECK_FALSE(timed.done());
    if (rt::thaw(t)) rt::ready(t);
    CHECK(timed.join() == weft::chan_status::timeout);

    id = 0;
    auto asleep = weft::spawn([&] {
      id = weft::this_task::id();
      weft::sleep_for(1h);
    });
    while (id == 0) weft::yield();
    rt::task& s = frozen(id);
    asleep.cancel();
    let_others_run();
    CHECK_FALSE(asleep.done());
    bool const owed = rt::thaw(s);
    CHECK(owed);
    if (owed) rt::ready(s);
    CHECK_THROWS_AS(asleep.join(), weft::cancelled);
  });
}

TEST_CASE("a group of waiters of which one is frozen is woken whole", "[sched][freeze]") {
  weft::test::with_workers([] {
    weft::latch gate(1);
    std::atomic<weft::task_id> id{0};
    std::atomic<int> through{0};
    weft::task_group all;
    all.spawn([&] {
      id = weft::this_task::id();
      gate.wait();
      ++through;
    });
    for (int i = 0; i < 3; ++i)
      all.spawn([&] {
        gate.wait();
        ++through;
      });
    while (id == 0) weft::yield();
    rt::task& t = frozen(id);
    while (weft::current_metrics().parked < 4) weft::yield();
    gate.count_down();
    while (through != 3) weft::yield();
    let_others_run();
    CHECK(through == 3);
    bool const owed = rt::thaw(t);
    CHECK(owed);
    if (owed) rt::ready(t);
    all.wait();
    CHECK(through == 4);
  });
}
