// go, spawn, join_handle, yield, this_task: the sentences of the API's section on tasks.

#include <weft/weft.hpp>

#include <any>
#include <atomic>
#include <cerrno>
#include <cfenv>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::with_workers;
using namespace std::chrono_literals;

TEST_CASE("run returns what its first task returns") {
  CHECK(weft::run([] { return 42; }) == 42);
  CHECK(weft::run([](int a, std::string b) { return b + std::to_string(a); }, 7, "x") == "x7");
  weft::run([] {});
}

TEST_CASE("run rethrows what its first task throws") {
  CHECK_THROWS_AS(weft::run([] { throw std::runtime_error("no"); }), std::runtime_error);
}

TEST_CASE("a join returns the result or rethrows the exception of the task") {
  with_workers([] {
    CHECK(weft::spawn([](int x) { return 2 * x; }, 21).join() == 42);
    auto failing = weft::spawn([]() -> int { throw std::out_of_range("there"); });
    CHECK_THROWS_AS(failing.join(), std::out_of_range);
    CHECK_FALSE(failing.joinable());
    int target = 0;
    int& same = weft::spawn([&]() -> int& { return target; }).join();
    CHECK(&same == &target);
  });
}

TEST_CASE("closures, arguments and results may be move-only") {
  with_workers([] {
    auto h =
        weft::spawn([p = std::make_unique<int>(3)](std::unique_ptr<int> q) { return std::make_unique<int>(*p + *q); },
                    std::make_unique<int>(4));
    CHECK(*h.join() == 7);
    auto nested = weft::spawn([] { return weft::spawn([] { return 5; }); });
    CHECK(nested.join().join() == 5);
  });
}

TEST_CASE("a large or strictly aligned closure runs like any other") {
  with_workers([] {
    struct alignas(256) big {
      char bytes[5000];
    };
    big b{};
    b.bytes[4999] = 'z';
    auto h = weft::spawn([b] { return reinterpret_cast<std::uintptr_t>(&b) % 256 == 0 ? b.bytes[4999] : '?'; });
    CHECK(h.join() == 'z');
  });
}

namespace {
struct alignas(256) big {
  char bytes[5000]{};
  [[nodiscard]] bool is_aligned() const { return reinterpret_cast<std::uintptr_t>(this) % 256 == 0; }
};
struct pinned {
  explicit pinned(int v) : value(v) {}
  pinned(pinned const&) = delete;
  pinned& operator=(pinned const&) = delete;
  int value;
};
}  // namespace

TEST_CASE("large and strictly aligned closures and results may be anywhere") {
  with_workers([] {
    std::atomic<int> right{0};
    auto const f = [b = big(), &right] { right += b.is_aligned(); };
    weft::task_group group;
    weft::wait_group counted;
    auto const ran = weft::make_chan<int>(2);
    group.spawn(f);
    counted.go(f);
    weft::go([f, ran] {
      f();
      ran.send(1);
    });
    weft::after_func(0s, [f, ran] {
      f();
      ran.send(1);
    });
    group.wait();
    counted.wait();
    ran.recv();
    ran.recv();
    CHECK(right == 4);
    auto h = weft::spawn([] {
      big r;
      r.bytes[4999] = 'z';
      return r;
    });
    weft::select(weft::on_join(h, [](big const& r) {
      CHECK(r.is_aligned());
      CHECK(r.bytes[4999] == 'z');
    }));
  });
}

TEST_CASE("a result that cannot be moved may be waited for, and dropped") {
  with_workers([] {
    auto waited = weft::spawn([] { return pinned(1); });
    waited.wait();
    CHECK(waited.done());
    waited.stop();
    auto selected = weft::spawn([] { return pinned(1); });
    weft::select(weft::on_join(selected, [] {}));
    CHECK_FALSE(selected.joinable());
    auto throws = weft::spawn([]() -> pinned { throw std::runtime_error("no"); });
    CHECK_THROWS_AS(weft::select(weft::on_join(throws, [] {})), std::runtime_error);
  });
}

TEST_CASE("a result may be const, or a reference to what is given away") {
  with_workers([] {
    std::string s = "a";
    CHECK(weft::spawn([]() -> std::string const { return "x"; }).join() == "x");
    auto given = weft::spawn([&]() -> std::string&& { return std::move(s); });
    std::string const& same = given.join();
    CHECK(&same == &s);
  });
}

TEST_CASE("who is moved to itself is the same afterwards") {
  weft::run([] {
    auto h = weft::spawn([] { return 1; });
    auto& same = h;
    h = std::move(same);
    CHECK(h.join() == 1);
    auto c = weft::make_chan<int>(1);
    auto& also = c;
    c = std::move(also);
    c.send(1);
    CHECK(c.recv() == 1);
  });
}

