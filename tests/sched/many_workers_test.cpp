// Runtimes with many more workers than the machine has processors: what grows with their number.

#include <weft/weft.hpp>

#include <sys/resource.h>

#include <atomic>
#include <cstddef>
#include <thread>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;

namespace {

/// By all threads of the process, those that have ended too.
long waits() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  return u.ru_nvcsw;
}

/// Each has a thread afterwards.
void start_all(weft::runtime& r, unsigned workers) {
  std::atomic<unsigned> there = 0;
  r.run([&] {
    weft::wait_group all;
    for (unsigned i = 0; i < workers; ++i)
      all.go([&] {
        ++there;
        while (there < workers) std::this_thread::yield();
      });
    all.wait();
  });
}

}  // namespace

TEST_CASE("the threads of many workers do not wait for each other when their runtime ends") {
  if (weft::rt::asan || weft::rt::tsan) return;  // whose own locks they wait for
  constexpr unsigned workers = 256;
  weft::runtime r({.workers = workers});
  start_all(r, workers);
  REQUIRE(r.metrics().threads == workers);
  long before = 0, now = waits();
  do {  // until all are idle; this thread's sleep is one
    before = now;
    std::this_thread::sleep_for(20ms);
    now = waits();
  } while (now - before > 1);
  r.shutdown();
  // One each at most, where the lock's holder was preempted; eight and more where they are woken under the lock that they take then.
  CHECK(waits() - now < 4 * static_cast<long>(workers));
}

TEST_CASE("many workers end with the last of their tasks, which end on all of them at once") {
  for (unsigned const workers : {3u, 16u, 64u})
    for (int round = 0; round < 20; ++round) {
      INFO(workers << " workers, round " << round);
      weft::runtime r({.workers = workers});
      std::atomic<int> begun = 0, ended = 0;
      constexpr int tasks = weft::rt::tsan ? 60 : 300;
      auto const never = weft::make_chan<int>();
      r.run([&] {
        for (int i = 0; i < tasks; ++i)
          weft::go([&, rx = never.rx()] {
            weft::defer const last([&] { ++ended; });
            ++begun;
            (void)rx.recv();
          });
        while (begun != tasks) weft::yield();
      });
      r.shutdown();
      CHECK(ended == tasks);
      CHECK(r.metrics().live == 0);
    }
}

TEST_CASE("the stacks that many processors keep at hand go back while nothing goes on") {
  if (weft::rt::asan || weft::rt::tsan) return;  // asan keeps what is mapped; with tsan no processor keeps any
  constexpr unsigned workers = 64;
  constexpr std::size_t tasks = 10'000;
  weft::runtime r({.workers = workers});
  start_all(r, workers);
  r.run([&] {
    auto const gate = weft::make_chan<int>();
    weft::wait_group all;
    for (std::size_t i = 0; i < tasks; ++i) all.go([gate] { gate.recv(); });
    while (weft::current_metrics().parked < tasks) weft::yield();
    gate.close();
    all.wait();
  });
  while (r.metrics().stacks > 256) std::this_thread::sleep_for(1ms);  // the test's time limit
}
