// What this layer asks of the reports (runtime/observe), which read everything and are included by nobody: when a runtime begins and
// ends, whether its tasks can ever go on, and what to say of them. Filled in by install_observer(), which each runtime calls.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/detail/task_api.hpp>

namespace weft::rt {

class scheduler;
struct task;

/// The answer to a worker that finds everything idle.
struct idle_verdict {
  enum class what : std::uint8_t {
    changed,  // it is idle no more, or was made so: nothing to remember
    alive,    // `witness` waits for something that may come: as long as it does, there is no use in asking again
    later,  // something outside of the runtime may wake a task and goes unnoticed when it no longer can: ask again in a while
  } is = what::changed;
  task* witness = nullptr;
  std::uint64_t word = 0;   // its wait word
  std::uint64_t taken = 0;  // quiet_look::taken that the answer belongs to
};

/// What the watchdog tells of a task that keeps its thread.
struct kept_thread {
  task_id task = 0;
  std::string name;
  char const* file = nullptr;  // place of spawn; null: not known. Static text
  unsigned line = 0;
  std::int64_t for_ns = 0;
  bool computes = true;          // false: its thread sleeps in a system call
  void* const* calls = nullptr;  // innermost first
  std::size_t call_count = 0;    // 0: not known
  std::uint64_t left_out = 0;    // such tasks that were not told of since the last
};

/// One edge of a circle of locks.
struct lock_step {
  static constexpr std::size_t calls_most = 24;
  task_id task = 0;  // 0: a plain thread
  std::string name;
  void const* held = nullptr;
  void const* wanted = nullptr;
  std::vector<void*> calls;  // return addresses, innermost first
};

struct observer {
  /// Before the runtime's first thread. Throws std::bad_alloc.
  void (*runtime_begins)(scheduler&);
  /// When it may go on for more than a moment. May be called again, and by several threads at once.
  void (*runtime_lasts)() noexcept;
  /// After its last task has ended.
  void (*runtime_ended)(scheduler&) noexcept;
  /// On an idle worker, without a lock: see deadlock.cpp.
  idle_verdict (*all_idle)(scheduler&) noexcept;
  /// All tasks of a runtime that cannot go on or end, as text, with the calls of those that run. Empty for want of memory.
  std::string (*describe)(scheduler&) noexcept;
  /// On the monitor's thread.
  void (*keeps_thread)(kept_thread const&) noexcept;
  /// In the task or plain thread that has just wanted the first one's lock.
  void (*locks_in_circle)(std::vector<lock_step> const&) noexcept;
};

/// Null: no reports. Set once, to a constant.
inline std::atomic<observer const*> observer_in_use{nullptr};

/// Sets it. Defined in runtime/observe: a symbol that is asked for, so that a linker takes the reports from the archive.
void install_observer() noexcept;

/// What may wake a task although no thread that waits in weft or runs tasks does anything. Counted by those who begin and end it,
/// each of whom counts before it can wake somebody.
struct outside_sources {
  std::atomic<std::uint32_t> signal_subscriptions{0};
  std::atomic<std::uint32_t> threads{
      0};  // threads of weft's that wake nobody but for these; each counts itself while it lives
  std::atomic<bool> forked{false};  // this process was made by fork, without the threads of the one before
};
inline constinit outside_sources sources;

}  // namespace weft::rt
