// What go and spawn take along, what a handle does at its end, and what is said of an exception that escapes.
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::with_workers;
using namespace std::chrono_literals;

namespace {

struct adder {
  int base;
  int plus(int n) const { return base + n; }
};

struct copy_throws {
  copy_throws() = default;
  copy_throws(copy_throws const&) { throw std::runtime_error("no copies"); }
};

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("arguments are decay-copied as std::thread does, and members are called through a pointer") {
  with_workers([] {
    std::string text = "kept";
    auto const gate = weft::make_chan<int>();
    auto copied = weft::spawn(
        [gate](std::string s) {
          gate.recv();
          return s;
        },
        text);
    text = "changed";
    gate.send(1);
    CHECK(copied.join() == "kept");
    CHECK(weft::spawn([](std::string& s) { s += "!"; }, std::ref(text)).joinable());
    weft::spawn([](std::string& s) { s = "by reference"; }, std::ref(text)).join();
    CHECK(text == "by reference");
    char array[] = "array";
    CHECK(weft::spawn([](char const* s) { return std::string(s); }, array).join() == "array");
    CHECK(weft::spawn([](auto s) { return std::is_same_v<decltype(s), char const*>; }, "literal").join());
    CHECK(weft::spawn(&adder::plus, adder{3}, 4).join() == 7);
    adder const there{5};
    CHECK(weft::spawn(&adder::plus, &there, 1).join() == 6);
    CHECK(weft::spawn(&adder::base, &there).join() == 5);
    auto member = weft::spawn(&adder::base, adder{9});  // of the task's own copy, which goes with it
    static_assert(std::is_same_v<decltype(member.join()), int>);
    CHECK(member.join() == 9);
    std::string const moved = weft::spawn([&]() -> std::string&& { return std::move(text); }).join();
    CHECK(moved == "by reference");
    auto const sent = weft::make_chan<int>(2);
    weft::go(&weft::chan<int>::close, sent);
    CHECK_FALSE(sent.recv());
    CHECK(weft::spawn(std::function<int()>([] { return 8; })).join() == 8);
    weft::go([own = std::make_unique<int>(1), gate](std::unique_ptr<int> more) { gate.send(*own + *more); },
             std::make_unique<int>(2));
    CHECK(gate.recv() == 3);
  });
}

TEST_CASE("a generic callable with arguments is asked only for what it is called with") {
  weft::runtime outside;
  auto const next = [](auto&& x) { return x + 1; };  // of a stop_token there is no next one: asking would not compile
  outside.go(next, 3);
  outside.go({.name = "named"}, next, 3);
  CHECK(outside.spawn(next, 3).join() == 4);
  CHECK(outside.spawn({.name = "named"}, next, 3).join() == 4);
  // Nor is one asked that is itself an argument.
  auto const of_one = [](auto&& f) { return f(1); };
  auto const of_pair = [](auto&& f, int i) { return f(std::pair(i, i)); };
  auto const first = [](auto&& pair) { return pair.first; };
  CHECK(outside.spawn(of_one, next).join() == 2);
  CHECK(outside.spawn(of_pair, first, 3).join() == 3);
  with_workers([&] {
    CHECK(weft::spawn(of_one, next).join() == 2);
    CHECK(weft::spawn({.name = "named"}, of_one, next).join() == 2);
    CHECK(weft::spawn(of_pair, first, 3).join() == 3);
    CHECK(weft::spawn({.name = "named"}, of_pair, first, 3).join() == 3);
    weft::go(of_one, next);
    weft::go(of_pair, first, 3);
    weft::go(next, 3);
    weft::go({.name = "named"}, next, 3);
    CHECK(weft::spawn(next, 3).join() == 4);
    CHECK(weft::spawn({.name = "named"}, next, 3).join() == 4);
    weft::task_group group;
    group.spawn(next, 3);
    group.spawn({.name = "named"}, next, 3);
    group.wait();
    weft::wait_group counted;
    counted.go(next, 3);
    std::atomic<int> sum{0};  // assertions of two threads at once are none of Catch2's
    counted.go([&](auto&& f) { sum += f(1); }, next);
    group.spawn([&](auto&& f) { sum += f(1); }, next);
    counted.wait();
    group.wait();
    CHECK(sum == 4);
  });
}

TEST_CASE("an exception of an argument's copy comes out of the call, and nothing has been spawned") {
  with_workers([] {
    copy_throws const argument;
    auto const spawns = weft::current_metrics().live;
    CHECK_THROWS_AS(weft::go([](copy_throws const&) {}, argument), std::runtime_error);
    CHECK_THROWS_AS(weft::spawn([](copy_throws const&) {}, argument), std::runtime_error);
    weft::task_group group({.limit = 1});
    CHECK_THROWS_AS(group.spawn([](copy_throws const&) {}, argument), std::runtime_error);
    group.spawn([] {});  // the place was given back
    group.wait();
    while (weft::current_metrics().live != spawns) weft::yield();
  });
}

TEST_CASE("what a task owns is gone when it has ended") {
  with_workers([] {
    auto const held = std::make_shared<int>(1);
    weft::spawn([held](std::shared_ptr<int> const&) {}, held).join();
    CHECK(held.use_count() == 1);
    {
      auto dropped = weft::spawn([held] { return held; });
      dropped.wait();
      CHECK(held.use_count() == 2);  // the result
    }
    CHECK(held.use_count() == 1);
  });
}

TEST_CASE("every member of a handle that needs a task throws invalid_argument without one, the others do nothing") {
  with_workers([] {
    auto const refused = [](auto f) {
      try {
        f();
      } catch (std::system_error const& e) {
        return e.code() == std::errc::invalid_argument;
      }
      return false;
    };
    weft::join_handle<int> none, moved = weft::spawn([] { return 1; }), joined = weft::spawn([] { return 2; });
    auto const task = std::move(moved);
    joined.join();
    for (auto* h : {&none, &moved, &joined}) {
      CHECK(refused([&] { h->join(); }));
      CHECK(refused([&] { h->wait(); }));
      CHECK(refused([&] { (void)h->wait_for(1ms); }));
      CHECK_FALSE(h->joinable());
      CHECK_FALSE(h->done());
      h->cancel();
      h->stop();
      h->detach();
    }
    static_assert(!std::is_copy_constructible_v<weft::join_handle<int>>);
    static_assert(std::is_nothrow_move_constructible_v<weft::join_handle<int>>);
    static_assert(noexcept(none.stop()) && noexcept(none.done()) && noexcept(none.joinable()));
  });
}

TEST_CASE("stop cancels, waits and drops the result, also where it is an exception") {
  with_workers([] {
    std::atomic<bool> ended{false};
    auto h = weft::spawn([&] {
      weft::defer const mark([&] { ended = true; });
      weft::make_chan<int>().recv();
    });
    h.stop();
    CHECK(ended);
    CHECK_FALSE(h.joinable());
    auto thrower = weft::spawn([]() -> int { throw std::runtime_error("dropped"); });
    thrower.stop();
    CHECK_FALSE(thrower.joinable());
  });
}

TEST_CASE("a handle that is assigned to stops the task that it had") {
  with_workers([] {
    std::atomic<bool> ended{false};
    auto h = weft::spawn([&] {
      weft::defer const mark([&] { ended = true; });
      weft::sleep_for(1h);
      return 1;
    });
    h = weft::spawn([] { return 2; });
    CHECK(ended);
    CHECK(h.join() == 2);
  });
}

TEST_CASE("cancel cancels the task's own context, and no other's") {
  with_workers([] {
    auto const child_of = [](weft::chan<weft::context> out) {
      out.send(weft::this_task::context());
      (void)weft::this_task::context().done().recv();
      return weft::this_task::context().cancelled();
    };
    auto const contexts = weft::make_chan<weft::context>(2);
    auto one = weft::spawn(child_of, contexts);
    weft::context const of_one = *contexts.recv();
    auto two = weft::spawn(child_of, contexts);
    weft::context const of_two = *contexts.recv();
    one.cancel();
    CHECK(one.join());
    CHECK(of_one.cancelled());
    CHECK_FALSE(of_two.cancelled());
    CHECK_FALSE(weft::this_task::context().cancelled());
    two.cancel();
    CHECK(two.join());
  });
}

TEST_CASE("a join that is itself cancelled leaves the handle joinable, and the result is had later") {
  with_workers([] {
    auto const gate = weft::make_chan<int>();
    weft::join_handle<int> child;
    {
      weft::scoped_context const apart(weft::without_cancel(weft::this_task::context()));
      child = weft::spawn([gate] { return gate.recv().value(); });
    }
    auto joiner = weft::spawn([&] { return child.join(); });
    joiner.cancel();
    CHECK_THROWS_AS(joiner.join(), weft::cancelled);
    CHECK(child.joinable());
    gate.send(6);
    CHECK(child.join() == 6);
  });
}

TEST_CASE("the place of the spawn is kept for dumps where the call is go(f) or spawn(f)") {
  with_workers([] {
    auto const gate = weft::make_chan<int>();
    auto const waits = [gate] { gate.recv(); };
    weft::go(waits), weft::go({.name = "n"}, waits);
    int const line = __LINE__ - 1;
    auto handle = weft::spawn(waits), named = weft::spawn({.name = "m"}, waits);
    weft::wait_group group;
    group.go({.name = "g"}, waits);
    while (weft::current_metrics().parked < 5) weft::yield();
    std::ostringstream text;
    weft::dump(text);
    gate.close();
    handle.join();
    named.join();
    group.wait();
    INFO(text.str());
    CHECK(contains(text.str(), "spawn_test.cpp:" + std::to_string(line)));
    CHECK(contains(text.str(), "\"n\", spawned at "));
    CHECK(contains(text.str(), "spawn_test.cpp:" + std::to_string(line + 2)));
    CHECK(contains(text.str(), "\"m\", spawned at "));
    CHECK(contains(text.str(), "spawn_test.cpp:" + std::to_string(line + 4)));
    CHECK(contains(text.str(), "\"g\", spawned at "));
  });
}

TEST_CASE("an exception that escapes a go task ends the process with one line: name, place of spawn and what()") {
  child_end const end = run_child([] {
    weft::run([] {
      weft::go({.name = "reader"}, [] { throw std::runtime_error("disk on fire"); });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  std::istringstream lines(end.errors);
  int with_all = 0;
  for (std::string line; std::getline(lines, line);)
    with_all += contains(line, "\"reader\"") && contains(line, "spawn_test.cpp:") && contains(line, "disk on fire");
  INFO(end.errors);
  CHECK(with_all == 1);
}

TEST_CASE("the line about an escaped exception leaves out a name and a place of spawn that are not known") {
  child_end const end = run_child([] {
    weft::run([] {
      weft::go([](int code) { throw code; }, 5);  // with arguments: no place is kept
      weft::sleep_for(10s);
    });
    return 0;
  });
  INFO(end.errors);
  CHECK(end.signal == SIGABRT);
  CHECK(contains(end.errors, " ended by an exception: an exception that is not a std::exception\n"));
  CHECK(!contains(end.errors, "spawned at"));
  CHECK(!contains(end.errors, "\""));
}

TEST_CASE("an exception that escapes a go task ends the process through std::terminate, whatever its type") {
  child_end const end = run_child([] {
    std::set_terminate([] { ::_exit(44); });
    weft::run([] {
      weft::go({.name = "odd"}, [] { throw 5; });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.exit_code == 44);
  CHECK(contains(end.errors, "\"odd\""));
}

TEST_CASE("what is said of an exception that escapes is one line, and a long name leaves room for the reason") {
  child_end const end = run_child([] {
    std::set_terminate([] { ::_exit(44); });
    weft::run([] {
      weft::go({.name = "a\n" + std::string(3000, 'n')}, [] { throw std::runtime_error("no\nroom"); });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.exit_code == 44);
  CHECK(contains(end.errors, "\"a nnn"));
  CHECK(contains(end.errors, "nnn\" spawned at "));
  CHECK(end.errors.ends_with("ended by an exception: no room\n"));
  CHECK(std::ranges::count(end.errors, '\n') == 1);
}

TEST_CASE("what is said of an exception that escapes names the ones nested in it, the cause last") {
  child_end const end = run_child([] {
    std::set_terminate([] { ::_exit(44); });
    weft::run([] {
      weft::go([] {
        try {
          try {
            throw std::runtime_error("no such file");
          } catch (...) {
            std::throw_with_nested(std::logic_error("cannot read the settings"));
          }
        } catch (...) {
          std::throw_with_nested(std::runtime_error("cannot start"));
        }
      });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.exit_code == 44);
  CHECK(end.errors.ends_with("ended by an exception: cannot start: cannot read the settings: no such file\n"));
}

TEST_CASE("a cancelled that escapes a go task ends it if its context is cancelled, and the process if it is not") {
  with_workers([] {
    auto const met = weft::make_chan<int>(1);
    auto [ctx, cancel] = weft::with_cancel();
    {
      weft::scoped_context const in(ctx);
      weft::go([met] {
        weft::defer const tell([met] { met.send(1); });
        weft::sleep_for(1h);
      });
    }
    cancel();
    CHECK(met.recv() == 1);
  });
}

TEST_CASE("a cancelled of another that escapes a go task ends the process with a line that names the task") {
  child_end const end = run_child([] {
    weft::run([] {
      weft::go({.name = "joiner"}, [] {
        auto child = weft::spawn([] { weft::sleep_for(1h); });
        child.cancel();
        child.join();
      });
      weft::sleep_for(10s);
    });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(contains(end.errors, "\"joiner\""));
  CHECK(contains(end.errors, "cancelled"));
}
