// Taking a block of the task pool, and freeing it.
#pragma once

#include <cstddef>
#include <new>

#include "runtime/base/sanitizer.hpp"
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

inline void free_task_block(task_cache* cache, task* t) noexcept {
  std::size_t const cls = t->size_class;
  t->phase.store(task_phase::free, std::memory_order_release);
  wait_for_walks();
  asan_poison(links_at(t), body_size_of(t));
  tsan_release(t);
  if (cache == nullptr) [[unlikely]]
    return give_shared_block(cls, t);
  auto& list = list_of(*cache, cls);
  // Two runs of up to a batch each: when both are full the older one goes, whole, to the shared list.
  std::uint32_t count = list.count;
  if (count == task_cache::batch) [[unlikely]] {
    make_room(list, cls);
    count = 0;
  }
  auto& recent = list.recent[count % task_cache::ahead];
  set_links(t, {list.head.get(), recent.get()});
  recent = t;
  list.head = t;
  list.count = count + 1;
}

}  // namespace weft::rt
