// Contexts, timers and groups that have outlived the runtime they were made in.
#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "tests/support/catch.hpp"

using namespace std::chrono_literals;

namespace {

/// What f returns, from a task of a runtime that has ended when this returns.
template <class F>
auto from_an_ended_runtime(F f) {
  weft::runtime r({.workers = 1});
  return r.spawn(f).join();
}

}  // namespace

TEST_CASE("a context that has outlived its runtime is cancelled for the tasks of another one") {
  auto const [kept, cancel] =
      from_an_ended_runtime([] { return weft::with_cancel(weft::without_cancel(weft::this_task::context())); });
  weft::runtime r({.workers = 1});
  auto waits = r.spawn([&kept] {
    weft::scoped_context const in(kept);
    try {
      weft::make_chan<int>().recv();
    } catch (weft::cancelled const&) {
      return true;
    }
    return false;
  });
  while (r.metrics().parked == 0) std::this_thread::yield();
  cancel();
  CHECK(waits.join());
}

TEST_CASE("what needs a runtime says so on a plain thread where the one it would use has ended") {
  struct kept {
    weft::context under;
    weft::timer timer;
    std::unique_ptr<weft::task_group> group;
    weft::stop_fn later;
  };
  auto const k = from_an_ended_runtime([] {
    return std::make_unique<kept>(kept{weft::without_cancel(weft::this_task::context()), weft::timer(1h),
                                       std::make_unique<weft::task_group>(), weft::after_func(1h, [] {})});
  });
  CHECK_THROWS_AS(k->timer.reset(1s), weft::no_runtime);
  CHECK_THROWS_AS(weft::after_func(k->under, [] {}), weft::no_runtime);
  CHECK_THROWS_AS(k->group->spawn([] {}), weft::no_runtime);
  CHECK_THROWS_AS(weft::with_timeout(k->under, 1s), weft::no_runtime);
  CHECK_FALSE(k->later());
  CHECK(k->timer.stop());  // it had not come
  CHECK_FALSE(weft::with_cancel(k->under).first.cancelled());
}

TEST_CASE("a call from a plain thread is waited for by the runtime's end, or is refused") {
  for (int round = 0; round < 200; ++round) {
    std::optional<weft::runtime> r(std::in_place, weft::options{.workers = 1});
    auto under = r->spawn([] { return weft::without_cancel(weft::this_task::context()); }).join();
    std::atomic<int> begun{0};
    std::jthread calls([&](std::stop_token const& end) {
      while (!end.stop_requested()) try {
          auto const [c, cancel] = weft::with_timeout(under, 1h);
          begun = 1;
          cancel();
        } catch (weft::no_runtime const&) {
          begun = 2;
        }
    });
    while (begun == 0) std::this_thread::yield();
    r.reset();
    while (begun != 2) std::this_thread::yield();
  }
}

TEST_CASE("the end of a runtime waits for a stop_fn that is at it on a plain thread") {
  enum class kind : std::uint8_t { of_a_context, of_a_time, of_a_time_at_shutdown };
  for (kind const each : {kind::of_a_context, kind::of_a_time, kind::of_a_time_at_shutdown}) {
    std::atomic<bool> inside{false}, ended{false}, ended_meanwhile{false}, stopped{false};
    std::optional<weft::runtime> r(std::in_place, weft::options{.workers = 1});
    weft::stop_fn stop;
    r->spawn([&] {
       // Destroyed by the stop, with the task that is taken back.
       std::shared_ptr<int> closure(new int(0), [&](int const* mine) {
         delete mine;
         inside = true;
         inside.notify_all();
         for (int ms = 0; ms < 100 && !ended; ++ms) std::this_thread::sleep_for(1ms);
         ended_meanwhile = ended.load();
       });
       auto const f = [closure = std::move(closure)] {};
       stop = each == kind::of_a_context ? weft::after_func(weft::without_cancel(weft::this_task::context()), f)
                                         : weft::after_func(1h, f);
     }).join();
    std::thread other([&] { stopped = stop(); });
    inside.wait(false);
    if (each == kind::of_a_time_at_shutdown) r->shutdown();
    else r.reset();
    ended = true;
    other.join();
    CHECK(stopped);
    CHECK_FALSE(ended_meanwhile);
  }
}

TEST_CASE("a timer that a task of another runtime has reset fires there, and does so when the first one has ended") {
  for (bool const first_ends : {false, true}) {
    INFO(first_ends);
    std::optional<weft::runtime> first(std::in_place, weft::options{.workers = 1});
    weft::timer const timer = first->spawn([] { return weft::timer(1h); }).join();
    weft::runtime second({.workers = 1});
    for (int i = 0; i < 3; ++i) {  // and when it lies there already
      second.spawn([&] { timer.reset(i < 2 ? 1h : 50ms); }).join();
      if (first_ends && i == 2) first.reset();
    }
    CHECK(second.spawn([&] { return timer.channel().recv_for(20s).has_value(); }).join());
    if (!first_ends) {  // back to the first
      first->spawn([&] { timer.reset(1ms); }).join();
      CHECK(first->spawn([&] { return timer.channel().recv_for(20s).has_value(); }).join());
    }
  }
}

TEST_CASE("a timer is reset by a task of another runtime while the one it was armed in ends") {
  weft::runtime stays({.workers = 1});
  for (int round = 0; round < 200; ++round) {
    std::optional<weft::runtime> ends(std::in_place, weft::options{.workers = 1});
    weft::timer const timer = ends->spawn([] { return weft::timer(1h); }).join();
    std::atomic<bool> begun{false};
    auto resets = stays.spawn([&] {
      for (int i = 0; i < 50; ++i) {
        timer.reset(2h);
        begun = true;
      }
    });
    while (!begun) std::this_thread::yield();
    ends.reset();
    resets.join();
    CHECK(timer.stop());
  }
}
