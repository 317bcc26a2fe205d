// Durations and time points as callers write them: any duration type, any clock, max() for never, the past for now.
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <mutex>
#include <ratio>
#include <vector>

#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::test::with_worker_count;
using weft::test::with_workers;

using float_days = std::chrono::duration<float, std::ratio<86400>>;
using seconds_as_double = std::chrono::duration<double>;
using few_hours = std::chrono::duration<std::int8_t, std::ratio<3600>>;

/// A user's clock: it began when the program did, and counts in thirds of a microsecond.
struct own_clock {
  using rep = std::int64_t;
  using period = std::ratio<1, 3'000'000>;
  using duration = std::chrono::duration<rep, period>;
  using time_point = std::chrono::time_point<own_clock>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() {
    static auto const begin = std::chrono::steady_clock::now();
    return time_point(std::chrono::duration_cast<duration>(std::chrono::steady_clock::now() - begin));
  }
};

/// Every call with a duration times out at once under d: nothing it waits for ever comes.
template <class D>
void means_now(D d) {
  auto const never = weft::make_chan<int>();
  CHECK(never.recv_for(d).error() == chan_status::timeout);
  CHECK(never.send_for(1, d) == chan_status::timeout);
  CHECK(weft::select(weft::on_recv(never), weft::on_timeout(d)) == 1);
  weft::selector cases;
  cases.recv(never);
  cases.timeout(d);
  CHECK(cases.wait() == 1);
  auto waits = weft::spawn([never] { never.recv(); });
  CHECK_FALSE(waits.wait_for(d));
  weft::sleep_for(d);
  weft::counting_semaphore<> none(0);
  CHECK_FALSE(none.try_acquire_for(d));
  weft::mutex m;
  weft::condition_variable changed;
  std::unique_lock hold(m);
  CHECK(changed.wait_for(hold, d) == std::cv_status::timeout);
  CHECK_FALSE(changed.wait_for(hold, d, [] { return false; }));
  CHECK(weft::with_timeout(d).first.err() == std::errc::timed_out);
  CHECK(weft::within(d, [&] { never.recv(); }).error() == std::errc::timed_out);
  CHECK(weft::within(d, [] { return 1; }) == 1);  // it need not wait, and a late value is a value
  CHECK(weft::timer(d).channel().try_recv().has_value());
  CHECK(weft::after(d).try_recv().has_value());
  auto const ran = weft::make_chan<int>(1);
  weft::after_func(d, [ran] { ran.send(1); });
  CHECK(ran.recv() == 1);
}

/// Under d each of them is still waiting when what it waits for comes, and nothing that d arms happens.
template <class D>
void means_never(D d) {
  auto const c = weft::make_chan<int>();
  std::vector<weft::join_handle<bool>> waits;
  waits.push_back(weft::spawn([=] { return c.recv_for(d).has_value(); }));
  waits.push_back(weft::spawn([=] { return weft::select(weft::on_recv(c), weft::on_timeout(d)) == 0; }));
  waits.push_back(weft::spawn([=] {
    weft::selector cases;
    cases.timeout(d);
    auto const receive = cases.recv(c);
    return cases.wait() == receive;
  }));
  waits.push_back(weft::spawn([=] { return weft::within(d, [=] { return c.recv().has_value(); }) == true; }));
  weft::counting_semaphore<> permits(0);
  waits.push_back(weft::spawn([&, d] { return permits.try_acquire_for(d); }));
  weft::mutex m;
  weft::condition_variable changed;
  bool there = false;
  waits.push_back(weft::spawn([&, d] {
    std::unique_lock hold(m);
    return changed.wait_for(hold, d, [&] { return there; });
  }));
  auto sleeper = weft::spawn([d] { weft::sleep_for(d); });
  weft::timer const timer(d);
  auto const after = weft::after(d);
  weft::ticker const ticker(d);
  auto const stop = weft::after_func(d, [] { std::abort(); });
  auto [ctx, cancel] = weft::with_timeout(d);
  CHECK_FALSE(ctx.deadline().has_value());
  CHECK_FALSE(sleeper.wait_for(1ms));
  for (auto& h : waits) CHECK_FALSE(h.done());
  CHECK_FALSE(timer.channel().try_recv().has_value());
  CHECK_FALSE(after.try_recv().has_value());
  CHECK_FALSE(ticker.channel().try_recv().has_value());
  CHECK_FALSE(ctx.cancelled());
  CHECK(stop());
  for (int i = 0; i < 4; ++i) CHECK(c.send_for(i, d) == chan_status::ok);
  permits.release();
  {
    std::lock_guard const hold(m);
    there = true;
  }
  changed.notify_all();
  for (auto& h : waits) {
    CHECK(h.wait_for(d));
    CHECK(h.join());
  }
  sleeper.stop();
}

TEST_CASE("a negative duration of any std::chrono type means now") {
  with_workers([] {
    means_now(-1ns);
    means_now(-1h);
    means_now(0s);
    means_now(std::chrono::nanoseconds::min());
    means_now(std::chrono::hours::min());
    means_now(std::chrono::years::min());
    means_now(seconds_as_double(-0.001));
    means_now(seconds_as_double::min());
    means_now(-float_days(std::numeric_limits<float>::infinity()));
    means_now(few_hours::min());
  });
}

