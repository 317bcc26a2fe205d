#include <weft/sim_catch.hpp>

#include <csignal>
#include <cstdlib>
#include <mutex>

namespace {

int runs_here = 0;

void racy() {
  weft::mutex m;
  int n = 0;
  auto const add = [&] {
    m.lock();
    int const seen = n;
    m.unlock();
    std::lock_guard const hold(m);
    n = seen + 1;
  };
  auto a = weft::spawn(add);
  auto b = weft::spawn(add);
  a.join();
  b.join();
  if (n != 2) throw std::runtime_error("lost");
}

}  // namespace

WEFT_SIM_TEST("a simulated test passes if all of its runs do") {
  auto h = weft::spawn([] { weft::sleep_for(std::chrono::hours(1)); });
  h.join();
  REQUIRE(weft::this_task::id() == 1);
}

WEFT_SIM_TEST("a simulated test takes options", .runs = 50, .pick = weft::sim::policy::pct) {
  ++runs_here;
  REQUIRE(runs_here > 0);
}

TEST_CASE("what is run apart leaves nothing here, and gives its result") {
  int calls = 0;
  weft::sim::result const r = weft::sim::explore_apart(1000, [&] {
    ++calls;
    racy();
  });
  REQUIRE(r.failed);
  CHECK(calls == 0);
  CHECK(r.what == "lost");
  CHECK_THROWS_WITH(weft::sim::replay(r.choices, racy), "lost");
  CHECK_THROWS_WITH(weft::sim::run(r.seed, racy), "lost");
  CHECK_FALSE(weft::sim::explore_apart(20, [] {}).failed);
}

TEST_CASE("a run that ends its process is a failure with a seed") {
  weft::sim::result const r = weft::sim::explore_apart(10, [] {
    if (weft::this_task::id() == 1) ::_Exit(3);
  });
  CHECK(r.failed);
  CHECK(r.seed == 0);
  CHECK(r.choices.empty());
  CHECK(r.what == "the program ended with status 3");
  CHECK(weft::sim::explore_apart(10, [] { ::_Exit(0); }).what == "the program ended with status 0");
  std::signal(SIGCHLD, SIG_IGN);  // then nobody tells how it ended
  CHECK(weft::sim::explore_apart(10, [] { std::abort(); }).what == "the program was ended");
  CHECK_FALSE(weft::sim::explore_apart(10, [] {}).failed);
  std::signal(SIGCHLD, SIG_DFL);
  CHECK(weft::sim::explore_apart(0, [] {}).runs == 0);
}

TEST_CASE("choices from the environment are replayed, in the test's own process") {
  weft::sim::result const r = weft::sim::explore_apart(1000, racy);
  REQUIRE(r.failed);
  ::setenv("WEFT_SIM_CHOICES", r.choices.c_str(), 1);
  CHECK_THROWS_WITH(weft::sim::test(&racy), "lost");
  ::unsetenv("WEFT_SIM_CHOICES");
  ::setenv("WEFT_SIM_SEED", std::to_string(r.seed).c_str(), 1);
  CHECK_THROWS_WITH(weft::sim::test(&racy), "lost");
  ::unsetenv("WEFT_SIM_SEED");
}
