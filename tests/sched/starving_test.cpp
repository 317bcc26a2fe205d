// Tasks for which there is no stack, while the system refuses memory.
#include <weft/signal.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string>
#include <system_error>

#include <sys/resource.h>
#include <unistd.h>

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/fault.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;
using weft::rt::fault_kind;

namespace {

weft::options with(unsigned workers) {
  weft::options o;
  o.workers = workers;
  return o;
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/// Waits for what a task with a large stack has to say, for which the next `refusals` mappings are not to be had.
int receive_from_a_large_task(unsigned workers, std::uint32_t refusals) {
  return weft::run(with(workers), [&] {
    auto ch = weft::make_chan<int>();
    weft::yield();
    weft::rt::arm_fault({fault_kind::map, 1, refusals, ENOMEM});
    weft::go(weft::task_options{.stack_size = std::size_t{1} << 20}, [ch] { ch.send(17); });
    return ch.recv().value_or(0);
  });
}

}  // namespace

TEST_CASE("a task that was refused a stack gets it when memory is there again, though no stack has come back",
          "[sched][starving]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    CHECK(receive_from_a_large_task(workers, 4) == 17);
    CHECK(weft::rt::disarm_fault() >= 4);
  }
}

TEST_CASE("a task waits for its stack where no other one is in use, too", "[sched][starving]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    weft::runtime r(with(workers));
    r.spawn([] {}).join();
    weft::rt::arm_fault({fault_kind::map, 1, 5, ENOMEM});
    CHECK(r.spawn(weft::task_options{.stack_size = std::size_t{64} << 20}, [] { return 17; }).join() == 17);
    CHECK(weft::rt::disarm_fault() >= 6);
  }
}

TEST_CASE("a task that starves waits for what a timer is about to do, though no stack is in use", "[sched][starving]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    weft::runtime r(with(workers));
    std::atomic<int> large{0};
    std::atomic<std::uint32_t> refused{0};
    r.spawn([&] {
       // Later than the patience with what starves for ever; then there is memory again.
       weft::after_func(1500ms, [&] { refused = weft::rt::disarm_fault(); });
       weft::rt::arm_fault({fault_kind::map, 1, UINT32_MAX - 1, ENOMEM});
       weft::go(weft::task_options{.stack_size = std::size_t{64} << 20}, [&] {
         large = 17;
         large.notify_one();
       });
     }).join();
    large.wait(0);
    CHECK(large == 17);
    CHECK(refused > 10);
  }
}

TEST_CASE("tasks that all wait for one that can have no stack end the process with the limit's name",
          "[sched][starving]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    child_end const end = run_child([&] {
      ::alarm(60);
      return receive_from_a_large_task(workers, UINT32_MAX);
    });
    INFO(end.errors);
    CHECK(end.signal == SIGABRT);
    CHECK(end.errors.find("no stack can be had for the next task, and all others wait: ") != std::string::npos);
    CHECK(end.errors.find("vm.max_map_count") != std::string::npos);
    CHECK(end.errors.find("begin when others have ended") == std::string::npos);
  }
}

TEST_CASE("that tasks wait for a stack is said once where a signal may yet end the others' wait", "[sched][starving]") {
  for (unsigned const workers : {1U, 4U}) {
    INFO(workers << " workers");
    child_end const end = run_child([&] {
      ::alarm(60);
      return weft::run(with(workers), [] {
        auto const ends = weft::signals({SIGUSR1});
        weft::rt::arm_fault({fault_kind::map, 1, UINT32_MAX - 1, ENOMEM});
        // The first may starve before the second is made, and then only a smaller one is not refused.
        for (std::size_t const size : {std::size_t{1} << 20, std::size_t{1} << 19})
          weft::go(weft::task_options{.stack_size = size}, [] {});
        weft::sleep_for(4s);  // the patience is two seconds
        ::raise(SIGUSR1);
        (void)ends.recv();
        weft::rt::disarm_fault();
        return 0;
      });
    });
    INFO(end.errors);
    CHECK((end.signal == 0 && end.exit_code == 0));
    std::string const line = "weft: tasks have waited for a stack for two seconds";
    std::size_t const at = end.errors.find(line);
    REQUIRE(at != std::string::npos);
    CHECK(end.errors.find(line, at + 1) == std::string::npos);
    CHECK(end.errors.find("vm.max_map_count", at) != std::string::npos);
  }
}

TEST_CASE("that all others wait is found where a look at every task takes longer than the monitor's pause",
          "[sched][starving]") {
  constexpr int many = weft::rt::tsan || weft::rt::asan ? 100'000 : 3'000'000;
  child_end const end = run_child([&] {
    ::alarm(100);  // it takes one second
    weft::run(with(1), [] {
      weft::wait_group all;
      for (int i = 0; i != many; ++i) all.go([] {});  // their memory is looked at from now on
      all.wait();
    });
    return receive_from_a_large_task(1, UINT32_MAX);
  });
  INFO(end.errors);
  CHECK(end.signal == SIGABRT);
}

TEST_CASE(
    "while a task starves others go on, new ones that want as large a stack are refused, and nobody looks all the time",
    "[sched][starving]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO(workers << " workers");
    double used = 0;
    bool refused = false, small_ran = false;
    weft::run(with(workers), [&] {
      auto ch = weft::make_chan<int>();
      // Idle stacks of the default size: of no use to a task that wants a large one.
      for (int i = 0; i < 8; ++i) weft::spawn([] { weft::sleep_for(1ms); }).join();
      weft::rt::arm_fault({fault_kind::map, 1, UINT32_MAX, ENOMEM});
      weft::go(weft::task_options{.stack_size = std::size_t{1} << 20}, [ch] { ch.send(17); });
      weft::sleep_for(10ms);
      double const before = cpu_seconds();
      weft::sleep_for(500ms);
      used = cpu_seconds() - before;
      small_ran = weft::spawn([] { return true; }).join();
      try {
        weft::go(weft::task_options{.stack_size = std::size_t{1} << 20}, [] {});
      } catch (std::system_error const& e) {
        refused = e.code() == std::errc::not_enough_memory;
      }
      weft::rt::disarm_fault();
      (void)ch.recv();
    });
    CHECK(refused);
    CHECK(small_ran);
    CHECK(used < 0.25);
  }
}
