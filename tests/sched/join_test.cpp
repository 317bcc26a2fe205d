// join() of a task that has not begun runs it where the joiner stands: see run_for_join in runtime/sched/join.cpp. What a program can
// tell must be what it is for any other join.

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cfenv>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include <weft/sim.hpp>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/compute.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;
using weft::test::with_worker_count;
using weft::test::with_workers;

namespace {

int sum_to(int n) {
  if (n == 0) return 0;
  auto rest = weft::spawn([n] { return sum_to(n - 1); });
  return n + rest.join();
}

int fib(int n) {
  if (n < 2) return n;
  auto left = weft::spawn([n] { return fib(n - 1); });
  int const right = fib(n - 2);
  return left.join() + right;
}

}  // namespace

TEST_CASE("a task that is joined at once is a task of its own") {
  with_workers([] {
    weft::task_id const mine = weft::this_task::id();
    weft::this_task::set_name("joiner");
    auto h = weft::spawn(weft::task_options{.name = "joined"},
                         [] { return std::pair(weft::this_task::id(), std::string(weft::this_task::name())); });
    auto const [id, name] = h.join();
    CHECK(id != mine);
    CHECK(name == "joined");
    CHECK(weft::this_task::id() == mine);
    CHECK(weft::this_task::name() == "joiner");
  });
}

TEST_CASE("the exception of a task that is joined at once is rethrown by join") {
  with_workers(
      [] { CHECK_THROWS_WITH(weft::spawn([] { throw std::runtime_error("from below"); }).join(), "from below"); });
}

TEST_CASE("who joins a task that it has not spawned is cancelled by its own handle") {
  with_worker_count(1, [] {
    auto const go_on = weft::make_chan<int>();
    std::atomic<weft::join_handle<void>*> given{nullptr};
    auto joiner = weft::spawn([&] { given.load()->join(); });
    auto other = weft::spawn([&] { (void)go_on.recv(); });
    given.store(&other);
    weft::sleep_for(5ms);  // the joiner runs, and the other, behind it, has not begun
    joiner.cancel();
    CHECK(joiner.wait_for(10s));
    CHECK(!other.done());
    go_on.close();
  });
}

TEST_CASE("a task that is joined in a catch block handles no exception and leaves the joiner its own") {
  with_workers([] {
    try {
      throw std::runtime_error("the joiner's");
    } catch (std::exception const& e) {
      bool const none = weft::spawn([] {
                          bool const before = std::current_exception() == nullptr;
                          try {
                            throw 1;
                          } catch (int) {
                            weft::yield();  // perhaps to another worker
                          }
                          return before && std::current_exception() == nullptr;
                        }).join();
      CHECK(none);
      CHECK(std::current_exception() != nullptr);
      CHECK(std::string(e.what()) == "the joiner's");
      CHECK_THROWS_WITH(throw, "the joiner's");
    }
  });
}

TEST_CASE("errno and the rounding mode stay the joiner's whatever the joined task does") {
  with_workers([] {
    errno = 77;
    std::fesetround(FE_UPWARD);
    int const found = weft::spawn([] {
                        int const mode = std::fegetround();
                        errno = 5;
                        std::fesetround(FE_DOWNWARD);
                        weft::yield();
                        return mode;
                      }).join();
    int const mode = std::fegetround(), error = errno;
    std::fesetround(FE_TONEAREST);
    CHECK(found == FE_TONEAREST);
    CHECK(mode == FE_UPWARD);
    CHECK(error == 77);
  });
}

TEST_CASE("a worker that a task's spawn starts does not take over the task's rounding mode") {
  with_worker_count(2, [] {
    std::atomic<int> found = -1;
    std::fesetround(FE_UPWARD);
    auto other = weft::spawn([&found] { found = std::fegetround(); });
    while (found == -1) {  // it runs elsewhere
    }
    std::fesetround(FE_TONEAREST);
    other.join();
    CHECK(found == FE_TONEAREST);
  });
}

