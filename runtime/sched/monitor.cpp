// monitor: a thread without a processor that backs up what the workers leave out.
//
// Workers wake nobody for a task that they will run next themselves, arm timers without telling the sleeper in the poller, and look
// at the network only between tasks. All of that is right as long as tasks come back to the scheduler soon. The monitor sees when
// one does not: a processor whose tick has not moved between two looks, with something in its queue, a timer that is overdue, or a
// poller that nobody sleeps in; if there is an idle processor, it wakes a searcher, which steals, fires or polls.
//
// It looks 20 us after something was found, doubling to 1 ms, and sleeps while all processors are idle; the worker that takes the
// first one wakes it.

#include <chrono>

#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

namespace {
constexpr std::int64_t shortest_ns = 20'000;
constexpr std::int64_t longest_ns = 1'000'000;
}  // namespace

void scheduler::wake_monitor() noexcept {
  if (monitor_word_.exchange(0, std::memory_order_seq_cst) == 1) futex_wake(monitor_word_, 1);
}

bool scheduler::monitor_look(std::vector<std::uint64_t>& ticks) noexcept {
  bool found = false;
  const std::int64_t now = clock_ns();
  for (unsigned i = 0; i < processor_count_; ++i) {
    processor& p = processors_[i];
    p.coarse_now = coarse_time(now);
    const std::uint64_t tick = p.tick;
    const bool waiting = p.queue.peek_next() != nullptr || !p.queue.ring_empty();
    if ((tick == ticks[i] && waiting) || p.timers.next_deadline() <= now) found = true;
    if (tick == ticks[i] && poll_until_.load(std::memory_order_relaxed) == 0) found = true;
    ticks[i] = tick;
  }
  if (global_.size() != 0) found = true;
  if (found) wake_if_idle(nullptr);
  return found;
}

void scheduler::monitor_main() noexcept {
  set_thread_name("weft-monitor");
  set_precise_sleep();
  threads_.fetch_add(1, std::memory_order_acq_rel);
  std::vector<std::uint64_t> ticks(processor_count_);
  std::atomic<std::uint32_t> never_woken{0};
  std::int64_t pause = shortest_ns;
  while (!stopping_.load(std::memory_order_acquire)) {
    if (idle_.load(std::memory_order_seq_cst) == processor_count_) {
      monitor_word_.store(1, std::memory_order_seq_cst);
      // Pairs with take_idle_processor_locked: either it sees the word, or idle_ is seen lowered here.
      if (idle_.load(std::memory_order_seq_cst) == processor_count_ && !stopping_.load(std::memory_order_seq_cst))
        futex_wait(monitor_word_, 1);
      monitor_word_.store(0, std::memory_order_relaxed);
      pause = shortest_ns;
      continue;
    }
    futex_wait_until(never_woken, 0, clock_ns() + pause);
    if (idle_.load(std::memory_order_relaxed) == 0) {  // nobody to wake
      pause = longest_ns;
      continue;
    }
    pause = monitor_look(ticks) ? shortest_ns : std::min(pause * 2, longest_ns);
  }
  threads_.fetch_sub(1, std::memory_order_acq_rel);
}

}  // namespace weft::rt
