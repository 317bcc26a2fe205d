// The rows that Boost.Fiber can do. One worker: its round robin, stacks of 64 KB from a pool. More: its shared_work, one queue for all
// threads, which poll it (told to sleep instead, they are not woken by a fiber that becomes ready, and one thread does all the work).
#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../peer.hpp"

namespace {

namespace fibers = boost::fibers;
using namespace std::chrono_literals;

/// Stacks come from the spawning thread's pool and may be given back by another one: its counter is atomic, its free list is not. So with
/// more than one worker each fiber gets a stack of its own from malloc.
bool pooled = true;

template <class F>
fibers::fiber made(F f) {
  static thread_local fibers::pooled_fixedsize_stack pool(64 * 1024);
  if (pooled) return fibers::fiber(fibers::launch::post, std::allocator_arg, pool, std::move(f));
  return fibers::fiber(fibers::launch::post, std::allocator_arg, fibers::fixedsize_stack(64 * 1024), std::move(f));
}

template <class F>
void go(F f) {
  made(std::move(f)).detach();
}

class group {
 public:
  template <class F>
  void go(F f) {
    left_.fetch_add(1, std::memory_order_relaxed);
    ::go([this, f = std::move(f)]() mutable {
      f();
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::unique_lock const held(lock_);
        ended_.notify_all();
      }
    });
  }
  void wait() {
    std::unique_lock held(lock_);
    ended_.wait(held, [this] { return left_.load(std::memory_order_acquire) == 0; });
  }

 private:
  std::atomic<long> left_ = 0;
  fibers::mutex lock_;
  fibers::condition_variable ended_;
};

void spawn_tasks(long n, long tasks) {
  for (; n > 0; --n) {
    group all;
    for (long i = 0; i < tasks; ++i) {
      all.go([] {});
      if (i % 1000 == 999) boost::this_fiber::yield();  // a million stacks at once are more than it bears
    }
    all.wait();
  }
}

void spawn_one_join(long n) {
  for (; n > 0; --n) made([] {}).join();
}

void yield_among(long n, long tasks, long yields) {
  for (; n > 0; --n) {
    group all;
    for (long t = 0; t < tasks; ++t)
      all.go([yields] {
        for (long i = 0; i < yields; ++i) boost::this_fiber::yield();
      });
    all.wait();
  }
}

void ping_pong(long n) {
  fibers::unbuffered_channel<int> ping, pong;
  group partner;
  partner.go([&] {
    for (int ball; ping.pop(ball) == fibers::channel_op_status::success;) pong.push(ball);
  });
  for (int ball; n > 0; --n) {
    ping.push(1);
    pong.pop(ball);
  }
  ping.close();
  partner.wait();
}

void stream(long n, int producers, int consumers) {
  constexpr long values = 1'000'000;
  for (; n > 0; --n) {
    fibers::buffered_channel<long> c(128);
    std::atomic<long> sum = 0;
    group sending, receiving;
    for (int i = 0; i < consumers; ++i)
      receiving.go([&] {
        long mine = 0;
        for (long v; c.pop(v) == fibers::channel_op_status::success;) mine += v;
        sum += mine;
      });
    for (int i = 0; i < producers; ++i)
      sending.go([&] {
        for (long v = 0; v < values / producers; ++v) c.push(1);
      });
    sending.wait();
    c.close();
    receiving.wait();
    peer::require(sum == values, "values were lost or doubled");
  }
}

void mutex_8_tasks(long n) {
  fibers::mutex lock;
  long count = 0, expected = 0;
  for (; n > 0; --n) {
    group all;
    for (int t = 0; t < 8; ++t)
      all.go([&] {
        for (long i = 0; i < 100'000; ++i) {
          std::scoped_lock const held(lock);
          ++count;
          asm volatile("" ::: "memory");
        }
      });
    all.wait();
    expected += 800'000;
  }
  peer::require(count == expected, "two fibers held the mutex at once");
}

