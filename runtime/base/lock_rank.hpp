// The order in which weft's locks may be taken, as data.
//
// A thread that holds a lock may block only on locks of a later rank. Taking two locks of one rank is an error, with
// one exception: `object`, of which select holds many at once, and those are taken by rising address. try_lock may go
// against the order because it never waits. Builds without NDEBUG check the order at every blocking lock().
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::rt {

// Outermost first.
enum class lock_rank : std::uint8_t {
  registry,         // the list of all tasks, all workers
  pending_start,    // what a cancellation will start
  scheduler,        // idle lists, thread start and stop
  context_node,     // one node of the tree of contexts
  object,           // a channel, a mutex, a socket: what a task waits on
  task_completion,  // the end of a task and who joins it
  timer_heap,       // one processor's timers
  stack_pool,       // idle stacks
  task_pool,        // task memory that is shared between workers
  io_table,         // descriptors known to the poller
  queue_token,      // the producer tokens that outside threads share
  context_shard,  // the tasks that have parked under a context: locked by hooks, with the object or the heap still locked
  leaf,           // under which nothing is locked
  count_
};

inline constexpr char const* lock_rank_names[] = {
    "registry",        "pending_start", "scheduler",  "context_node", "object",
    "task_completion", "timer_heap",    "stack_pool", "task_pool",    "io_table",
    "queue_token",     "context_shard", "leaf",
};
static_assert(sizeof(lock_rank_names) / sizeof(lock_rank_names[0]) == static_cast<std::size_t>(lock_rank::count_));

constexpr char const* name_of(lock_rank rank) noexcept { return lock_rank_names[static_cast<std::size_t>(rank)]; }

}  // namespace weft::rt
