// Channels between plain threads, and between threads and tasks.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <ctime>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::test::with_workers;

TEST_CASE("plain threads alone use channels without any runtime") {
  for (std::size_t capacity : {0u, 4u}) {
    auto c = weft::make_chan<int>(capacity);
    std::vector<std::thread> senders;
    for (int p = 0; p < 3; ++p)
      senders.emplace_back([tx = c.tx()] {
        for (int i = 1; i <= 2000; ++i) tx.send(i);
      });
    long sum = 0;
    std::thread receiver([&sum, rx = c.rx()] {
      for (int v : rx) sum += v;
    });
    c = {};
    for (auto& t : senders) t.join();
    receiver.join();
    CHECK(sum == 3L * 2000 * 2001 / 2);
  }
}

TEST_CASE("a plain thread's timed operations end in time") {
  auto c = weft::make_chan<int>();
  auto const begin = std::chrono::steady_clock::now();
  CHECK(c.recv_for(3ms).error() == chan_status::timeout);
  CHECK(c.send_for(1, 3ms) == chan_status::timeout);
  CHECK(weft::select(weft::on_recv(c), weft::on_timeout(3ms)) == 1);
  CHECK(weft::chan<int>().recv_for(3ms).error() == chan_status::timeout);
  CHECK(std::chrono::steady_clock::now() - begin >= 12ms);
}

TEST_CASE("a plain thread's select meets other threads' sends and receives") {
  auto a = weft::make_chan<int>(), b = weft::make_chan<int>(), out = weft::make_chan<int>();
  std::thread one([&] {
    for (int i = 0; i < 500; ++i) a.send(1);
  });
  std::thread two([&] {
    for (int i = 0; i < 500; ++i) b.send(100);
  });
  long taken = 0;
  std::thread three([&] {
    for (int i = 0; i < 500; ++i) taken += *out.recv();
  });
  long sum = 0;
  int sent = 0, received = 0;
  while (received < 1000 || sent < 500)
    weft::select(weft::on_recv(a, [&](int v) { sum += v, ++received; }),
                 weft::on_recv(b, [&](int v) { sum += v, ++received; }),
                 weft::when(sent < 500, weft::on_send(out, 7, [&] { ++sent; })));
  one.join();
  two.join();
  three.join();
  CHECK(sum == 500 + 50000);
  CHECK(taken == 3500);
}

TEST_CASE("threads and tasks share channels") {
  with_workers([] {
    auto up = weft::make_chan<int>(2);
    auto down = weft::make_chan<std::string>();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([=] {
        for (int v : up) down.send(std::to_string(v));
      });
    auto h = weft::spawn([=] {
      for (int i = 0; i < 900; ++i) up.send(i);
      up.close();
    });
    long sum = 0;
    for (int i = 0; i < 900; ++i) sum += std::stol(*down.recv());
    CHECK(sum == 899L * 900 / 2);
    h.join();
    for (auto& t : threads) t.join();
  });
}

TEST_CASE("a plain thread that waits uses no CPU") {
  weft::runtime runtime;
  weft::mutex held;
  auto const never = weft::make_chan<int>(), locked = weft::make_chan<int>();
  auto const wall = std::chrono::steady_clock::now();  // before the mutex is held: 300 ms from here at least
  auto sleeper = runtime.spawn([] { weft::sleep_for(100ms); });
  runtime.go([&held, locked] {
    std::lock_guard const hold(held);
    locked.send(1);
    weft::sleep_for(300ms);
  });
  (void)locked.recv();
  auto const cpu = [] {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  auto const before = cpu();
  sleeper.join();
  CHECK(never.recv_for(50ms).error() == weft::chan_status::timeout);
  CHECK(weft::select(weft::on_recv(never, [](int) {}), weft::on_timeout(50ms, [] {})) == 1);
  held.lock();
  held.unlock();
  CHECK(std::chrono::steady_clock::now() - wall >= 200ms);
  CHECK(cpu() - before < 50ms);
}

TEST_CASE("a thread may wait in a thread_local's destructor, at its very end, while others come and go") {
  auto ending = weft::make_chan<int>(), starting = weft::make_chan<int>();
  static weft::chan<int> in;
  static int got = 0;
  in = ending;
  struct late {
    ~late() {
      if (auto v = in.recv()) got = *v;
    }
  };
  std::thread ends([] {
    thread_local late runs_last;  // made before the first wait, so destroyed after what the thread keeps for waiting
    (void)&runs_last;
    (void)in.recv();
  });
  ending.send(1);
  while (weft::test::waiting(ending, false) == 0) std::this_thread::yield();  // in the destructor
  std::thread starts([&] { (void)starting.recv(); });
  while (weft::test::waiting(starting, false) == 0) std::this_thread::yield();
  ending.send(2);
  ends.join();
  CHECK(got == 2);
  starting.send(3);
  starts.join();
  in = {};
}

TEST_CASE("a plain thread selects on contexts and tasks, and with a selector, without being a task") {
  for (unsigned workers : weft::test::worker_counts) {
    weft::runtime r({.workers = workers});
    auto const gate = weft::make_chan<int>();
    auto task = r.spawn([gate] { return gate.recv().value(); });
    auto [ctx, cancel] = weft::with_cancel();
    CHECK(weft::select(weft::on_join(task), weft::on_done(ctx), weft::on_timeout(1ms)) == 2);
    r.go([cancel_it = cancel] { cancel_it(); });
    CHECK(weft::select(weft::on_join(task), weft::on_done(ctx)) == 1);
    gate.send(4);
    int got = 0;
    weft::selector s;
    auto const join = s.join(task, [&](int v) { got = v; });
    s.recv(gate);
    CHECK(s.wait() == join);
    CHECK(got == 4);
    CHECK(weft::select(weft::on_recv(gate), weft::otherwise()) == 1);
    CHECK(weft::this_task::id() == 0);
  }
}

TEST_CASE("plain threads use every operation of a channel that tasks wait on") {
  for (unsigned workers : weft::test::worker_counts) {
    weft::runtime r({.workers = workers});
    auto const in = weft::make_chan<int>(2), out = weft::make_chan<int>();
    auto echo = r.spawn([=] {
      int n = 0;
      for (int v : in) {
        out.send(v);
        ++n;
      }
      out.close();
      return n;
    });
    std::vector<int> got;
    in.send(1);
    got.push_back(out.recv().value());
    CHECK(in.push(2));
    got.push_back(out.recv_for(1h).value());
    CHECK(in.send_for(3, 1h) == chan_status::ok);
    out.recv_many(got, 1);
    while (in.try_send(4) != chan_status::ok) std::this_thread::yield();
    for (auto v = out.try_recv();; v = out.try_recv()) {
      if (!v) continue;
      got.push_back(*v);
      break;
    }
    weft::select(weft::on_send(in, 5));
    weft::select(weft::on_recv(out, [&](int v) { got.push_back(v); }));
    in.close();
    for (int v : out) got.push_back(-v);
    CHECK(got == std::vector{1, 2, 3, 4, 5});
    CHECK(echo.join() == 5);
  }
}

}  // namespace