std::uint64_t work(std::uint64_t x) {
  for (int i = 0; i < 1400; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

void pipeline(long n) {
  constexpr std::uint64_t messages = 10'000;
  constexpr int stages = 4;
  for (; n > 0; --n) {
    using channel = fibers::buffered_channel<std::uint64_t>;
    std::vector<std::unique_ptr<channel>> c;
    for (int i = 0; i <= stages; ++i) c.push_back(std::make_unique<channel>(16));
    group all;
    for (int s = 0; s < stages; ++s)
      all.go([&from = *c[s], &to = *c[s + 1]] {
        for (std::uint64_t m; from.pop(m) == fibers::channel_op_status::success;) to.push(work(m));
        to.close();
      });
    all.go([&to = *c[0]] {
      for (std::uint64_t m = 1; m <= messages; ++m) to.push(m);
      to.close();
    });
    std::uint64_t out = 0;
    for (std::uint64_t m; c[stages]->pop(m) == fibers::channel_op_status::success;) ++out;
    all.wait();
    peer::require(out == messages, "messages were lost");
  }
}

peer::result tick_idle(unsigned) {
  std::vector<double> late;
  peer::result r = peer::timed(500, [&] {
    for (int i = 0; i < 500; ++i) {
      auto const due = peer::clock::now() + 1ms;
      boost::this_fiber::sleep_until(due);
      late.push_back(std::chrono::duration<double, std::micro>(peer::clock::now() - due).count());
    }
  });
  peer::count_lateness(r, "late", late);
  return r;
}

peer::result idle_1s(unsigned) {
  boost::this_fiber::sleep_for(50ms);
  peer::result r = peer::timed(1, [] { boost::this_fiber::sleep_for(1s); });
  r.extra["cpu_ms"] = r.cpu_ns_per_op * 1e-6;
  return r;
}

peer::result parked(long tasks) {
  fibers::mutex lock;
  fibers::condition_variable open;
  bool is_open = false;
  std::atomic<long> begun = 0;
  group all;
  double const before = peer::resident_bytes();
  peer::result r = peer::timed(static_cast<double>(tasks), [&] {
    for (long i = 0; i < tasks; ++i) {
      all.go([&] {
        ++begun;
        std::unique_lock held(lock);
        open.wait(held, [&] { return is_open; });
      });
      if (i % 64 == 63) boost::this_fiber::yield();
    }
    while (begun != tasks) boost::this_fiber::yield();
  });
  r.bytes = (peer::resident_bytes() - before) / static_cast<double>(tasks);
  {
    std::unique_lock const held(lock);
    is_open = true;
  }
  open.notify_all();
  all.wait();
  return r;
}

std::vector<peer::row> rows() {
  std::vector<peer::row> out{
      {"spawn_join", 1e6, [](long n) { spawn_tasks(n, 1'000'000); }, {}},
      {"spawn_one_join", 1, spawn_one_join, {}},
      {"yield_2", 1e6, [](long n) { yield_among(n, 2, 500'000); }, {}},
      {"yield_1000", 1e6, [](long n) { yield_among(n, 1000, 1000); }, {}},
      {"ping_pong", 1, ping_pong, {}},
      {"buffered_1p1c", 1e6, [](long n) { stream(n, 1, 1); }, {}},
      {"buffered_4p4c", 1e6, [](long n) { stream(n, 4, 4); }, {}},
      {"mutex_8_tasks", 8e5, mutex_8_tasks, {}},
      {"pipeline_4x2us", 1e4, pipeline, {}},
      {"tick_idle", 1, {}, tick_idle},
      {"idle_1s", 1, {}, idle_1s},
  };
  for (long tasks = 100; tasks <= 10'000; tasks *= 10) {
    std::string const n = std::to_string(tasks);
    long const yields = 1'000'000 / tasks;
    out.push_back(
        {"spawn_tasks_" + n, static_cast<double>(tasks), [tasks](long rounds) { spawn_tasks(rounds, tasks); }, {}});
    out.push_back({"yield_tasks_" + n, 1e6, [tasks, yields](long rounds) { yield_among(rounds, tasks, yields); }, {}});
    out.push_back({"parked_tasks_" + n, 1, {}, [tasks](unsigned) { return parked(tasks); }});
  }
  return out;
}

/// A fiber a parked task, and one asleep a timer: it has no timers of its own.
void start_background(long n) {
  for (long i = 0; i < n; ++i) {
    go([] {
      fibers::mutex lock;
      fibers::condition_variable never;
      std::unique_lock held(lock);
      for (;;) never.wait(held);
    });
    go([i] { boost::this_fiber::sleep_for(1h + i * 1ms); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A process a row: schedulers cannot be taken off a thread again, so the number of workers is that of the first row.
  int const status =
      peer::run(argc, argv, "Boost " BOOST_LIB_VERSION, rows(), [](unsigned workers, long background, auto f) {
        static unsigned started = 0;
        peer::require(started == 0, "boost_fiber: one row and one number of workers a process");
        started = workers;
        pooled = workers == 1;
        if (workers > 1) {
          for (unsigned i = 1; i < workers; ++i)
            std::thread([] {
              fibers::use_scheduling_algorithm<fibers::algo::shared_work>();
              fibers::mutex lock;
              fibers::condition_variable never;
              std::unique_lock held(lock);
              for (;;) never.wait(held);
            }).detach();
          fibers::use_scheduling_algorithm<fibers::algo::shared_work>();
        }
        start_background(background);
        boost::this_fiber::yield();
        f();
        std::fflush(stdout);
        if (workers > 1 || background > 0) std::_Exit(0);  // fibers that never end would be waited for
      });
  return status;
}
