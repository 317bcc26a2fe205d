// What the scenarios of weft_stress are made of. A scenario is a function that is called again and again on a plain thread, each time
// with another source of chance; what it does is drawn from that, and what must hold whatever was drawn is checked.
//
// A check that fails ends the process, with the scenario, the seed and all tasks on standard error: nothing is torn down that could tell more.
#pragma once

#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <source_location>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weft::stress {

using namespace std::chrono_literals;

/// Chance that a seed repeats. For one thread at a time: who works beside others gets a branch() of its own.
class random {
 public:
  explicit random(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {  // splitmix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  random branch() noexcept { return random(next()); }

  std::uint64_t below(std::uint64_t n) noexcept { return next() % n; }
  /// Both ends included.
  template <std::integral T>
  T between(T least, std::type_identity_t<T> most) noexcept {
    return static_cast<T>(least + static_cast<T>(below(static_cast<std::uint64_t>(most - least) + 1)));
  }
  bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }
  template <class T>
  T pick(std::initializer_list<T> from) noexcept {
    return from.begin()[below(from.size())];
  }
  /// Short ones are as likely as long ones: from nothing to the most.
  std::chrono::microseconds up_to(std::chrono::microseconds most) noexcept {
    auto const all = static_cast<std::uint64_t>(most.count());
    return std::chrono::microseconds(below((all >> below(8)) + 1));
  }

 private:
  std::uint64_t state_;
};

struct round {
  random chance;
  unsigned workers;
  bool slow;  // a sanitizer looks on
};

struct scenario {
  char const* name;
  void (*run)(round&);
};

void channels(round&);
void selects(round&);
void trees(round&);
void sync(round&);
void sockets(round&);
void processors(round&);
void timers(round&);

/// What is done is counted, for the reports.
inline std::atomic<std::uint64_t> operations{0};
inline void count(std::uint64_t n = 1) noexcept { operations.fetch_add(n, std::memory_order_relaxed); }

[[noreturn]] void fail(std::string const& what, std::source_location = std::source_location::current()) noexcept;
[[noreturn]] void fail_with(std::exception_ptr, char const* where) noexcept;

inline void check(bool holds, char const* what, std::source_location at = std::source_location::current()) noexcept {
  if (!holds) fail(what, at);
}
inline void check_equal(std::uint64_t is, std::uint64_t should_be, char const* what,
                        std::source_location at = std::source_location::current()) noexcept {
  if (is != should_be) fail(std::string(what) + ": " + std::to_string(is) + ", not " + std::to_string(should_be), at);
}

/// On the stack of the scenario, for what must be gone at its end.
class living {
 public:
  ~living() { check_equal(count_.load(), 0, "something outlives those who must wait for it"); }

  class token {
   public:
    explicit token(living& of) noexcept : of_(of) { ++of_.count_; }
    ~token() { --of_.count_; }
    token(token const&) = delete;
    token& operator=(token const&) = delete;

   private:
    living& of_;
  };

 private:
  std::atomic<std::uint64_t> count_{0};
};

[[nodiscard]] inline options options_for(unsigned workers) {
  options o;
  o.workers = workers;
  o.shutdown_grace = 60s;  // the machine may be busy, and sanitizers are slow
  o.on_stuck = stuck::abort;
  return o;
}

/// Nothing of a runtime that has been shut down is left.
inline void check_empty(runtime const& r) {
  runtime_metrics const m = r.metrics();
  check_equal(m.live, 0, "tasks alive after the shutdown");
  check_equal(m.parked, 0, "tasks parked after the shutdown");
  check_equal(m.runnable, 0, "tasks in run queues after the shutdown");
}

/// f(runtime), on this thread, between its start and its end.
template <class F>
void with_runtime(round const& of, F&& f) {
  runtime r(options_for(of.workers));
  f(r);
  r.shutdown();
  check_empty(r);
}

/// f() under contexts that are cancelled after a while, again and again until it has returned; on a plain thread just so.
template <class F>
void in_pieces(random& chance, F f) {
  if (this_task::id() == task_id{}) return f();
  for (bool over = false; !over;) {
    std::stop_source source;
    bool const by_token = chance.one_in(4);
    auto const [ctx, cancel] = by_token           ? with_cancel(context::from(source.get_token()))
                               : chance.one_in(2) ? with_timeout(chance.up_to(2ms))
                                                  : with_cancel();
    stop_fn const stop = after_func(chance.up_to(2ms), [by_token, source, cut = cancel]() mutable {
      if (by_token) source.request_stop();
      else cut();
    });
    try {
      scoped_context const in(ctx);
      f();
      over = true;
    } catch (cancelled const& c) {
      check(ctx.cancelled() && c.code() == ctx.err(), "a wait was cancelled, and not by its context");
    }
    stop();
    this_task::context().throw_if_cancelled();
  }
}

inline void sleep_within_a_shield(std::chrono::microseconds d) {
  if (this_task::id() == task_id{}) return std::this_thread::sleep_for(d);
  uncancellable const shield;
  sleep_for(d);
}

/// Tasks and plain threads that do something together. For one plain thread, the one that waits for them.
class crew {
 public:
  crew(runtime& in, random& chance) : in_(in), chance_(chance) {}
  crew(crew const&) = delete;
  crew& operator=(crew const&) = delete;
  ~crew() { wait(); }

  /// By chance one or the other.
  template <class F>
  void start(F f) {
    if (chance_.one_in(3)) thread(std::move(f));
    else task(std::move(f));
  }
  template <class F>
  void task(F f) {
    tasks_.push_back(in_.spawn([f = std::move(f)]() mutable {
      try {
        f();
      } catch (cancelled const&) {
        check(this_task::context().cancelled(), "a task is unwound as cancelled, and its context is not");
      } catch (...) {
        fail_with(std::current_exception(), "a task");
      }
    }));
  }
  template <class F>
  void thread(F f) {
    threads_.emplace_back([f = std::move(f)]() mutable {
      try {
        f();
      } catch (...) {
        fail_with(std::current_exception(), "a plain thread");
      }
    });
  }

  /// Cancels some of the tasks, one after the other, in a time of at most so long.
  void cancel_some(std::size_t most, std::chrono::microseconds within) {
    if (tasks_.empty() || most == 0) return;
    for (std::size_t n = chance_.between(std::size_t{0}, most); n > 0; --n) {
      std::this_thread::sleep_for(chance_.up_to(within / most));
      tasks_[chance_.below(tasks_.size())].cancel();
    }
  }

  void wait() {
    for (auto& t : tasks_) t.join();
    for (auto& t : threads_) t.join();
    tasks_.clear();
    threads_.clear();
  }

 private:
  runtime& in_;
  random& chance_;
  std::vector<join_handle<void>> tasks_;
  std::vector<std::thread> threads_;
};

}  // namespace weft::stress
