#include "runtime/sched/task_pool.hpp"

#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "runtime/base/lock.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

namespace {

constexpr std::size_t chunk_size = 64 * 1024;

/// The shared free blocks come in batches, so that moving one is a matter of two pointers under the lock, whatever its length:
/// walking a list of cold blocks there cost more than all the rest of a spawn.
struct shared_lists {
  ranked_lock lock{lock_rank::task_pool};
  task* batches[task_block_classes] = {};  // guarded by lock: the first block of each; see batch below
};
constinit shared_lists shared;  // its destructor does nothing: a runtime may be a static

/// Free blocks are linked by waiter::next_ready. Owned by whoever holds the list; out of ThreadSanitizer's sight, to which two tasks
/// on one worker that use the same list are strangers.
WEFT_NO_TSAN waiter* link_of(task* t) noexcept { return t->next_ready; }
WEFT_NO_TSAN void set_link(task* t, waiter* next) noexcept { t->next_ready = next; }

/// Free blocks linked one to the other. In the shared list the first block says where the next batch begins (shard_next) and how many
/// blocks this one has (stack_size).
struct batch {
  task* first = nullptr;
  std::uint32_t count = 0;
};

WEFT_NO_TSAN void push_batch_locked(shared_lists& s, std::size_t cls, batch const& b) noexcept {
  b.first->shard_next = s.batches[cls];
  b.first->stack_size = b.count;
  s.batches[cls] = b.first;
}

/// What the list's head says of its batch; count 0: no batch.
WEFT_NO_TSAN batch pop_batch_locked(shared_lists& s, std::size_t cls) noexcept {
  task* first = s.batches[cls];
  if (first == nullptr) return {};
  s.batches[cls] = first->shard_next;
  first->shard_next = nullptr;
  return {first, first->stack_size};
}

void poison(task* t, std::size_t size) noexcept { asan_poison(t + 1, size - sizeof(task)); }

bool add_chunk_locked(shared_lists& s, std::size_t cls) noexcept {
  std::size_t const size = (cls + 1) * task_block_step;
  void* memory = ::operator new(chunk_size, std::align_val_t{task_block_step}, std::nothrow);
  if (memory == nullptr) return false;
  auto* c = new (memory) task_chunk{task_chunks, size, (chunk_size - task_block_step) / size};
  batch cut;
  for (std::size_t i = c->blocks; i-- > 0;) {
    task* t = new (c->at(i)) task;
    t->size_class = static_cast<std::uint8_t>(cls);
    set_link(t, cut.first);
    cut.first = t;
    ++cut.count;
    poison(t, size);
    if (cut.count == task_cache::batch || i == 0) {
      push_batch_locked(s, cls, cut);
      cut = {};
    }
  }
  task_chunks = c;
  return true;
}

/// Some blocks from the shared list, at most task_cache::batch of them; count 0: out of memory.
batch take_shared(std::size_t cls) noexcept {
  guard hold(shared.lock);
  if (shared.batches[cls] == nullptr && !add_chunk_locked(shared, cls)) return {};
  return pop_batch_locked(shared, cls);
}

void give_shared(std::size_t cls, batch const& b) noexcept {
  guard hold(shared.lock);
  push_batch_locked(shared, cls, b);
}

}  // namespace

constinit task_chunk* task_chunks = nullptr;

task* task_chunk::at(std::size_t i) noexcept {
  return reinterpret_cast<task*>(reinterpret_cast<char*>(this) + task_block_step + i * block_size);
}

task* allocate_task_block(task_cache* cache, std::size_t size) {
  std::size_t const cls = (size + task_block_step - 1) / task_block_step - 1;
  task* t = nullptr;
  if (cache != nullptr) {
    auto& list = cache->classes[cls];
    t = list.head;
    if (t == nullptr && (t = list.older) != nullptr) {
      list.older = nullptr;
      list.count = task_cache::batch;
    }
    if (t == nullptr) {
      batch const more = take_shared(cls);
      if (more.count == 0) throw std::bad_alloc();
      t = more.first;
      list.count = more.count;
    }
    auto* const next = static_cast<task*>(link_of(t));
    if (next != nullptr) prefetch_task(next);
    list.head = next;
    list.count -= 1;
  } else {
    batch const more = take_shared(cls);
    if (more.count == 0) throw std::bad_alloc();
    t = more.first;
    if (more.count > 1) give_shared(cls, {static_cast<task*>(link_of(t)), more.count - 1});
  }
  tsan_acquire(t);  // pairs with free_task_block
  asan_unpoison(t + 1, (cls + 1) * task_block_step - sizeof(task));
  return t;
}

