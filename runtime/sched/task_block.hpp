// Taking a block of the task pool, and freeing it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#include "runtime/base/lock.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_pool.hpp"

namespace weft::rt {

/// What a free block has where its body was. Owned by whoever holds the list; out of ThreadSanitizer's sight, to which two tasks on one
/// worker that use the same list are strangers.
struct free_links {
  task* next = nullptr;
  task* soon = nullptr;  // task_cache::ahead places further on, to be prefetched when this one is taken; or null
};
static_assert(task_header_size + sizeof(free_links) <= 3 * task_block_step, "every block has room for them");
inline void* links_at(task* t) noexcept { return reinterpret_cast<char*>(t) + task_header_size; }
/// Of a block that is being taken.
WEFT_NO_TSAN inline free_links links_of(task* t) noexcept {
  asan_unpoison(links_at(t), sizeof(free_links));
  return *std::launder(static_cast<free_links*>(links_at(t)));
}
WEFT_NO_TSAN inline void set_links(task* t, free_links const& links) noexcept {
  asan_unpoison(links_at(t), sizeof(free_links));
  new (links_at(t)) free_links(links);
  asan_poison(links_at(t), sizeof(free_links));
}
/// What stands behind the header.
inline std::size_t body_size_of(task const* t) noexcept {
  return (t->size_class + std::size_t{1}) * task_block_step - task_header_size;
}

/// The list of a class. Its address is one that the compiler knows nothing of, so that each field is a displacement from it: the compiler would
/// work out an address for each, in a register for each, and have to save those.
inline task_cache::free_list& list_of(task_cache& cache, std::size_t cls) noexcept {
  auto* list = &cache.classes[cls];
  __asm__("" : "+r"(list));
  return *list;
}

// What the two functions below need now and then (task_pool.cpp).
void refill(task_cache::free_list& list, std::size_t cls);              // an empty list. Throws std::bad_alloc
void make_room(task_cache::free_list& list, std::size_t cls) noexcept;  // in a full one
[[nodiscard]] task* take_shared_block(std::size_t cls);                 // throws std::bad_alloc
void give_shared_block(std::size_t cls, task* t) noexcept;

/// The first block of a list that has one: `first`.
__attribute__((always_inline)) inline task* pop_task_block(task_cache::free_list& list, task* first,
                                                           std::size_t cls) noexcept {
  auto const [next, soon] = links_of(first);
  std::uint32_t const left = list.count.get() - 1;
  if (soon != nullptr) {
    prefetch_task(soon);
    if (cls > 2) prefetch_to_write(reinterpret_cast<char const*>(soon) + 3 * task_block_step);
  }
  list.head = next;
  list.count = left;
  list.recent[left % task_cache::ahead] = soon;
  tsan_acquire(first);  // pairs with free_task_block
  asan_unpoison(links_at(first), body_size_of(first));
  return first;
}

/// A block of the class, 64-byte aligned, with a task header in it whose wait word goes on counting. `cache` may be null. Throws
/// std::bad_alloc.
[[nodiscard]] inline task* allocate_task_block(task_cache* cache, std::size_t cls) {
  if (cache != nullptr) [[likely]] {
    auto& list = list_of(*cache, cls);
    if (list.head.get() == nullptr) [[unlikely]]
      refill(list, cls);
    return pop_task_block(list, list.head, cls);
  }
  task* const t = take_shared_block(cls);
  tsan_acquire(t);
  asan_unpoison(links_at(t), body_size_of(t));
  return t;
}

/// A list that has room.
__attribute__((always_inline)) inline void push_task_block(task_cache::free_list& list, std::uint32_t count,
                                                           task* t) noexcept {
  auto& recent = list.recent[count % task_cache::ahead];
  set_links(t, {list.head.get(), recent.get()});
  recent = t;
  list.head = t;
  list.count = count + 1;
}

/// Between a walk over all tasks and the end of one: task_pool.cpp says how.
struct alignas(64) walk_gate {  // read at each task's end: nothing that is written lies on its line
  std::atomic<std::uint32_t> walks{0};
  ranked_lock lock{lock_rank::task_pool};
};
extern constinit walk_gate gate __attribute__((visibility("hidden")));

/// Whether one may be reading what was there before.
__attribute__((always_inline)) inline bool walks_go_on() noexcept {
  light_fence();                                           // G5
  return gate.walks.load(std::memory_order_acquire) != 0;  // G6; pairs with the end of a walk
}
/// From here on walks pass over t. The same.
__attribute__((always_inline)) inline bool leave_walks(task* t) noexcept {
  t->phase.store(task_phase::free, std::memory_order_release);  // G4
  return walks_go_on();
}
void wait_for_visit() noexcept;  // until the walk has done with the task that it is at

__attribute__((always_inline)) inline void close_task_block(task* t) noexcept {
  asan_poison(links_at(t), body_size_of(t));
  tsan_release(t);
}

/// Null: `cache` is nobody's.
inline void free_task_block(task_cache* cache, task* t) noexcept {
  std::size_t const cls = t->size_class;
  if (leave_walks(t)) wait_for_visit();
  close_task_block(t);
  if (cache == nullptr) [[unlikely]]
    return give_shared_block(cls, t);
  auto& list = list_of(*cache, cls);
  // Two runs of up to a batch each: when both are full the older one goes, whole, to the shared list.
  std::uint32_t count = list.count;
  if (count == task_cache::batch) [[unlikely]] {
    make_room(list, cls);
    count = 0;
  }
  push_task_block(list, count, t);
}

/// The same without a call. False: it is still to be freed by the other function, since there is no room, or a walk goes on.
[[nodiscard]] __attribute__((always_inline)) inline bool free_task_block_at_once(task_cache& cache, task* t) noexcept {
  auto& list = list_of(cache, t->size_class);
  std::uint32_t const count = list.count;
  if (count == task_cache::batch || leave_walks(t)) [[unlikely]]
    return false;
  close_task_block(t);
  push_task_block(list, count, t);
  return true;
}

}  // namespace weft::rt
