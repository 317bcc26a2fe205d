// Want of memory where a runtime begins, waits and ends: on plain threads, on the runtime's own, in what must
// not throw.

#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "runtime/observe/runtime_list.hpp"
#include "runtime/sched/global_queue.hpp"
#include "tests/memory/failing.hpp"
#include "tests/memory/process.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;
using failing::fail_after;
using failing::fail_on;
using failing::outstanding;
using failing::stop_failing;

namespace {

constexpr long most = 200;  // allocations that fail in turn

bool handles_quit() {
  struct sigaction now{};
  return ::sigaction(SIGQUIT, nullptr, &now) == 0 && now.sa_handler != SIG_DFL;
}

/// f() on a thread that has never waited before.
template <class F>
void on_new_thread(F f) {
  std::thread(std::move(f)).join();
}

/// From stacks so far apart that each of the tokens that plain threads share comes to its turn (global_queue.cpp).
__attribute__((noinline)) void spawn_deeper(weft::runtime& r, int levels, std::atomic<int>& ran) {
  char apart[0x10000];
  __asm__ volatile("" : : "r"(apart) : "memory");
  r.spawn([&] { ++ran; }).join();
  if (levels > 1) spawn_deeper(r, levels - 1, ran);
  __asm__ volatile("" : : "r"(apart) : "memory");  // no tail call
}

}  // namespace

TEST_CASE("a runtime that has no memory to begin with throws or does without, and leaves nothing", "[memory]") {
  constexpr int deep = 8;  // twice the tokens: they come to their turns in no order
  {
    weft::runtime first({.workers = 2});  // what the process keeps is made now
    std::atomic<int> ran{0};
    spawn_deeper(first, deep, ran);
  }
  bool failed = true;
  int thrown = 0;
  for (long n = 0; n < most && failed; ++n) {
    INFO("allocation " << n);
    long const before = outstanding.load();
    int const descriptors = open_descriptors();
    fail_after(n);
    try {
      weft::runtime r({.workers = 2});
      failed = stop_failing();
      std::atomic<int> ran{0};
      spawn_deeper(r, deep, ran);
      CHECK(ran == deep);
    } catch (std::bad_alloc const&) {
      failed = stop_failing();
      ++thrown;
      CHECK(outstanding.load() == before);
    }
    CHECK(open_descriptors() == descriptors);
    REQUIRE_FALSE(blocks(SIGTERM));
    {
      weft::runtime next({.workers = 1});
      CHECK(handles_quit());
    }
    CHECK_FALSE(handles_quit());
  }
  CHECK_FALSE(failed);
  CHECK(thrown > 5);
}

TEST_CASE("a processor's end of the global queue that is made is of use, or else throws", "[memory]") {
  alignas(64) static std::array<char, 64> somewhere;
  auto* const some_task = reinterpret_cast<weft::rt::task*>(somewhere.data());  // the queue only hands it on
  bool failed = true;
  for (long n = 0; n < most && failed; ++n) {
    INFO("allocation " << n);
    weft::rt::global_queue queue;
    fail_after(n);
    try {
      auto const port = queue.make_port();
      failed = stop_failing();
      queue.push(*port, &some_task, 1);
      weft::rt::task* got = nullptr;
      CHECK(queue.pop(*port, &got, 1) == 1);
      CHECK(got == some_task);
    } catch (std::bad_alloc const&) {
      failed = stop_failing();
    }
  }
  CHECK_FALSE(failed);
}

TEST_CASE("the first worker is tried again while there is no memory for it", "[memory]") {
  constexpr long times = 5;
  bool failed = true;
  for (long n = 0; n < most && failed; ++n) {
    INFO("from allocation " << n);
    weft::runtime r({.workers = 2});
    std::atomic<bool> ran{false};
    bool thrown = false;
    fail_after(n, times);
    try {
      r.go([&] { ran = true; });
    } catch (std::bad_alloc const&) {  // for the task itself
      thrown = true;
    }
    failed = stop_failing();
    if (!thrown)
      while (!ran) std::this_thread::yield();
    r.shutdown();
    CHECK(ran == !thrown);
  }
  CHECK_FALSE(failed);
}

TEST_CASE("run throws for want of memory before its task has begun, or not at all", "[memory]") {
  bool failed = true;
  for (long n = 0; n < most && failed; ++n) {
    INFO("allocation " << n);
    weft::runtime r({.workers = 2});
    std::atomic<bool> began{false};
    bool thrown = false;
    on_new_thread([&] {
      fail_after(n);
      try {
        r.run([&] {
          began = true;
          weft::sleep_for(5ms);
        });
      } catch (std::bad_alloc const&) {
        thrown = true;
      }
      failed = stop_failing();
    });
    r.shutdown();
    CHECK(began == !thrown);
  }
  CHECK_FALSE(failed);
}

TEST_CASE("a runtime ends without any memory", "[memory]") {
  for (unsigned const workers : weft::test::worker_counts) {
    weft::runtime r({.workers = workers});
    std::atomic<unsigned> ran{0};
    r.run([&] {
      weft::wait_group all;
      for (unsigned i = 0; i < 2 * workers; ++i)
        all.go([&] {
          ++ran;
          weft::sleep_for(2ms);
        });
      all.wait();
    });
    fail_after(0, most);
    r.shutdown();
    (void)stop_failing();
    CHECK(ran == 2 * workers);
  }
}

TEST_CASE("the monitor needs no memory", "[memory]") {
  fail_on const monitor("weft-monitor");
  weft::test::with_workers([] {
    weft::wait_group all;
    std::atomic<int> ran{0};
    for (int i = 0; i < 16; ++i)
      all.go([&] {
        ::usleep(2000);  // its processor is taken
        ++ran;
      });
    all.wait();
    CHECK(ran == 16);
  });
}

