// Scheduling: fairness, bounded waiting, idleness, start and stop, outside threads.

#include <weft/weft.hpp>

#include <sys/resource.h>
#include <sys/times.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::with_worker_count;
using weft::test::with_workers;
using namespace std::chrono_literals;

namespace {

constexpr bool sanitized =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    true;
#else
    false;
#endif
#else
    false;
#endif

double cpu_ms() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  auto ms = [](timeval t) { return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3; };
  return ms(u.ru_utime) + ms(u.ru_stime);
}

}  // namespace

TEST_CASE("a hundred thousand tasks all run") {
  with_workers([] {
    std::atomic<int> ran = 0;
    weft::wait_group all;
    for (int i = 0; i < 100'000; ++i) all.go([&] { ran.fetch_add(1, std::memory_order_relaxed); });
    all.wait();
    CHECK(ran == 100'000);
  });
}

TEST_CASE("tasks that wake each other do not starve the others") {
  with_workers([] {
    auto there = weft::make_chan<int>(), back = weft::make_chan<int>();
    std::atomic<bool> stop = false;
    weft::go([=] {
      for (auto v : there) back.send(v);
    });
    auto player = weft::spawn([&] {
      while (!stop) {
        there.send(1);
        back.recv();
      }
      there.close();
    });
    int turns = 0;
    auto other = weft::spawn([&] {
      for (; turns < 1000; ++turns) weft::yield();
    });
    other.join();
    stop = true;
    player.join();
    CHECK(turns == 1000);
  });
}

TEST_CASE("a worker with few tasks that are always ready takes its share of another's long queue") {
  // Alone on its worker, a task sees about one turn of the others between two of its own, or once many, when the system has stopped its
  // thread. Ten times in a row at least ten: its worker runs a part of the others. How long that takes is the system's affair too.
  static constexpr std::size_t many = 600, in_a_row = 10, between = 10, turns_limit = 5'000'000;
  with_worker_count(2, [] {
    std::atomic<std::size_t> arrived = 0, total = 0;
    std::atomic<bool> started = false, over = false;
    std::size_t turns = 0, shared = 0;
    weft::latch gate(1);
    weft::wait_group all;
    all.go([&] {
      started = true;
      for (std::size_t seen = 0; shared != in_a_row && turns != turns_limit; ++turns) {
        weft::yield();
        std::size_t const now = total;
        shared = now - seen >= between ? shared + 1 : 0;
        seen = now;
      }
      over = true;
    });
    while (!started) {  // the other worker runs it, and never finds its queue empty from now on
    }
    for (std::size_t i = 0; i != many; ++i)
      all.go([&] {
        ++arrived;
        gate.wait();
        while (!over) {
          ++total;
          weft::yield();
        }
      });
    while (arrived != many) weft::yield();
    gate.count_down();
    all.wait();
    INFO("the lone task had " << turns << " turns, the others " << total);
    CHECK(shared == in_a_row);
  });
}

TEST_CASE("a lone task from a plain thread runs in bounded time beside busy workers") {
  for (unsigned workers : {1u, 2u}) {
    weft::runtime r(weft::options{.workers = workers});
    std::atomic<bool> stop = false;
    std::atomic<long> spins = 0;
    // Twice as many tasks as workers, which never leave the local queues empty and keep the global one busy with overflow.
    for (unsigned i = 0; i < 2 * workers; ++i)
      r.go([&] {
        while (!stop) {
          for (int k = 0; k < 300; ++k) weft::go([&] { spins.fetch_add(1, std::memory_order_relaxed); });
          weft::yield();
        }
      });
    for (int i = 0; i < 20; ++i) {
      long const before = spins;
      CHECK(r.spawn([&] { return spins.load(); }).join() >= before);
    }
    stop = true;
    r.shutdown();
  }
}

TEST_CASE("the first task of all starts one worker, and a second one runs beside it while it computes") {
  weft::runtime r({.workers = 2});
  std::atomic<bool> first_runs = false, second_ran = false;
  auto first = r.spawn([&] {
    first_runs = true;
    while (!second_ran) {
    }
  });
  while (!first_runs) std::this_thread::yield();
  CHECK(r.metrics().threads == 1);
  auto second = r.spawn([&] { second_ran = true; });
  first.join();
  second.join();
}

TEST_CASE("an idle runtime uses no CPU") {
  for (unsigned workers : {1u, 2u, 4u}) {
    weft::run(weft::options{.workers = workers}, [] {
      weft::wait_group all;
      for (int i = 0; i < 100; ++i) all.go([] { weft::yield(); });
      all.wait();
      weft::sleep_for(50ms);
      double const before = cpu_ms();
      weft::sleep_for(500ms);
      CHECK(cpu_ms() - before < (sanitized ? 50 : 10));
    });
  }
}

TEST_CASE("sleeps end in the order of their deadlines and never early") {
  with_workers([] {
    // A machine that stops this process for 20 ms makes deadlines pass that nobody sleeps for, or two of them for two workers: start
    // anew then.
    for (bool too_late = true; too_late;) {
      auto order = weft::make_chan<int>(16);
      auto const start = weft::now();
      std::atomic<bool> late = false, early = false;
      std::vector<weft::join_handle<void>> tasks;
      for (int i = 10; i-- > 0;)
        tasks.push_back(weft::spawn([&, i] {
          auto const until = start + (i + 1) * 20ms;
          if (weft::now() >= until) late = true;
          weft::sleep_until(until);
          if (weft::now() < until) early = true;
          order.send(i);
          if (weft::now() >= until + 20ms) late = true;
        }));
      std::vector<int> ended;
      for (int i = 0; i < 10; ++i) ended.push_back(order.recv().value());
      for (auto& t : tasks) t.join();
      CHECK_FALSE(early);
      too_late = late;
      if (!too_late) CHECK(std::is_sorted(ended.begin(), ended.end()));
    }
  });
}

TEST_CASE("a worker does not fall asleep for each of timers that come in crowds, and is on time for a lone one") {
  with_worker_count(1, [] {
    constexpr int crowd = weft::rt::tsan ? 1'000 : 10'000;
    constexpr auto apart = 10us;
    std::atomic<int> early = 0;
    weft::wait_group all;
    auto const start = weft::now() + 100ms;
    for (int i = 0; i != crowd; ++i)
      all.go([&, until = start + i * apart] {
        weft::sleep_until(until);
        if (weft::now() < until) ++early;
      });
    weft::sleep_until(start - 1ms);
    // A look at the network each time that it falls asleep, and in passing after 61 turns, of which a machine under load makes more.
    auto const polls = [] { return weft::current_metrics().polls; };
    auto const before = polls();
    auto const began = weft::now();
    all.wait();
    auto const often = polls() - before;
    auto const most = static_cast<std::uint64_t>((weft::now() - began) / 150us + crowd / 61 + 1);
    CHECK(early == 0);
    CHECK(often <= most);
    // Late by less than a crowd's pause at least once: how often is the system's affair.
    bool on_time = false;
    for (int left = 1000; left != 0 && !on_time; --left) {
      auto const until = weft::now() + 20us;
      weft::sleep_until(until);
      on_time = weft::now() - until < 150us;
    }
    CHECK(on_time);
  });
}

TEST_CASE("a timer fires beside a task that computes, as long as another worker is there") {
  weft::run(weft::options{.workers = 2}, [] {
    std::atomic<bool> stop = false;
    auto hog = weft::spawn([&] {
      while (!stop) {
      }
    });
    for (int i = 0; i < 20; ++i) weft::sleep_for(1ms);
    stop = true;
    hog.join();
    SUCCEED();
  });
}

TEST_CASE("a task made ready by one that goes on computing is run by another worker") {
  weft::run(weft::options{.workers = 2}, [] {
    auto c = weft::make_chan<int>();
    std::atomic<bool> got = false;
    auto receiver = weft::spawn([&] {
      c.recv();
      got = true;
    });
    while (weft::current_metrics().parked == 0) weft::yield();
    c.send(1);
    while (!got) {  // without a call of weft: only another worker can run the receiver
    }
    receiver.join();
    SUCCEED();
  });
}

TEST_CASE("when the first task has ended, the others are cancelled, unwound and gone before run returns") {
  for (unsigned workers : weft::test::worker_counts) {
    std::atomic<int> unwound = 0;
    struct at_end {
      std::atomic<int>& n;
      ~at_end() { ++n; }
    };
    weft::run(weft::options{.workers = workers}, [&] {
      for (int i = 0; i < 100; ++i) {
        weft::go([&] {
          at_end mark{unwound};
          weft::make_chan<int>().recv();
        });
        weft::go([&] {
          at_end mark{unwound};
          weft::sleep_for(1h);
        });
      }
    });
    CHECK(unwound == 200);
  }
}

TEST_CASE("a task that does not end within the grace is named, and the process ends with status 70") {
  child_end const end = run_child([] {
    weft::run(weft::options{.workers = 2, .shutdown_grace = 50ms}, [] {
      weft::go({.name = "stubborn"}, [] {
        weft::uncancellable block;
        weft::sleep_for(1h);
      });
      weft::yield();
    });
    return 0;
  });
  CHECK(end.exit_code == 70);
  CHECK(end.errors.find("stubborn") != std::string::npos);
}

TEST_CASE(
    "with stuck::abort a task that does not end makes a shutdown abort, and a waiting destructor is named beside it") {
  child_end const end = run_child([] {
    weft::runtime r(weft::options{.workers = 2, .shutdown_grace = 50ms, .on_stuck = weft::stuck::abort});
    auto begun = weft::make_chan<int>(1);
    r.go({.name = "owner"}, [begun] {
      auto child = weft::spawn({.name = "stubborn"}, [begun] {
        weft::uncancellable block;
        begun.send(1);
        weft::sleep_for(1h);
      });
    });
    begun.recv();
    return 0;  // ~runtime
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("\"owner\"") != std::string::npos);
  CHECK(end.errors.find("\"stubborn\"") != std::string::npos);
}

TEST_CASE("WEFT_WORKERS counts where the options give no number, and is refused if it is none") {
  auto const workers_with = [](char const* value, unsigned asked) {
    return run_child([=] {
      ::setenv("WEFT_WORKERS", value, 1);
      try {
        return static_cast<int>(weft::runtime(weft::options{.workers = asked}).metrics().workers);
      } catch (std::system_error const& e) {
        return e.code() == std::errc::invalid_argument ? 99 : 98;
      }
    });
  };
  CHECK(workers_with("3", 0).exit_code == 3);
  CHECK(workers_with("3", 2).exit_code == 2);
  CHECK(workers_with("many", 0).exit_code == 99);
  CHECK(workers_with("0", 0).exit_code == 99);
}

TEST_CASE("runtimes can be started and stopped many times") {
  int const rounds = WEFT_TSAN ? 100 : 1000;
  for (int i = 0; i < rounds; ++i)
    CHECK(weft::run(weft::options{.workers = 2}, [i] { return weft::spawn([i] { return i; }).join(); }) == i);
}

TEST_CASE("two runtimes run side by side and talk over a channel") {
  weft::runtime a(weft::options{.workers = 2}), b(weft::options{.workers = 1});
  auto c = weft::make_chan<int>(), d = weft::make_chan<int>();
  a.go([=] {
    for (int i = 0; i < 1000; ++i) c.send(i);
    c.close();
  });
  b.go([=] {
    long sum = 0;
    for (int v : c) sum += v;
    d.send(static_cast<int>(sum));
  });
  CHECK(d.recv() == 499500);
}

TEST_CASE("plain threads spawn, join and talk with tasks") {
  for (unsigned workers : weft::test::worker_counts) {
    weft::runtime r(weft::options{.workers = workers});
    std::vector<std::thread> threads;
    std::atomic<long> sum = 0;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 500; ++i) sum += r.spawn([t, i] { return t + i; }).join();
      });
    for (auto& t : threads) t.join();
    CHECK(sum == 4 * 124'750 + 500 * 6);
  }
}

TEST_CASE("metrics count tasks, spawns and stacks") {
  weft::run(weft::options{.workers = 2}, [] {
    auto gate = weft::make_chan<int>();
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 50; ++i) tasks.push_back(weft::spawn([gate] { gate.recv(); }));
    weft::runtime_metrics m{};
    do {
      weft::yield();
      m = weft::current_metrics();
    } while (m.parked < 50);
    CHECK(m.workers == 2);
    CHECK(m.live == 51);
    CHECK(m.spawns >= 51);
    CHECK(m.stacks >= 50);
    CHECK(m.bytes >= 50 * 256 * 1024);
    gate.close();
    for (auto& t : tasks) t.join();
  });
}

