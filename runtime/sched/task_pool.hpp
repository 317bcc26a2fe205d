// task_pool: memory for tasks. Blocks of a few sizes, never given back to the system, so that a task's wait word stays a wait
// word (type-stable memory), and found again by walking the chunks, so that dumps need no list of live tasks, which would cost
// every spawn two locks.
//
// Each worker keeps short lists of free blocks (task_cache) that balance in batches with the process-wide lists, since a task
// is often freed on another worker than it was made on. Plain threads use the shared lists directly.
// Taking and freeing a block is in task_block.hpp, inlined: spawning is a dozen of such small things.
// Under AddressSanitizer a free block is poisoned but for its header; ThreadSanitizer is told of the hand-over.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <weft/detail/task_api.hpp>

#include "runtime/sched/owned.hpp"

namespace weft::rt {

struct task;

using detail::task_block_max;
using detail::task_block_step;
inline constexpr std::size_t task_block_classes = task_block_max / task_block_step;

struct task_cache {
  static constexpr std::uint32_t batch = 64;
  static constexpr std::uint32_t ahead = 4;  // blocks that are prefetched
  struct alignas(64) free_list {
    owned<task*> head;
    owned<std::uint32_t> count;  // of the blocks from head on, at most `batch`
    // Null, or `batch` more: who allocates and frees by turns does not go to the shared list each time.
    owned<task*> older;
    // The first blocks from head on, each at its number, counted from the last, modulo `ahead`: what is pushed next finds there the one
    // that will lie `ahead` further on. Null: not known, in a batch that came from elsewhere.
    std::array<owned<task*>, ahead> recent;

    void forget_recent() noexcept {
      for (auto& r : recent) r = nullptr;
    }
  };
  std::array<free_list, task_block_classes> classes;
};

/// 64 KiB: blocks of one size, one after the other, from the next multiple of the step on. Never freed: they hold wait words.
struct task_chunk {
  task_chunk* next;
  std::size_t block_size;
  std::atomic<std::size_t> blocks;  // those that have been cut; only grows. Release: they lie there
  [[nodiscard]] std::size_t capacity() const noexcept;
  [[nodiscard]] task* at(std::size_t i) noexcept;
};
static_assert(sizeof(task_chunk) <= task_block_step);
/// The newest. Guarded by the lock of the shared lists; debuggers begin here (runtime/observe/debugger.cpp).
extern constinit task_chunk* task_chunks;

/// Gives a worker's lists back, at its end, or when its thread has been idle for long.
void drain_task_cache(task_cache& cache) noexcept;

}  // namespace weft::rt
