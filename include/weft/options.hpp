// How a runtime is set up, and what it tells of itself.
#pragma once

#include <chrono>
#include <cstddef>

#include <weft/detail/deadline.hpp>

namespace weft {

/// What to do when a task does not end within the grace of a shutdown: exit with status 70, or abort for a core dump.
enum class stuck { exit, abort };
/// What to do after SIGQUIT's dump: exit with status 131, or go on.
enum class quit { exit, go_on };

/// Durations may be of any type of std::chrono; max() means never, a negative one is 0.
struct options {
  /// Tasks that run at the same time, 4096 at most. 0: $WEFT_WORKERS, else the CPUs of the affinity mask and the cgroup's quota, at least 1.
  unsigned workers = 0;
  /// Bytes of address space a task may use, seven eighths of them at least where its joiner runs it; memory is committed as it is touched.
  std::size_t stack_size = 256 * 1024;
  /// CPU time after which a task that neither waits nor ends loses the right to keep others waiting: they go on, on another thread, and so
  /// does it. With n tasks like that on w workers the next one is given 1 + n / w times as long. 0: never.
  detail::patience hog_after = std::chrono::milliseconds(10);
  /// The same for a task whose thread sleeps in a system call: wall time. Seen with a delay of at most a millisecond or two. 0: never.
  detail::patience blocked_after = std::chrono::microseconds(100);
  /// Upper bound for the threads of the runtime, the monitor among them, but never less than one for each of `workers` and the
  /// monitor; the one thread of the process that waits for signals is not counted. What RLIMIT_NPROC and the cgroup's pids.max leave
  /// is a bound as well. When it is reached, and all threads are stuck in tasks, the others wait; a line on stderr says so once.
  unsigned max_threads = 10'000;
  /// How long shutdown waits for tasks that are being cancelled; those under without_cancel are left alone for half of it.
  detail::patience shutdown_grace = std::chrono::seconds(5);
  stuck on_stuck = stuck::exit;
  quit on_quit = quit::exit;
  /// A task that keeps its thread for longer than this, computing or in a system call, without a wait of weft's, a yield or its end, is named
  /// on stderr, with its place of spawn and, if it computes, its calls; once each time, and one a second at most. blocking(f) is not
  /// counted. For finding out what makes others late: the tasks themselves go on. Not in a simulated run. 0: never. To learn the calls, the
  /// task's thread is sent SIGURG (which is ignored otherwise): a program with a handler of its own for that gets none.
  detail::patience watchdog = std::chrono::nanoseconds(0);
};

/// A snapshot, summed over the processors; exact only when nothing runs.
struct runtime_metrics {
  unsigned workers;      // processors: how many tasks may run at once
  std::size_t live;      // tasks that have not ended
  std::size_t parked;    // of these, waiting
  std::size_t runnable;  // of these, in a run queue
  std::size_t spawns;    // since the start
  std::size_t steals;
  std::size_t parks;
  std::size_t polls;    // looks at the network
  std::size_t stacks;   // in use, or kept at hand by a processor: up to 64 each, also when no task is left
  std::size_t bytes;    // address space mapped for stacks
  std::size_t threads;  // of workers: more than `workers` while tasks block or compute for long; kept after shutdown()
  std::size_t hand_overs;  // processors taken from, or given up by, workers that were stuck in a task
};

}  // namespace weft