TEST_CASE("joining a handle without a task is an invalid argument") {
  weft::run([] {
    weft::join_handle<int> none;
    CHECK_FALSE(none.joinable());
    CHECK_THROWS_AS(none.join(), std::system_error);
    auto h = weft::spawn([] { return 1; });
    auto other = std::move(h);
    CHECK_THROWS_AS(h.join(), std::system_error);
    CHECK(other.join() == 1);
  });
}

TEST_CASE("wait_for tells whether the task has ended in time, and done whether it has") {
  with_workers([] {
    auto gate = weft::make_chan<int>();
    auto h = weft::spawn([gate] { return *gate.recv(); });
    CHECK_FALSE(h.wait_for(1ms));
    CHECK_FALSE(h.done());
    gate.send(9);
    CHECK(h.wait_for(1h));
    CHECK(h.done());
    h.wait();
    CHECK(h.join() == 9);
  });
}

TEST_CASE("destroying a handle cancels its task and waits for it") {
  with_workers([] {
    bool unwound = false;
    {
      auto h = weft::spawn([&] {
        struct at_end {
          bool& flag;
          ~at_end() { flag = true; }
        } const mark{unwound};
        weft::make_chan<int>().recv();
      });
      weft::yield();
    }
    CHECK(unwound);
  });
}

TEST_CASE("a task that is cancelled before it began still starts, and meets its first cancellation point") {
  weft::run(weft::options{.workers = 1}, [] {
    bool began = false, beyond = false;
    auto h = weft::spawn([&] {
      began = true;
      weft::sleep_for(1h);
      beyond = true;
    });
    h.cancel();
    h.stop();
    CHECK(began);
    CHECK_FALSE(beyond);
  });
}

TEST_CASE("a cancelled task's join throws cancelled, with the code operation_canceled") {
  with_workers([] {
    auto h = weft::spawn([] { weft::sleep_for(1h); });
    h.cancel();
    try {
      h.join();
      FAIL("join returned");
    } catch (weft::cancelled const& c) {
      CHECK(c.code() == std::errc::operation_canceled);
    }
  });
}

TEST_CASE("a detached task goes on") {
  with_workers([] {
    auto done = weft::make_chan<int>();
    weft::spawn([done] { done.send(1); }).detach();
    CHECK(done.recv() == 1);
  });
}

TEST_CASE("a callable that takes a stop_token first gets its task's") {
  with_workers([] {
    auto started = weft::make_chan<int>();
    auto h = weft::spawn(
        [](std::stop_token stop, weft::chan<int> ready) {
          ready.send(1);
          while (!stop.stop_requested()) weft::yield();
          return 11;
        },
        started);
    started.recv();
    h.cancel();
    CHECK(h.join() == 11);
  });
}

TEST_CASE("a callable that could do without the stop_token that it takes first gets its task's, too") {
  with_workers([] {
    auto const until_stopped = [](std::stop_token stop = {}) {
      while (stop.stop_possible() && !stop.stop_requested()) weft::yield();
      return stop.stop_requested();
    };
    auto h = weft::spawn(until_stopped);
    h.cancel();
    CHECK(h.join());
    // Beside one that was passed.
    std::stop_source const passed;
    CHECK(weft::spawn([](std::stop_token a, std::stop_token b = {}) { return b.stop_possible() && a != b; },
                      passed.get_token())
              .join());
    CHECK(weft::spawn([](std::any a, int n = 7) { return std::any_cast<int>(a) + n; }, 5).join() == 12);
    // A generic one is asked for nothing that it is not called with.
    CHECK(weft::spawn([](auto... all) { return (1 + ... + all); }).join() == 1);
  });
}

TEST_CASE("ids differ, names are what was given or set") {
  weft::run([] {
    std::set<weft::task_id> ids;
    for (int i = 0; i < 100; ++i) ids.insert(weft::spawn([] { return weft::this_task::id(); }).join());
    CHECK(ids.size() == 100);
    CHECK(weft::spawn({.name = "reader"}, [] { return std::string(weft::this_task::name()); }).join() == "reader");
    CHECK(weft::this_task::name().empty());
    weft::this_task::set_name("first");
    CHECK(weft::this_task::name() == "first");
  });
  CHECK(weft::this_task::id() == 0);
}

TEST_CASE("go outside of a runtime throws no_runtime") {
  CHECK_THROWS_AS(weft::go([] {}), weft::no_runtime);
  CHECK_THROWS_AS(weft::spawn([] {}), weft::no_runtime);
}

