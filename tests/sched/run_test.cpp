// run and class runtime: the sentences of the API's section on starting.
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::worker_counts;
using namespace std::chrono_literals;

namespace {

struct at_end {
  std::atomic<int>& ended;
  ~at_end() { ++ended; }
};

int app(int argc, char** argv) {
  weft::yield();
  return argc + static_cast<int>(std::string_view(argv[0]).size());
}

}  // namespace

TEST_CASE("run(app, argc, argv) is a whole main") {
  char name[] = "program";
  char* argv[] = {name, nullptr};
  CHECK(weft::run(app, 1, argv) == 8);
  CHECK(weft::run({.workers = 1}, app, 2, argv) == 9);
  CHECK(weft::run([](std::stop_token stop, int n) { return stop.stop_requested() ? 0 : n; }, 3) == 3);
}

TEST_CASE("the options are what the page says where nothing is given") {
  weft::options const o;
  CHECK(o.workers == 0);
  CHECK(o.stack_size == 256 * 1024);
  CHECK(o.hog_after == 10ms);
  CHECK(o.blocked_after == 100us);
  CHECK(o.max_threads == 10'000);
  CHECK(o.shutdown_grace == 5s);
  CHECK(o.on_stuck == weft::stuck::exit);
  CHECK(o.on_quit == weft::quit::exit);
  for (unsigned workers : worker_counts) CHECK(weft::runtime({.workers = workers}).metrics().workers == workers);
}

TEST_CASE("a runtime's run, from several plain threads at once, runs f as a task and returns or rethrows") {
  for (unsigned workers : worker_counts) {
    weft::runtime r({.workers = workers});
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          bool const is_task = r.run([] { return weft::this_task::id() != 0; });
          int const sum = r.run([](int a, int b) { return weft::spawn([=] { return a + b; }).join(); }, t, i);
          bool threw = false;
          try {
            r.run([i] { throw i; });
          } catch (int thrown) {
            threw = thrown == i;
          }
          right += is_task && sum == t + i && threw;
        }
      });
    for (auto& t : threads) t.join();
    CHECK(right == 80);
    CHECK(weft::this_task::id() == 0);
  }
}

TEST_CASE("go and spawn of a runtime work from any thread, with options and arguments") {
  for (unsigned workers : worker_counts) {
    weft::runtime r({.workers = workers});
    auto const said = weft::make_chan<std::string>(8);
    auto const name = [] { return std::string(weft::this_task::name()); };
    CHECK(r.spawn({.name = "one"}, name).join() == "one");
    CHECK(r.spawn({.name = "two"}, [&](std::string const& more) { return name() + more; }, "+").join() == "two+");
    r.go({.name = "three"}, [&] { said.send(name()); });
    CHECK(said.recv() == "three");
    r.go(
        {.name = "four"},
        [&](std::stop_token stop, int n) { said.send(name() + std::to_string(n + stop.stop_requested())); }, 4);
    CHECK(said.recv() == "four4");
    r.run([&] { r.go([&] { said.send("from a task"); }); });
    CHECK(said.recv() == "from a task");
  }
}

TEST_CASE("several runtimes live in one process, and a task of one joins a task of another") {
  for (unsigned workers : worker_counts) {
    weft::runtime a({.workers = workers}), b({.workers = 1});
    auto const gate = weft::make_chan<int>();
    auto inner = b.spawn([gate] { return gate.recv().value(); });
    auto outer = a.spawn([&] { return inner.join() + 1; });
    gate.send(4);
    CHECK(outer.join() == 5);
    weft::mutex m;
    int sum = 0;
    auto const add = [&] {
      for (int i = 0; i < 500; ++i) {
        std::lock_guard const hold(m);
        ++sum;
      }
    };
    auto one = a.spawn(add), two = b.spawn(add);
    one.join();
    two.join();
    CHECK(sum == 1000);
  }
}

