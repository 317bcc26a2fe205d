// No stack is to be had: who goes on, who waits, what is thrown, and how it ends. In child processes, whose address space is bounded.
#include <weft/weft.hpp>

#include <atomic>
#include <cstdio>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>
#include <cerrno>

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/fault.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/worker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

TEST_CASE("stacks that were cut to see whether there are any, by several threads at once, are begun as any other") {
  for (unsigned const workers : weft::test::worker_counts)
    weft::run({.workers = workers}, [] {
      // What stack_can_be_had does, in several threads whose gets all come before their puts.
      weft::rt::stack_pool& pool = weft::rt::current_worker()->sched->stacks();
      std::vector<weft::rt::stack*> looked_at(8);
      for (auto& each : looked_at) each = pool.get();
      for (auto* each : looked_at) (void)pool.put(each);
      auto const gate = weft::make_chan<int>();
      weft::wait_group tasks;
      for (int i = 0; i < 16; ++i) tasks.go([gate] { gate.recv(); });
      while (weft::current_metrics().parked < 16) weft::yield();
      gate.close();
      tasks.wait();
    });
}

#if !WEFT_ASAN && !WEFT_TSAN  // whose shadow memory wants the address space

namespace {

using weft::test::worker_counts;
using namespace std::chrono_literals;

constexpr std::size_t mib = 1024 * 1024;
// A slab of stacks is about 64 MiB, a thread's stack a little more than 8. Beside the slabs there is room for up to three of these, and in any case
// for a MiB more: what is to fail here is a stack, not an allocation.
constexpr std::size_t three_slabs = (3 * 64 + 26) * mib, six_slabs = (6 * 64 + 26) * mib;

/// From now on the process gets so many bytes more, and no more.
void bound_address_space(std::size_t more) {
  std::size_t pages = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%zu", &pages) != 1) ::_exit(90);
  std::fclose(file);
  rlimit limit{};
  ::getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + more;
  ::setrlimit(RLIMIT_AS, &limit);
}

/// Tasks that wait for `gate`, as many as there are stacks for and at least one more; and what the spawn threw that came next.
struct crowd {
  weft::chan<int> gate = weft::make_chan<int>();
  std::atomic<int> ended{0};
  std::vector<weft::join_handle<void>> tasks;
  std::error_code code;
  std::string what;

