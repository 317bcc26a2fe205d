// census: what every task does, at one moment each.
//
// Tasks are found by walking the memory that they lie in (for_each_task), so that no task pays for being seen. A parked one is frozen
// (wait.hpp) while its request and its stack are read, some microseconds; all others go on meanwhile. So the
// entries are each true of a moment, and of different moments: two tasks may both be seen as waiting for the other's message.
//
// What is read of a task that is not frozen is constant from its start (id, place), or guarded by the walk's lock (name).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/detail/task_api.hpp>

#include "runtime/sched/wait.hpp"

namespace weft::rt {

class scheduler;

enum class task_state : std::uint8_t { not_begun, running, ready, parked };

struct task_entry {
  static constexpr std::size_t no_trace = static_cast<std::size_t>(-1);

  void const* self = nullptr;   // to tell tasks apart
  void const* above = nullptr;  // of one that runs the task that it joins above its own frames: that one's `self`
  task_id id = 0;
  std::string name;
  char const* file = nullptr;  // place of spawn; null: not known. Static text
  unsigned line = 0;
  task_state state = task_state::running;
  bool blocks = false;  // of a running one: inside weft::blocking
  // Of a parked one:
  wait_reason reason = wait_reason::none;
  void const* object = nullptr;
  task_id joins = 0;             // reason join: whom
  std::int64_t left_ns = never;  // till its deadline
  std::int64_t waited_ns = 0;    // in steps of coarse_time; less than two of them: as good as 0
  std::size_t trace = no_trace;  // of a parked one, or see add_running_calls: index in census::traces
};

/// Parked on the nil channel, or in a select of nothing else: nobody can wake it.
[[nodiscard]] inline bool waits_on_nil(task_entry const& e) noexcept {
  return e.state == task_state::parked && e.object == nullptr && e.left_ns == never &&
         (e.reason == wait_reason::chan_send || e.reason == wait_reason::chan_recv || e.reason == wait_reason::select);
}

struct census {
  std::vector<task_entry> tasks;           // by id
  std::vector<std::vector<void*>> traces;  // return addresses, innermost first; each once
};

/// Of one scheduler's tasks, or of all. Throws std::bad_alloc.
[[nodiscard]] census take_census(scheduler const* of);

/// Adds the calls of those that run, each taken by a signal handler on its thread (platform/thread_sample.hpp): a system call that the task
/// sits in may end by it, so only where the process is about to end. Those that it does not get stay without. Throws std::bad_alloc.
void add_running_calls(census& c, scheduler& of);

}  // namespace weft::rt