TEST_CASE("an exception that escapes a go task ends the process with a line that names it") {
  child_end const end = run_child([] {
    weft::run([] {
      weft::go({.name = "reader"}, [] { throw std::runtime_error("disk on fire"); });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("reader") != std::string::npos);
  CHECK(end.errors.find("disk on fire") != std::string::npos);
}

TEST_CASE("the place of a spawn is told for go(f)") {
  child_end const end = run_child([] {
    weft::run([] {
      weft::go([] { throw 1; });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.errors.find("task_test.cpp") != std::string::npos);
}

TEST_CASE("run inside a task is a fatal misuse") {
  child_end const end = run_child([] {
    weft::run([] { weft::run([] {}); });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("inside a task") != std::string::npos);
}

TEST_CASE("an exception suspended in a catch block is still its task's when it resumes, perhaps on another worker") {
  with_workers([] {
    std::vector<weft::join_handle<int>> tasks;
    for (int i = 0; i < 200; ++i)
      tasks.push_back(weft::spawn([i] {
        try {
          throw i;
        } catch (int) {
          for (int k = 0; k < 5; ++k) {
            if (std::uncaught_exceptions() != 0) return -1;
            weft::sleep_for(std::chrono::microseconds((i * 7 + k) % 50));
            try {
              throw std::string("inner");
            } catch (std::string const&) {
              weft::yield();
            }
          }
          try {
            std::rethrow_exception(std::current_exception());
          } catch (int same) {
            return same;
          }
        }
        return -2;
      }));
    for (int i = 0; i < 200; ++i) REQUIRE(tasks[static_cast<std::size_t>(i)].join() == i);
  });
}

TEST_CASE("errno and the rounding mode belong to the task") {
  with_workers([] {
    std::vector<weft::join_handle<bool>> tasks;
    for (int i = 0; i < 100; ++i)
      tasks.push_back(weft::spawn([i] {
        int const mode = i % 2 == 0 ? FE_UPWARD : FE_DOWNWARD;
        std::fesetround(mode);
        bool right = true;
        for (int k = 0; k < 20; ++k) {
          errno = i;
          weft::yield();
          int const now = errno;
          right = right && now == i && std::fegetround() == mode;
        }
        return right;
      }));
    for (auto& t : tasks) CHECK(t.join());
    CHECK(std::fegetround() == FE_TONEAREST);
  });
}

TEST_CASE("a task of another stack size runs, parks and resumes on it") {
  with_workers([] {
    auto c = weft::make_chan<int>();
    std::vector<weft::join_handle<int>> tasks;
    for (int i = 0; i < 20; ++i)
      tasks.push_back(weft::spawn({.name = "deep", .stack_size = i % 2 == 0 ? 2048u * 1024 : 32u * 1024}, [c, i] {
        char volatile room[8 * 1024];
        room[i] = static_cast<char>(i);
        int const got = *c.recv();
        return got + room[i] - i;
      }));
    int sum = 0;
    for (int i = 0; i < 20; ++i) c.send(i);
    for (auto& t : tasks) sum += t.join();
    CHECK(sum == 190);
  });
}

TEST_CASE("a stack overflow ends the process and names the task, its stack and its place of spawn") {
  child_end const end = run_child([] {
    weft::run([] {
      struct deeper {
        static int down(int n) {
          char volatile frame[1024] = {};
          frame[0] = static_cast<char>(n);
          return n == 0 ? 0 : down(n - 1) + frame[0];
        }
      };
      weft::spawn({.name = "reader"}, [] { return deeper::down(1 << 20); }).join();
    });
    return 0;
  });
  CHECK((end.signal == SIGSEGV || end.signal == SIGBUS || end.exit_code != 0));
  CHECK(end.errors.find("stack overflow in task") != std::string::npos);
  CHECK(end.errors.find("\"reader\" (256 KiB)") != std::string::npos);
}

TEST_CASE(
    "an exception that unwinds a stack is counted in its own task alone, however often that parks in a destructor") {
  with_workers([] {
    struct parks {
      int& seen;
      ~parks() {
        for (int i = 0; i < 3; ++i) {
          weft::sleep_for(10us);
          seen += std::uncaught_exceptions();
        }
      }
    };
    std::vector<weft::join_handle<int>> tasks;
    for (int i = 0; i < 100; ++i)
      tasks.push_back(weft::spawn([i] {
        int seen = 0;
        if (i % 2 != 0) {
          parks const here{seen};
        } else {
          try {
            parks const here{seen};
            throw i;
          } catch (int) {
          }
        }
        return seen;
      }));
    for (int i = 0; i < 100; ++i) REQUIRE(tasks[static_cast<std::size_t>(i)].join() == (i % 2 == 0 ? 3 : 0));
  });
}
