// Tasks that a cancellation will start (after_func of a context), or nothing but the end of the runtime will find (of max()). A context may outlive its runtime, and plain threads may cancel it at any time, also
// while the runtime ends. What they start must be started in a runtime that is still there.
//
//   N1 start: under the shard's lock: if it is listed, it is unlisted and its task started
//   N2 end:   once the last task has ended (E8 of scheduler::run_timers), under each shard's lock in turn: what is this runtime's is unlisted,
//             and destroyed after that   N3 E8 once more
//
// A start comes before N2 at its shard, and N3 counts its task; or it finds nothing listed, and touches no runtime. So the shards belong to
// the process. There are several, by the task's number: a server may list something for each request.
#pragma once

namespace weft::rt {

class scheduler;
struct task;

struct pending_start {
  pending_start *next = nullptr, *previous = nullptr;  // guarded by the shard's lock, as is
  bool listed = false;
  scheduler* sched = nullptr;  // constant while listed
  unsigned shard = 0;          // constant while listed
  /// Under the shard's lock: the task to start; null if somebody has taken it back.
  task* (*take)(pending_start&) noexcept = nullptr;
  /// Under the shard's lock: one reference more, which destroy gives back.
  void (*keep)(pending_start&) noexcept = nullptr;
  /// N2, without a lock.
  void (*destroy)(pending_start&) noexcept = nullptr;
};

/// `t`: what take will return.
void list_start(pending_start& p, task const& t) noexcept;
/// It will not be started any more, if it has not been.
void unlist_start(pending_start& p) noexcept;
/// N1. Any thread.
void start_listed(pending_start& p) noexcept;
/// N2.
void drop_starts_of(scheduler& s) noexcept;

}  // namespace weft::rt
