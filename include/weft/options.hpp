// How a runtime is set up, and what it tells of itself.
#pragma once

#include <chrono>
#include <cstddef>

namespace weft {

/// What to do when a task does not end within the grace of a shutdown: exit with status 70, or abort for a core dump.
enum class stuck { exit, abort };
/// What to do after SIGQUIT's dump: exit with status 131, or go on.
enum class quit { exit, go_on };

struct options {
  /// Tasks that run at the same time. 0: $WEFT_WORKERS, else the CPUs of the affinity mask and the cgroup's quota, at least 1.
  unsigned workers = 0;
  /// Bytes of address space a task may use; memory is committed as it is touched.
  std::size_t stack_size = 256 * 1024;
  /// A worker that is stuck this long in one task hands its processor on; 0: never.
  std::chrono::nanoseconds hog_after = std::chrono::milliseconds(10);
  /// The same for one that is stuck in a system call.
  std::chrono::nanoseconds blocked_after = std::chrono::microseconds(100);
  /// Upper bound for the threads of the runtime.
  unsigned max_threads = 10'000;
  /// How long shutdown waits for tasks that are being cancelled.
  std::chrono::nanoseconds shutdown_grace = std::chrono::seconds(5);
  stuck on_stuck = stuck::exit;
  quit on_quit = quit::exit;
};

/// A snapshot, summed over the processors; exact only when nothing runs.
struct runtime_metrics {
  unsigned workers;        // processors: how many tasks may run at once
  std::size_t live;        // tasks that have not ended
  std::size_t parked;      // of these, waiting
  std::size_t runnable;    // of these, in a run queue
  std::size_t spawns;      // since the start
  std::size_t steals;
  std::size_t parks;
  std::size_t polls;       // looks at the network
  std::size_t stacks;      // in use
  std::size_t bytes;       // address space mapped for stacks
};

}  // namespace weft