TEST_CASE("each task still parked, wherever, is woken by cancellation and its destructors run before run returns") {
  for (unsigned workers : worker_counts) {
    INFO("with " << workers << " workers");
    std::atomic<int> ended{0};
    int started = 0;
    auto listener = weft::net::tcp_listener::bind("127.0.0.1:0").value();
    weft::runtime r({.workers = workers});
    r.run([&] {
      auto const go = [&](auto wait) {
        ++started;
        weft::go([&ended, wait] {
          at_end const mark{ended};
          wait();
        });
      };
      go([c = weft::make_chan<int>()] { c.recv(); });
      go([c = weft::make_chan<int>()] { c.send(1); });
      go([] { weft::chan<int>().recv(); });
      go([] { weft::select(); });
      go([] { weft::select(weft::on_timeout(1h), weft::on_recv(weft::make_chan<int>())); });
      go([] { weft::sleep_for(std::chrono::hours::max()); });
      go([] { weft::spawn([] { weft::sleep_for(1h); }).join(); });
      go([] { weft::timer(1h).channel().recv(); });
      go([] {
        weft::task_group g;
        g.spawn([] { weft::sleep_for(1h); });
        g.wait();
      });
      go([] {
        weft::counting_semaphore<> zero(0);
        zero.acquire();
      });
      go([] {
        weft::mutex m;
        weft::condition_variable changed;
        std::unique_lock hold(m);
        changed.wait(hold);
      });
      go([] {
        weft::latch one(1);
        one.wait();
      });
      go([] {
        weft::wait_group group;
        group.add();
        weft::defer const done([&] { group.done(); });
        group.wait();
      });
      go([] { weft::oneshot<int>().recv(); });
      go([] { weft::broadcast<int>(1).subscribe().channel().recv(); });
      go([] {
        weft::watch<int> state(1);
        state.subscribe().changed();
      });
      go([&listener] { (void)listener.accept(); });
    });
    r.shutdown();
    CHECK(ended == started);
    CHECK(r.metrics().live == 0);
  }
}

TEST_CASE("when the first task throws, the others are cancelled, unwound and gone before run rethrows") {
  for (unsigned workers : worker_counts) {
    std::atomic<int> ended{0};
    CHECK_THROWS_AS(weft::run({.workers = workers},
                              [&] {
                                for (int i = 0; i < 20; ++i)
                                  weft::go([&] {
                                    at_end const mark{ended};
                                    weft::make_chan<int>().recv();
                                  });
                                throw std::out_of_range("first");
                              }),
                    std::out_of_range);
    CHECK(ended == 20);
  }
}

TEST_CASE("no task outlives run: what is spawned and waited for while it ends has ended before it returns") {
  for (unsigned workers : worker_counts) {
    std::atomic<int> ended{0};
    weft::run({.workers = workers}, [&] {
      for (int i = 0; i < 10; ++i)
        weft::go([&] {
          weft::defer const last([&] {
            weft::go([&] {
              at_end const mark{ended};
              weft::yield();
            });
            weft::spawn([&] {
              at_end const mark{ended};
              weft::sleep_for(100us);
            }).join();
          });
          weft::sleep_for(1h);
        });
    });
    CHECK(ended == 20);
  }
}

TEST_CASE("the root context is cancelled when the first task has ended, not before") {
  for (unsigned workers : worker_counts) {
    weft::context root;
    bool early = true;
    weft::run({.workers = workers}, [&] {
      root = weft::context::background();
      early = root.cancelled();
    });
    CHECK_FALSE(early);
    CHECK(root.err() == std::errc::operation_canceled);
  }
}

TEST_CASE("shutdown may be called twice, and a runtime that was shut down takes no more tasks") {
  for (unsigned workers : worker_counts) {
    weft::runtime r({.workers = workers});
    std::atomic<int> ended{0};
    r.go([&] {
      at_end const mark{ended};
      weft::sleep_for(1h);
    });
    std::thread other([&] { r.shutdown(); });
    r.shutdown();
    CHECK(ended == 1);
    other.join();
    r.shutdown(1h);
    CHECK_THROWS_AS(r.go([] {}), weft::no_runtime);
    CHECK_THROWS_AS(r.spawn([] {}), weft::no_runtime);
    CHECK_THROWS_AS(r.run([] {}), weft::no_runtime);
    try {
      r.go([] {});
    } catch (weft::no_runtime const& e) {
      CHECK(std::string(e.what()).find("shut down") != std::string::npos);
    }
  }
}

TEST_CASE("shutdown takes a grace of any duration type, of which max() means never") {
  for (unsigned workers : worker_counts) {
    auto const takes_its_time = [] {
      weft::defer const last([] { weft::sleep_for(20ms); });
      weft::sleep_for(1h);
    };
    auto const shut_down = [&](auto grace) {
      weft::runtime r({.workers = workers, .shutdown_grace = 0ns});
      r.go(takes_its_time);
      r.shutdown(grace);  // else the process ends with status 70
      CHECK(r.metrics().live == 0);
    };
    shut_down(std::chrono::hours::max());
    shut_down(std::chrono::nanoseconds::max());
    shut_down(std::chrono::duration<double>(60.5));
    weft::runtime patient({.workers = workers, .shutdown_grace = std::chrono::nanoseconds::max()});
    patient.go(takes_its_time);
    weft::runtime more_patient({.workers = workers, .shutdown_grace = std::chrono::hours::max()});
    more_patient.go(takes_its_time);
  }
}

