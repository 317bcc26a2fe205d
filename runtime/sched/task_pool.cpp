#include "runtime/sched/task_pool.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "runtime/base/lock.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_block.hpp"

namespace weft::rt {

namespace {

constexpr std::size_t chunk_size = 64 * 1024;

/// The shared free blocks come in batches, so that moving one is a matter of two pointers under the lock, whatever its length:
/// walking a list of cold blocks there cost more than all the rest of a spawn.
struct shared_lists {
  ranked_lock lock{lock_rank::task_pool};
  task* batches[task_block_classes] = {};       // guarded by lock: the first block of each; see batch below
  task_chunk* newest[task_block_classes] = {};  // guarded by lock: the chunk that is being cut
  std::size_t cut[task_block_classes] = {};     // guarded by lock: blocks of all chunks
};
constinit shared_lists shared;  // its destructor does nothing: a runtime may be a static

/// Free blocks linked one to the other. In the shared list the first block says where the next batch begins (shard_next) and how many
/// blocks this one has (refs).
struct batch {
  task* first = nullptr;
  std::uint32_t count = 0;
};

WEFT_NO_TSAN void push_batch_locked(shared_lists& s, std::size_t cls, batch const& b) noexcept {
  b.first->shard_next = s.batches[cls];
  b.first->refs.store(b.count, std::memory_order_relaxed);
  s.batches[cls] = b.first;
}

/// What the list's head says of its batch; count 0: no batch.
WEFT_NO_TSAN batch pop_batch_locked(shared_lists& s, std::size_t cls) noexcept {
  task* first = s.batches[cls];
  if (first == nullptr) return {};
  s.batches[cls] = first->shard_next;
  first->shard_next = nullptr;
  return {first, first->refs.load(std::memory_order_relaxed)};
}

/// Null: out of memory.
task_chunk* add_chunk_locked(shared_lists& s, std::size_t cls) noexcept {
  void* memory = ::operator new(chunk_size, std::align_val_t{task_block_step}, std::nothrow);
  if (memory == nullptr) return nullptr;
  task_chunks = new (memory) task_chunk{task_chunks, (cls + 1) * task_block_step, 0};
  return s.newest[cls] = task_chunks;
}

/// New blocks: as many as there are already, so that a program with few tasks touches few pages. Count 0: out of memory.
batch cut_batch_locked(shared_lists& s, std::size_t cls) noexcept {
  constexpr std::size_t fewest = 16;
  task_chunk* c = s.newest[cls];
  if (c == nullptr || c->blocks.load(std::memory_order_relaxed) == c->capacity()) c = add_chunk_locked(s, cls);
  if (c == nullptr) return {};
  std::size_t const from = c->blocks.load(std::memory_order_relaxed);
  std::size_t const to = std::min(from + std::clamp<std::size_t>(s.cut[cls], fewest, task_cache::batch), c->capacity());
  batch cut;
  for (std::size_t i = to; i-- > from;) {
    task* t = new (c->at(i)) task;
    t->size_class = static_cast<std::uint8_t>(cls);
    asan_poison(links_at(t), body_size_of(t));
    set_links(t, {cut.first, nullptr});
    tsan_release(t);  // as free_task_block: whoever takes it need not be the task whose worker fetched the batch
    cut.first = t;
    ++cut.count;
  }
  c->blocks.store(to, std::memory_order_release);  // pairs with the walk
  s.cut[cls] += cut.count;
  return cut;
}

/// Some blocks from the shared list, at most task_cache::batch of them; count 0: out of memory.
batch take_shared(std::size_t cls) noexcept {
  guard hold(shared.lock);
  batch const idle = pop_batch_locked(shared, cls);
  return idle.count != 0 ? idle : cut_batch_locked(shared, cls);
}

void give_shared(std::size_t cls, batch const& b) noexcept {
  guard hold(shared.lock);
  push_batch_locked(shared, cls, b);
}

}  // namespace

constinit task_chunk* task_chunks = nullptr;

std::size_t task_chunk::capacity() const noexcept { return (chunk_size - task_block_step) / block_size; }
task* task_chunk::at(std::size_t i) noexcept {
  return reinterpret_cast<task*>(reinterpret_cast<char*>(this) + task_block_step + i * block_size);
}

void refill(task_cache::free_list& list, std::size_t cls) {
  if (task* const older = list.older.take()) {
    list.head = older;
    list.count = task_cache::batch;
    return;
  }
  batch const more = take_shared(cls);
  if (more.count == 0) throw std::bad_alloc();
  list.head = more.first;
  list.count = more.count;
}

void make_room(task_cache::free_list& list, std::size_t cls) noexcept {
  if (task* const older = list.older.get()) give_shared(cls, {older, task_cache::batch});
  list.older = list.head.get();
  list.head = nullptr;
  list.count = 0;
  list.forget_recent();
}

task* take_shared_block(std::size_t cls) {
  batch const more = take_shared(cls);
  if (more.count == 0) throw std::bad_alloc();
  if (more.count > 1) give_shared(cls, {links_of(more.first).next, more.count - 1});
  return more.first;
}

void give_shared_block(std::size_t cls, task* t) noexcept {
  set_links(t, {});
  give_shared(cls, {t, 1});
}

void drain_task_cache(task_cache& cache) noexcept {
  for (std::size_t cls = 0; cls < task_block_classes; ++cls) {
    auto& list = cache.classes[cls];
    if (list.head.get() != nullptr) give_shared(cls, {list.head.get(), list.count});
    if (list.older.get() != nullptr) give_shared(cls, {list.older.get(), task_cache::batch});
    list.head = nullptr;
    list.older = nullptr;
    list.count = 0;
    list.forget_recent();
  }
}

// ---- the walk -------------------------------------------------------------------------------------------------------
//
//   walk   G1 walks + 1   G2 heavy fence   for each task, under the lock: G3 phase free: pass over it; read
//   free   G4 phase = free (or extra = null)   G5 light fence   G6 walks != 0: take the lock and release it   G7 free it
//
// If G6 reads no walk, G4 comes before G3, which passes over the task. If it reads one, a visit that has passed G3 is over before
// G6 has the lock, and a later one comes after G4 by that lock. A task's end costs one load, of a line that hardly ever changes.

constinit walk_gate gate;

__attribute__((noinline)) void wait_for_visit() noexcept { guard hold(gate.lock); }

void wait_for_walks() noexcept {
  if (walks_go_on()) [[unlikely]]
    wait_for_visit();
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
    for (std::size_t i = 0; i < c->blocks.load(std::memory_order_acquire); ++i) {
      if (c->at(i)->phase.load(std::memory_order_relaxed) == task_phase::free)
        continue;  // spares the lock; G3 is below
      guard hold(gate.lock);
      if (c->at(i)->phase.load(std::memory_order_acquire) != task_phase::free && !visit(*c->at(i), arg)) return;  // G3
    }
}

}  // namespace weft::rt