TEST_CASE(
    "a worker that a task's spawn starts does not take over the signal mask that the task has set on its thread") {
  with_worker_count(2, [] {
    sigset_t just_one, before;
    sigemptyset(&just_one);
    sigaddset(&just_one, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &just_one, &before);
    std::atomic<int> blocked = -1;
    auto other = weft::spawn([&blocked] {
      sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      blocked = sigismember(&mask, SIGUSR2);
    });
    while (blocked == -1) {  // it runs elsewhere
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    other.join();
    CHECK(blocked == 0);
  });
}

TEST_CASE("a chain of joins may be far deeper than one stack") {
  constexpr int depth = weft::rt::tsan ? 1000 : 5000;  // there each task is a logical thread
  with_workers([] { CHECK(sum_to(depth) == depth * (depth + 1) / 2); });
}

TEST_CASE("a joined task may use nearly all of its stack") {
  with_workers([] {
    auto const fill = [](auto&& self, int depth) -> int {
      char volatile page[4096];
      page[0] = static_cast<char>(depth);
      return depth == 0 ? page[0] : self(self, depth - 1) + (page[0] != 0);
    };
    constexpr int depth = 256 * 1024 * 3 / 4 / 4500;
    CHECK(weft::spawn([&] { return weft::spawn([&] { return fill(fill, depth); }).join(); }).join() == depth);
  });
}

TEST_CASE("a task that is joined on a stack of the program's own, as in a coroutine, has a stack of weft's") {
  if (weft::rt::asan || weft::rt::tsan) return;  // they take ucontext's switch for a fault
  with_workers([] {
    struct coroutine {
      ucontext_t inside, outside;
      std::array<char, 64 * 1024> stack;
      bool child_was_on_it = true;
    };
    auto const c = std::make_unique<coroutine>();
    static constexpr auto body = +[](unsigned low, unsigned high) {
      auto& self = *reinterpret_cast<coroutine*>(std::uintptr_t{high} << 32 | low);
      self.child_was_on_it =
          weft::spawn([&self] {
            auto const* const here = static_cast<char*>(__builtin_frame_address(0));
            return std::less_equal<>()(self.stack.begin(), here) && std::less<>()(here, self.stack.end());
          }).join();
    };
    ::getcontext(&c->inside);
    c->inside.uc_stack.ss_sp = c->stack.data();
    c->inside.uc_stack.ss_size = c->stack.size();
    c->inside.uc_link = &c->outside;
    auto const address = reinterpret_cast<std::uintptr_t>(c.get());
    ::makecontext(&c->inside, reinterpret_cast<void (*)()>(body), 2, static_cast<unsigned>(address),
                  static_cast<unsigned>(address >> 32));
    ::swapcontext(&c->outside, &c->inside);
    CHECK(!c->child_was_on_it);
  });
}

TEST_CASE("tasks that spawn and join each other come out right") {
  with_workers([] { CHECK(fib(18) == 2584); });
}

TEST_CASE("a joined task may park and go on while its joiner waits") {
  with_workers([] {
    auto there = weft::make_chan<int>(), back = weft::make_chan<int>();
    weft::go([there, back] {
      for (int v : there) back.send(v + 1);
      back.close();
    });
    int sum = 0;
    for (int i = 0; i < 200; ++i)
      sum += weft::spawn([=] {
               there.send(i);
               return back.recv().value();
             }).join();
    there.close();
    CHECK(sum == 200 * 201 / 2);
  });
}

TEST_CASE("a cancelled joiner is woken with the task that it joins") {
  with_workers([] {
    auto never = weft::make_chan<int>();
    weft::latch parked(1);
    std::atomic<bool> below{false}, above{false}, joinable{false};
    auto joiner = weft::spawn([&] {
      auto child = weft::spawn([&] {
        parked.count_down();
        try {
          never.recv();
        } catch (weft::cancelled const&) {
          below = true;
          throw;
        }
      });
      try {
        child.join();
      } catch (weft::cancelled const&) {
        above = true;
        joinable = child.joinable();
        throw;
      }
    });
    parked.wait();
    joiner.cancel();
    CHECK_THROWS_AS(joiner.join(), weft::cancelled);
    CHECK(below);
    CHECK(above);
    CHECK(joinable);
  });
}

TEST_CASE("a joiner whose cancellation ends its task is cancelled, though the task has ended before it looks") {
  weft::sim::result const r = weft::sim::explore(300, [] {
    auto never = weft::make_chan<int>();
    auto joiner = weft::spawn([never] {
      auto child = weft::spawn([never] { never.recv(); });
      weft::yield();
      (void)child.wait_for(1h);
      throw std::runtime_error("the wait was not cancelled");
    });
    weft::yield();
    joiner.cancel();
    CHECK_THROWS_AS(joiner.join(), weft::cancelled);
  });
  CHECK(r.what == "");
  CHECK(r.runs == 300);
}

TEST_CASE("a joiner under another context than its task is woken alone") {
  with_workers([] {
    auto gate = weft::make_chan<int>();
    weft::latch joins(1);
    auto child = weft::spawn([&] { return gate.recv().value(); });
    auto joiner = weft::spawn([&] {
      joins.count_down();
      child.join();
    });
    joins.wait();
    joiner.cancel();
    CHECK_THROWS_AS(joiner.join(), weft::cancelled);
    CHECK(child.joinable());
    gate.send(3);
    CHECK(child.join() == 3);
  });
}

TEST_CASE("a task that does nothing but spawn and join keeps no other waiting") {
  with_worker_count(1, [] {
    std::atomic<bool> ran{false}, late{false};
    weft::go([&] { ran = true; });
    weft::go([&] {
      weft::sleep_for(1ms);
      late = true;
    });
    while (!ran || !late) weft::spawn([] {}).join();  // the test's time limit
  });
}

TEST_CASE("a timer is not late because tasks of some milliseconds follow each other") {
  with_worker_count(1, [] {
    std::atomic<bool> fired{false};
    weft::go([&] {
      weft::sleep_for(5ms);
      fired = true;
    });
    weft::wait_group all;
    std::atomic<int> turns{0};
    for (int i = 0; i < 2; ++i)
      all.go([&] {
        for (; !fired; ++turns) {
          weft::test::compute_for(5ms);
          weft::yield();
        }
      });
    all.wait();
    CHECK(turns < 40);  // some five, where a look at each 61st turn only would make it 61
  });
}

TEST_CASE("a dump names a joiner whose task runs above it as waiting for a join") {
  with_workers([] {
    weft::this_task::set_name("below");
    std::string const line = weft::spawn([] {
                               for (;;) {  // another worker may have taken this task before the join began
                                 std::ostringstream out;
                                 weft::dump(out);
                                 std::string const text = out.str();
                                 std::size_t const at = text.find("\"below\"");
                                 if (at == std::string::npos) return std::string("nothing");
                                 std::string const found = text.substr(at, text.find('\n', at) - at);
                                 if (found.find("waits on") != std::string::npos) return found;
                               }
                             }).join();
    CHECK(line.find("waits on join") != std::string::npos);
  });
}

TEST_CASE("a deadlock under a join is found and lists both tasks") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    try {
      weft::run(weft::options{.workers = workers}, [] {
        auto never = weft::make_chan<int>();
        weft::spawn(weft::task_options{.name = "child"}, [never] { never.recv(); }).join();
      });
      FAIL("it returned");
    } catch (weft::deadlock const& e) {
      std::string const what = e.what();
      CHECK(what.find("\"child\"") != std::string::npos);
      CHECK(what.find("channel receive") != std::string::npos);
      CHECK(what.find("join") != std::string::npos);
    }
  }
}

namespace {
struct counted_result {
  explicit counted_result(std::atomic<int>& living) : n(&living) { n->fetch_add(1); }
  counted_result(counted_result&& o) noexcept : n(o.n) { n->fetch_add(1); }
  ~counted_result() { n->fetch_sub(1); }
  std::atomic<int>* n;
};
}  // namespace

TEST_CASE("a result is gone when stop, join or the handle's end come back, from a plain thread too") {
  weft::runtime runtime(weft::options{.workers = 2});
  std::atomic<int> living{0};
  int after_stop = 0, after_join = 0, after_end = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto stopped = runtime.spawn([&] { return counted_result(living); });
    stopped.stop();
    after_stop += living.load();
    auto joined = runtime.spawn([&] { return counted_result(living); });
    (void)joined.join();
    after_join += living.load();
    {
      auto const ended = runtime.spawn([&] { return counted_result(living); });
    }
    after_end += living.load();
  }
  CHECK(after_stop == 0);
  CHECK(after_join == 0);
  CHECK(after_end == 0);
}
