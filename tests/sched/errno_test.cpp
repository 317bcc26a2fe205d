// errno across waits, in the C++ library's inline code as well: glibc says that its address is a constant, weft's users are told otherwise
// (docs/decisions/0027-errno-across-waits.md).

#include <weft/weft.hpp>

#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/platform/platform.hpp"
#include "tests/sched/adrift.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::lose_processor;
using weft::test::with_worker_count;
using namespace std::chrono_literals;

namespace {

// Waits until the caller is on another thread: one that lost its processor goes on on that of the new owner.
void change_thread() {
  auto const before = weft::rt::current_thread_id();
  while (weft::rt::current_thread_id() == before) {
    lose_processor();
    weft::sleep_for(1ms);
  }
}

}  // namespace

TEST_CASE("errno and the thread's id are those of the thread that a task has come to") {
  with_worker_count(2, [] {
    int const* const errno_before = &errno;
    std::thread::id const id_before = std::this_thread::get_id();
    change_thread();
    bool const asked_again = errno_before != &errno;
    CHECK(asked_again);
    CHECK(id_before != std::this_thread::get_id());
  });
}

TEST_CASE("a number out of range is noticed after a change of thread") {
  with_worker_count(2, [] {
    std::string const fits = "12", too_large(30, '9');
    int refused = 0;
    for (int i = 0; i < 5; ++i) {
      CHECK(std::stol(fits) == 12);
      change_thread();
      try {
        (void)std::stol(too_large);
      } catch (std::out_of_range const&) {
        ++refused;
      }
    }
    CHECK(refused == 5);
  });
}

TEST_CASE("tasks of one thread that use errno do not race") {
  with_worker_count(1, [] {
    std::vector<weft::join_handle<long>> tasks;
    for (int i = 0; i < 10; ++i)
      tasks.push_back(weft::spawn([text = std::to_string(i)] {
        long sum = 0;
        for (int k = 0; k < 20; ++k) {
          sum += std::stol(text);
          weft::yield();
        }
        return sum;
      }));
    long sum = 0;
    for (auto& t : tasks) sum += t.join();
    CHECK(sum == 20 * 45);
  });
}
