#include "runtime/platform/platform.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <future>
#include <limits>
#include <thread>

using namespace weft::rt;

namespace {

constexpr std::int64_t millisecond = 1'000'000;

// Waits for a state of another thread that only the kernel knows; the test's time limit ends it.
void await_state(int thread, char wanted) {
  while (thread_state(thread) != wanted) std::this_thread::yield();
}

}  // namespace

TEST_CASE("a futex wait returns at once if the word differs, and keeps errno") {
  std::atomic<std::uint32_t> word{1};
  errno = 42;
  futex_wait(word, 0);
  CHECK(futex_wait_until(word, 0, monotonic_ns() + 1000 * millisecond));
  futex_wake(word, 1);
  CHECK(errno == 42);
}

TEST_CASE("a futex wait with a deadline returns false not before the deadline") {
  std::atomic<std::uint32_t> word{0};
  auto const deadline = monotonic_ns() + 5 * millisecond;
  while (futex_wait_until(word, 0, deadline)) {
  }
  CHECK(monotonic_ns() >= deadline);
  CHECK_FALSE(futex_wait_until(word, 0, 0));
  CHECK_FALSE(futex_wait_until(word, 0, -5));
}

TEST_CASE("a thread that sleeps on a futex is woken") {
  std::atomic<std::uint32_t> word{0};
  std::promise<int> id;
  std::thread sleeper([&] {
    id.set_value(current_thread_id());
    while (word.load() == 0) futex_wait(word, 0);
  });
  await_state(id.get_future().get(), 'S');
  word.store(1);
  futex_wake(word, 1);
  sleeper.join();
  CHECK(word.load() == 1);
}

TEST_CASE("the state of a thread that is gone is not known") {
  std::promise<int> id;
  std::thread([&] { id.set_value(current_thread_id()); }).join();
  auto const gone = id.get_future().get();
  while (thread_state(gone) != 0) std::this_thread::yield();
  CHECK(thread_state(gone) == 0);
  CHECK(thread_state(current_thread_id()) == 'R');
}

TEST_CASE("the process's threads are counted, also where no descriptor is left") {
  child_end const end = run_child([] {
    unsigned const counted = process_threads();
    rlimit const none{0, 0};
    ::setrlimit(RLIMIT_NOFILE, &none);
    return counted > 0 && process_threads() == counted ? 0 : 1;
  });
  CHECK(end.exit_code == 0);
}

TEST_CASE("another thread's CPU time grows while it works and stands while it sleeps") {
  std::atomic<std::uint32_t> phase{0};
  std::promise<std::pair<thread_clock, int>> started;
  std::thread other([&] {
    started.set_value({current_thread_clock(), current_thread_id()});
    while (phase.load() == 0) cpu_relax();
    while (phase.load() == 1) futex_wait(phase, 1);
  });
  auto const [clock, id] = started.get_future().get();
  auto const first = thread_cpu_ns(clock);
  CHECK(first >= 0);
  while (thread_cpu_ns(clock) < first + 2 * millisecond) std::this_thread::yield();
  phase.store(1);
  await_state(id, 'S');
  auto const asleep = thread_cpu_ns(clock);
  CHECK(thread_cpu_ns(clock) == asleep);
  phase.store(2);
  futex_wake(phase, 1);
  other.join();
}

TEST_CASE("of two threads with a light and a heavy fence at least one sees the other's store") {
  // The store buffer litmus test, as protocol A's enter and take: both reading 0 is what the fences forbid.
  std::atomic<int> x{0}, y{0}, round{0}, done{0};
  int light_saw = 0;
  constexpr int rounds = tsan ? 2000 : 5000;
  std::thread light([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (round.load(std::memory_order_acquire) != i) cpu_relax();
      x.store(i, std::memory_order_relaxed);
      light_fence();
      light_saw = y.load(std::memory_order_relaxed);
      done.store(i, std::memory_order_release);
    }
  });
  int missed = 0;
  for (int i = 1; i <= rounds; ++i) {
    round.store(i, std::memory_order_release);
    y.store(i, std::memory_order_relaxed);
    heavy_fence();
    int const heavy_saw = x.load(std::memory_order_relaxed);
    while (done.load(std::memory_order_acquire) != i) {
      if (heavy_saw == i) cpu_relax();
      else std::this_thread::yield();
    }
    missed += heavy_saw != i && light_saw != i;
  }
  light.join();
  CHECK(missed == 0);
}

