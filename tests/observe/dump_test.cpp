#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "runtime/observe/census.hpp"
#include "runtime/observe/report.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

std::string dumped() {
  std::ostringstream text;
  weft::dump(text);
  return text.str();
}

/// Waits until as many tasks of this runtime are parked; these tests have no other way to know that a task has gone to sleep.
void until_parked(std::size_t n) {
  while (weft::current_metrics().parked < n) weft::yield();
}

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

__attribute__((noinline)) void read_the_mail(weft::receiver<int> from) {
  while (from.recv()) {
  }
}

__attribute__((noinline)) void walk_down(int depth, weft::receiver<int> from) {
  if (depth == 0) return read_the_mail(from);
  walk_down(depth - 1, from);
  __asm__ volatile("");  // no tail call
}

}  // namespace

TEST_CASE("whatever a task is called, a dump has one line of it", "[observe][dump]") {
  weft::test::with_workers([] {
    auto never = weft::make_chan<int>();
    auto waits = weft::spawn({.name = "of a user\nweft: fatal: \x1b[2J"}, [&] { never.recv(); });
    until_parked(1);
    CHECK(contains(dumped(), "\"of a user weft: fatal:  [2J\", spawned at "));
    never.close();
  });
}

TEST_CASE("a dump tells a task in a blocking call from one that computes", "[observe][dump]") {
  weft::test::with_workers([] {
    weft::latch begun(1);
    std::atomic<bool> over{false};
    auto call = weft::spawn([&] {
      weft::blocking([&] {
        begun.count_down();
        over.wait(false);
      });
    });
    begun.wait();
    std::string const text = dumped();
    over = true;
    over.notify_all();
    call.join();
    CHECK(contains(text, ": running weft::blocking\n"));
    CHECK(contains(text, "task " + std::to_string(weft::this_task::id()) + ": running\n"));
    CHECK(!contains(dumped(), "blocking"));
  });
}

TEST_CASE("a dump knows the names of a program whose file has been removed", "[.][removed]") {
  std::string program(4096, '\0');
  program.resize(static_cast<std::size_t>(::readlink("/proc/self/exe", program.data(), program.size())));
  REQUIRE(::unlink(program.c_str()) == 0);
  std::ofstream(program) << "another program";
  weft::run([] {
    auto mail = weft::make_chan<int>();
    auto reader = weft::spawn([in = mail.rx()] { walk_down(3, in); });
    until_parked(1);
    CHECK(contains(dumped(), "read_the_mail("));
    mail.close();
  });
  CHECK(::unlink(program.c_str()) == 0);
}

TEST_CASE("an upgrade under a running program does not take the names from its dumps", "[observe][dump]") {
  namespace fs = std::filesystem;
  fs::path const copy = fs::temp_directory_path() / ("weft_removed_" + std::to_string(::getpid()));
  fs::copy_file("/proc/self/exe", copy);
  CHECK(std::system((copy.string() + " '[removed]' >/dev/null").c_str()) == 0);
  CHECK_FALSE(fs::exists(copy));
}

TEST_CASE("a dump names each task with its name, place of spawn, reason and stack", "[observe][dump]") {
  weft::test::with_workers([] {
    auto mail = weft::make_chan<int>();
    auto never = weft::make_chan<int>();
    auto reader = weft::spawn(weft::task_options{.name = "reader"}, [in = mail.rx()] { walk_down(3, in); });
    weft::go([in = mail.rx()] { walk_down(3, in); });
    weft::go([&] { weft::select(weft::on_recv(never), weft::on_timeout(1h)); });
    weft::mutex m;
    m.lock();
    auto locker = weft::spawn([&] { std::lock_guard hold(m); });
    auto joiner = weft::spawn([&] { reader.wait(); });
    until_parked(5);
    std::string const text = dumped();
    m.unlock();
    mail.close();
    never.close();
    locker.join();
    joiner.join();
    INFO(text);
    CHECK(contains(text, "6 tasks: 1 running, 5 parked"));
    CHECK(contains(text, "\"reader\""));
    CHECK(contains(text, "dump_test.cpp:"));
    CHECK(contains(text, "waits on channel receive 0x"));
    CHECK(contains(text, "waits on mutex 0x"));
    CHECK(contains(text, "waits on join of task "));
    CHECK(contains(text, "waits on select 0x"));
    CHECK(contains(text, " s more"));
    CHECK(contains(text, "read_the_mail("));
    CHECK(contains(text, "walk_down("));
  });
}

TEST_CASE("tasks with equal stacks stand together, once each", "[observe][dump]") {
  weft::test::with_workers([] {
    constexpr std::size_t many = 200;
    auto mail = weft::make_chan<int>();
    for (std::size_t i = 0; i < many; ++i) weft::go([in = mail.rx()] { walk_down(2, in); });
    until_parked(many);
    weft::rt::census const seen = weft::rt::take_census(nullptr);
    std::string const text = weft::rt::describe(seen);
    mail.close();
    CHECK(seen.tasks.size() == many + 1);
    auto const parked = std::count_if(seen.tasks.begin(), seen.tasks.end(),
                                      [](auto const& e) { return e.state == weft::rt::task_state::parked; });
    CHECK(parked == many);
    INFO(text);
    // By how many ways the runtime has them wait is its own affair: the channel's lock may have become a thread's meanwhile.
    CHECK(seen.traces.size() < 5);
    CHECK(contains(text, "200 tasks in the same calls"));
  });
}

