// What ThreadSanitizer sees of tasks. Without it these tests only show that the programs run.

#include <weft/weft.hpp>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

namespace {
bool reports_race(child_end const& end) { return end.errors.find("data race") != std::string::npos; }
}  // namespace

TEST_CASE("a race between two tasks on one worker is reported") {
  child_end const end = run_child([] {
    weft::run(weft::options{.workers = 1}, [] {
      int shared = 0;
      weft::wait_group both;
      both.go([&] { shared = 1; });
      both.go([&] { shared = 2; });
      both.wait();
    });
    return 0;
  });
  CHECK(reports_race(end) == weft::rt::tsan);
}

TEST_CASE("tasks that hand a value on over a channel do not race") {
  child_end const end = run_child([] {
    weft::run(weft::options{.workers = 2}, [] {
      int shared = 0;
      auto turn = weft::make_chan<int>();
      auto a = weft::spawn([&] {
        shared = 1;
        turn.send(1);
      });
      auto b = weft::spawn([&] {
        turn.recv();
        shared = 2;
      });
      a.join();
      b.join();
      shared = 3;
    });
    return 0;
  });
  INFO(end.errors);
  CHECK_FALSE(reports_race(end));
}
