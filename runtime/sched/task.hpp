// task: what go and spawn make. A small object; it owns no stack until it parks for the first time.
//
// States, and who owns what
//   fresh     in a queue. Whoever pops it from the queue owns it. No stack.
//   running   called by the loop on some stack. The worker that runs it owns it; the stack is the loop's.
//   joining   has called join() for a task that had not begun, which runs above it on the same stack (run_for_join).
//   parked    waits (waiter::word tells). Its stack is its own: the loop's frames lie at the stack's base and go on when the
//             task has ended. Nobody owns it; who claims its wait does, until ready() has queued it.
//   ended     its closure is destroyed, its stack has gone back to the loop. Only the result and the completion are left.
//   free      in the pool.
//
// References (refs): one for the run, dropped when it has ended, and one for the join handle; the last of them destroys what is the
// user's. Holds: one for the references together and one for each heap that the timer node lies in; the last frees the block. Memory of tasks is type-stable: blocks are never given back, and a block's wait word only ever counts up, so that a
// late look at a task that has ended is harmless.
//
// Layout: header | completion (if there is a handle) | body (closure and result, made by the templates of weft/task.hpp).
// The header is kept small because a million parked tasks is a design goal; what few tasks need is in task_extra.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <utility>

#include <weft/detail/task_api.hpp>

#include "runtime/base/check.hpp"
#include "runtime/fiber/stack.hpp"
#include "runtime/sched/completion.hpp"
#include "runtime/sched/owned.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/timer/timer_heap.hpp"

namespace weft::rt {

class scheduler;
struct cancel_node;
struct context_shard;

/// The values of a task's fiber_locals; the layer that knows them makes them.
struct task_locals {
  virtual ~task_locals() = default;
  virtual void clear() noexcept = 0;  // destroys them, until their destructors make no new ones; user code
};

/// What most tasks never need. Made by the task itself, and then kept till its end.
struct task_extra {
  std::string name;                     // written by the task itself under the walk's lock, or before it starts
  std::unique_ptr<task_locals> locals;  // the task's own
};

/// Release when written, acquire when read by reports. free: also a task that is being made, until it starts.
enum class task_phase : std::uint8_t { free, fresh, running, yielded, joining, parked, ended };

struct task : waiter {
  // The first line of the cache, with the waiter: of tasks that wait. What is spawned, runs and ends without a wait leaves it alone, on
  // whichever processor it was last.
  std::atomic<std::uint32_t> parked_at{0};  // coarse_time of the last park; for reports
  cancel_node* scoped = nullptr;            // innermost scoped_context, if in_scope; set_scope
  task* shard_next = nullptr;               // beside the other tasks in `shard`, guarded by its lock
  task* shard_prev = nullptr;

  // Two more: of all tasks. The body begins in the last one.
  std::atomic<task_phase> phase{task_phase::free};  // for reports
  owned<std::uint8_t> stopped;                      // see prefetch_ahead
  std::uint8_t size_class = 0;                      // of the block; constant
  owned<std::uint8_t> blocking;                     // depth of blocking(); the task's own, looked at by the watchdog
  bool inherited_lent = false;  // the reference to `inherited` has become that of `own` to its parent; the task's own
  std::atomic<bool> implicit{false};  // W1: the wait is under the inherited context by default
  // References counted ahead for the children to come: to `own`, or to `inherited` where there is no handle. The task's own.
  std::uint16_t credit = 0;
  // What follows up to `refs` is one word: a new task's is written at once.
  // 0: a stack of the default class. Else one of 1 << stack_shift bytes: never called by a loop that goes on. Constant.
  std::uint8_t stack_shift = 0;
  bool wait_cancellable = false;  // of the wait that begins; read by its hook
  bool in_scope : 1 = false;      // under a scoped_context: `scoped`; the task's own
  bool timed : 1 = false;         // it has had a wait with a deadline: `timer` is its own; the task's own
  bool had_children : 1 = false;  // it has waited for some that it had spawned, and they went first; the task's own
  bool has_handle = false;        // constant from creation
  std::uint16_t shield = 0;       // depth of uncancellable blocks; the task's own
  std::uint16_t cleaning_up = 0;  // depth of weft's destructors that run the user's code; the task's own
  std::atomic<std::uint32_t> refs{1};     // the run, the handle: the last one destroys result and contexts
  std::atomic<std::uint16_t> holds{1};    // all references together, each heap: the last one frees the block
  std::uint16_t children_at = 0;          // if had_children: run_queue::first_child() of those; the task's own
  detail::body_ops const* ops = nullptr;  // constant from creation
  scheduler* sched = nullptr;             // constant from creation
  owned<stack*> own_stack;                // written while parking, before H1; read by who resumes it
  task_id id = 0;
  std::source_location place{};  // of the spawn; line() == 0: not known

  cancel_node* inherited = nullptr;  // context at the spawn; counted unless it is a root
  // W1: the context that the current wait, or the last or the first to come, belongs to; read by its hook (H0, H3) and by whoever has frozen
  // the wait. Null: the next W1 finds it out. `shard` is null or one of this context's.
  cancel_node* waits_under = nullptr;
  std::atomic<cancel_node*> own{
      nullptr};  // its own context, made when needed, by a handle's cancel() too: put_into; counted
  std::atomic<task_extra*> extra{nullptr};  // installed once by compare-exchange
  context_shard* shard = nullptr;           // the shard it is registered in
  timer_node* timer = nullptr;              // made at the first timed wait of a task in this block, and kept there

