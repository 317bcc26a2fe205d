// The slow half of object_lock (runtime/base/lock.hpp), which sleeps and so belongs above the futex.
//
// The spin is about a microsecond: longer than any section under such a lock, shorter than a sleep and a wake. It ends
// early when somebody sleeps already: then the holder is not running, or there is a crowd, and spinning only delays it.
#include <algorithm>

#include "runtime/base/lock.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {

namespace {
constexpr std::int64_t first_sleep_ns = 50'000, longest_sleep_ns = 1'000'000;
}

void object_lock::lock_slow() noexcept {
  for (unsigned spin = 0; spin < 40; ++spin) {
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    if (seen == 2) break;
    if (seen == 0 &&
        word_.compare_exchange_weak(seen, 1, std::memory_order_acquire, std::memory_order_relaxed))  // step 1
      return;
    cpu_relax();
  }
  for (std::int64_t nap = first_sleep_ns; word_.exchange(2, std::memory_order_acquire) != 0;  // step 3
       nap = std::min(2 * nap, longest_sleep_ns))
    (void)futex_wait_until(word_, 2, monotonic_ns() + nap);
}

void object_lock::unlock_slow(std::atomic<std::uint32_t>* word) noexcept {
  if (word->exchange(0, std::memory_order_release) == 2) futex_wake(*word, 1);
}

}  // namespace weft::rt
