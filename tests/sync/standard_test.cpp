// The types that carry the standard's names: one text, compiled against namespace std and against namespace weft.
#include <weft/weft.hpp>

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::test::worker_counts;

// Static ones need no code before main, as the standard's.
[[maybe_unused]] constinit weft::mutex static_mutex;
[[maybe_unused]] constinit weft::shared_mutex static_shared_mutex;
[[maybe_unused]] constinit weft::condition_variable static_condition;
[[maybe_unused]] constinit weft::once_flag static_once;
[[maybe_unused]] constinit weft::counting_semaphore<> static_semaphore(1);
[[maybe_unused]] constinit weft::latch static_latch(1);
[[maybe_unused]] constinit weft::barrier<> static_barrier(1);
[[maybe_unused]] constinit weft::wait_group static_wait_group;

struct of_std {
  using mutex = std::mutex;
  using shared_mutex = std::shared_mutex;
  using condition_variable = std::condition_variable;
  template <std::ptrdiff_t Max>
  using counting_semaphore = std::counting_semaphore<Max>;
  using binary_semaphore = std::binary_semaphore;
  using latch = std::latch;
  template <class F>
  using barrier = std::barrier<F>;
  using plain_barrier = std::barrier<>;
  using once_flag = std::once_flag;
  template <class... A>
  static void call_once(once_flag& flag, A&&... a) {
    std::call_once(flag, std::forward<A>(a)...);
  }
};
struct of_weft {
  using mutex = weft::mutex;
  using shared_mutex = weft::shared_mutex;
  using condition_variable = weft::condition_variable;
  template <std::ptrdiff_t Max>
  using counting_semaphore = weft::counting_semaphore<Max>;
  using binary_semaphore = weft::binary_semaphore;
  using latch = weft::latch;
  template <class F>
  using barrier = weft::barrier<F>;
  using plain_barrier = weft::barrier<>;
  using once_flag = weft::once_flag;
  template <class... A>
  static void call_once(once_flag& flag, A&&... a) {
    weft::call_once(flag, std::forward<A>(a)...);
  }
};

