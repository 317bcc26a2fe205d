// Timers that are stopped, reset and read while they fire, tickers, functions that run later, and many sleeps at once. No wait is short, nothing
// fires twice, and nothing from before a stop or a reset is received after it.
#include <weft/weft.hpp>

#include <deque>
#include <optional>
#include <stdexcept>
#include <vector>

#include "tests/stress/stress.hpp"

namespace weft::stress {
namespace {

void sleep_often(random chance, std::size_t times) {
  for (; times > 0; --times) {
    auto const most = chance.up_to(2ms);
    auto const start = now();
    switch (chance.below(4)) {
      case 0: sleep_for(most); break;
      case 1: sleep_until(start + most); break;
      case 2:
        check(make_chan<int>().recv_for(most).error() == chan_status::timeout,
              "a receive from nobody did not time out");
        break;
      default:
        check(select(on_recv(chan<int>()), on_timeout(most)) == 1, "a select with the nil channel did not time out");
    }
    check(now() - start >= most, "a wait was shorter than asked for");
    count();
  }
}

/// One task has the timer to itself: what it says of itself is exact.
void use_timer(random chance, std::size_t times) {
  auto due = now() + 200us;
  timer const t(200us);
  auto const in = t.channel();
  bool armed = true;  // started, and its value not received
  for (; times > 0; --times) {
    auto const most = chance.up_to(500us);
    std::optional<time_point> came;
    switch (chance.below(6)) {
      case 0:
        check(t.stop() == armed, "stop() is wrong about whether the timer was pending");
        armed = false;
        break;
      case 1:
      case 2: {
        auto const before = now();
        check(t.reset(most) == armed, "reset() is wrong about whether the timer was pending");
        due = before + most;
        armed = true;
        break;
      }
      case 3:
        if (auto const at = in.try_recv()) came = *at;
        break;
      case 4: select(on_recv(t, [&](time_point at) { came = at; }), on_timeout(most)); break;
      default:
        if (!armed) sleep_for(most);
        else came = in.recv();
    }
    count();
    if (!came) continue;
    check(armed, "a timer that had been stopped, or had fired, gave a value");
    check(*came >= due, "a timer gave a value of before its reset, or fired too early");
    armed = false;
  }
}

/// Some arm and stop it, others receive: each arming gives one value at most, and one that was not taken back gives one.
void share_timer(runtime& rt, random& chance) {
  std::atomic<std::uint64_t> armed{1}, taken_back{0}, received{0};
  auto const shared = rt.spawn([most = chance.up_to(300us)] { return timer(most); }).join();
  {
    crew users(rt, chance);
    for (auto n = chance.between(1, 3); n > 0; --n)
      users.start([&, mine = chance.branch()]() mutable {
        for (auto times = mine.between(1, 100); times > 0; --times) {
          bool const stops = mine.one_in(3);
          if (stops ? shared.stop() : shared.reset(mine.up_to(100us))) ++taken_back;
          if (!stops) ++armed;
          if (mine.one_in(2)) sleep_for(mine.up_to(100us));
          count();
        }
      });
    for (auto n = chance.between(1, 3); n > 0; --n)
      users.start([&, in = shared.channel(), mine = chance.branch()]() mutable {
        for (auto times = mine.between(1, 50); times > 0; --times)
          if (in.recv_for(mine.up_to(300us))) ++received;
      });
    users.cancel_some(2, 2ms);
  }
  if (shared.stop()) ++taken_back;
  check_equal(received + taken_back, armed,
              "values of a timer received, and taken back, beside how often it was started");
}

/// Each function runs once or is prevented, never both.
void run_later(random chance, std::size_t times) {
  struct later {
    std::atomic<unsigned> ran{0};
    stop_fn stop;
    bool prevented = false;
  };
  auto const all = std::make_shared<std::deque<later>>(times);  // the functions own it: this task may be cancelled
  wait_group running;
  std::size_t started = 0;
  uncancellable const shield;
  for (later& l : *all) {
    running.add();
    l.stop = after_func(chance.up_to(2ms), [all, &l, &running] {
      ++l.ran;
      running.done();
    });
    ++started;
    if (chance.one_in(8)) sleep_for(chance.up_to(300us));
    later& other = (*all)[chance.below(started)];
    if (chance.one_in(2) && other.stop()) {
      check(!std::exchange(other.prevented, true), "a function was prevented twice");
      running.done();
    }
    count();
  }
  running.wait();
  for (later const& l : *all)
    check(l.ran == (l.prevented ? 0 : 1), "a function ran twice, or never, or although it was prevented");
}

void use_ticker(random chance, std::size_t times) {
  auto const period = chance.up_to(300us) + 20us;
  auto const start = now();
  ticker const beat(period);
  time_point last = start;
  for (std::size_t n = 1; n <= times; ++n) {
    time_point const at = beat.channel().recv().value();
    check(at > last && at - start >= static_cast<std::int64_t>(n) * period, "a tick came before its time, or twice");
    last = at;
    if (chance.one_in(4)) sleep_for(chance.up_to(1ms));
    count();
  }
  beat.stop();
  check(!beat.channel().try_recv(), "a tick came after the stop");
  auto const once = after(chance.up_to(500us));
  check(once.recv().has_value() && !once.recv().has_value(), "after() gave no value, or more than one");
}

void deadlines(random chance, std::size_t times) {
  for (; times > 0; --times) {
    auto const at = now() + chance.up_to(1ms);
    auto const [ctx, cancel] = with_deadline(at);
    auto const cut = chance.one_in(3) ? after_func(chance.up_to(500us), cancel) : stop_fn();
    try {
      scoped_context const in(ctx);
      sleep_for(2ms);
      (void)ctx.done().recv();  // it may be late, where the processor that it began on is busy; it comes
    } catch (cancelled const&) {
      check(ctx.err() != std::errc::timed_out || now() >= at, "a deadline came too early");
    }
    this_task::context().throw_if_cancelled();
    count();
  }
}

}  // namespace

void timers(round& r) {
  with_runtime(r, [&](runtime& rt) {
    random& chance = r.chance;
    crew all(rt, chance);
    for (auto n = chance.between(1U, 8); n > 0; --n) {
      auto const times = chance.between(std::size_t{1}, 40);
      switch (chance.below(6)) {
        case 0: all.task([mine = chance.branch(), times] { use_timer(mine, times); }); break;
        case 1: all.task([mine = chance.branch(), times] { run_later(mine, times); }); break;
        case 2: all.task([mine = chance.branch(), times] { use_ticker(mine, times); }); break;
        case 3: all.task([mine = chance.branch(), times] { deadlines(mine, times); }); break;
        case 4: share_timer(rt, chance); break;
        default: all.start([mine = chance.branch(), times] { sleep_often(mine, times); });
      }
    }
    if (chance.one_in(20))
      for (int n = r.slow ? 500 : 5000; n > 0; --n) all.task([mine = chance.branch()] { sleep_often(mine, 2); });
    all.cancel_some(3, 5ms);
  });
}

}  // namespace weft::stress
