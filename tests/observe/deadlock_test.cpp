#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <string>
#include <thread>

#include <unistd.h>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

weft::options with(unsigned workers) {
  weft::options o;
  o.workers = workers;
  return o;
}

/// Runs f with 1, 2 and 4 workers and hands what() of its deadlock to `look`.
template <class F, class Look>
void deadlocks(F f, Look look) {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    std::optional<std::string> what;
    try {
      weft::run(with(workers), f);
    } catch (weft::deadlock const& e) {
      what = e.what();
    }
    REQUIRE(what.has_value());
    INFO(*what);
    look(*what);
  }
}

/// Runs f with 1, 2 and 4 workers: it must not be taken for deadlocked.
template <class F>
void goes_on(F f) {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    CHECK_NOTHROW(weft::run(with(workers), f));
  }
}

struct tells {
  std::atomic<int>* of;
  ~tells() { ++*of; }
};

}  // namespace

TEST_CASE("a task that nobody will send to ends run by weft::deadlock, which names it", "[observe][deadlock]") {
  deadlocks([] { weft::make_chan<int>().recv(); },
            [](std::string const& what) {
              CHECK(contains(what, "weft: deadlock"));
              CHECK(contains(what, "waits on channel receive 0x"));
              CHECK(contains(what, ", for "));
            });
}

TEST_CASE("a deadlock lists every task with name and place of spawn, and unwinds them all", "[observe][deadlock]") {
  std::atomic<int> unwound{0};
  deadlocks(
      [&] {
        unwound = 0;
        auto a = weft::make_chan<int>();
        auto b = weft::make_chan<int>();
        auto c = weft::make_chan<int>();
        weft::wait_group never;
        never.add();
        weft::go(weft::task_options{.name = "left"}, [&, a, b] {
          tells const end{&unwound};
          a.recv();
          b.send(1);
        });
        weft::go([&, a, b] {
          tells const end{&unwound};
          b.recv();
          a.send(1);
        });
        weft::go([&, c] {
          tells const end{&unwound};
          weft::select(weft::on_recv(c), weft::on_send(c, 3));
        });
        tells const end{&unwound};
        never.wait();
      },
      [&](std::string const& what) {
        CHECK(contains(what, "4 tasks: 4 parked"));
        CHECK(contains(what, "\"left\", spawned at "));
        CHECK(contains(what, "deadlock_test.cpp:"));
        CHECK(contains(what, "waits on wait_group"));
        CHECK(unwound == 4);
      });
}

namespace {

/// Locks the first mutex, waits until another task holds one too, and then wants the second.
void lock_both(weft::mutex& first, weft::mutex& second, weft::latch& both, std::atomic<int>& unwound) {
  tells const end{&unwound};
  std::lock_guard const one(first);
  both.arrive_and_wait();
  std::lock_guard const two(second);
}

}  // namespace

TEST_CASE("a deadlock that a blocking call leaves behind is found when the call has ended, and lists each task once",
          "[observe][deadlock]") {
  weft::wait_group never;  // not in the first task's frame: that task does not wait for the one that blocks first
  never.add();
  deadlocks(
      [&] {
        auto const ch = weft::make_chan<int>();
        for (int i = 0; i < 5; ++i) weft::go({.name = "twin " + std::to_string(i)}, [ch] { ch.recv(); });
        weft::go({.name = "blocks first"}, [&] {
          weft::blocking([] { std::this_thread::sleep_for(30ms); });
          never.wait();
        });
        weft::spawn({.name = "joined"}, [&] { never.wait(); }).join();
      },
      [](std::string const& what) {
        CHECK(contains(what, "8 tasks: 8 parked"));
        for (std::string const name : {"twin 0", "twin 1", "twin 2", "twin 3", "twin 4", "blocks first", "joined"}) {
          std::size_t const at = what.find("\"" + name + "\"");
          CHECK(at != std::string::npos);
          CHECK(what.find("\"" + name + "\"", at + 1) == std::string::npos);
        }
      });
}

TEST_CASE("two tasks that lock two mutexes in opposite order are found, and lock() throws", "[observe][deadlock]") {
  std::atomic<int> unwound{0};
  deadlocks(
      [&] {
        unwound = 0;
        weft::mutex a;
        weft::mutex b;
        weft::latch both(2);
        auto other = weft::spawn([&] { lock_both(a, b, both, unwound); });
        lock_both(b, a, both, unwound);
      },
      [&](std::string const& what) {
        CHECK(contains(what, "waits on mutex 0x"));
        CHECK(unwound == 2);
      });
}