/// What went wrong; empty: nothing. Runs on two threads that `both` starts with one function each.
template <class Lib, class Both>
std::string exercise(Both both) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::string wrong;
  auto const expect = [&wrong](bool right, char const* what) {
    if (!right) wrong += std::string(what) + "; ";
  };
  {
    typename Lib::mutex a, b;
    static_assert(!std::is_copy_constructible_v<typename Lib::mutex>);
    static_assert(std::is_default_constructible_v<typename Lib::mutex>);
    int n = 0;
    auto const add = [&] {
      for (int i = 0; i < 100; ++i) {
        std::scoped_lock const hold(a, b);
        ++n;
      }
    };
    both(add, add);
    std::unique_lock lock(a, std::try_to_lock);
    expect(lock.owns_lock() && n == 200, "mutex");
    lock.unlock();
    std::unique_lock deferred(a, std::defer_lock);
    std::lock(deferred, b);
    b.unlock();
    expect(std::exchange(deferred, std::unique_lock<typename Lib::mutex>()).owns_lock(), "unique_lock");
  }
  {
    typename Lib::shared_mutex m;
    long n = 0;
    both(
        [&] {
          for (int i = 0; i < 50; ++i) {
            std::unique_lock const write(m);
            ++n;
          }
        },
        [&] {
          long before = 0;
          for (int i = 0; i < 50; ++i) {
            std::shared_lock const read(m);
            expect(n >= before, "shared_mutex");
            before = n;
          }
        });
    std::shared_lock const one(m), two(m);
    expect(!m.try_lock(), "shared_mutex::try_lock");
    expect(m.try_lock_shared(), "shared_mutex::try_lock_shared");
    m.unlock_shared();
  }
  {
    typename Lib::mutex m;
    typename Lib::condition_variable changed;
    int stage = 0;
    both(
        [&] {
          std::unique_lock lock(m);
          stage = 1;
          changed.notify_all();
          changed.wait(lock, [&] { return stage >= 2; });
          while (stage != 3) changed.wait(lock);
          expect(changed.wait_for(lock, 0s) == std::cv_status::timeout, "wait_for");
          expect(!changed.wait_for(lock, 1ms, [] { return false; }), "wait_for with a predicate");
          expect(changed.wait_until(lock, std::chrono::steady_clock::now()) == std::cv_status::timeout, "wait_until");
          expect(changed.wait_until(lock, std::chrono::system_clock::now() + 1h, [] { return true; }),
                 "wait_until with a predicate");
        },
        [&] {
          std::unique_lock lock(m);
          expect(changed.wait_for(lock, 1h, [&] { return stage == 1; }), "wait_for to the end");
          for (int next : {2, 3}) {
            stage = next;
            changed.notify_one();
            lock.unlock();
            lock.lock();
          }
        });
  }
  {
    typename Lib::template counting_semaphore<8> slots(0);
    static_assert(Lib::template counting_semaphore<8>::max() >= 8);
    static_assert(Lib::binary_semaphore::max() >= 1);
    both([&] { slots.release(3), slots.release(); },
         [&] {
           slots.acquire();
           expect(slots.try_acquire_for(1h), "try_acquire_for");
           expect(slots.try_acquire_until(std::chrono::steady_clock::now() + 1h), "try_acquire_until");
           slots.acquire();
           expect(!slots.try_acquire(), "try_acquire");
           expect(!slots.try_acquire_for(-1s), "try_acquire_for without time");
         });
    typename Lib::binary_semaphore one(1);
    expect(one.try_acquire() && !one.try_acquire(), "binary_semaphore");
  }
  {
    typename Lib::latch start(3);
    static_assert(Lib::latch::max() >= 1'000'000);
    std::atomic<int> seen{0};
    both(
        [&] {
          expect(!start.try_wait(), "latch::try_wait");
          start.count_down();
          start.arrive_and_wait();
          ++seen;
        },
        [&] {
          start.count_down(1);
          start.wait();
          ++seen;
        });
    expect(seen == 2 && start.try_wait(), "latch");
  }
  {
    int phases = 0;
    auto const on_phase = [&phases]() noexcept { ++phases; };
    typename Lib::template barrier<decltype(on_phase)> meet(2, on_phase);
    static_assert(Lib::plain_barrier::max() >= 1'000);
    both(
        [&] {
          meet.arrive_and_wait();
          std::as_const(meet).wait(meet.arrive());
          meet.arrive_and_drop();
        },
        [&] {
          for (int i = 0; i < 4; ++i) meet.arrive_and_wait();
        });
    expect(phases == 4, "barrier");
    typename Lib::plain_barrier alone(1);
    alone.wait(alone.arrive(1));
  }
  {
    typename Lib::once_flag flag;
    std::atomic<int> calls{0};
    // ThreadSanitizer's pthread_once never ends after a call that throws, and std::call_once is made of it.
    if (!WEFT_TSAN || std::is_same_v<Lib, of_weft>) {
      try {
        Lib::call_once(flag, [] { throw 1; });
        expect(false, "call_once that throws");
      } catch (int) {
      }
    }
    auto const call = [&] { Lib::call_once(flag, [&](int n) { calls += n; }, 2); };
    both(call, call);
    expect(calls == 2, "call_once");
  }
  return wrong;
}

auto const on_threads = [](auto one, auto two) {
  std::thread first(one), second(two);
  first.join();
  second.join();
};
auto const on_tasks = [](auto one, auto two) {
  auto first = weft::spawn(one), second = weft::spawn(two);
  first.join();
  second.join();
};
auto const on_both = [](auto one, auto two) {
  auto task = weft::spawn(one);
  std::thread thread(two);
  task.join();
  thread.join();
};

TEST_CASE("the types of sync carry the names and signatures of the standard ones and do the same") {
  CHECK(exercise<of_std>(on_threads) == "");
  CHECK(exercise<of_weft>(on_threads) == "");
  weft::test::with_workers([] {
    CHECK(exercise<of_weft>(on_tasks) == "");
    CHECK(exercise<of_weft>(on_both) == "");
  });
}

