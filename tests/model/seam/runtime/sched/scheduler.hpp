// The scheduler as far as idle.cpp and hand_over.cpp need it, which are compiled as they stand. All of it is public; what the rest of the
// runtime does, the program under check does (idle.cpp of the model).
#pragma once

#include "runtime/base/lock.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/global_queue.hpp"
#include "runtime/sched/hand_over.hpp"
#include "runtime/sched/owned.hpp"
#include "runtime/sched/run_queue.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

struct worker;
class scheduler;

struct heap {
  std::atomic<std::int64_t> next{never};
  [[nodiscard]] std::int64_t next_deadline() const noexcept { return next.load(std::memory_order_acquire); }
};

struct alignas(64) processor {
  run_queue queue;
  heap timers;
  std::unique_ptr<global_queue::port> port;
  struct {
    void rest(std::int64_t) noexcept {}
  } runs;
  std::atomic<worker*> holder{nullptr};
  processor* next_idle = nullptr;
};

struct process_fences {
  static void light() noexcept { light_fence(); }
  static void heavy() noexcept { heavy_fence(); }
};

struct alignas(64) worker : hand_over_words<processor, process_fences> {
  scheduler* sched = nullptr;
  std::atomic<std::uint32_t> wakeups{0};
  bool in_idle_list = false;
  bool in_poller = false;
  owned<bool> searching;
  worker* idle_next = nullptr;
  worker* idle_prev = nullptr;
  processor* comply() noexcept;
};

class scheduler {
 public:
  explicit scheduler(unsigned processors) : processor_count_(processors) {
    for (unsigned i = 0; i < processors; ++i) processors_[i].port = global_.make_port();
  }

  // ---- idle.cpp, hand_over.cpp ----
  void wake_if_idle(processor* mine) noexcept;
  void wake_one_searcher() noexcept;
  void wake_another_searcher() noexcept;
  void wake_searcher() noexcept;
  void wake_worker(worker& w, bool from_poller) noexcept;
  void stop_searching(worker& w) noexcept;
  void timer_changed(std::int64_t when) noexcept;
  processor* take_idle_processor_locked() noexcept;
  void give_idle_processor_locked(processor* p) noexcept;
  void add_idle_locked(worker& w) noexcept;
  void remove_idle_locked(worker& w) noexcept;
  bool take_processor(worker& w) noexcept;
  [[nodiscard]] std::int64_t earliest_timer() const noexcept;
  [[nodiscard]] std::int64_t wakes_at(std::int64_t until) noexcept { return until; }
  bool go_idle(worker& w);
  bool leave_idle(worker& w) noexcept;
  void sleep_in_poller(worker& w, std::int64_t limit);
  bool sleep_on_futex(worker& w, std::int64_t limit);
  bool sleep_until_woken(worker& w, std::int64_t until) noexcept;
  void hold_locked(worker& w, processor& p) noexcept;
  bool assign_locked(worker& w, processor& p) noexcept;
  worker* sleeper_to_wake_locked() noexcept;
  void hand_on(processor& p) noexcept;
  void empty(processor& p) noexcept;
  bool hand_over(worker& w, processor& p, bool as_hog) noexcept;
  bool thread_to_be_had() noexcept;
  void report_limit_locked() noexcept;
  void begin_blocking(worker& w) noexcept;
  void drift_ended(std::uintptr_t word) noexcept;
  processor* acquire_processor(worker& w) noexcept;
  [[nodiscard]] bool nothing_to_run(processor& p) const noexcept;

  // ---- the model's ----
  [[nodiscard]] bool single() const noexcept { return processor_count_ == 1; }
  bool work_anywhere(std::int64_t now) noexcept;
  void poll_network(worker& w, std::int64_t timeout_ns);
  bool new_worker_locked(processor&, bool) noexcept { return false; }  // no more threads
  void wake_monitor() noexcept {}
  void release_loops(processor&) noexcept {}
  bool keeps_from_starving_locked(processor const&) const noexcept { return false; }
  std::int64_t time_to_ask_locked(worker&) noexcept { return never; }
  std::int64_t time_to_feed_locked() const noexcept { return never; }
  void feed_without_monitor() noexcept {}
  bool leave_as_spare(worker&) noexcept { return false; }
  void ask_whether_dead() noexcept {}

  struct {
    model::bell bell;
    void wake() noexcept { bell.ring(); }
  } poller_;

  static constexpr std::int64_t first_pause_ns = 1;
  inline static std::int64_t spare_lives = 1;
  struct {
    [[nodiscard]] std::int64_t load(std::memory_order) const noexcept { return spare_lives; }
  } spare_lives_ns;

  unsigned const processor_count_;
  void* const sim_ = nullptr;
  processor processors_[3];
  global_queue global_;
  std::atomic<std::uint32_t> searching_{0}, idle_{0};
  std::atomic<std::int64_t> poll_until_{0}, timer_until_{never};
  std::atomic<bool> starving_{false}, stopping_{false}, monitor_wanted_{true};
  ranked_lock lock_{lock_rank::leaf};
  processor* idle_processors_ = nullptr;
  worker* idle_workers_ = nullptr;
  worker* poll_sleeper_ = nullptr;
  worker* asker_ = nullptr;
  std::uint64_t taken_ = 0;
  std::int64_t ask_pause_ = 0;
  std::atomic<unsigned> threads_{0}, thread_limit_{0};
  char const* thread_limit_name_ = "";
  bool limit_reported_ = true;
  std::int64_t refused_until_ = 0;
  std::atomic<std::uint32_t> adrift_{0}, hogs_{0}, blocking_calls_{0};
  std::atomic<std::uint64_t> hand_overs_{0};
};

}  // namespace weft::rt