TEST_CASE("tasks in lock() unwind before the frame that their mutexes lie in", "[observe][deadlock]") {
  std::atomic<int> unwound{0};
  deadlocks(
      [&] {
        unwound = 0;
        weft::mutex a;
        weft::mutex b;
        weft::latch both(2);
        weft::wait_group philosophers;
        philosophers.go([&] { lock_both(a, b, both, unwound); });
        philosophers.go([&] { lock_both(b, a, both, unwound); });
        philosophers.wait();
      },
      [&](std::string const& what) {
        CHECK(contains(what, "waits on mutex 0x"));
        CHECK(unwound == 2);
      });
}

TEST_CASE("a task that locks what it holds, a reader that wants to write, a call_once in itself are found",
          "[observe][deadlock]") {
  deadlocks(
      [] {
        weft::mutex m;
        std::lock_guard const once(m);
        std::lock_guard const again(m);
      },
      [](std::string const&) {});
  deadlocks(
      [] {
        weft::shared_mutex m;
        std::shared_lock const read(m);
        std::lock_guard const write(m);
      },
      [](std::string const& what) { CHECK(contains(what, "shared_mutex")); });
  deadlocks(
      [] {
        static weft::once_flag* flag = nullptr;
        weft::once_flag mine;
        flag = &mine;
        weft::call_once(mine, [] { weft::call_once(*flag, [] {}); });
      },
      [](std::string const& what) { CHECK(contains(what, "call_once")); });
}

TEST_CASE("a condition variable that nobody notifies is found, and its mutex is not unlocked twice",
          "[observe][deadlock]") {
  deadlocks(
      [] {
        weft::mutex m;
        weft::condition_variable c;
        auto other = weft::spawn([&] {
          std::unique_lock hold(m);
          c.wait(hold);
        });
        std::unique_lock hold(m);
        c.wait(hold);
      },
      [](std::string const& what) { CHECK(contains(what, "2 tasks: 2 parked")); });
}

TEST_CASE("a deadlock behind a cancelled timer is found at once", "[observe][deadlock]") {
  auto const before = weft::now();
  deadlocks(
      [] {
        auto brief = weft::spawn([] { weft::sleep_for(1h); });
        weft::yield();
        brief.stop();
        weft::make_chan<int>().recv();
      },
      [](std::string const&) {});
  CHECK(weft::now() - before < 30s);
}

TEST_CASE("a deadlock that begins when the plain thread goes to sleep in run is found", "[observe][deadlock]") {
  weft::runtime runtime(with(2));
  auto ch = weft::make_chan<int>();
  runtime.go([rx = ch.rx()] { rx.recv(); });
  std::this_thread::sleep_for(20ms);  // by now it has been asked, and this thread was in the way
  CHECK_THROWS_AS(runtime.run([&] { ch.tx().send(1), ch.recv(); }), weft::deadlock);
}

TEST_CASE("what may still come from outside is no deadlock", "[observe][deadlock]") {
  SECTION("a timer") {
    goes_on([] { weft::after(30ms).recv(); });
  }
  SECTION("a sleep") {
    goes_on([] {
      auto ch = weft::make_chan<int>();
      weft::go([ch] { weft::sleep_for(30ms), ch.send(1); });
      ch.recv();
    });
  }
  SECTION("a context's deadline") {
    goes_on([] { CHECK(weft::within(30ms, [] { weft::make_chan<int>().recv(); }).error() == std::errc::timed_out); });
  }
  SECTION("a socket") {
    goes_on([] {
      auto listener = weft::net::tcp_listener::bind("127.0.0.1:0").value();
      auto client = weft::net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
      auto served = listener.accept().value();
      auto reader = weft::spawn([&] {
        char one[1];
        return served.read_some(one).value();
      });
      auto ch = weft::make_chan<int>(1);
      weft::go([&, ch] {
        (void)weft::net::wait_readable(client.native_handle(), 30ms);
        (void)client.write_all("x");
        ch.send(1);
      });
      CHECK(reader.join() == 1);
      ch.recv();
    });
  }
  SECTION("a function that is due later") {
    goes_on([] {
      auto ch = weft::make_chan<int>();
      weft::after_func(30ms, [ch] { ch.send(1); });
      ch.recv();
    });
  }
  SECTION("a look-up of a name") {
    goes_on([] { CHECK_FALSE(weft::net::resolve("no-such-host.invalid:80").has_value()); });
  }
  SECTION("a blocking call") {
    goes_on([] {
      auto ch = weft::make_chan<int>();
      weft::go([ch] {
        weft::blocking([] { std::this_thread::sleep_for(60ms); });
        ch.send(1);
      });
      CHECK(ch.recv() == 1);
      weft::go([ch] { weft::blocking([ch] { std::this_thread::sleep_for(60ms), ch.send(2); }); });
      CHECK(ch.recv() == 2);
    });
  }
  SECTION("a system call") {
    goes_on([] {
      auto ch = weft::make_chan<int>();
      weft::go([ch] { std::this_thread::sleep_for(60ms), ch.send(1); });
      CHECK(ch.recv() == 1);
    });
  }
  SECTION("a thread of the program") {
    goes_on([] {
      auto ch = weft::make_chan<int>();
      std::jthread const other([ch] {
        std::this_thread::sleep_for(60ms);
        ch.send(1);
      });
      CHECK(ch.recv() == 1);
    });
  }
  SECTION("a thread that waits in weft for another that does not") {
    goes_on([] {
      auto first = weft::make_chan<int>();
      auto second = weft::make_chan<int>();
      std::jthread const middle([=] { second.send(first.recv().value() + 1); });
      std::jthread const outer([=] {
        std::this_thread::sleep_for(60ms);
        first.send(1);
      });
      CHECK(second.recv() == 2);
    });
  }
}