TEST_CASE("at least one processor and one thread may be used") {
  CHECK(usable_cpus() >= 1);
  CHECK(usable_cpus() <= std::max(1U, std::thread::hardware_concurrency()));
  CHECK(usable_threads() >= 1);
}

TEST_CASE("a thread's name is cut to what the system shows") {
  std::thread([] {
    set_thread_name("a name that is much too long");
    char name[32];
    pthread_getname_np(pthread_self(), name, sizeof name);
    CHECK(std::string(name) == "a name that is ");
  }).join();
}

TEST_CASE("a thread's own stack contains its locals") {
  int local = 0;
  auto const range = thread_stack();
  auto const low = reinterpret_cast<std::uintptr_t>(range.start);
  auto const at = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  CHECK(at >= low);
  CHECK(at < low + range.size);
  CHECK(local == 0);
}

TEST_CASE("reserved pages read as zeros and lose their content when discarded") {
  auto const size = 16 * page_size();
  auto* const pages = static_cast<char*>(reserve_pages(size));
  REQUIRE(pages != nullptr);
  CHECK(pages[0] == 0);
  pages[5] = 'x';
  discard_pages(pages, size);
  CHECK(pages[5] == 0);
  release_pages(pages, size);
}

TEST_CASE("more address space than there is is refused") {
  errno = 7;
  CHECK(reserve_pages(std::size_t{1} << 62) == nullptr);
  CHECK(errno == 7);
}

TEST_CASE("a touch of a guard of either kind is a fault, and its neighbours stay usable") {
  for (guard_kind const wanted : {guard_kind::guard_install, guard_kind::mprotect}) {
    auto const page = page_size();
    auto* const pages = static_cast<char*>(reserve_pages(3 * page));
    REQUIRE(pages != nullptr);
    auto const made = install_guard(pages + page, page, wanted);
    if (wanted == guard_kind::mprotect || preferred_guard() == guard_kind::guard_install) CHECK(made == wanted);
    pages[page - 1] = pages[2 * page] = 'x';
    auto const end = run_child([&] {
      static_cast<char volatile*>(pages)[2 * page - 1] = 'x';
      return 0;
    });
    // AddressSanitizer and ThreadSanitizer make an exit of the fault.
    CHECK((end.signal == SIGSEGV || end.exit_code != 0));
    release_pages(pages, 3 * page);
    forget_guards(made, 1);
  }
}

TEST_CASE("mprotect guards stop at the limit of mappings, leave the program a quarter, and say so once") {
  auto const end = run_child([] {
    constexpr int most = 40000;
    auto const page = page_size();
    auto* const pages = static_cast<char*>(reserve_pages(2 * page * most));
    if (pages == nullptr) return 1;
    int made = 0, refused = 0;
    for (int i = 0; i < most; ++i) {
      bool const done = install_guard(pages + 2 * page * static_cast<std::size_t>(i), page, guard_kind::mprotect) ==
                        guard_kind::mprotect;
      ++(done ? made : refused);
    }
    if (made < 1000) return 2;
    if (refused == 0) return 0;     // a system with a higher limit
    for (int i = 0; i < 1000; ++i)  // the program can still map
      if (reserve_pages(page) == nullptr) return 3;
    return 10;
  });
  CHECK(end.signal == 0);
  CHECK((end.exit_code == 10 || end.exit_code == 0));
  if (end.exit_code == 10) {
    auto const first = end.errors.find("stack guards have run out");
    CHECK(first != end.errors.npos);
    CHECK(end.errors.find("stack guards have run out", first + 1) == end.errors.npos);
  }
}

TEST_CASE("no guard is made where none is wanted") {
  auto* const pages = static_cast<char*>(reserve_pages(page_size()));
  CHECK(install_guard(pages, page_size(), guard_kind::none) == guard_kind::none);
  pages[0] = 'x';
  release_pages(pages, page_size());
}
