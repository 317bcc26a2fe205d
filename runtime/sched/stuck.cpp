// The end of a process whose tasks cannot be ended: they are named, what the program has printed goes out, and the process exits.
//
// Not by exit(): that runs destructors of static objects and atexit functions under threads that go on. But what stands in the streams of
// stdio would be lost with them, so these are flushed, by a thread of its own that is waited for a second at most: a stuck task may hold
// a stream's lock, and a full pipe may have no reader. std::cout goes through stdout, unless sync_with_stdio(false) was called: then its
// buffer has no lock, and may be in use.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "runtime/base/check.hpp"
#include "runtime/base/message.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

namespace {

constexpr std::int64_t longest_flush_ns = 1'000'000'000;

std::atomic<std::uint32_t> flushed{0};

void flush_streams() noexcept {
  try {
    std::thread([] {
      std::fflush(nullptr);
      flushed.store(1, std::memory_order_release);
      futex_wake(flushed, 1);
    }).detach();
  } catch (std::system_error const&) {
    return;
  } catch (std::bad_alloc const&) {
    return;
  }
  std::int64_t const deadline = monotonic_ns() + longest_flush_ns;
  while (flushed.load(std::memory_order_acquire) == 0 && futex_wait_until(flushed, 0, deadline)) {
  }
}

}  // namespace

void scheduler::report_stuck(char const* why) {
  observer const* o = observer_in_use.load(std::memory_order_acquire);
  std::string const text = o != nullptr ? o->describe(*this) : std::string();
  warn("%s", why);
  write_error(text);
  if (options_.on_stuck == stuck::abort) std::abort();
  flush_streams();
  std::_Exit(70);
}

}  // namespace weft::rt