TEST_CASE("a subscription to a signal is no deadlock", "[observe][deadlock]") {
  // In a child: the thread that delivers signals stays, and a later test's child would not have it.
  child_end const end = run_child([] {
    int got = 0;
    weft::run(with(2), [&] {
      auto usr = weft::signals({SIGUSR1});
      auto ch = weft::make_chan<int>();
      weft::go([=] { ch.send(usr.recv().value()); });
      std::jthread const sender([] {
        std::this_thread::sleep_for(40ms);
        ::kill(::getpid(), SIGUSR1);
      });
      got = ch.recv().value();
    });
    return got == SIGUSR1 ? 0 : 1;
  });
  CHECK(end.exit_code == 0);
  CHECK(end.errors.empty());
}

TEST_CASE("a plain thread that waits in weft is in the deadlock too", "[observe][deadlock]") {
  std::thread helper;
  weft::chan<int> first;
  weft::chan<int> second;
  deadlocks(
      [&] {
        first = weft::make_chan<int>();
        second = weft::make_chan<int>();
        helper = std::thread([=] {
          if (first.recv()) second.send(1);
        });
        try {
          second.recv();
        } catch (weft::cancelled const&) {
          first.close();
          helper.join();
          throw;
        }
      },
      [](std::string const&) {});
}

TEST_CASE("a thread that ends leaves a deadlock behind, which is then found", "[observe][deadlock]") {
  deadlocks(
      [&] {
        std::thread([] { std::this_thread::sleep_for(30ms); }).detach();
        weft::make_chan<int>().recv();
      },
      [](std::string const&) {});
}

TEST_CASE("a deadlock that nobody waits in run for is told on standard error", "[observe][deadlock]") {
  child_end const end = run_child([] {
    weft::runtime runtime(with(1));
    auto ch = weft::make_chan<int>();
    auto never = weft::make_chan<int>();
    runtime.go(weft::task_options{.name = "left alone"}, [=] { ch.recv(); });
    ::alarm(2);  // SIGALRM ends it
    ::signal(SIGALRM, [](int) { ::_exit(7); });
    never.recv();
    return 0;
  });
  CHECK(end.exit_code == 7);
  CHECK(contains(end.errors, "deadlock"));
  CHECK(contains(end.errors, "\"left alone\""));
}

TEST_CASE("what waits uncancellably in a deadlock is named, and the process ends", "[observe][deadlock]") {
  child_end const end = run_child([] {
    weft::run(with(2), [] {
      weft::uncancellable const shield;
      weft::make_chan<int>().recv();
    });
    return 0;
  });
  CHECK(end.exit_code == 70);
  CHECK(contains(end.errors, "could not be unwound"));
  CHECK(contains(end.errors, "channel receive"));
}

TEST_CASE("a program that is idle again and again for a moment is never taken for deadlocked",
          "[observe][deadlock][stress]") {
  for (unsigned const workers : weft::test::worker_counts) {
    INFO("with " << workers << " workers");
    // A plain thread wakes a chain of tasks after pauses around the one after which the question is asked.
    weft::runtime runtime(with(workers));
    auto in = weft::make_chan<int>();
    auto out = weft::make_chan<int>();
    std::thread driver([=] {
      std::minstd_rand random(workers);
      for (int i = 0; i < 150; ++i) {
        std::this_thread::sleep_for(std::chrono::microseconds(2500 + random() % 1500));
        in.send(i);
        (void)out.recv();
      }
      in.close();
    });
    long const sum = runtime.run([&] {
      weft::mutex m;
      auto middle = weft::make_chan<int>();
      weft::go([=, &m] {
        while (auto v = in.recv()) {
          std::lock_guard const hold(m);
          middle.send(*v);
        }
        middle.close();
      });
      long total = 0;
      while (auto v = middle.recv()) {
        total += *v;
        out.send(*v);
      }
      return total;
    });
    driver.join();
    CHECK(sum == 150 * 149 / 2);
  }
}