TEST_CASE("max() of any duration type means never, and so does what is beyond the clock") {
  with_worker_count(2, [] {
    means_never(std::chrono::nanoseconds::max());
    means_never(std::chrono::microseconds::max());
    means_never(std::chrono::hours::max());
    means_never(std::chrono::years::max());
    means_never(seconds_as_double::max());
    means_never(float_days(std::numeric_limits<float>::infinity()));
    means_never(few_hours::max());
    means_never(std::chrono::years(5000));
  });
}

TEST_CASE("a duration of any type is waited for, rounded up") {
  with_workers([] {
    auto const never = weft::make_chan<int>();
    auto const lasts = [](auto d, auto wait) {
      auto const start = weft::now();
      wait(d);
      CHECK(weft::now() - start >= std::chrono::duration_cast<std::chrono::nanoseconds>(d));
    };
    auto const receives = [&](auto d) { CHECK(never.recv_for(d).error() == chan_status::timeout); };
    auto const sleeps = [](auto d) { weft::sleep_for(d); };
    lasts(seconds_as_double(0.0021), receives);
    lasts(float_days(3e-8F), sleeps);
    lasts(std::chrono::duration<int, std::ratio<1, 1000>>(2), receives);
    lasts(std::chrono::duration<std::int64_t, std::pico>(2'000'000'001), sleeps);
    lasts(own_clock::duration(5'000), receives);
  });
}

TEST_CASE("sleep_until takes a time point of any clock, and is not early") {
  with_workers([] {
    auto const at = weft::now() + 2ms;
    weft::sleep_until(at);
    CHECK(weft::now() >= at);
    auto const wall = std::chrono::system_clock::now() + 2ms;
    weft::sleep_until(wall);
    CHECK(std::chrono::system_clock::now() >= wall);
    auto const own = own_clock::now() + 2ms;
    weft::sleep_until(own);
    CHECK(own_clock::now() >= own);
    auto const coarse = std::chrono::time_point<std::chrono::steady_clock, seconds_as_double>(weft::now()) + 2ms;
    weft::sleep_until(coarse);
    CHECK(weft::now() >= coarse);
  });
}

TEST_CASE("a time point of the past means now, however far it is, on any clock") {
  with_workers([] {
    using std::chrono::sys_days, std::chrono::year;
    auto const past = [](auto at) {
      weft::sleep_until(at);
      CHECK(weft::select(weft::on_recv(weft::chan<int>()), weft::on_deadline(at)) == 1);
      weft::counting_semaphore<> none(0);
      CHECK_FALSE(none.try_acquire_until(at));
      weft::mutex m;
      weft::condition_variable changed;
      std::unique_lock hold(m);
      CHECK(changed.wait_until(hold, at) == std::cv_status::timeout);
    };
    past(weft::time_point::min());
    past(weft::time_point());
    past(weft::now() - 1ns);
    past(std::chrono::system_clock::time_point::min());
    past(std::chrono::system_clock::time_point());
    past(std::chrono::system_clock::now() - 1h);
    past(std::chrono::sys_seconds::min());
    past(sys_days(year(1) / 1 / 1));
    past(own_clock::time_point::min());
    using unsigned_ns = std::chrono::duration<std::uint64_t, std::nano>;
    past(std::chrono::time_point_cast<unsigned_ns>(std::chrono::system_clock::now() - 1h));
    CHECK(weft::with_deadline(weft::time_point::min()).first.err() == std::errc::timed_out);
  });
}

TEST_CASE("a time point of the far future is waited for, however far it is, on any clock") {
  with_workers([] {
    using std::chrono::sys_days, std::chrono::year;
    auto const future = [](auto at) {
      auto sleeps = weft::spawn([at] { weft::sleep_until(at); });
      CHECK(weft::select(weft::on_deadline(at), weft::on_timeout(100us)) == 1);
      weft::selector cases;
      cases.deadline(at);
      auto const soon = cases.timeout(100us);
      CHECK(cases.wait() == soon);
      CHECK_FALSE(sleeps.done());
      sleeps.stop();
    };
    future(weft::time_point::max());
    future(weft::time_point::max() - 1ns);
    future(std::chrono::system_clock::time_point::max());
    future(std::chrono::system_clock::time_point::max() - 1ns);
    future(std::chrono::sys_seconds::max());
    future(std::chrono::sys_seconds::max() - 1s);
    future(sys_days(year(2300) / 1 / 1));
    future(sys_days(year(9999) / 12 / 31));
    future(own_clock::time_point::max() - own_clock::duration(1));
  });
}

TEST_CASE("now is weft's clock, which sleeping moves on by no less than was slept") {
  with_workers([] {
    auto const before = weft::now();
    weft::sleep_for(1ms);
    auto const slept = weft::now();
    CHECK(slept - before >= 1ms);
    CHECK(slept <= std::chrono::steady_clock::now());
  });
}

}  // namespace
