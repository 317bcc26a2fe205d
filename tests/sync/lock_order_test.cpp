#include <weft/weft.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <type_traits>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;

namespace {

#if WEFT_LOCK_ORDER
using checked = weft::mutex;
#else
static_assert(std::is_trivially_destructible_v<weft::mutex> && std::is_trivially_destructible_v<weft::shared_mutex>,
              "without the option nothing is left of it");

/// What weft::mutex is with the option.
class checked {
 public:
  checked() = default;
  ~checked() { weft::detail::note_order_gone(this); }
  void lock() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    weft::detail::note_order_wanted(this);
    m_.lock();
    weft::detail::note_order_taken(this);
  }
  bool try_lock() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    if (!m_.try_lock()) return false;
    weft::detail::note_order_taken(this);
    return true;
  }
  void unlock() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    weft::detail::note_order_released(this);
    m_.unlock();
  }

 private:
  weft::mutex m_;
};
#endif

template <class A, class B>
__attribute__((noinline)) void lock_both(A& first, B& second) {
  std::lock_guard one(first);
  std::lock_guard two(second);
}

int times(std::string const& text, std::string const& part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

template <class F>
std::string errors_of(unsigned workers, F f) {
  child_end const end = run_child([&] {
    weft::options o;
    o.workers = workers;
    weft::run(o, f);
    return 0;
  });
  INFO(end.errors);
  CHECK(end.signal == 0);
  CHECK(end.exit_code == 0);
  return end.errors;
}

constexpr char const* told = "weft: lock order: ";

}  // namespace

TEST_CASE("two mutexes taken in both orders are reported once, though nobody waited", "[sync][lock_order]") {
  for (unsigned const workers : weft::test::worker_counts) {
    std::string const text = errors_of(workers, [] {
      checked a, b;
      for (int i = 0; i < 3; ++i) {
        weft::spawn(weft::task_options{.name = "there"}, [&] { lock_both(a, b); }).join();
        weft::spawn(weft::task_options{.name = "back"}, [&] { lock_both(b, a); }).join();
      }
    });
    INFO(text);
    CHECK(times(text, told) == 1);
    CHECK(times(text, "lock order: 2 locks are taken in a circle") == 1);
    CHECK(times(text, "\"there\" held 0x") == 1);
    CHECK(times(text, "\"back\" held 0x") == 1);
    CHECK(times(text, "lock_both<") >= 2);
  }
}

TEST_CASE("a circle of three mutexes by three holders, one of them a plain thread, is reported", "[sync][lock_order]") {
  std::string const text = errors_of(2, [] {
    checked a, b, c;
    weft::spawn([&] { lock_both(a, b); }).join();
    weft::spawn([&] { lock_both(b, c); }).join();
    std::thread([&] { lock_both(c, a); }).join();
  });
  INFO(text);
  CHECK(times(text, told) == 1);
  CHECK(times(text, "lock order: 3 locks are taken in a circle") == 1);
  CHECK(times(text, "a plain thread held 0x") == 1);
}

TEST_CASE("one order, tried locks, and scoped locks in any order are not reported", "[sync][lock_order]") {
  std::string const text = errors_of(2, [] {
    checked a, b, c;
    for (int i = 0; i < 3; ++i) {
      lock_both(a, b);
      lock_both(b, c);
      lock_both(a, c);
    }
    c.lock();
    if (a.try_lock()) a.unlock();
    c.unlock();
    checked d, e;
    {
      std::scoped_lock both(d, e);
    }
    {
      std::scoped_lock both(e, d);
    }
  });
  CHECK(times(text, told) == 0);
}

TEST_CASE("a mutex that lies where another was has none of its orders", "[sync][lock_order]") {
  std::string const text = errors_of(1, [] {
    alignas(checked) unsigned char places[2][sizeof(checked)];
    for (int i = 0; i < 2; ++i) {
      auto* const a = new (places[i]) checked;
      auto* const b = new (places[1 - i]) checked;
      lock_both(*a, *b);
      a->~checked();
      b->~checked();
    }
  });
  CHECK(times(text, told) == 0);
}

TEST_CASE("a mutex that another task unlocks is held by nobody afterwards", "[sync][lock_order]") {
  std::string const text = errors_of(2, []() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    checked a, b;
    lock_both(b, a);
    auto gone_on = weft::make_chan<int>();
    auto taker = weft::spawn([&]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
      a.lock();
      gone_on.send(1);
      (void)gone_on.recv();
      std::lock_guard hold(b);  // a is free by now
    });
    (void)gone_on.recv();
    a.unlock();
    gone_on.send(2);
    taker.join();
  });
  CHECK(times(text, told) == 0);
}

#if WEFT_LOCK_ORDER
TEST_CASE("shared mutexes and condition variables are followed too", "[sync][lock_order]") {
  std::string const circle = errors_of(2, [] {
    weft::shared_mutex a;
    weft::mutex b;
    {
      std::shared_lock reads(a);
      std::lock_guard hold(b);
    }
    lock_both(b, a);
  });
  CHECK(times(circle, told) == 1);
  std::string const none = errors_of(2, [] {
    weft::mutex m, other;
    weft::condition_variable changed;
    bool ready = false;
    auto waits = weft::spawn([&] {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return ready; });
      lock.unlock();
      lock_both(other, m);
    });
    {
      std::lock_guard hold(m);
      ready = true;
    }
    changed.notify_all();
    waits.join();
  });
  CHECK(times(none, told) == 0);
}
#endif
