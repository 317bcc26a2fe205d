// The calls of weft by whether they can wait: each as a function, with its name for a failed test.
#pragma once

#include <weft/weft.hpp>

#include <csignal>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <string>
#include <vector>

namespace weft::test {

using namespace std::chrono_literals;

struct call {
  char const* name;
  std::function<void()> f;
};

template <class F>
bool throws_cancelled(F const& f) {
  try {
    f();
  } catch (weft::cancelled const& c) {
    return c.code() == std::errc::operation_canceled;
  }
  return false;
}

/// A fresh channel with n values of a buffer of four.
inline weft::chan<int> holding(int n) {
  auto c = weft::make_chan<int>(4);
  for (int i = 0; i < n; ++i) (void)c.try_send(i);
  return c;
}

inline weft::join_handle<int> ended() {
  auto h = weft::spawn([] { return 1; });
  while (!h.done()) weft::yield();
  return h;
}

/// Calls that can wait, each where it need not.
inline std::vector<call> calls_that_could_go_ahead() {
  return {
      {"send", [] { holding(0).send(1); }},
      {"send of an lvalue", [v = 1] { holding(0).tx().send(v); }},
      {"push", [] { (void)holding(0).push(1); }},
      {"send_for", [] { (void)holding(0).send_for(1, 1h); }},
      {"send_for without time", [] { (void)holding(4).send_for(1, 0s); }},
      {"recv", [] { holding(1).recv(); }},
      {"recv of a closed channel",
       [] {
         auto const c = holding(0);
         c.close();
         c.recv();
       }},
      {"recv_for", [] { (void)holding(1).rx().recv_for(1h); }},
      {"recv_for without time", [] { (void)holding(0).recv_for(-1s); }},
      {"recv_many",
       [] {
         std::vector<int> out;
         holding(2).recv_many(out, 2);
       }},
      {"a range's first element", [c = holding(1)] { (void)*c.begin(); }},
      {"a range's comparison", [c = holding(1)] { (void)(c.begin() == c.end()); }},
      {"select", [c = holding(1)] { weft::select(weft::on_recv(c), weft::on_send(c, 1)); }},
      {"biased select", [c = holding(1)] { weft::select(weft::biased, weft::on_recv(c)); }},
      {"select with a timeout", [] { weft::select(weft::on_timeout(0s)); }},
      {"select with a deadline", [] { weft::select(weft::on_deadline(weft::time_point())); }},
      {"select with on_join",
       [] {
         auto h = ended();
         weft::select(weft::on_join(h));
       }},
      {"selector::wait",
       [c = holding(1)] {
         weft::selector s;
         s.recv(c);
         s.wait();
       }},
      {"join", [] { ended().join(); }},
      {"wait", [] { ended().wait(); }},
      {"wait_for", [] { (void)ended().wait_for(1h); }},
      {"join_all",
       [] {
         std::vector<weft::join_handle<int>> all;
         all.push_back(ended());
         weft::join_all(all);
       }},
      {"sleep_for", [] { weft::sleep_for(0s); }},
      {"sleep_for a negative time", [] { weft::sleep_for(-1h); }},
      {"sleep_until", [] { weft::sleep_until(weft::now() - 1s); }},
      {"blocking", [] { weft::blocking([] {}); }},
      {"condition_variable::wait",
       [] {
         weft::mutex m;
         weft::condition_variable changed;
         std::unique_lock hold(m);
         changed.wait(hold, [] { return true; });
       }},
      {"condition_variable::wait_for",
       [] {
         weft::mutex m;
         weft::condition_variable changed;
         std::unique_lock hold(m);
         changed.wait_for(hold, 0s);
       }},
      {"condition_variable::wait_until",
       [] {
         weft::mutex m;
         weft::condition_variable changed;
         std::unique_lock hold(m);
         changed.wait_until(hold, weft::now(), [] { return true; });
       }},
      {"acquire", [s = std::make_shared<weft::counting_semaphore<>>(9)] { s->acquire(); }},
      {"try_acquire_for", [s = std::make_shared<weft::counting_semaphore<>>(9)] { (void)s->try_acquire_for(1h); }},
      {"try_acquire_until",
       [s = std::make_shared<weft::counting_semaphore<>>(9)] { (void)s->try_acquire_until(weft::now()); }},
      {"permit", [s = std::make_shared<weft::counting_semaphore<>>(9)] { weft::permit const one(*s); }},
      {"latch::wait", [l = std::make_shared<weft::latch>(0)] { l->wait(); }},
      {"latch::arrive_and_wait", [] { weft::latch(1).arrive_and_wait(); }},
      {"barrier::arrive_and_wait", [] { weft::barrier<>(1).arrive_and_wait(); }},
      {"barrier::wait",
       [] {
         weft::barrier<> alone(1);
         alone.wait(alone.arrive());
       }},
      {"wait_group::wait", [] { weft::wait_group().wait(); }},
      {"singleflight::run", [] { weft::singleflight<int, int>().run(1, [] { return 1; }); }},
      {"oneshot::recv",
       [] {
         weft::oneshot<int> const o;
         o.send(1);
         o.recv();
       }},
      {"broadcast's recv",
       [] {
         weft::broadcast<int> b(1);
         auto sub = b.subscribe();
         b.send(1);
         sub.recv();
       }},
      {"watch's changed",
       [] {
         weft::watch<int> w(1);
         auto sub = w.subscribe();
         w.send(2);
         sub.changed();
       }},
      {"a timer's channel", [] { weft::timer(0s).channel().recv(); }},
      {"rate_limiter::wait", [] { weft::rate_limiter(1000, 10).wait(); }},
      {"task_group::wait", [] { weft::task_group().wait(); }},
      {"scope", [] { weft::scope([](weft::task_group&) {}); }},
      {"parallel_for", [] { weft::parallel_for(std::vector<int>(), [](int) {}); }},
      {"parallel_map", [] { weft::parallel_map(std::vector{1}, [](int n) { return n; }); }},
      {"race", [] { weft::race([] { weft::sleep_for(0s); }); }},
      {"leaks", [] { (void)weft::leaks(0s); }},
      {"leak_guard::check", [] { (void)weft::leak_guard([](auto const&) {}, 0s).check(); }},
      {"wait_signal", [] { (void)weft::wait_signal({SIGUSR2}); }},
  };
}

/// Each of them waits for ever.
inline std::vector<call> calls_that_wait() {
  return {
      {"send", [] { weft::make_chan<int>().send(1); }},
      {"push", [c = holding(4)] { (void)c.push(1); }},
      {"send_for", [c = holding(4)] { (void)c.send_for(1, std::chrono::hours::max()); }},
      {"send on nil", [] { weft::sender<int>().send(1); }},
      {"recv", [c = holding(0)] { c.recv(); }},
      {"recv_for", [c = holding(0)] { (void)c.recv_for(1h); }},
      {"recv_many on nil",
       [] {
         std::vector<int> out;
         weft::receiver<int>().recv_many(out, 2);
       }},
      {"a range",
       [c = holding(0)] {
         for (int v : c) (void)v;
       }},
      {"select", [c = holding(0), d = holding(4)] { weft::select(weft::on_recv(c), weft::on_send(d, 1)); }},
      {"select of nothing", [] { weft::select(); }},
      {"select with times", [] { weft::select(weft::on_timeout(1h), weft::on_deadline(weft::now() + 1h)); }},
      {"selector::wait",
       [c = holding(0)] {
         weft::selector s;
         s.recv(c);
         s.wait();
       }},
      {"selector without cases", [] { weft::selector().wait(); }},
      {"sleep_for", [] { weft::sleep_for(std::chrono::years(200)); }},
      {"sleep_until", [] { weft::sleep_until(std::chrono::system_clock::now() + 1h); }},
      {"condition_variable::wait",
       [] {
         weft::mutex m;
         weft::condition_variable changed;
         std::unique_lock hold(m);
         changed.wait(hold, [] { return false; });
       }},
      {"condition_variable::wait_for",
       [] {
         weft::mutex m;
         weft::condition_variable changed;
         std::unique_lock hold(m);
         changed.wait_for(hold, 1h);
       }},
      {"acquire", [] { weft::counting_semaphore<>(0).acquire(); }},
      {"try_acquire_for", [] { (void)weft::binary_semaphore(0).try_acquire_for(1h); }},
      {"latch::wait", [] { weft::latch(1).wait(); }},
      {"latch::arrive_and_wait", [] { weft::latch(2).arrive_and_wait(); }},
      {"barrier::arrive_and_wait", [] { weft::barrier<>(2).arrive_and_wait(); }},
      {"wait_group::wait",
       [] {
         weft::wait_group group;
         group.add();
         weft::defer const done([&] { group.done(); });
         group.wait();
       }},
      {"oneshot::recv", [] { weft::oneshot<int>().recv(); }},
      {"broadcast's recv", [b = weft::broadcast<int>(1)]() mutable { b.subscribe().recv(); }},
      {"watch's changed", [w = weft::watch<int>(1)]() mutable { w.subscribe().changed(); }},
      {"a timer's channel", [] { weft::timer(1h).channel().recv(); }},
      {"a ticker's channel", [] { weft::ticker(1h).channel().recv(); }},
      {"after", [] { weft::after(1h).recv(); }},
      {"rate_limiter::wait",
       [] {
         weft::rate_limiter rate(1e-9);
         for (;;) rate.wait();
       }},
      {"singleflight::run",
       [] {
         weft::singleflight<int, int> flights;
         auto [apart, cancel] = weft::with_cancel(weft::without_cancel(weft::this_task::context()));
         weft::latch in_flight(1);
         weft::join_handle<int> leader;
         {
           weft::scoped_context const in(apart);
           leader = weft::spawn([&] {
             return flights.run(1, [&] {
               in_flight.count_down();
               weft::sleep_for(1h);
               return 1;
             });
           });
         }
         in_flight.wait();
         flights.run(1, [] { return 2; });
       }},
      {"task_group::wait",
       [] {
         weft::task_group group(weft::without_cancel(weft::this_task::context()));
         group.spawn([] { weft::sleep_for(1h); });
         group.wait();
       }},
      {"task_group::spawn",
       [] {
         weft::task_group group(weft::without_cancel(weft::this_task::context()), {.limit = 1});
         for (;;) group.spawn([] { weft::sleep_for(1h); });
       }},
      {"scope", [] { weft::scope([](weft::task_group&) { weft::sleep_for(1h); }); }},
      {"parallel_for", [] { weft::parallel_for(std::vector{1, 2}, [](int) { weft::sleep_for(1h); }, {.limit = 1}); }},
      {"race", [] { weft::race([] { weft::sleep_for(1h); }, [] { weft::select(); }); }},
      {"within", [] { (void)weft::within(1h, [] { weft::sleep_for(1h); }); }},
      {"wait_signal", [] { (void)weft::wait_signal({SIGUSR2}); }},
  };
}

/// Calls that cannot wait, and the locks.
inline std::vector<call> calls_that_are_none() {
  return {
      {"yield", [] { weft::yield(); }},
      {"try_send", [c = holding(0)] { (void)c.try_send(1); }},
      {"try_recv", [c = holding(1)] { (void)c.try_recv(); }},
      {"close", [] { holding(1).close(); }},
      {"select with otherwise", [c = holding(1)] { weft::select(weft::on_recv(c), weft::otherwise()); }},
      {"select with nothing but otherwise", [] { weft::select(weft::on_timeout(1h), weft::otherwise()); }},
      {"selector with otherwise",
       [] {
         weft::selector s;
         s.otherwise();
         s.wait();
       }},
      {"go", [] { weft::go([] {}); }},
      {"spawn", [] { weft::spawn([] {}).detach(); }},
      {"cancel, stop, detach",
       [] {
         auto h = weft::spawn([] {});
         h.cancel();
         h.stop();
         h.detach();
       }},
      {"lock",
       [] {
         weft::mutex m;
         std::lock_guard const hold(m);
       }},
      {"lock_shared, and lock of a shared_mutex",
       [] {
         weft::shared_mutex m;
         {
           std::shared_lock const hold(m);
         }
         std::unique_lock const hold(m);
       }},
      {"call_once",
       [] {
         weft::once_flag once;
         weft::call_once(once, [] {});
       }},
      {"guarded",
       [] {
         weft::guarded<int> n(1);
         *n.lock() += n.with([](int& v) { return v; }) * 0;
       }},
      {"notify",
       [] {
         weft::condition_variable changed;
         changed.notify_one();
         changed.notify_all();
       }},
      {"release and try_acquire",
       [] {
         weft::counting_semaphore<> s(1);
         (void)s.try_acquire();
         s.release();
       }},
      {"count_down and try_wait",
       [] {
         weft::latch l(1);
         l.count_down();
         (void)l.try_wait();
       }},
      {"arrive and arrive_and_drop",
       [] {
         weft::barrier<> b(2);
         (void)b.arrive();
         b.arrive_and_drop();
       }},
      {"oneshot::send", [] { weft::oneshot<int>().send(1); }},
      {"broadcast::send",
       [] {
         weft::broadcast<int> b(1);
         auto const sub = b.subscribe();
         b.send(1);
         b.close();
       }},
      {"watch::send and get",
       [] {
         weft::watch<int> w(1);
         w.send(w.get() + 1);
       }},
      {"try_take", [] { (void)weft::rate_limiter(1).try_take(); }},
      {"timers",
       [] {
         weft::timer t(1h);
         t.reset(0s);
         t.stop();
         weft::after_func(1h, [] {})();
       }},
      {"task_group::spawn without a limit", [] { weft::task_group().spawn([] {}); }},
      {"dump",
       [] {
         std::ostringstream text;
         weft::dump(text);
       }},
  };
}

}  // namespace weft::test
