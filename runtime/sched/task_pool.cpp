#include "runtime/sched/task_pool.hpp"

#include <cstring>
#include <new>

#include "runtime/base/lock.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

namespace {

constexpr std::size_t chunk_size = 64 * 1024;

/// Blocks of one size, one after the other. Chunks are never freed: they hold wait words.
struct chunk {
  chunk* next;
  std::size_t block_size;
  std::size_t blocks;
  [[nodiscard]] task* at(std::size_t i) noexcept {
    return reinterpret_cast<task*>(reinterpret_cast<char*>(this) + task_block_step + i * block_size);
  }
};
static_assert(sizeof(chunk) <= task_block_step);

struct shared_lists {
  ranked_lock lock{lock_rank::task_pool};
  task* free[task_block_classes] = {};  // guarded by lock
  chunk* chunks = nullptr;              // guarded by lock; only grows
};

shared_lists& shared() noexcept {
  static auto* s = new shared_lists;  // never destroyed: a runtime may be a static
  return *s;
}

/// Free blocks are linked by waiter::next_ready. Owned by whoever holds the list; out of ThreadSanitizer's sight, to which two tasks
/// on one worker that use the same list are strangers.
WEFT_NO_TSAN waiter* link_of(task* t) noexcept { return t->next_ready; }
WEFT_NO_TSAN void set_link(task* t, waiter* next) noexcept { t->next_ready = next; }

void poison(task* t, std::size_t size) noexcept { asan_poison(t + 1, size - sizeof(task)); }

bool add_chunk_locked(shared_lists& s, std::size_t cls) noexcept {
  const std::size_t size = (cls + 1) * task_block_step;
  void* memory = ::operator new(chunk_size, std::align_val_t{task_block_step}, std::nothrow);
  if (memory == nullptr) return false;
  auto* c = new (memory) chunk{s.chunks, size, (chunk_size - task_block_step) / size};
  for (std::size_t i = c->blocks; i-- > 0;) {
    task* t = new (c->at(i)) task;
    t->size_class = static_cast<std::uint8_t>(cls);
    set_link(t, s.free[cls]);
    s.free[cls] = t;
    poison(t, size);
  }
  s.chunks = c;
  return true;
}

/// Moves up to n blocks from the shared list; returns how many.
std::uint32_t take_shared(std::size_t cls, std::uint32_t n, task*& head) noexcept {
  auto& s = shared();
  guard hold(s.lock);
  if (s.free[cls] == nullptr && !add_chunk_locked(s, cls)) return 0;
  std::uint32_t taken = 0;
  task* first = s.free[cls];
  task* last = nullptr;
  for (task* t = first; t != nullptr && taken < n; t = static_cast<task*>(link_of(t))) {
    last = t;
    ++taken;
  }
  s.free[cls] = static_cast<task*>(link_of(last));
  set_link(last, nullptr);
  head = first;
  return taken;
}

void give_shared(std::size_t cls, task* first, task* last) noexcept {
  auto& s = shared();
  guard hold(s.lock);
  set_link(last, s.free[cls]);
  s.free[cls] = first;
}

}  // namespace

task* allocate_task_block(task_cache* cache, std::size_t size) {
  const std::size_t cls = (size + task_block_step - 1) / task_block_step - 1;
  task* t = nullptr;
  if (cache != nullptr) {
    auto& list = cache->classes[cls];
    if (list.head.get() == nullptr) {
      task* head = nullptr;
      const std::uint32_t n = take_shared(cls, task_cache::batch, head);
      if (n == 0) throw std::bad_alloc();
      list.head = head;
      list.count = n;
    }
    t = list.head;
    list.head = static_cast<task*>(link_of(t));
    list.count -= 1;
  } else if (take_shared(cls, 1, t) == 0) {
    throw std::bad_alloc();
  }
  tsan_acquire(t);  // pairs with free_task_block
  asan_unpoison(t + 1, (cls + 1) * task_block_step - sizeof(task));
  return t;
}

void free_task_block(task_cache* cache, task* t) noexcept {
  const std::size_t cls = t->size_class;
  t->phase.store(task_phase::free, std::memory_order_relaxed);
  poison(t, (cls + 1) * task_block_step);
  tsan_release(t);
  if (cache == nullptr) return give_shared(cls, t, t);
  auto& list = cache->classes[cls];
  set_link(t, list.head.get());
  list.head = t;
  list.count += 1;
  if (list.count.get() < task_cache::high) return;
  task* first = list.head;
  task* last = first;
  for (std::uint32_t i = 1; i < task_cache::batch; ++i) last = static_cast<task*>(link_of(last));
  list.head = static_cast<task*>(link_of(last));
  list.count -= task_cache::batch;
  give_shared(cls, first, last);
}

void drain_task_cache(task_cache& cache) noexcept {
  for (std::size_t cls = 0; cls < task_block_classes; ++cls) {
    auto& list = cache.classes[cls];
    task* first = list.head;
    if (first == nullptr) continue;
    task* last = first;
    while (link_of(last) != nullptr) last = static_cast<task*>(link_of(last));
    list.head = nullptr;
    list.count = 0;
    give_shared(cls, first, last);
  }
}

void for_each_task(void (*visit)(task&, void*), void* arg) {
  auto& s = shared();
  chunk* c = nullptr;
  {
    guard hold(s.lock);
    c = s.chunks;
  }
  for (; c != nullptr; c = c->next)
    for (std::size_t i = 0; i < c->blocks; ++i)
      if (c->at(i)->phase.load(std::memory_order_acquire) != task_phase::free) visit(*c->at(i), arg);
}

}  // namespace weft::rt
