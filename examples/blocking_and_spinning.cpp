// A task that computes without ever waiting and one that sits in a system call do not stop the others, even on one worker: the monitor
// takes the worker's processor and gives it to another thread. A call that is known to block can say so: blocking().

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <thread>

#include <weft/weft.hpp>

#include "support/interruptible.hpp"

using namespace std::chrono_literals;

namespace {

long collatz_steps(long n) {
  long steps = 0;
  for (; n != 1; ++steps) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  return steps;
}

/// Computes until it is told to stop. No call of weft in here.
long longest_chain(std::atomic<bool> const& stop) {
  long longest = 0;
  for (long n = 1; !stop; ++n) longest = std::max(longest, collatz_steps(n));
  return longest;
}

/// A library's call, which knows nothing of tasks.
int slow_call() {
  std::this_thread::sleep_for(30ms);
  return 42;
}

void app() {
  std::atomic<bool> stop = false;
  auto spinning = weft::spawn([&] { return longest_chain(stop); });
  weft::defer const tell_it([&] { stop = true; });  // cancelled or not: nothing else reaches a task that never waits
  auto unannounced = weft::spawn([] { return slow_call(); });
  auto announced = weft::spawn([] { return weft::blocking(slow_call); });

  weft::ticker every(5ms);
  for (int i = 0; i < 10; ++i) every.channel().recv();
  std::cout << "ten ticks beside them all\n";

  std::cout << "the calls returned " << unannounced.join() << " and " << announced.join() << '\n';
  stop = true;
  std::cout << "a chain of " << (spinning.join() > 300 ? "more than 300" : "at most 300") << " steps was found\n";
}

}  // namespace

int main() { return examples::interruptible(app, weft::options{.workers = 1}); }
