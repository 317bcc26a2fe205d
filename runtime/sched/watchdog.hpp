// watchdog: names tasks that keep their thread for longer than options::watchdog. Part of the monitor, and on its thread alone.
//
// What it looks at, each time, for each worker: the task whose code runs, the generation of its wait word (a park in between), the
// processor that is held and its tick (another task in between, a yield). As long as all four stay the same, it is one stretch:
//   D1 another task, generation, processor or tick: a stretch begins now. So one is only ever thought shorter than it is
//   D2 the monitor takes the processor: the stretch goes on without one, if the tick is still that of the last look
//   D3 longer than allowed, not in blocking(), not told of yet: its name and place are read under the lock of walks, then all four are
//      looked at once more. They belong to this task: had its block been reused before, the tick would be another
//   D4 its thread runs: its calls, from a signal handler there (thread_sample.hpp); they count only if the handler found the same task
// One report a second; others are counted.
//
// Rejected: a time stamp at each switch (a clock read costs more than the switch), a signal also to threads in system calls (it would end
// some of them with EINTR, which the program need not expect).
#pragma once

#include <cstdint>
#include <vector>

namespace weft::rt {

/// The tag of samples (thread_sample.hpp): the task that runs on this thread, 0: none. In a signal handler on the worker's thread.
[[nodiscard]] std::uint64_t sampled_task() noexcept;

class scheduler;
struct processor;
struct task;
struct worker;

class watchdog {
 public:
  explicit watchdog(scheduler& s) noexcept;
  [[nodiscard]] bool on() const noexcept { return after_ > 0; }
  void look(std::int64_t now) noexcept;
  /// D2: `p`, which is nobody's yet, was taken from `w`.
  void taken(worker const& w, processor const& p) noexcept;

 private:
  struct view {
    task* current = nullptr;
    std::uint64_t generation = 0;
    processor const* held = nullptr;
    std::uint64_t tick = 0;
    std::int64_t since = 0;
    bool told = false;
    [[nodiscard]] bool same(view const& o) const noexcept {
      return current == o.current && generation == o.generation && held == o.held && tick == o.tick;
    }
  };
  [[nodiscard]] static view view_of(worker const& w) noexcept;
  void tell(worker const& w, view& v, std::int64_t now);

  scheduler& s_;
  std::int64_t const after_;
  std::vector<view> views_;  // by worker::index
  std::int64_t next_report_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace weft::rt
