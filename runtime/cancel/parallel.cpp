// parallel_for and parallel_map over a range with numbered elements: tasks for those calls that wait, none for those that do not.
//
// A task of its own for each element costs more than most elements do. Here a task goes through a *share*, a span of the indices,
// and beside each share that is not empty one more task stands in a queue, its helper. If the task that goes through the share waits, or
// another worker has nothing to do, the helper gets its turn: it takes the back half of what is left, leaves a new helper for the front,
// and goes through its own half in the same way. So all elements begin as soon as a worker is free for them, as if each had a task,
// while there are about as many tasks as there were waits and steals.
//
//   take    the share's task: the first index of the span, by compare-exchange
//   split   a helper: the back half of the span, rounded up, by compare-exchange
//   I1 an index is in one span, or was taken by one task: both exchange the whole span
//   I2 beside a span that is not empty a helper is queued, or one that has split it is about to queue the next. So a share goes on when
//      its task is parked for ever, or has ended by an exception (cancel_on_error = false)
// Relaxed throughout: what the calls read was written before the first task was spawned, and what they write is seen after the group's wait.
//
// With a limit there are as many tasks as it says, and one counter: order and number are what is asked for then.
//
// Source: lazy binary splitting (Tzannes, Caragea, Barua, Vishkin, 2010), where the runtime's queue plays the part of the deque that is looked at.

#include <weft/parallel.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace weft::detail {
namespace {

constexpr std::uint64_t largest_share = std::uint64_t{1} << 31;

class alignas(64) share {
 public:
  share(std::uint64_t base, std::uint64_t count) noexcept : base_(base), span_(count << 32) {}

  std::optional<std::uint64_t> take() noexcept {
    std::uint64_t s = span_.load(std::memory_order_relaxed);
    while (left_in(s) != 0)
      if (span_.compare_exchange_weak(s, s + 1, std::memory_order_relaxed)) return base_ + first_of(s);
    return std::nullopt;
  }

  /// Nothing, if none is left.
  std::unique_ptr<share> split() {
    auto half = std::make_unique<share>(base_, 0);
    std::uint64_t s = span_.load(std::memory_order_relaxed);
    while (std::uint64_t const left = left_in(s)) {
      std::uint64_t const middle = first_of(s) + left / 2;
      if (!span_.compare_exchange_weak(s, (middle << 32) | first_of(s), std::memory_order_relaxed)) continue;
      half->span_.store((s & ~low_half) | middle, std::memory_order_relaxed);
      return half;
    }
    return nullptr;
  }

  [[nodiscard]] bool empty() const noexcept { return left_in(span_.load(std::memory_order_relaxed)) == 0; }

  share* next = nullptr;  // of all; constant once pushed

 private:
  static constexpr std::uint64_t low_half = 0xffff'ffff;
  static std::uint64_t first_of(std::uint64_t s) noexcept { return s & low_half; }
  static std::uint64_t left_in(std::uint64_t s) noexcept { return (s >> 32) - (s & low_half); }

  std::uint64_t const base_;
  std::atomic<std::uint64_t> span_;  // its end | its beginning, beginning <= end
};

/// Lives in the caller's frame, which waits for the group.
class spreading {
 public:
  spreading(task_group& group, indexed_call call) : group_(group), call_(call), of_tasks_(group.ctx()) {}
  ~spreading() {
    for (share* s = all_.load(std::memory_order_relaxed); s != nullptr;) delete std::exchange(s, s->next);
  }
  spreading(spreading const&) = delete;
  spreading& operator=(spreading const&) = delete;

  void begin(std::uint64_t count) {
    for (std::uint64_t base = 0; base < count; base += largest_share) {
      share& s = keep(std::make_unique<share>(base, std::min(largest_share, count - base)));
      group_.spawn([this, &s] { go_through(s); });
    }
  }

 private:
  share& keep(std::unique_ptr<share> s) noexcept {
    s->next = all_.load(std::memory_order_relaxed);
    while (!all_.compare_exchange_weak(s->next, s.get(), std::memory_order_relaxed)) {
    }
    return *s.release();
  }

  void offer(share& s) {
    group_.spawn([this, &s] { help(s); });
  }

  void go_through(share& mine) {
    std::optional<std::uint64_t> i = mine.take();
    if (i && !mine.empty()) offer(mine);
    for (; i && !of_tasks_.cancelled(); i = mine.take()) call_.call(call_.what, *i);
  }

  void help(share& s) {
    std::unique_ptr<share> half = s.empty() || of_tasks_.cancelled() ? nullptr : s.split();
    if (half == nullptr) return;
    if (!s.empty()) offer(s);
    go_through(keep(std::move(half)));
  }

  task_group& group_;
  indexed_call const call_;
  context const of_tasks_;
  std::atomic<share*> all_{nullptr};
};

class counted {
 public:
  counted(task_group& group, std::uint64_t count, indexed_call call, bool cancel_on_error)
      : group_(group), count_(count), call_(call), cancel_on_error_(cancel_on_error), of_tasks_(group.ctx()) {}

  void begin(std::size_t tasks) {
    for (std::uint64_t n = std::min<std::uint64_t>(tasks, count_); n != 0; --n) start_one();
  }

 private:
  void start_one() {
    group_.spawn([this] { go_on(); });
  }

  void go_on() {
    for (;;) {
      std::uint64_t const i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= count_ || of_tasks_.cancelled()) return;
      try {
        call_.call(call_.what, i);
      } catch (...) {
        if (!cancel_on_error_) start_one();  // in its place: the exception ends this one
        throw;
      }
    }
  }

  task_group& group_;
  std::uint64_t const count_;
  indexed_call const call_;
  bool const cancel_on_error_;
  context const of_tasks_;
  std::atomic<std::uint64_t> next_{0};
};

}  // namespace

void for_each_index(std::size_t count, indexed_call call, group_options options) {
  std::size_t const limit = std::exchange(options.limit, 0);
  bool const cancel_on_error = options.cancel_on_error;
  std::optional<spreading> spread;
  std::optional<counted> in_order;
  task_group group(std::move(options));
  context const of_tasks = group.ctx();
  if (limit == 0) spread.emplace(group, call).begin(count);
  else in_order.emplace(group, count, call, cancel_on_error).begin(limit);
  group.wait();
  of_tasks.throw_if_cancelled();  // from above, while this task waits in an uncancellable block: not all has been done
}

}  // namespace weft::detail