TEST_CASE("a dump from a plain thread sees the tasks of all runtimes", "[observe][dump]") {
  weft::runtime first;
  weft::runtime second;
  auto gate = weft::make_chan<int>();
  weft::chan<int> arrived(2);
  auto task = [&] {
    arrived.send(1);
    gate.recv();
  };
  auto a = first.spawn(weft::task_options{.name = "of the first"}, task);
  auto b = second.spawn(weft::task_options{.name = "of the second"}, task);
  arrived.recv();
  arrived.recv();
  std::string const text = dumped();
  gate.close();
  a.join();
  b.join();
  INFO(text);
  CHECK(contains(text, "of the first"));
  CHECK(contains(text, "of the second"));
}

TEST_CASE("a wait's age is told in milliseconds", "[observe][dump]") {
  weft::test::with_workers([] {
    auto gate = weft::make_chan<int>();
    weft::go([&] { gate.recv(); });
    until_parked(1);
    weft::sleep_for(50ms);
    weft::rt::census const seen = weft::rt::take_census(nullptr);
    gate.close();
    REQUIRE(seen.tasks.size() == 2);
    CHECK(seen.tasks[1].waited_ns >= 40'000'000);
    CHECK(seen.tasks[1].waited_ns < 30'000'000'000);
  });
}

TEST_CASE("a wait's age is told after weeks, too", "[observe][dump]") {
  weft::sim::run(1, [] {
    auto gate = weft::make_chan<int>();
    weft::go([&] { gate.recv(); });
    for (int const days : {1, 29, 22}) {
      weft::time_point const before = weft::now();
      weft::sleep_for(days * 24h);
      weft::rt::census const seen = weft::rt::take_census(nullptr);
      REQUIRE(seen.tasks.size() == 2);
      CHECK(seen.tasks[1].waited_ns >= (weft::now() - before - 10ms).count());
    }
    gate.close();
  });
}

TEST_CASE("a task that computed before it parked was not waiting meanwhile", "[observe][dump]") {
  weft::test::with_workers([] {
    auto gate = weft::make_chan<int>();
    std::atomic<weft::time_point> computed{};
    weft::go([&] {
      weft::test::compute_for(100ms);
      computed = weft::now();
      gate.recv();
    });
    weft::sleep_for(110ms);
    until_parked(1);
    weft::rt::census const seen = weft::rt::take_census(nullptr);
    std::chrono::nanoseconds const since = weft::now() - computed.load();
    gate.close();
    REQUIRE(seen.tasks.size() == 2);
    CHECK(seen.tasks[1].waited_ns < (since + 80ms).count());  // the computing took 100
  });
}

namespace {

constexpr int pairs = 4;
constexpr int rounds = 2000;

/// Numbers go to an echo and back, `pairs` times at once; the sum of what came back.
long echo_numbers() {
  weft::task_group all;
  std::atomic<long> total{0};
  for (int p = 0; p < pairs; ++p) {
    auto there = weft::make_chan<int>();
    auto back = weft::make_chan<int>(1);
    all.spawn([=] {
      for (int i = 0; i < rounds; ++i) there.send(i);
      there.close();
    });
    all.spawn([=] {
      while (auto v = there.recv()) {
        if (*v % 64 == 0) weft::this_task::set_name("echo at " + std::to_string(*v));
        back.send(*v);
      }
      back.close();
    });
    all.spawn([=, &total] {
      for (int i = 0; i < rounds; ++i) {
        // Timeouts and cancellations claim frozen tasks too.
        auto got = back.recv_for(1us);
        while (!got) got = back.recv_for(1ms);
        total += *got;
        if (i % 16 != 0) continue;
        auto brief = weft::spawn(weft::task_options{.name = "brief"}, [] { weft::sleep_for(1h); });
        if (i % 32 == 0) weft::yield();
        brief.stop();
      }
    });
  }
  all.wait();
  return total.load();
}

}  // namespace

TEST_CASE("dumps in a loop lose no wake-up while tasks park, wake, are renamed and end", "[observe][dump][stress]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    weft::options chosen;
    chosen.workers = workers;
    weft::runtime runtime(chosen);
    std::atomic<bool> over{false};
    std::atomic<int> dumps{0};  // that saw tasks
    std::thread watcher([&] {
      while (!over.load()) {
        if (weft::rt::take_census(nullptr).tasks.size() > pairs) ++dumps;
        std::this_thread::yield();
      }
    });
    int turns = 0;
    long sum = 0;
    do {
      ++turns;
      sum += runtime.run(echo_numbers);
    } while (dumps < 50);
    over = true;
    watcher.join();
    CHECK(sum == static_cast<long>(turns) * pairs * rounds * (rounds - 1) / 2);
    runtime.shutdown();
    CHECK(runtime.metrics().live == 0);
  }
}

TEST_CASE("who waits on the nil channel is shown as such", "[observe][dump]") {
  auto const report_of = [](void (*f)()) -> std::string {
    try {
      weft::run(f);
    } catch (weft::deadlock const& e) {
      return e.what();
    }
    return {};
  };
  CHECK(contains(report_of([] { (void)weft::chan<int>().recv(); }), "waits on channel receive (nil channel), for "));
  CHECK(contains(report_of([] { weft::chan<int>().send(1); }), "waits on channel send (nil channel), for "));
  CHECK(contains(report_of([] { (void)weft::select(weft::on_recv(weft::chan<int>())); }),
                 "waits on select (no channel but nil), for "));
}