TEST_CASE("all of sync works from plain threads, which sleep instead of parking, with tasks and without a runtime") {
  auto const use = [](auto both) {
    {
      weft::wait_group group;
      group.add(2);
      std::atomic<int> n{0};
      auto const done = [&] {
        ++n;
        group.done();
        group.wait();
      };
      both(done, done);
      CHECK(n == 2);
    }
    {
      weft::guarded<int> number(0);
      auto const add = [&] {
        for (int i = 0; i < 100; ++i) number.with([](int& v) { ++v; });
        ++*number.lock();
      };
      both(add, add);
      CHECK(*number.lock() == 202);
    }
    {
      weft::singleflight<std::string, int> flights;
      std::atomic<int> sum{0};
      auto const run = [&] { sum += flights.run("key", [] { return 4; }); };
      both(run, run);
      CHECK(sum == 8);
    }
    {
      weft::oneshot<int> reply;
      std::atomic<int> got{0};
      both([&] { reply.send(5); }, [&] { got = reply.recv(); });
      CHECK(got == 5);
    }
    {
      weft::broadcast<int> all(4);
      auto sub = all.subscribe();
      std::atomic<int> sum{0};
      both(
          [&] {
            for (int i = 1; i <= 3; ++i) all.send(i);
            all.close();
          },
          [&] {
            while (auto v = sub.recv()) sum += *v;
          });
      CHECK(sum == 6);
    }
    {
      weft::watch<int> state(0);
      auto sub = state.subscribe();
      std::atomic<int> got{0};
      both([&] { state.send(3); }, [&] { got = sub.changed().value(); });
      CHECK(got == 3);
    }
    {
      weft::rate_limiter rate(1e6, 2);
      auto const take = [&] {
        for (int i = 0; i < 5; ++i) rate.wait();
      };
      both(take, take);
    }
    {
      weft::counting_semaphore<> slots(1);
      int inside = 0;
      auto const enter = [&] {
        for (int i = 0; i < 50; ++i) {
          weft::permit const one(slots);
          ++inside;
        }
      };
      both(enter, enter);
      CHECK(inside == 100);
    }
  };
  use(on_threads);
  weft::test::with_workers([&] {
    use(on_tasks);
    use(on_both);
  });
}

TEST_CASE("a plain thread joins, waits for, cancels and stops a task, and lets it go") {
  for (unsigned workers : worker_counts) {
    weft::runtime r({.workers = workers});
    auto const gate = weft::make_chan<int>();
    auto const wait = [gate] { return gate.recv().value(); };
    auto h = r.spawn(wait);
    CHECK_FALSE(h.wait_for(1ms));
    CHECK_FALSE(h.done());
    gate.send(2);
    h.wait();
    CHECK(h.done());
    CHECK(h.join() == 2);
    auto cancelled = r.spawn(wait);
    cancelled.cancel();
    CHECK_THROWS_AS(cancelled.join(), weft::cancelled);
    r.spawn(wait).stop();
    std::atomic<bool> unwound{false};
    {
      auto const dropped = r.spawn([&] {
        weft::defer const mark([&] { unwound = true; });
        gate.recv();
      });
    }
    CHECK(unwound);
    auto thrower = r.spawn([]() -> int { throw 4; });
    CHECK_THROWS_AS(thrower.join(), int);
    r.spawn(wait).detach();
    gate.send(1);
  }
}

TEST_CASE("a plain thread sleeps without a runtime, and go and spawn there throw no_runtime") {
  auto const start = std::chrono::steady_clock::now();
  weft::sleep_for(2ms);
  weft::sleep_until(std::chrono::system_clock::now() + 2ms);
  weft::sleep_for(-1h);
  CHECK(std::chrono::steady_clock::now() - start >= 3ms);
  CHECK_THROWS_AS(weft::go([] {}), weft::no_runtime);
  CHECK_THROWS_AS(weft::spawn({.name = "x"}, [] {}), weft::no_runtime);
  CHECK_THROWS_AS(weft::wait_group().go([] {}), weft::no_runtime);
}

}  // namespace