void free_task_block(task_cache* cache, task* t) noexcept {
  std::size_t const cls = t->size_class;
  t->phase.store(task_phase::free, std::memory_order_release);
  wait_for_walks();
  poison(t, (cls + 1) * task_block_step);
  tsan_release(t);
  if (cache == nullptr) {
    set_link(t, nullptr);
    return give_shared(cls, {t, 1});
  }
  auto& list = cache->classes[cls];
  // Two runs of up to a batch each: when both are full the older one goes, whole, to the shared list.
  if (list.count.get() == task_cache::batch) {
    if (list.older.get() != nullptr) give_shared(cls, {list.older.get(), task_cache::batch});
    list.older = list.head.get();
    list.head = nullptr;
    list.count = 0;
  }
  set_link(t, list.head.get());
  list.head = t;
  list.count += 1;
}

void drain_task_cache(task_cache& cache) noexcept {
  for (std::size_t cls = 0; cls < task_block_classes; ++cls) {
    auto& list = cache.classes[cls];
    if (list.head.get() != nullptr) give_shared(cls, {list.head.get(), list.count});
    if (list.older.get() != nullptr) give_shared(cls, {list.older.get(), task_cache::batch});
    list.head = nullptr;
    list.older = nullptr;
    list.count = 0;
  }
}

// ---- the walk -------------------------------------------------------------------------------------------------------
//
//   walk   G1 walks + 1   G2 heavy fence   for each task, under the lock: G3 phase free: pass over it; read
//   free   G4 phase = free (or extra = null)   G5 light fence   G6 walks != 0: take the lock and release it   G7 free it
//
// If G6 reads no walk, G4 comes before G3, which passes over the task. If it reads one, a visit that has passed G3 is over before
// G6 has the lock, and a later one comes after G4 by that lock. A task's end costs one load, of a line that hardly ever changes.

namespace {
struct walk_gate {
  std::atomic<std::uint32_t> walks{0};
  ranked_lock lock{lock_rank::task_pool};
};
constinit walk_gate gate;
}  // namespace

void wait_for_walks() noexcept {
  light_fence();  // G5
  if (gate.walks.load(std::memory_order_acquire) == 0) [[likely]]
    return;  // G6; pairs with the end of a walk
  guard hold(gate.lock);
}

void set_task_name(task& t, std::string&& name) {
  std::string& mine = t.extras().name;
  guard hold(gate.lock);
  mine.swap(name);
}

namespace {
/// G1 and G2.
struct walk {
  walk() noexcept {
    gate.walks.fetch_add(1, std::memory_order_seq_cst);  // G1
    heavy_fence();                                       // G2
  }
  ~walk() { gate.walks.fetch_sub(1, std::memory_order_release); }
  walk(walk const&) = delete;
  walk& operator=(walk const&) = delete;
};
}  // namespace

bool visit_task(task& t, bool (*visit)(task&, void*), void* arg) {
  walk const here;
  guard hold(gate.lock);
  return t.phase.load(std::memory_order_acquire) != task_phase::free && visit(t, arg);  // G3
}

void for_each_task(bool (*visit)(task&, void*), void* arg) {
  walk const here;
  task_chunk* c = nullptr;
  {
    guard hold(shared.lock);
    c = task_chunks;
  }
  for (; c != nullptr; c = c->next)
    for (std::size_t i = 0; i < c->blocks; ++i) {
      if (c->at(i)->phase.load(std::memory_order_relaxed) == task_phase::free)
        continue;  // spares the lock; G3 is below
      guard hold(gate.lock);
      if (c->at(i)->phase.load(std::memory_order_acquire) != task_phase::free && !visit(*c->at(i), arg)) return;  // G3
    }
}

}  // namespace weft::rt