TEST_CASE("a duration of any type may be given to the options: beyond nanoseconds it is max(), negative it is none") {
  weft::options o{.hog_after = std::chrono::hours::max(),
                  .blocked_after = std::chrono::duration<double>(1e300),
                  .shutdown_grace = -1h};
  CHECK(o.hog_after == std::chrono::nanoseconds::max());
  CHECK(o.blocked_after == std::chrono::nanoseconds::max());
  CHECK(o.shutdown_grace == 0ns);
  o.shutdown_grace = std::chrono::years(300);
  CHECK(o.shutdown_grace == std::chrono::nanoseconds::max());
  std::chrono::nanoseconds const plain = o.shutdown_grace;  // is one
  CHECK(plain == o.shutdown_grace);
  for (unsigned workers : worker_counts) {
    o.workers = workers;
    weft::run(o, [] {
      weft::blocking([] { std::this_thread::sleep_for(1ms); });
      std::this_thread::sleep_for(5ms);
    });
  }
}

TEST_CASE("a default stack size beyond all reason is refused") {
  weft::options o;
  o.stack_size = (std::size_t{1} << 30) + 1;
  CHECK_THROWS_AS(weft::runtime(o), std::system_error);
  CHECK_THROWS_AS(weft::run(o, [] {}), std::system_error);
}

TEST_CASE("more workers than any machine has processors are refused, by a negative number as well") {
  for (unsigned const beyond : {4097U, static_cast<unsigned>(-1)}) {
    weft::options o;
    o.workers = beyond;
    try {
      weft::run(o, [] {});
      FAIL("taken");
    } catch (std::system_error const& e) {
      CHECK(e.code() == std::errc::invalid_argument);
      CHECK(std::string_view(e.what()).find("options::workers") != std::string_view::npos);
    }
  }
}

TEST_CASE("a negative grace means now") {
  child_end const end = run_child([] {
    weft::runtime r({.workers = 2});
    auto const begun = weft::make_chan<int>();
    r.go({.name = "late"}, [begun] {
      weft::uncancellable const shield;
      begun.send(1);
      weft::sleep_for(1h);
    });
    begun.recv();
    auto const before = weft::now();
    std::thread watch([before] {
      std::this_thread::sleep_for(4s);  // the default grace is five
      ::_exit(weft::now() - before < 4s ? 1 : 2);
    });
    r.shutdown(-1h);
    return 0;
  });
  CHECK(end.exit_code == 70);
  CHECK(end.errors.find("\"late\"") != std::string::npos);
}

TEST_CASE("a runtime's run inside a task is a fatal misuse that names the call") {
  child_end const end = run_child([] {
    weft::runtime r({.workers = 1});
    r.run([&] { r.run([] {}); });
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.find("run called inside a task") != std::string::npos);
}

TEST_CASE("a runtime that is made, shut down or destroyed inside a task is a fatal misuse that names which") {
  child_end const made = run_child([] {
    weft::run([] { weft::runtime r({.workers = 1}); });
    return 0;
  });
  CHECK(made.signal == SIGABRT);
  CHECK(made.errors.find("runtime made inside a task") != std::string::npos);
  child_end const shut = run_child([] {
    weft::runtime r({.workers = 1});
    r.run([&] { r.shutdown(); });
    return 0;
  });
  CHECK(shut.signal == SIGABRT);
  CHECK(shut.errors.find("shutdown called inside a task") != std::string::npos);
  child_end const destroyed = run_child([] {
    auto r = std::make_unique<weft::runtime>(weft::options{.workers = 1});
    r->run([&] { r.reset(); });
    return 0;
  });
  CHECK(destroyed.signal == SIGABRT);
  CHECK(destroyed.errors.find("runtime destroyed inside a task") != std::string::npos);
}

TEST_CASE("metrics of a runtime are read from outside while its tasks park, wake and end") {
  for (unsigned workers : worker_counts) {
    weft::runtime r({.workers = workers});
    auto const gate = weft::make_chan<int>();
    std::vector<weft::join_handle<void>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(r.spawn([gate] { gate.recv(); }));
    while (r.metrics().parked < 10) std::this_thread::yield();
    weft::runtime_metrics const m = r.metrics();
    CHECK(m.workers == workers);
    CHECK(m.live == 10);
    CHECK(m.parked == 10);
    CHECK(m.runnable == 0);
    CHECK(m.spawns == 10);
    CHECK(m.parks >= 10);
    CHECK(m.stacks >= 10);
    CHECK(m.bytes > 0);
    gate.close();
    for (auto& h : tasks) h.join();
    while (r.metrics().live != 0) std::this_thread::yield();
    CHECK(r.metrics().parked == 0);
  }
}