TEST_CASE("a task that could have no stack begins when there is memory, though the monitor could have no thread",
          "[memory]") {
  // The worker has no memory for the slab of the first stack of that size, nor for the monitor, which would try again for it.
  weft::runtime r({.workers = 1});
  auto const in_want = [] {
    weft::rt::runtime_list& all = weft::rt::runtime_list::of_process();
    weft::rt::guard const hold(all.lock);
    return !all.all([](weft::rt::scheduler& s) { return !s.starving(); });
  };
  std::atomic<bool> begun{false};
  {
    fail_on const worker("weft-0");
    r.go({.stack_size = 16 << 20}, [&] { begun = true; });
    while (!in_want()) std::this_thread::yield();
    CHECK_FALSE(begun);
  }
  while (!begun) std::this_thread::yield();
}

TEST_CASE("a worker that has nothing to do needs no memory", "[memory]") {
  auto const end = run_child([] {
    auto const never_sent = weft::make_chan<int>();
    weft::runtime r({.workers = 1});
    fail_on const worker("weft-0");
    r.go([&] { never_sent.recv(); });
    ::usleep(50'000);  // it looks whether anything can ever happen again, where no plain thread has waited yet
    ::_exit(0);        // not as a runtime ends: there may have been no stack for the task
    return 0;
  });
  INFO(end.errors);
  CHECK(end.signal == 0);
}

TEST_CASE("a deadlock ends run also without memory for the list of its tasks", "[memory]") {
  auto const never_sent = weft::make_chan<int>();
  weft::runtime r({.workers = 1});
  r.run([] { weft::sleep_for(1ms); });  // has made what a task needs
  std::string what;
  try {
    fail_on const worker("weft-0");
    r.run([&] { never_sent.recv(); });
  } catch (weft::deadlock const& e) {
    what = e.what();
  }
  CHECK(what == "weft: deadlock");
}

TEST_CASE("a handle's stop waits for the memory that it needs", "[memory]") {
  constexpr long times = 4;
  bool failed = true;
  for (long n = 0; n < most && failed; ++n) {
    INFO("in a task, from allocation " << n);
    weft::test::with_worker_count(2, [&] {
      auto const never_sent = weft::make_chan<int>();
      auto handle = weft::spawn([never_sent] { never_sent.recv(); });
      while (weft::current_metrics().parked == 0) weft::yield();
      fail_after(n, times);
      handle.stop();
      failed = stop_failing();
    });
  }
  CHECK_FALSE(failed);
  failed = true;
  for (long n = 0; n < most && failed; ++n) {
    INFO("on a plain thread, from allocation " << n);
    weft::runtime r({.workers = 2});
    auto const never_sent = weft::make_chan<int>();
    std::atomic<bool> cleaned_up{false};
    on_new_thread([&] {
      auto handle = r.spawn([never_sent, &cleaned_up] {
        weft::defer const at_end([&] {
          weft::sleep_for(5ms);  // it is still there when stop() begins to wait
          cleaned_up = true;
        });
        never_sent.recv();
      });
      while (r.metrics().parked == 0) std::this_thread::yield();
      fail_after(n, times);
      handle.stop();
      failed = stop_failing();
    });
    CHECK(cleaned_up);
    r.shutdown();
  }
  CHECK_FALSE(failed);
}

TEST_CASE("the end of a task group on a plain thread waits for the memory that it needs", "[memory]") {
  constexpr long times = 4;
  bool failed = true;
  for (long n = 0; n < most && failed; ++n) {
    INFO("from allocation " << n);
    weft::runtime r({.workers = 2});
    std::atomic<bool> ended{false};
    auto group = r.run([&] {
      auto all = std::make_unique<weft::task_group>();
      all->spawn([&] {
        weft::uncancellable const shield;
        weft::sleep_for(10ms);
        ended = true;
      });
      return all;
    });
    on_new_thread([&] {
      fail_after(n, times);
      group.reset();
      failed = stop_failing();
    });
    CHECK(ended);
    r.shutdown();
  }
  CHECK_FALSE(failed);
}

TEST_CASE("a simulated run that has no memory throws before it begins, or ends the process", "[memory]") {
  constexpr int whole = 0, thrown = 10, unusable = 11;
  int begun = 0, aborted = 0, end = thrown;
  for (long n = 0; n < most && end != whole; ++n) {
    INFO("allocation " << n);
    child_end const child = run_child([n] {
      ::alarm(10);
      bool began = false;
      fail_after(n);
      try {
        weft::sim::run(1, [&] {
          began = true;
          auto const c = weft::make_chan<int>();
          auto const sender = weft::spawn([c] {
            weft::sleep_for(1h);
            c.send(1);
          });
          c.recv();
        });
        return stop_failing() ? thrown : whole;  // what failed was done without
      } catch (std::bad_alloc const&) {
        (void)stop_failing();
        if (began) return thrown;  // out of the program itself
      }
      // The thread is its own again.
      auto const c = weft::make_chan<int>(1);
      c.send(1);
      return weft::run([&] { return c.recv(); }) == 1 ? thrown : unusable;
    });
    INFO("signal " << child.signal << ", status " << child.exit_code << "\n" << child.errors);
    if (child.signal != 0) {
      CHECK(child.signal == SIGABRT);  // SIGALRM: it hung
      ++aborted;
    } else {
      end = child.exit_code;
      CHECK((end == whole || end == thrown));
      ++begun;
    }
  }
  CHECK(end == whole);
  CHECK(begun > 5);
  CHECK(aborted > 0);
}
