// weft::wait_group: waits until all of a number of tasks have ended, without handles for them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <utility>

#include <weft/detail/countdown.hpp>
#include <weft/task.hpp>

namespace weft {

/// Counts what has yet to end; as Go's sync.WaitGroup. For tasks and plain threads.
///
///     weft::wait_group wg;
///     for (auto& item : items) wg.go([&item] { work(item); });
///     wg.wait();
///
/// A first add() must happen before the wait() that is to wait for it; later ones may be made by whoever is counted.
/// The group can be used again once its wait() has returned.
/// Order: each done() happens before the return of the wait() that it lets go.
/// Life: may be destroyed once wait() has returned, also while the last done() has yet to. Not when it has thrown.
class wait_group {
 public:
  constexpr wait_group() noexcept = default;
  wait_group(wait_group const&) = delete;
  wait_group& operator=(wait_group const&) = delete;

  /// Counts `n` more; a negative n counts down. Does not block. Fatal if the counter falls below zero.
  void add(std::ptrdiff_t n = 1) noexcept {
    if (n >= 0) count_.up(n, "wait_group::add");
    else count_.down(std::uint64_t{0} - static_cast<std::uint64_t>(n), "wait_group::add");
  }

  /// One less. Does not block. Fatal if the counter falls below zero.
  void done() noexcept { count_.down(1, "wait_group::done"); }

  /// Returns when the counter is zero. Blocks. Cancellation point.
  void wait() {
    std::uint32_t const unused = ahead_.exchange(waited, std::memory_order_acq_rel) & ~waited;
    if (unused != 0) count_.down(unused, "wait_group::done");
    count_.wait(&ahead_);
  }

  /// add(), and a task that runs f(args...) and then calls done(), however it ends; f and args are destroyed before
  /// that. Does not block. Throws what weft::go throws, with the counter as it was.
  template <class F, class... A>
    requires(sizeof...(A) > 0) && task_callable<F, A...>
  void go(F&& f, A&&... args) {
    start<detail::closure<F, A...>>(nullptr, {}, std::forward<F>(f), std::forward<A>(args)...);
  }
  template <class F, detail::place_of_spawn P = std::source_location>
    requires task_callable<F>
  void go(F&& f, P place = std::source_location::current()) {
    start<detail::closure<F>>(nullptr, place, std::forward<F>(f));
  }
  template <class F, detail::place_of_spawn P = std::source_location, detail::task_options_or_alike O = task_options>
    requires task_callable<F>
  void go(O options, F&& f, P place = std::source_location::current()) {
    task_options with = std::move(options);
    start<detail::closure<F>>(&with, place, std::forward<F>(f));
  }
  template <class F, class... A, detail::task_options_or_alike O = task_options>
    requires(sizeof...(A) > 0) && task_callable<F, A...>
  void go(O options, F&& f, A&&... args) {
    task_options with = std::move(options);
    start<detail::closure<F, A...>>(&with, {}, std::forward<F>(f), std::forward<A>(args)...);
  }

 private:
  template <class Closure>
  struct member {
    wait_group* group;
    Closure call;

    void operator()() {
      struct ending {  // outlives `own`: done() comes last, and nothing of the group is touched after it
        wait_group* group;
        ~ending() { group->done(); }
      } at_end{group};
      Closure own(std::move(call));
      (void)own();
    }
  };

  // go() counts tasks 64 at a time, and keeps what it has not used in `ahead_`, on a cache line of its own: counted one by one, the
  // spawner and each ending task would fight for the counter's line. wait() gives back what is left over and, by `waited`, has later
  // calls, which are made by tasks that are counted, count one by one. A call that finds the group at rest starts afresh, perhaps beside a wait() that
  // has just begun: hence that gives back once more before it queues (countdown.cpp).
  static constexpr std::uint32_t waited = detail::countdown::waited, batch = 64;

  void count_one() noexcept {
    std::uint32_t a = ahead_.load(std::memory_order_relaxed);
    // acquire: pairs with the release below, so that the count of many comes before the end of this one.
    while (a - 1 < waited - 1)
      if (ahead_.compare_exchange_weak(a, a - 1, std::memory_order_acquire, std::memory_order_relaxed)) return;
    if (a == waited && count_.finished() && count_.begin_anew(ahead_, batch)) return;
    if (a != 0) return count_.up(1, "wait_group::go");
    count_.up(batch, "wait_group::go");
    while (a != waited)
      if (ahead_.compare_exchange_weak(a, a + batch - 1, std::memory_order_release, std::memory_order_relaxed)) return;
    count_.down(batch - 1, "wait_group::go");
  }

  template <class Closure, class... Parts>
  void start(task_options* options, std::source_location place, Parts&&... parts) {
    count_one();
    try {
      detail::go_on(nullptr, options, place,
                    member<Closure>{this, Closure(std::in_place, std::forward<Parts>(parts)...)});
    } catch (...) {
      done();
      throw;
    }
  }

  detail::countdown count_{0};
  alignas(64) std::atomic<std::uint32_t> ahead_{0};
};

}  // namespace weft