  crowd() {
    tasks.reserve(100'000);
    bound_address_space(six_slabs);
    try {
      while (tasks.size() < 100'000) {
        add();
        if (tasks.size() % 8 == 0) weft::yield();
      }
    } catch (std::system_error const& e) {
      code = e.code();
      what = e.what();
    }
    // Those that came last may all have had stacks. Then one ends, and two are let in for its stack.
    while (!one_waits_for_a_stack()) {
      int const before = ended;
      gate.send(0);
      while (ended == before) weft::yield();
      try {
        add();
        add();
      } catch (std::system_error const&) {  // the first has begun already, on another worker
      }
    }
  }

 private:
  void add() {
    tasks.push_back(weft::spawn([this] {
      gate.recv();
      ++ended;
    }));
  }

  /// Once each task waits for the gate or, for good, for a stack.
  [[nodiscard]] bool one_waits_for_a_stack() const {
    auto const starving = [] { return weft::rt::current_worker()->sched->starving(); };
    while (weft::current_metrics().parked != tasks.size() - static_cast<std::size_t>(ended)) {
      if (starving())
        weft::sleep_for(50ms);  // it may get what another processor keeps; the monitor sees to it each 10 ms
      if (starving()) return true;
      weft::yield();
    }
    return false;
  }
};

/// Exits with the number of the first that is false.
#define NEED(n, condition) \
  if (!(condition)) ::_exit(n)

/// Runs f as the first task of a runtime in a child, with 1, 2 and 4 workers; `look` gets its end.
template <class F, class Look>
void in_children(F f, Look look) {
  for (unsigned const workers : worker_counts) {
    child_end const end = run_child([&] {
      ::alarm(60);  // what hangs is killed
      weft::run({.workers = workers, .stack_size = mib}, f);
      return 0;
    });
    INFO("with " << workers << " workers: " << end.errors);
    look(end);
  }
}

}  // namespace

TEST_CASE("without a stack for another task spawn and go throw system_error that names the limit, until one is free") {
  in_children(
      [] {
        crowd all;
        NEED(1, all.tasks.size() > 100 && all.tasks.size() < 1000);
        NEED(2, all.code == std::errc::not_enough_memory);
        NEED(3, all.what.find("ulimit -v") != std::string::npos);
        auto const throws = [](auto f) {
          try {
            f();
          } catch (std::system_error const& e) {
            return e.code() == std::errc::not_enough_memory;
          }
          return false;
        };
        NEED(4, throws([] { weft::go([] {}); }));
        NEED(5, throws([] { weft::spawn(weft::task_options{.name = "named"}, [] {}).detach(); }));
        weft::task_group group;
        NEED(6, throws([&] { group.spawn([] {}); }));
        weft::wait_group counted;
        NEED(7, throws([&] { counted.go([] {}); }));
        counted.wait();  // what was not spawned is not counted
        group.wait();
        all.gate.close();
        for (auto& t : all.tasks) t.join();
        NEED(8, all.ended == static_cast<int>(all.tasks.size()));
        NEED(9, weft::spawn([] { return 5; }).join() == 5);
        for (int round = 0; round < 3; ++round) {  // all stacks are there again
          auto const gate = weft::make_chan<int>();
          weft::wait_group again;
          for (std::size_t i = 0; i < all.tasks.size() / 2; ++i) again.go([gate] { gate.recv(); });
          while (weft::current_metrics().parked < all.tasks.size() / 2) weft::yield();
          gate.close();
          again.wait();
        }
      },
      [](child_end const& end) {
        CHECK(end.exit_code == 0);
        CHECK(end.signal == 0);
      });
}

TEST_CASE("without a stack for another task those that have one go on, and each that ends lets a fresh one begin") {
  in_children(
      [] {
        crowd all;
        auto const parked = [] { return weft::current_metrics().parked; };
        std::size_t const with_stack = parked();
        int const before = all.ended;
        std::size_t const alive = all.tasks.size() - static_cast<std::size_t>(before);
        NEED(1, with_stack < alive);
        for (int i = 0; i < 20; ++i) {  // they talk, sleep and compute
          all.gate.send(i);
          while (all.ended != before + i + 1) weft::yield();
          weft::sleep_for(10us);
        }
        while (parked() < std::min(with_stack, alive - 20)) weft::yield();
        all.gate.close();
        for (auto& t : all.tasks) t.join();
      },
      [](child_end const& end) {
        CHECK(end.exit_code == 0);
        CHECK(end.signal == 0);
      });
}

TEST_CASE(
    "a task whose large stack is not to be had waits without using the CPU, and keeps no task of a small one waiting") {
  in_children(
      [] {
        weft::wait_group first;
        auto const gate = weft::make_chan<int>();
        for (int i = 0; i < 200; ++i) first.go([gate] { gate.recv(); });  // so many stacks are idle afterwards
        while (weft::current_metrics().parked < 200) weft::yield();
        gate.close();
        first.wait();
        auto const keeps_one = weft::make_chan<int>();  // in a slab of its own, if slabs are given back
        auto small = weft::spawn([keeps_one] { return keeps_one.recv().value(); });
        bound_address_space(six_slabs);
        auto const leave = weft::make_chan<int>();
        std::atomic<int> ended{0};
        std::vector<weft::join_handle<void>> large;
        bool refused = false;
        while (!refused && large.size() < 1000) try {
            large.push_back(weft::spawn({.stack_size = 64 * mib}, [&] {
              leave.recv();
              ++ended;
            }));
            for (int i = 0; i < 50; ++i) weft::yield();
          } catch (std::system_error const&) {
            refused = true;
          }
        NEED(1, refused && large.size() >= 3);
        auto const cpu_used = [] {
          rusage u{};
          ::getrusage(RUSAGE_SELF, &u);
          return std::chrono::seconds(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 std::chrono::microseconds(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
        };
        auto const before = cpu_used();
        weft::sleep_for(200ms);
        NEED(2, cpu_used() - before < 100ms);
        keeps_one.send(4);
        NEED(3, small.join() == 4);
        leave.send(1);  // whose stack the one that waits can have
        while (ended != 1) weft::yield();
        leave.close();
        for (auto& t : large) t.join();
        NEED(4, ended == static_cast<int>(large.size()));
      },
      [](child_end const& end) {
        CHECK(end.exit_code == 0);
        CHECK(end.signal == 0);
      });
}

TEST_CASE("a task whose stack would be larger than all the memory there is keeps no task of a smaller one waiting") {
  child_end const end = run_child([] {
    ::alarm(60);
    weft::run({.workers = 1, .stack_size = mib}, [] {  // one, so that both are spawned before either starves
      bound_address_space(six_slabs);
      weft::rt::arm_fault({weft::rt::fault_kind::map, 1, UINT32_MAX - 1, ENOMEM});
      weft::go({.stack_size = 1024 * mib}, [] { ::_exit(1); });
      auto small = weft::spawn({.stack_size = 2 * mib}, [] { return 17; });
      while (!weft::rt::current_worker()->sched->starving()) weft::yield();
      weft::yield();
      weft::rt::disarm_fault();
      NEED(2, small.join() == 17);
      ::_exit(0);  // the other one waits for ever
    });
    return 3;
  });
  INFO(end.errors);
  CHECK(end.exit_code == 0);
  CHECK(end.signal == 0);
}

TEST_CASE("beside a task that can have no stack a long queue of others is run to its end") {
  child_end const end = run_child([] {
    ::alarm(60);
    static constexpr int many = 150'000;  // two seconds of work: longer than the patience with what starves
    std::atomic<int> done{0};
    // One worker that keeps its processor: between two tasks it has no stack, and all that it keeps are in the pool.
    weft::runtime r({.workers = 1, .hog_after = 1h, .blocked_after = 1h});
    r.spawn([&] {
       weft::rt::arm_fault({weft::rt::fault_kind::map, 1, UINT32_MAX - 1, ENOMEM});
       weft::go({.stack_size = 1024 * mib}, [] {});
       for (int i = 0; i < many; ++i)
         weft::go([&done] {
           weft::test::compute_for(15us);
           if (++done == many) ::_exit(0);
         });
     }).join();
    for (;;) std::this_thread::sleep_for(1s);
    return 1;
  });
  INFO(end.errors);
  CHECK(end.exit_code == 0);
  CHECK(end.signal == 0);
}

TEST_CASE("a plain thread's spawn throws too where there is no stack, and works when there is one again") {
  for (unsigned const workers : worker_counts) {
    child_end const end = run_child([&] {
      ::alarm(60);
      weft::runtime r({.workers = workers, .stack_size = mib});
      auto const gate = weft::make_chan<int>();
      std::vector<weft::join_handle<void>> tasks;
      tasks.reserve(100'000);
      bound_address_space(six_slabs);
      bool refused = false;
      while (!refused && tasks.size() < 100'000) try {
          tasks.push_back(r.spawn([gate] { gate.recv(); }));
          if (tasks.size() % 8 == 0) std::this_thread::sleep_for(1ms);
        } catch (std::system_error const& e) {
          refused = e.code() == std::errc::not_enough_memory;
        }
      NEED(1, refused);
      gate.close();
      for (auto& t : tasks) t.join();
      NEED(2, r.spawn([] { return 5; }).join() == 5);
      return 0;
    });
    INFO("with " << workers << " workers: " << end.errors);
    CHECK(end.exit_code == 0);
    CHECK(end.signal == 0);
  }
}

TEST_CASE(
    "where every stack is held by a task that waits for one without, the process ends with a message that names the "
    "limit") {
  in_children(
      [] {
        crowd all;
        for (auto& t : all.tasks)
          if (!t.done()) t.join();
      },
      [](child_end const& end) {
        CHECK(end.signal == SIGABRT);
        CHECK(end.errors.find("ulimit -v") != std::string::npos);
      });
}

TEST_CASE("where not even the first task can have a stack the process ends with a message that names the limit") {
  for (unsigned const workers : worker_counts) {
    child_end const end = run_child([&] {
      ::alarm(60);
      bound_address_space(three_slabs);
      weft::run({.workers = workers, .stack_size = 512 * mib}, [] {});
      return 0;
    });
    INFO("with " << workers << " workers: " << end.errors);
    CHECK(end.signal == SIGABRT);
    CHECK(end.errors.find("ulimit -v") != std::string::npos);
  }
}

#endif
