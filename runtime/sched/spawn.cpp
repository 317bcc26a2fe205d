// Making tasks. See task.hpp for the states; scheduler::start is in queueing.cpp.

#include <bit>
#include <system_error>
#include <utility>

#include <weft/error.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_block.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

namespace {

/// What a task that is made finds in its block, but for the context that it inherits.
__attribute__((always_inline)) inline void begin_task(scheduler& s, task* t, detail::body_ops const& ops,
                                                      bool with_handle) noexcept {
  t->stack_shift = 0;
  t->wait_cancellable = false;
  t->in_scope = false;  // a scoped_context on the heap may have been left behind
  t->has_handle = with_handle;
  t->timed = false;
  t->had_children = false;
  t->shield = 0;
  t->cleaning_up = 0;
  t->refs.store(with_handle ? 2 : 1, std::memory_order_relaxed);
  t->holds.store(1, std::memory_order_relaxed);
  t->ops = &ops;
  t->sched = &s;
  t->own_stack = nullptr;
  t->waits_under = nullptr;
  WEFT_ASSERT(t->shard == nullptr, "a task that has ended is registered nowhere");
  if (with_handle) new (reinterpret_cast<char*>(t) + task_header_size) completion;
}

/// `w` is the calling worker, or null.
task* make_task_on(scheduler& s, worker* w, detail::body_ops const& ops) {
  task* t = nullptr;
  {
    tsan_ignore const blocks;  // as in free_task_otherwise
    t = allocate_task_block(w != nullptr ? &w->store.tasks : nullptr, ops.size_class);
  }
  t->id = w != nullptr && w->sched == &s ? s.new_id(w->store) : scheduler::new_id_outside();
  t->inherited = nullptr;
  begin_task(s, t, ops, ops.with_handle);
  return t;
}

}  // namespace

task* make_task(scheduler& s, detail::body_ops const& ops) { return make_task_on(s, current_worker(), ops); }

}  // namespace weft::rt

namespace weft::detail {

using namespace weft::rt;

namespace {

/// What a new task inherits, counted unless it is a root. A task that can be cancelled by its handle passes its own context on, so that
/// the cancellation reaches its children too. Children are counted 64 at a time, since those that end elsewhere would fight with their parent
/// for the counter's cache line at each spawn. What is spawned to clean up behind a cancellation must not be met by that at its first wait: it
/// gets the values alone.
cancel_node* inherit_context(scheduler& s, worker* w) {
  task* const parent = w != nullptr ? w->current.get() : nullptr;
  if (parent == nullptr || parent->sched != &s) return &s.root();
  bool const own = !parent->in_scope && parent->has_handle;
  cancel_node* n = own ? parent->own_context() : parent->current_context();
  if (n == nullptr) n = &own_context_of(*parent);
  if (parent->cleaning_up != 0 || unwinds(*w)) [[unlikely]]
    return make_context(&s, n, false);
  if (own || (!parent->in_scope && !n->is_root)) {
    std::uint16_t& credit = parent->credit;
    if (credit == 0) retain(n, credit = children_ahead);
    --credit;
  } else if (!n->is_root) {
    retain(n);
  }
  return n;
}

}  // namespace

namespace {

/// What task_options ask for. Throws std::system_error, std::bad_alloc.
__attribute__((noinline)) void heed(task& t, task_options& options) {
  if (stack_pool::rounded(options.stack_size) == 0 && options.stack_size != 0)
    throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                            "weft: task_options::stack_size is too large");
  if (!options.name.empty()) t.extras().name = std::move(options.name);
  if (options.stack_size != 0 && stack_pool::rounded(options.stack_size) != t.sched->stacks().default_size())
    t.stack_shift = static_cast<std::uint8_t>(std::countr_zero(stack_pool::rounded(options.stack_size)));
}

}  // namespace

namespace {

/// `inherit` says under what: a counted context, or the root. It may throw.
template <class Inherit>
task* create(scheduler& s, worker* w, body_ops const& ops, task_options* options, std::source_location place,
             Inherit inherit) {
  s.refuse_if_out_of_stacks(options != nullptr ? options->stack_size : 0);
  task* t = make_task_on(s, w, ops);
  t->place = place;
  try {
    (void)t->inherit(inherit());
    if (options != nullptr) heed(*t, *options);
  } catch (...) {
    abandon(t);
    throw;
  }
  return t;
}

}  // namespace