  [[nodiscard]] completion& ended() noexcept;  // only if has_handle
  [[nodiscard]] cancel_node* own_context() const noexcept { return own.load(std::memory_order_acquire); }
  [[nodiscard]] std::size_t stack_size() const noexcept { return std::size_t{1} << stack_shift; }  // if stack_shift
  /// The context that waits of this task belong to now.
  [[nodiscard]] cancel_node* current_context() const noexcept {
    if (in_scope) return scoped;
    if (cancel_node* n = own_context()) return n;
    return inherited != nullptr ? inherited : root_of_runtime();
  }
  /// Before it starts: the context it is spawned under; the reference goes over. The one before.
  cancel_node* inherit(cancel_node* n) noexcept {
    if (!has_handle) {  // W1, ahead: it waits under this until it has a scope
      waits_under = n;
      implicit.store(false, std::memory_order_relaxed);
    }
    return std::exchange(inherited, n);
  }
  /// The task itself: its innermost scoped_context. What it was.
  cancel_node* set_scope(cancel_node* n) noexcept {
    waits_under = nullptr;
    cancel_node* const before = in_scope ? scoped : nullptr;
    scoped = n;
    in_scope = n != nullptr;
    return before;
  }
  [[nodiscard]] cancel_node* root_of_runtime() const noexcept;  // while the task ends it has no other
  [[nodiscard]] task_extra& extras();                           // makes them if need be; throws std::bad_alloc
};

// Where the parts of a block lie: task_api.hpp.
using detail::task_header_size;
static_assert(sizeof(task) <= task_header_size && sizeof(completion) <= detail::task_completion_size &&
                  alignof(completion) <= alignof(std::max_align_t) &&
                  task_header_size % alignof(std::max_align_t) == 0 &&
                  detail::task_completion_size % alignof(std::max_align_t) == 0,
              "each part fits where the templates take it to lie");
static_assert(task_header_size <= 3 * 64 - 16, "a closure of two words fits the third line of the cache");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // both compilers have it for classes with bases
static_assert(offsetof(task, phase) == 64 && offsetof(task, inherited) == 128,
              "what all tasks touch stands in two lines");
#pragma GCC diagnostic pop

inline completion& task::ended() noexcept {
  WEFT_ASSERT(has_handle, "only a task with a handle has a completion");
  return *std::launder(reinterpret_cast<completion*>(reinterpret_cast<char*>(this) + task_header_size));
}

/// A block with a header that is initialised, one reference; with a handle, a completion and a second reference. Throws std::bad_alloc.
[[nodiscard]] task* make_task(scheduler&, detail::body_ops const&);

/// The line of `at`, to be written. By PREFETCHW where there is one: __builtin_prefetch fetches a line that another core has written as
/// shared, so that the first store waits for it once more. Processors older than the instruction take it for none.
inline void prefetch_to_write(void const* at) noexcept {
#if defined(__x86_64__)
  __asm__ volatile("prefetchw %0" : : "m"(*static_cast<char const*>(at)));
#else
  __builtin_prefetch(at, 1);
#endif
}

/// For a task that will be made or run soon: what all tasks touch, with the beginning of the body.
inline void prefetch_task(task const* t) noexcept {
  auto const* const at = reinterpret_cast<char const*>(t);
  prefetch_to_write(at + 64);
  prefetch_to_write(at + 128);
}

/// Whether what the task spawns now must not fall to the cancellation that it may itself be leaving by.
[[nodiscard]] inline bool is_cleaning_up(task const& t) noexcept {
  return t.cleaning_up != 0 || std::uncaught_exceptions() != 0;
}

/// One reference less; the last one destroys the result and the contexts (user code). Outside of any section.
void drop(task*) noexcept;

void drop_hold(task*) noexcept;
inline void hold(task* t) noexcept { t->holds.fetch_add(1, std::memory_order_relaxed); }

/// What may run user code (destructors, listeners) may not do so on a native stack, where a wait would block the worker and a section is
/// open. There, starts a task that calls f(arg), and returns true; anywhere else, or without memory, false: the caller does it.
[[nodiscard]] bool run_as_task_if_native(void (*f)(void*) noexcept, void* arg) noexcept;

/// Calls visit for each task that has been started and is not free, over the whole process, under the walk's lock, until it returns false: while it runs,
/// that task's block is not reused, and neither its extra nor its name goes. Tasks come and go meanwhile: for reports. visit may
/// freeze the task, and must thaw it before it returns; it may take locks of a later rank than task_pool.
void for_each_task(bool (*visit)(task&, void*), void* arg);

/// The same for one block, if it is a task's that has been started and is not free. False: it is not.
bool visit_task(task& t, bool (*visit)(task&, void*), void* arg);

/// Before what a walk may be reading is freed, and after it was made unreachable for later visits.
void wait_for_walks() noexcept;
void set_task_name(task& t, std::string&& name);

}  // namespace weft::rt
