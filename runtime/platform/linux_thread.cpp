// Linux: futexes, clocks, membarrier, threads. See platform.hpp for the contract.
#include "runtime/base/check.hpp"
#include "runtime/platform/descriptor.hpp"
#include "runtime/platform/platform.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cxxabi.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
extern void* __dso_handle __attribute__((visibility("hidden")));  // of the program or library that weft is linked into
}

namespace weft::rt {
namespace {

// Every call promises to keep errno: a task's errno must not change because the runtime slept.
class kept_errno {
 public:
  WEFT_NO_TSAN kept_errno() noexcept : value_(errno) {}  // one memory for all tasks of a thread, see switch.hpp
  WEFT_NO_TSAN ~kept_errno() { errno = value_; }
  kept_errno(kept_errno const&) = delete;
  kept_errno& operator=(kept_errno const&) = delete;

 private:
  int value_;
};

constexpr std::int64_t second = 1'000'000'000;

std::int64_t read_clock(clockid_t clock) noexcept {
  timespec now;
  if (::clock_gettime(clock, &now) != 0) return -1;
  return static_cast<std::int64_t>(now.tv_sec) * second + now.tv_nsec;
}

// ThreadSanitizer keeps a signal back until its thread makes a call that the tool knows, which syscall() is not: a thread asleep
// on a futex would never run the handler. So there sleeps come in slices, which to the caller are spurious wake-ups.
constexpr bool in_slices = tsan;
constexpr long slice = second / 20;

void run_held_back_handlers() noexcept {
  timespec const none{};
  ::nanosleep(&none, nullptr);
}

}  // namespace

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
  kept_errno const kept;
  timespec const part{0, slice};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, in_slices ? &part : nullptr, nullptr, 0);
  if (in_slices) run_held_back_handlers();
}

bool futex_wait_until(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                      std::int64_t deadline_monotonic_ns) noexcept {
  kept_errno const kept;
  if (deadline_monotonic_ns < 0) deadline_monotonic_ns = 0;
  bool sliced = false;
  if (in_slices) {
    run_held_back_handlers();
    std::int64_t const end = monotonic_ns() + slice;
    sliced = end < deadline_monotonic_ns;
    if (sliced) deadline_monotonic_ns = end;
  }
  timespec deadline{};
  deadline.tv_sec = static_cast<time_t>(deadline_monotonic_ns / second);
  deadline.tv_nsec = static_cast<long>(deadline_monotonic_ns % second);
  // The bitset variant takes an absolute time; without FUTEX_CLOCK_REALTIME it is CLOCK_MONOTONIC's.
  long const result =
      ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, &deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
  return sliced || !(result == -1 && errno == ETIMEDOUT);
}

void futex_wake(std::atomic<std::uint32_t> const& word, int count) noexcept {
  kept_errno const kept;
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

std::int64_t monotonic_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }

std::int64_t realtime_ns() noexcept { return read_clock(CLOCK_REALTIME); }

thread_clock current_thread_clock() noexcept {
  clockid_t id;
  WEFT_CHECK(::pthread_getcpuclockid(::pthread_self(), &id) == 0, "a thread has no CPU clock");
  return {static_cast<int>(id)};
}

std::int64_t thread_cpu_ns(thread_clock clock) noexcept {
  kept_errno const kept;
  return read_clock(static_cast<clockid_t>(clock.id));
}

// Before all other constructors: see platform.hpp on why the choice must stand before any thread uses a fence.
constinit std::atomic<bool> membarrier_in_use{false};

namespace {

__attribute__((constructor(101))) void choose_fences() noexcept {
  if (tsan) return;
  kept_errno const kept;
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
    membarrier_in_use.store(true, std::memory_order_relaxed);
}

}  // namespace

void heavy_fence() noexcept {
  if (!has_membarrier()) {
    full_fence();
    return;
  }
  kept_errno const kept;
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
    fatal(
        "membarrier, which worked when the program started, does not any more (errno %d): a seccomp filter set since "
        "must let it pass",
        errno);
}

memory_range thread_stack() noexcept {
  memory_range range;
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return range;
  ::pthread_attr_getstack(&attributes, &range.start, &range.size);
  ::pthread_attr_destroy(&attributes);
  return range;
}

void at_thread_exit(void (*call)(void* arg), void* arg) noexcept { abi::__cxa_thread_atexit(call, arg, &__dso_handle); }

void keep_loaded() noexcept {
  at_thread_exit([](void*) {}, nullptr);
}

void set_thread_name(char const* name) noexcept {
  char shown[16] = {};
  std::strncpy(shown, name, sizeof shown - 1);
  ::pthread_setname_np(::pthread_self(), shown);
}

int current_thread_id() noexcept { return static_cast<int>(::syscall(SYS_gettid)); }

char thread_state(int thread_id) noexcept {
  kept_errno const kept;
  char path[48];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread_id);
  int const file = above_standard(::open(path, O_RDONLY | O_CLOEXEC));
  if (file < 0) return 0;
  // "17 (name) S ...": the name has at most 15 characters and may hold brackets; what follows holds none.
  char text[96];
  ssize_t const length = ::read(file, text, sizeof text);
  ::close(file);
  for (ssize_t at = length - 3; at > 0; --at)
    if (text[at] == ')') return text[at + 2];
  return 0;
}

unsigned process_threads() noexcept {
  kept_errno const kept;
  int const file = above_standard(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
  if (file < 0) {  // no descriptor is left: the folder's links are its own two and one for each thread
    struct stat tasks{};
    return ::stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 2 ? static_cast<unsigned>(tasks.st_nlink - 2) : 0;
  }
  char text[1024];
  ssize_t const length = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (length <= 0) return 0;
  text[length] = '\0';
  // Field 20; the second, in brackets, may hold anything.
  char const* at = std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 20; ++field) at = std::strchr(at + 1, ' ');
  return at != nullptr ? static_cast<unsigned>(std::strtoul(at + 1, nullptr, 10)) : 0;
}

void call_after_fork(void (*f)()) noexcept { (void)::pthread_atfork(nullptr, nullptr, f); }

void set_precise_sleep() noexcept {
  kept_errno const kept;
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

}  // namespace weft::rt