task* create_task(scheduler* sched, body_ops const& ops, task_options* options, std::source_location place) {
  worker* const w = current_worker();
  if (sched == nullptr) {
    if (w == nullptr) throw no_runtime();
    sched = w->sched;
  }
  return create(*sched, w, ops, options, place, [&] { return inherit_context(*sched, w); });
}

namespace {

/// inherit_context() where it makes nothing and counts nothing but by `credit`, which is the caller's to do if `counted`. Else null.
__attribute__((always_inline)) inline cancel_node* context_at_hand(worker const& w, task const& parent,
                                                                   bool& counted) noexcept {
  if (parent.in_scope || parent.cleaning_up != 0 || unwinds(w)) [[unlikely]]
    return nullptr;
  cancel_node* n = parent.own_context();
  if (n == nullptr) {
    n = parent.inherited;
    if (parent.has_handle || n == nullptr) [[unlikely]]
      return nullptr;
    counted = !n->is_root;
  }
  return counted && parent.credit == 0 ? nullptr : n;
}

/// Whether a block and a number for a task are at hand. What make_at_once() then takes calls nothing, and so its callers take no frame.
__attribute__((always_inline)) inline bool is_at_hand(worker& w, body_ops const& ops) noexcept {
  return list_of(w.store.tasks, ops.size_class).head != nullptr && w.store.next_id != w.store.last_id;
}

/// is_at_hand(). A task of the worker's runtime, under no context yet.
template <bool WithHandle>
__attribute__((always_inline)) inline task* make_at_once(worker& w, body_ops const& ops,
                                                         std::source_location place) noexcept {
  std::size_t const cls = ops.size_class;
  auto& blocks = list_of(w.store.tasks, cls);
  task_id const id = w.store.next_id;
  w.store.next_id = id + 1;
  task* const t = pop_task_block(blocks, blocks.head, cls);
  begin_task(*w.sched, t, ops, WithHandle);
  t->id = id;
  t->place = place;
  return t;
}

/// create_task() by a task for its own runtime, without options, where all that it takes is at hand. Else null, and nothing has happened.
template <bool WithHandle>
__attribute__((always_inline)) inline task* create_at_once(body_ops const& ops, std::source_location place) noexcept {
  worker* const w = current_worker();
  if (w == nullptr) [[unlikely]]
    return nullptr;
  task* const parent = w->current;
  if (parent == nullptr || w->sched->starving()) [[unlikely]]
    return nullptr;
  bool counted = true;
  cancel_node* const n = context_at_hand(*w, *parent, counted);
  if (n == nullptr || !is_at_hand(*w, ops)) [[unlikely]]
    return nullptr;
  parent->credit = static_cast<std::uint16_t>(parent->credit - (counted ? 1 : 0));
  task* const t = make_at_once<WithHandle>(*w, ops, place);
  (void)t->inherit(n);
  return t;
}

/// Where create_at_once() has found something missing: mostly it is the caller's own context, at its first spawn, and the rest is there.
template <bool WithHandle>
__attribute__((noinline)) task* create_after_all(body_ops const& ops, std::source_location place) {
  task* const parent = current_task();
  if (parent != nullptr && !parent->in_scope && parent->has_handle && parent->own_context() == nullptr) {
    (void)make_own_context(*parent);
    if (task* const t = create_at_once<WithHandle>(ops, place)) return t;
  }
  return create_task(nullptr, ops, nullptr, place);
}

}  // namespace

task* create_task_to_go(body_ops const& ops, std::source_location place) {
  task* const t = create_at_once<false>(ops, place);
  if (t == nullptr) [[unlikely]]
    return create_after_all<false>(ops, place);
  return t;
}

task* create_task_to_join(body_ops const& ops, std::source_location place) {
  task* const t = create_at_once<true>(ops, place);
  if (t == nullptr) [[unlikely]]
    return create_after_all<true>(ops, place);
  return t;
}

task* create_task_under(cancel_node*& under, scheduler& s, body_ops const& ops, task_options* options,
                        std::source_location place) {
  worker* const w = current_worker();
  if (options == nullptr && w != nullptr && w->sched == &s && !s.starving() && is_at_hand(*w, ops)) [[likely]] {
    task* const t = make_at_once<false>(*w, ops, place);
    (void)t->inherit(under);
    return t;
  }
  return create(s, w, ops, options, place, [&under] { return std::exchange(under, nullptr); });
}

}  // namespace weft::detail
