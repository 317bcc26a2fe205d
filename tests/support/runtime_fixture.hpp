// Runs a test's body as a task, on 1, 2 and 4 workers, and looks that nothing of it is left.
//
// Catch2's assertions may be used by one thread at a time. The body runs as the first task while the test's own thread
// waits for it, so REQUIRE and CHECK are safe in the body; other tasks hand their findings to it (a channel, a join).
#pragma once

#include <weft/weft.hpp>

#include <chrono>
#include <functional>

#include "tests/support/catch.hpp"

namespace weft::test {

inline constexpr unsigned worker_counts[] = {1, 2, 4};

/// Calls f() as the first task of a runtime with the given number of workers. Rethrows what f throws.
template <class F>
void with_worker_count(unsigned workers, F&& f) {
  INFO("with " << workers << " workers");
  weft::options chosen;
  chosen.workers = workers;
  weft::runtime runtime(chosen);
  runtime.run(std::ref(f));
  runtime.shutdown();
  CHECK(runtime.metrics().live == 0);
}

/// As the first task of a runtime whose monitor takes no processor away, however slow the machine is.
template <class F>
void undisturbed(unsigned workers, F&& f) {
  using std::chrono::nanoseconds;
  weft::run({.workers = workers, .hog_after = nanoseconds(0), .blocked_after = nanoseconds(0)}, std::ref(f));
}

/// with_worker_count() with 1, 2 and 4 workers, one after the other.
template <class F>
void with_workers(F&& f) {
  for (unsigned const workers : worker_counts) with_worker_count(workers, f);
}

}  // namespace weft::test