TEST_CASE("five thousand tasks park at once") {
  auto const body = [] {
    constexpr std::size_t n = 5000;
    auto gate = weft::make_chan<int>();
    std::vector<weft::join_handle<int>> tasks;
    for (std::size_t i = 0; i < n; ++i) tasks.push_back(weft::spawn([gate] { return gate.recv() ? 1 : 0; }));
    while (weft::current_metrics().parked < n) weft::yield();
    gate.close();
    int sum = 0;
    for (auto& t : tasks) sum += t.join();
    CHECK(sum == 0);
  };
  if (weft::rt::tsan)
    with_worker_count(2, body);  // each task is a logical thread there, which takes it milliseconds to make
  else with_workers(body);
}

TEST_CASE("the stacks that many tasks have left are given back while nothing goes on") {
  if (sanitized) return;                                                  // the sanitizers keep what is mapped
  for (std::chrono::nanoseconds const hand_over : {0ns, 10'000'000ns}) {  // without it there is no monitor at first
    weft::runtime r(weft::options{.workers = 1, .hog_after = hand_over, .blocked_after = hand_over});
    r.run([] {
      constexpr std::size_t n = 5000;
      auto gate = weft::make_chan<int>();
      weft::wait_group all;
      for (std::size_t i = 0; i < n; ++i) all.go([gate] { gate.recv(); });
      while (weft::current_metrics().parked < n) weft::yield();
      CHECK(weft::current_metrics().bytes >= n * 256 * 1024);
      gate.close();
      all.wait();
      while (weft::current_metrics().bytes >= 1000 * 320 * 1024) weft::sleep_for(10ms);  // the test's time limit
    });
  }
}

TEST_CASE("a million tasks park at once under the default limit of mappings") {
  if (sanitized)
    return;  // shadow memory for a million stacks is not to be had; the five thousand above are for sanitizers
  weft::run(weft::options{.workers = 2}, [] {
    constexpr std::size_t n = 1'000'000;
    auto gate = weft::make_chan<int>();
    weft::wait_group all;
    for (std::size_t i = 0; i < n; ++i) all.go([gate] { gate.recv(); });
    while (weft::current_metrics().parked < n) weft::sleep_for(10ms);
    CHECK(weft::current_metrics().parked >= n);
    gate.close();
    all.wait();
  });
}
