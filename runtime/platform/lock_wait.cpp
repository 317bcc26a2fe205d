// The slow half of object_lock (runtime/base/lock.hpp), which sleeps and so belongs above the futex.
//
// The spin backs off: pauses that double, and a look after each. Looking all the time would take the line from the holder, who is
// a few dozen instructions from releasing it, and sleeping early makes a convoy, since whoever is woken finds the lock taken again:
// four producers and four consumers on one channel took 119 ns a value so, 27 with this (docs/decisions/0015). All pauses together are
// four to twenty microseconds: longer than any section under such a lock takes, and short beside a time slice, which is how long
// a holder that the OS preempted is away.
#include <algorithm>

#include "runtime/base/lock.hpp"
#include "runtime/platform/biased_lock.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {

namespace {
constexpr unsigned first_pause = 64, last_pause = 256;
constexpr std::int64_t first_sleep_ns = 50'000, longest_sleep_ns = 1'000'000;
}  // namespace

void object_lock::lock_slow() noexcept {
  for (unsigned pause = first_pause; pause <= last_pause; pause *= 2) {
    for (unsigned i = 0; i < pause; ++i) cpu_relax();
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    if (seen == 0 &&
        word_.compare_exchange_weak(seen, 1, std::memory_order_acquire, std::memory_order_relaxed))  // step 1
      return;
  }
  for (std::int64_t nap = first_sleep_ns; word_.exchange(2, std::memory_order_acquire) != 0;  // step 3
       nap = std::min(2 * nap, longest_sleep_ns))
    (void)futex_wait_until(word_, 2, monotonic_ns() + nap);
}

void object_lock::unlock_slow(std::atomic<std::uint32_t>* word) noexcept {
  if (word->exchange(0, std::memory_order_release) == 2) futex_wake(*word, 1);
}

void bias_policy::wait_for_zero(std::atomic<std::uint32_t>& word) noexcept {
  for (unsigned pause = first_pause; pause <= last_pause; pause *= 2) {
    if (word.load(std::memory_order_acquire) == 0) return;
    for (unsigned i = 0; i < pause; ++i) cpu_relax();
  }
  for (std::int64_t nap = first_sleep_ns; word.load(std::memory_order_acquire) != 0;
       nap = std::min(2 * nap, longest_sleep_ns))
    (void)futex_wait_until(word, 1, monotonic_ns() + nap);  // nobody wakes: its owner writes 0 and no more
}

}  // namespace weft::rt
