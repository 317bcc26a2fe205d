// The slow half of object_lock (runtime/base/lock.hpp), which sleeps and so belongs above the futex.
//
// The spin backs off: pauses that double, and a look after each. Looking all the time would take the line from the holder, who is
// a few dozen instructions from releasing it, and sleeping early makes a convoy, since whoever is woken finds the lock taken again:
// four producers and four consumers on one channel took 119 ns a value so, 27 with this (docs/decisions/0015). All pauses together are
// four to twenty microseconds: longer than any section under such a lock takes, and short beside a time slice, which is how long
// a holder that the OS preempted is away.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/base/count_up.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/platform/biased_lock.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {

namespace {
constexpr unsigned first_pause = 64, last_pause = 256;
constexpr std::int64_t first_sleep_ns = 50'000, longest_sleep_ns = 1'000'000;

// How many pauses this thread has waited in lock_slow: reading the clock there would make the waits longer. Functions that read or write it do not
// switch.
thread_local constinit std::atomic<std::uint64_t> pauses_waited __attribute__((tls_model("initial-exec"))) = 0;

// Both are atomic for ThreadSanitizer, to which the tasks of one thread are strangers; the thread alone writes them.
thread_local constinit std::atomic<std::atomic<std::uint32_t>*> told_of_naps
    __attribute__((tls_model("initial-exec"))) = nullptr;

void count_pauses(std::uint64_t n) noexcept {
  pauses_waited.store(pauses_waited.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

/// Until `word` is another one or somebody wakes this thread, but no longer than `ns`.
void nap(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t ns) noexcept {
  std::atomic<std::uint32_t>* const told = told_of_naps.load(std::memory_order_relaxed);
  if (told != nullptr) count_up(*told, std::memory_order_release);
  (void)futex_wait_until(word, expected, monotonic_ns() + ns);
  if (told != nullptr) count_up(*told, std::memory_order_release);
}

void spin(unsigned pauses) noexcept {
  for (unsigned i = 0; i < pauses; ++i) cpu_relax();
}

/// Of the fastest of some tries: what is longer was interrupted. 10 ns to 45 ns, by the processor.
double measure_pause() noexcept {
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (int i = 0; i < 8; ++i) {
    std::int64_t const begin = monotonic_ns();
    spin(first_pause);
    least = std::min(least, monotonic_ns() - begin);
  }
  return static_cast<double>(least) / first_pause;
}
}  // namespace

__attribute__((noinline)) void tell_lock_naps(std::atomic<std::uint32_t>* naps) noexcept {
  told_of_naps.store(naps, std::memory_order_relaxed);
}

__attribute__((noinline)) std::int64_t lock_waited_ns() noexcept {
  std::uint64_t const pauses = pauses_waited.load(std::memory_order_relaxed);
  if (pauses == 0) return 0;
  static double const pause_ns = measure_pause();
  return static_cast<std::int64_t>(static_cast<double>(pauses) * pause_ns);
}

void object_lock::lock_slow() noexcept {
  for (unsigned pause = first_pause; pause <= last_pause; pause *= 2) {
    spin(pause);
    count_pauses(pause);
    std::uint32_t seen = word_.load(std::memory_order_relaxed);
    if (seen == 0 &&
        word_.compare_exchange_weak(seen, 1, std::memory_order_acquire, std::memory_order_relaxed))  // step 1
      return;
  }
  for (std::int64_t ns = first_sleep_ns; word_.exchange(2, std::memory_order_acquire) != 0;  // step 3
       ns = std::min(2 * ns, longest_sleep_ns)) {
    count_pauses(last_pause);  // however long: the holder may have been preempted
    nap(word_, 2, ns);
  }
}

void object_lock::unlock_slow(std::atomic<std::uint32_t>* word) noexcept {
  if (word->exchange(0, std::memory_order_release) == 2) futex_wake(*word, 1);
}

constinit std::atomic<std::uint32_t> bias_policy::possible_owners{0};

std::uint8_t bias_policy::wait_while(std::atomic<std::uint8_t>& word, std::uint8_t value) noexcept {
  for (unsigned pause = first_pause; pause <= last_pause; pause *= 2) {
    if (std::uint8_t const seen = word.load(std::memory_order_acquire); seen != value) return seen;
    spin(pause);
  }
  std::atomic<std::uint32_t> nobody_wakes{0};  // the owner writes the word and no more
  for (std::int64_t ns = first_sleep_ns;; ns = std::min(2 * ns, longest_sleep_ns)) {
    if (std::uint8_t const seen = word.load(std::memory_order_acquire); seen != value) return seen;
    nap(nobody_wakes, 0, ns);
  }
}

}  // namespace weft::rt
