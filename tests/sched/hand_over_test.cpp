// Hand-over as users see it: tasks that compute or block do not stop the others, and what they do without a processor is right.

#include <weft/weft.hpp>

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/fault.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"
#include "tests/sched/adrift.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::block_for_ms;
using weft::test::has_processor;
using weft::test::lose_processor;
using weft::test::with_workers;
using namespace std::chrono_literals;

namespace {

unsigned workers_here() { return weft::current_metrics().workers; }

std::size_t threads_of_process() {
  std::size_t n = 0;
  DIR* d = ::opendir("/proc/self/task");
  while (dirent const* e = ::readdir(d)) n += e->d_name[0] != '.' ? 1 : 0;
  ::closedir(d);
  return n;
}

std::size_t count(std::string const& text, std::string const& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("a ticker ticks beside as many spinning tasks as there are workers") {
  with_workers([] {
    std::atomic<bool> stop = false;
    weft::wait_group spinners;
    for (unsigned i = 0; i < workers_here(); ++i)
      spinners.go([&] {
        while (!stop) {
        }
      });
    weft::ticker every(1ms);
    for (int i = 0; i < 20; ++i) every.channel().recv();
    stop = true;
    spinners.wait();
    CHECK(weft::current_metrics().hand_overs >= 1);
  });
}

TEST_CASE("tasks that block in system calls block side by side") {
  with_workers([] {
    std::atomic<unsigned> blocked = 0, most = 0;
    weft::wait_group all;
    for (int t = 0; t < 64; ++t)
      all.go([&] {
        for (int i = 0; i < 10; ++i) {
          unsigned const now = ++blocked;
          for (unsigned before = most; now > before && !most.compare_exchange_weak(before, now);) {
          }
          block_for_ms(10);
          --blocked;
        }
      });
    all.wait();
    CHECK(most > 2 * workers_here());
  });
}

TEST_CASE("a deadline comes while the only task computes") {
  with_workers([] {
    auto [context, cancel] = weft::with_timeout(20ms);
    while (!context.cancelled()) {
    }
    CHECK(context.err() == std::errc::timed_out);
  });
}

TEST_CASE("a timer fires while the only task computes") {
  with_workers([] {
    weft::timer t(5ms);
    while (!t.channel().try_recv()) {
    }
    SUCCEED();
  });
}

TEST_CASE("a task from a plain thread runs while the tasks before it block") {
  for (unsigned workers : weft::test::worker_counts) {
    weft::runtime r(weft::options{.workers = workers});
    std::atomic<bool> stop = false;
    for (unsigned i = 0; i < workers; ++i)
      r.go([&] {
        while (!stop) block_for_ms(1);
      });
    CHECK(r.spawn([] { return 1; }).join() == 1);
    stop = true;
    r.shutdown();
  }
}

TEST_CASE("a task that spawns without end hands its processor on when it is asked to") {
  with_workers([] {
    std::atomic<unsigned> ran = 0;
    std::vector<weft::join_handle<void>> hogs;
    for (unsigned i = 0; i < workers_here() + 1; ++i)
      hogs.push_back(weft::spawn([&] {
        for (std::atomic<long> spawned = 0; ran <= workers_here();) {
          if (spawned < 200'000) weft::go([] {});
          ++spawned;
        }
      }));
    for (unsigned i = 0; i <= workers_here(); ++i) weft::go([&] { ++ran; });
    for (auto& h : hogs) h.join();
    CHECK(ran == workers_here() + 1);
  });
}

TEST_CASE("a monitor that the system gave no thread is tried again") {
  child_end const end = run_child([] {
    ::alarm(60);  // without a monitor nobody ever takes the processor
    weft::run({.workers = 1}, [] {
      weft::rt::arm_fault({weft::rt::fault_kind::thread, 1, 2, EAGAIN});
      weft::spawn([] {}).join();                          // there are two tasks now, and something for a monitor
      for (int i = 0; i < 3; ++i) weft::sleep_for(20ms);  // refused, and started
      if (weft::rt::disarm_fault() < 3) ::_exit(1);
      lose_processor();
    });
    return 0;
  });
  INFO(end.errors);
  CHECK(end.exit_code == 0);
  CHECK(end.signal == 0);
  CHECK(end.errors.find("the monitor's thread could not be started") != std::string::npos);
  CHECK(end.errors.find("the monitor's thread could not be started") == end.errors.rfind("the monitor's thread could"));
}

TEST_CASE("with both thresholds at zero nothing is handed over") {
  weft::run(weft::options{.workers = 1, .hog_after = 0ns, .blocked_after = 0ns}, [] {
    std::atomic<bool> ran = false;
    weft::go([&] { ran = true; });
    weft::test::compute_for(30ms);
    block_for_ms(30);
    CHECK_FALSE(ran);
    CHECK(weft::current_metrics().hand_overs == 0);
    weft::yield();
    CHECK(ran);
  });
}

TEST_CASE("blocked tasks keep to max_threads, which is said once, and all of them end") {
  for (unsigned workers : weft::test::worker_counts) {
    child_end const end = run_child([workers] {
      std::thread([] {}).join();                            // a sanitizer starts its own with the first
      std::size_t const others = threads_of_process() + 1;  // one of weft's that waits for signals
      std::atomic<std::size_t> most = 0;
      std::atomic<int> ran = 0;
      weft::run(weft::options{.workers = workers, .max_threads = 16}, [&] {
        weft::wait_group all;
        for (int t = 0; t < 1000; ++t)
          all.go([&, t] {
            block_for_ms(t < 100 ? 50 : 2);
            std::size_t seen = threads_of_process(), before = most;
            while (seen > before && !most.compare_exchange_weak(before, seen)) {
            }
            ++ran;
          });
        all.wait();
      });
      if (ran != 1000) return 1;
      std::fprintf(stderr, "%zu threads at most, %zu of others\n", most.load(), others);
      return most <= 16 + others ? 0 : 2;
    });
    INFO("with " << workers << " workers: " << end.errors);
    CHECK(end.exit_code == 0);
    CHECK(count(end.errors, "options::max_threads allows no more") == 1);
  }
}

TEST_CASE(
    "when the system refuses threads, tasks behind a blocked one wait, none is lost, and later there is hand-over "
    "again") {
  if (weft::rt::tsan || weft::rt::asan) return;  // they need address space without bounds
  for (unsigned workers : weft::test::worker_counts) {
    child_end const end = run_child([workers] {
      int result = 1;
      weft::run(weft::options{.workers = workers}, [&] {
        auto const block_side_by_side = [] {
          std::atomic<int> ran = 0;
          weft::wait_group all;
          for (int t = 0; t < 30; ++t)
            all.go([&] {
              block_for_ms(3);
              weft::go([&ran] { ++ran; });
            });
          all.wait();
          while (ran < 30) weft::yield();
        };
        weft::go([] {});  // the monitor starts
        weft::sleep_for(5ms);
        rlimit unlimited{};
        ::getrlimit(RLIMIT_AS, &unlimited);
        rlimit full = unlimited;
        full.rlim_cur = 1;  // whatever there is already stays
        ::setrlimit(RLIMIT_AS, &full);
        block_side_by_side();
        std::size_t const before = weft::current_metrics().threads;
        ::setrlimit(RLIMIT_AS, &unlimited);
        while (weft::current_metrics().threads <= before) block_side_by_side();
        // The C library keeps some stacks of threads that have gone (five of the usual size), and these it can give.
        result = before <= workers + 6 ? 0 : 2;
      });
      return result;
    });
    INFO("with " << workers << " workers: " << end.errors);
    CHECK(end.exit_code == 0);
    CHECK(count(end.errors, "worker threads can be had") == 1);
  }
}

TEST_CASE("calls that do not wait never switch threads without a processor") {
  with_workers([] {
    auto channel = weft::make_chan<int>(1), waited_for = weft::make_chan<int>(), closed = weft::make_chan<int>();
    weft::mutex contended;
    weft::wait_group children;
    contended.lock();
    children.go([&] { std::lock_guard hold(contended); });
    children.go([&] { waited_for.recv(); });
    children.go([&] { closed.recv(); });
    while (weft::current_metrics().parked < 3) weft::yield();
    lose_processor();

    std::mutex of_the_user;
    of_the_user.lock();
    int const here = weft::rt::current_thread_id();
    bool same = true, without = true;
    auto const look = [&] {
      same = same && here == weft::rt::current_thread_id();
      without = without && !has_processor();
    };
    contended.unlock();
    look();
    bool const sent = waited_for.try_send(1) == weft::chan_status::ok;
    look();
    (void)channel.try_send(1);
    (void)channel.try_recv();
    closed.close();
    look();
    weft::timer later(1h);
    later.stop();
    look();
    CHECK(without);
    // A spawn may find an idle processor and take it.
    for (int i = 0; i < 100; ++i) {
      children.go([] {});
      look();
    }
    auto child = weft::spawn([] { return 7; });
    look();
    of_the_user.unlock();
    CHECK(same);
    CHECK(sent);
    CHECK(child.join() == 7);
    children.wait();
  });
}

TEST_CASE("a task that spawns without a processor takes one that is idle") {
  with_workers([] {
    lose_processor();
    for (int i = 0; i < 10'000 && !has_processor(); ++i) {
      block_for_ms(1);  // until the others have nothing to do
      weft::go([] {});
    }
    CHECK(has_processor());
    weft::spawn([] {}).join();
  });
}

TEST_CASE("a task without a processor yields, sleeps, joins, waits and throws like any other") {
  with_workers([] {
    lose_processor();
    weft::yield();
    auto const start = weft::now();
    lose_processor();
    weft::sleep_for(3ms);
    CHECK(weft::now() - start >= 3ms);
    auto failing = weft::spawn([]() -> int {
      lose_processor();
      throw std::out_of_range("adrift");
    });
    lose_processor();
    CHECK_THROWS_AS(failing.join(), std::out_of_range);
    auto c = weft::make_chan<int>();
    auto receiver = weft::spawn([&] {
      lose_processor();
      return c.recv().value_or(0);
    });
    lose_processor();
    c.send(5);
    CHECK(receiver.join() == 5);
    lose_processor();
    CHECK(c.recv_for(2ms).error() == weft::chan_status::timeout);
    lose_processor();
    CHECK(weft::select(weft::on_recv(c, [](int) {}), weft::on_timeout(1ms, [] {})) == 1);
  });
}

TEST_CASE("errno and the exception being handled stay with a task that lost its processor and waits") {
  with_workers([] {
    std::vector<weft::join_handle<bool>> tasks;
    for (int i = 0; i < 8; ++i)
      tasks.push_back(weft::spawn([i] {
        try {
          throw i;
        } catch (int caught) {
          lose_processor();
          errno = 100 + i;
          weft::sleep_for(1ms);
          bool const kept = errno == 100 + i;
          weft::yield();
          try {
            throw;
          } catch (int again) {
            return kept && again == i && caught == i && std::uncaught_exceptions() == 0;
          }
        }
      }));
    for (auto& t : tasks) CHECK(t.join());
  });
}

TEST_CASE("a cancellation reaches a task that waits on a worker without a processor") {
  with_workers([] {
    auto started = weft::make_chan<int>(1);
    auto t = weft::spawn([&] {
      lose_processor();
      started.send(1);
      weft::make_chan<int>().recv();
    });
    started.recv();
    t.cancel();
    CHECK_THROWS_AS(t.join(), weft::cancelled);
  });
}

TEST_CASE("thousands of tasks that lose their processors again and again all end") {
  with_workers([] {
    constexpr int tasks = 400, rounds = 5;
    auto tokens = weft::make_chan<int>(tasks);
    weft::mutex lock;
    int guarded = 0;
    weft::wait_group all;
    for (int t = 0; t < tasks; ++t)
      all.go([&, t] {
        for (int i = 0; i < rounds; ++i) {
          if ((t + i) % 3 == 0) block_for_ms(1);
          tokens.send(1);
          {
            std::lock_guard hold(lock);
            ++guarded;
          }
          if ((t + i) % 5 == 0) weft::sleep_for(100us);
          if ((t + i) % 7 == 0) weft::yield();
          tokens.recv();
        }
      });
    all.wait();
    CHECK(guarded == tasks * rounds);
    CHECK(tokens.size() == 0);
  });
}

TEST_CASE("spare threads leave when they have slept long enough, and others come when they are needed") {
  std::int64_t const usual = weft::rt::scheduler::spare_lives_ns.exchange(5'000'000);
  with_workers([] {
    for (int round = 0; round < 3; ++round) {
      weft::wait_group all;
      for (int t = 0; t < 12; ++t) all.go([] { block_for_ms(20); });
      all.wait();
      while (weft::current_metrics().threads > workers_here()) weft::sleep_for(1ms);
    }
    CHECK(weft::current_metrics().hand_overs >= 3);
  });
  weft::rt::scheduler::spare_lives_ns = usual;
}

TEST_CASE("a runtime with a blocked task and nothing else to do uses no CPU") {
  with_workers([] {
    lose_processor();
    timespec before{}, after{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    block_for_ms(300);
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double const ms = static_cast<double>(after.tv_sec - before.tv_sec) * 1e3 +
                      static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e6;
    CHECK(ms < (weft::rt::tsan || weft::rt::asan ? 50 : 10));
  });
}

TEST_CASE("shutdown names the tasks that spin or block, and the process ends with status 70") {
  for (unsigned workers : weft::test::worker_counts) {
    child_end const end = run_child([workers] {
      weft::run(weft::options{.workers = workers, .shutdown_grace = 50ms}, [] {
        for (int i = 0; i < 3; ++i) {
          weft::go({.name = "spinning"}, [] {
            for (bool volatile stop = false; !stop;) {
            }
          });
          weft::go({.name = "blocked"}, [] { block_for_ms(3'600'000); });
        }
        weft::yield();
        weft::sleep_for(1ms);
      });
      return 0;
    });
    INFO("with " << workers << " workers: " << end.errors);
    CHECK(end.exit_code == 70);
    CHECK(count(end.errors, "\"spinning\"") == 3);
    CHECK(count(end.errors, "\"blocked\"") == 3);
  }
}
