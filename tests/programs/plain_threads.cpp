// Plain threads around a runtime: they send to tasks, receive from them, select, join, and outlive it.

#include <weft/weft.hpp>

#include <atomic>
#include <cstdio>
#include <optional>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

bool check(bool ok, char const* what) {
  if (!ok) std::fprintf(stderr, "wrong: %s\n", what);
  return ok;
}

bool threads_feed_tasks() {
  weft::runtime rt;
  auto in = weft::make_chan<int>(4);
  auto out = weft::make_chan<long>();
  std::vector<weft::join_handle<int>> tasks;
  for (int i = 0; i < 3; ++i)
    tasks.push_back(rt.spawn([in = in.rx(), out = out.tx()] {
      int n = 0;
      for (int v : in) {
        out.send(2L * v);
        ++n;
      }
      return n;
    }));
  auto results = out.rx();
  out = {};
  std::vector<std::thread> producers;
  for (int t = 0; t < 4; ++t)
    producers.emplace_back([tx = in.tx()] {
      for (int i = 1; i <= 250; ++i) tx.send(i);
    });
  in = {};
  long sum = 0;
  std::thread consumer([&] {
    for (long v : results) sum += v;
  });
  int handled = 0;
  for (auto& t : tasks) handled += t.join();  // a plain thread sleeps here
  for (auto& p : producers) p.join();
  consumer.join();
  return check(handled == 1000 && sum == 4L * 250 * 251, "threads feed tasks");
}

bool threads_select() {
  weft::runtime rt;
  auto a = weft::make_chan<int>(), b = weft::make_chan<int>();
  rt.go([a] {
    for (int i = 0; i < 100; ++i) a.send(1);
    a.close();
  });
  rt.go([b] {
    for (int i = 0; i < 100; ++i) b.send(100);
    b.close();
  });
  int sum = 0;
  bool a_open = true, b_open = true;
  while (a_open || b_open)
    weft::select(
        weft::when(a_open, weft::on_recv(a, [&](std::optional<int> v) { v ? void(sum += *v) : void(a_open = false); })),
        weft::when(b_open, weft::on_recv(b, [&](std::optional<int> v) { v ? void(sum += *v) : void(b_open = false); })),
        weft::on_timeout(10s, [] { std::abort(); }));
  auto const nothing = a.recv_for(1ms);
  auto const timeout = weft::make_chan<int>().recv_for(1ms);
  return check(
      sum == 10'100 && nothing.error() == weft::chan_status::closed && timeout.error() == weft::chan_status::timeout,
      "threads select");
}

bool two_runtimes_share() {
  weft::mutex m;
  weft::condition_variable turned;
  int turn = 0;
  weft::runtime one(weft::options{.workers = 1}), two(weft::options{.workers = 2});
  auto play = [&](int me) {
    for (int i = 0; i < 200; ++i) {
      std::unique_lock hold(m);
      turned.wait(hold, [&] { return turn % 3 == me; });
      ++turn;
      turned.notify_all();
    }
  };
  auto a = one.spawn(play, 0);
  auto b = two.spawn(play, 1);
  std::thread c(play, 2);
  a.join(), b.join(), c.join();
  return check(turn == 600, "two runtimes and a thread take turns");
}

bool shutdown_ends_tasks_and_lets_threads_go() {
  auto in = weft::make_chan<int>();
  std::atomic<bool> unwound = false;
  std::thread sender;
  {
    weft::runtime rt;
    auto started = weft::make_chan<int>(1);
    rt.go([rx = in.rx(), started, &unwound] {
      weft::defer mark([&] { unwound = true; });
      started.send(1);
      for (int v : rx)
        if (v < 0) return;
    });
    started.recv();
    sender = std::thread([tx = in.tx()] {
      while (tx.push(1)) {
      }
    });
    in = {};
    rt.shutdown(5s);
  }
  sender.join();  // its push is refused: the last receiver has gone
  return check(unwound, "a shutdown unwinds");
}

}  // namespace

int main() {
  bool ok = threads_feed_tasks();
  ok &= threads_select();
  ok &= two_runtimes_share();
  ok &= shutdown_ends_tasks_and_lets_threads_go();
  try {
    weft::go([] {});
    ok = false;
  } catch (weft::no_runtime const&) {
  }
  return ok ? 0 : 1;
}
