// Making, starting and ending tasks; what join handles do. See task.hpp for the states.

#include "runtime/sched/task.hpp"

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <system_error>

#include <weft/detail/simulated.hpp>
#include <weft/error.hpp>
#include <weft/task.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task_end.hpp"
#include "runtime/sched/task_pool.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/terminate.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

namespace {

constexpr std::size_t round_up(std::size_t n, std::size_t to) noexcept { return (n + to - 1) / to * to; }
constexpr std::size_t body_alignment = alignof(std::max_align_t);
constexpr std::size_t header_size = round_up(sizeof(task), body_alignment);
constexpr std::size_t handle_size = round_up(sizeof(completion), body_alignment);

constexpr std::size_t body_offset(bool with_handle) noexcept { return header_size + (with_handle ? handle_size : 0); }

/// A body that is too large or too strictly aligned for a block lies apart; the block keeps the pointer.
struct far_body {
  void* memory;
  std::size_t align;
};

void free_task(task* t) noexcept {
  if (t->far) {
    auto* f = reinterpret_cast<far_body*>(reinterpret_cast<char*>(t) + body_offset(t->has_handle));
    ::operator delete(f->memory, std::align_val_t{f->align});
  }
  delete t->timer;
  t->timer = nullptr;
  worker* w = current_worker();
  if (w == nullptr) return free_task_block(nullptr, t);
  section const inside(w);
  free_task_block(inside.proc() != nullptr ? &inside.proc()->tasks : nullptr, t);
}

}  // namespace

completion& task::ended() noexcept {
  WEFT_ASSERT(has_handle, "only a task with a handle has a completion");
  return *std::launder(reinterpret_cast<completion*>(reinterpret_cast<char*>(this) + header_size));
}

void* task::body() noexcept {
  char* at = reinterpret_cast<char*>(this) + body_offset(has_handle);
  return far ? reinterpret_cast<far_body*>(at)->memory : at;
}

cancel_node* task::root_of_runtime() const noexcept { return &sched->root(); }

task_extra& task::extras() {
  task_extra* e = extra.load(std::memory_order_acquire);
  if (e != nullptr) return *e;
  auto fresh = std::make_unique<task_extra>();
  // acq_rel: a handle's cancel() may install them at the same time, and either side then reads what the other made.
  if (extra.compare_exchange_strong(e, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire))
    return *fresh.release();
  return *e;
}

namespace {

/// On the task itself, or with nothing to do. The values' destructors may wait, and no cancellation may come out of them.
void clear_locals(task* t) noexcept {
  task_extra* e = t->extra.load(std::memory_order_acquire);
  if (e == nullptr || e->locals == nullptr) return;
  ++t->shield;
  e->locals->clear();
  --t->shield;
}

/// Until what is destroyed has made none anew: it is the user's code, and may use a fiber_local.
void drop_extra(task* t) noexcept {
  while (t->extra.load(std::memory_order_acquire) != nullptr) {
    clear_locals(t);
    task_extra* e = t->extra.exchange(nullptr, std::memory_order_acq_rel);
    wait_for_walks();
    drop(e->own.load(std::memory_order_relaxed), 1 + e->own_credit);
    delete e;
  }
}

/// True: the reference goes back to those that the calling task has counted ahead for its children (inherit_context).
bool kept_for_children(cancel_node* inherited) noexcept {
  task* const parent = current_task();
  task_extra* const e = parent != nullptr ? parent->extra.load(std::memory_order_acquire) : nullptr;
  if (e == nullptr || e->own.load(std::memory_order_relaxed) != inherited || e->own_credit == UINT32_MAX) return false;
  e->own_credit += 1;
  return true;
}

/// What is the user's: the result, and contexts, whose values and causes are.
void destroy_contents(task* t) noexcept {
  cancel_node* inherited = std::exchange(t->inherited, nullptr);
  if (t->ops->destroy_result != nullptr) t->ops->destroy_result(t->body());
  drop_extra(t);
  if (inherited != nullptr && !inherited->is_root && !kept_for_children(inherited)) {
    drop(inherited);
    drop_extra(t);
  }
}

/// True: this was the last reference. A sole one cannot be copied by others, so a plain look saves most locked instructions.
bool last_reference(std::atomic<std::uint32_t>& count) noexcept {
  return count.load(std::memory_order_acquire) == 1 || count.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

}  // namespace

void drop(task* t) noexcept {
  if (!last_reference(t->refs)) return;
  destroy_contents(t);
  drop_hold(t);
}

void drop_hold(task* t) noexcept {
  if (last_reference(t->holds)) free_task(t);
}

namespace {
/// The run's reference. Beneath a join it is one of two, and the joiner has the other: nobody else can count meanwhile.
bool last_of_run(task& t, bool beneath_join) noexcept {
  if (!beneath_join || t.refs.load(std::memory_order_relaxed) != 2) return last_reference(t.refs);
  t.refs.store(1, std::memory_order_release);
  return false;
}
}  // namespace

void end_task(task* t, bool beneath_join) noexcept {
  clear_locals(t);
  if (t->shard != nullptr) unregister(*t);
  // A cancellation may have resumed a wait before its hook armed the timer (H4): R3 found nothing to disarm then.
  if (t->timer != nullptr) timer_heap::disarm(*t->timer, t->timer->generation());
  t->phase.store(task_phase::ended, std::memory_order_release);
  if (t->has_handle) t->ended().complete();
  // A root is counted by handles and children, not by tasks; a join handle that outlives the runtime must not look at it.
  if (t->inherited->is_root) t->inherited = nullptr;
  bool const last = last_of_run(*t, beneath_join);
  if (last) {
    destroy_contents(t);  // while t is still current: user code runs, and may even wait
    if (t->shard != nullptr) unregister(*t);
  }
  current_worker()->current = nullptr;
  if (last) drop_hold(t);
}

bool run_as_task_if_native(void (*f)(void*) noexcept, void* arg) noexcept {
  worker* w = current_worker();
  if (w == nullptr || w->current.get() != nullptr) return false;
  struct call {
    void (*f)(void*) noexcept;
    void* arg;
    static void invoke(void* body) noexcept {
      auto const& c = *static_cast<call*>(body);
      c.f(c.arg);
    }
  };
  static constexpr detail::body_ops ops{&call::invoke, nullptr, nullptr};
  try {
    task* t = make_task(*w->sched, sizeof(call), alignof(call), false);
    t->inherited = &w->sched->root();
    t->ops = &ops;
    new (t->body()) call{f, arg};
    w->sched->start(t);
    return true;
  } catch (std::bad_alloc const&) {
    return false;
  }
}

task* make_task(scheduler& s, std::size_t body_size, std::size_t body_align, bool with_handle) {
  bool const far = body_align > body_alignment || body_offset(with_handle) + body_size > task_block_max;
  std::size_t const size = body_offset(with_handle) + (far ? sizeof(far_body) : body_size);
  void* memory = nullptr;
  if (far) memory = ::operator new(body_size, std::align_val_t{body_align});
  worker* w = current_worker();
  task* t = nullptr;
  try {
    if (w == nullptr || w->sched != &s) {
      t = allocate_task_block(nullptr, size);
      t->id = s.new_id(nullptr);
    } else {
      section const inside(w);
      t = allocate_task_block(inside.proc() != nullptr ? &inside.proc()->tasks : nullptr, size);
      t->id = s.new_id(inside.proc());
    }
  } catch (...) {
    if (far) ::operator delete(memory, std::align_val_t{body_align});
    throw;
  }
  t->has_handle = with_handle;
  t->big_stack = false;
  t->far = far;
  t->wait_cancellable = false;
  t->shield = 0;
  t->cleaning_up = 0;
  t->refs.store(with_handle ? 2 : 1, std::memory_order_relaxed);
  t->holds.store(1, std::memory_order_relaxed);
  t->sched = &s;
  t->own_stack = nullptr;
  t->stack_size = 0;
  t->scoped = nullptr;
  t->waits_under = nullptr;
  t->inherited = nullptr;
  if (far) new (reinterpret_cast<char*>(t) + body_offset(with_handle)) far_body{memory, body_align};
  if (with_handle) new (reinterpret_cast<char*>(t) + header_size) completion;
  t->shard = nullptr;
  return t;
}

}  // namespace weft::rt

namespace weft::detail {

using namespace weft::rt;

namespace {

constexpr body_ops no_body{nullptr, nullptr, nullptr};

/// What a new task inherits, counted unless it is a root. A task that can be cancelled by its handle passes its own context on, so that
/// the cancellation reaches its children too; it counts them 64 at a time, since children that end elsewhere would fight with it for the
/// counter's cache line at each spawn. What is spawned to clean up behind a cancellation must not be met by that at its first wait: it
/// gets the values alone.
cancel_node* inherit_context(scheduler& s) {
  task* parent = current_task();
  if (parent == nullptr || parent->sched != &s) return &s.root();
  bool const own = parent->scoped == nullptr && parent->has_handle;
  cancel_node* n = own ? parent->own_context() : parent->current_context();
  if (n == nullptr) n = &own_context_of(*parent);
  if (is_cleaning_up(*parent)) return make_context(&s, n, false);
  if (own) {
    std::uint32_t& credit = parent->extra.load(std::memory_order_relaxed)->own_credit;
    if (credit == 0) retain(n, credit = 64);
    --credit;
    return n;
  }
  if (!n->is_root) retain(n);
  return n;
}

}  // namespace

task* create_task(scheduler* sched, std::size_t size, std::size_t align, body_ops const& ops, bool with_handle,
                  task_options* options, std::source_location const* place) {
  if (sched == nullptr) {
    worker* w = current_worker();
    if (w == nullptr) throw no_runtime();
    sched = w->sched;
  }
  sched->refuse_if_out_of_stacks();
  task* t = make_task(*sched, size, align, with_handle);
  t->ops = &ops;
  t->place = place != nullptr ? *place : std::source_location();
  try {
    t->inherited = inherit_context(*sched);
    if (options != nullptr && !options->name.empty()) t->extras().name = std::move(options->name);
  } catch (...) {
    abandon(t);
    throw;
  }
  if (options != nullptr) {
    if (stack_pool::rounded(options->stack_size) == 0 && options->stack_size != 0) {
      abandon(t);
      throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                              "weft: task_options::stack_size is too large");
    }
    if (options->stack_size != 0 && stack_pool::rounded(options->stack_size) != sched->stacks().default_size()) {
      t->stack_size = static_cast<std::uint32_t>(std::min<std::size_t>(options->stack_size, UINT32_MAX));
      t->big_stack = true;
    }
  }
  return t;
}

void* body_of(task* t) noexcept { return t->body(); }

void start(task* t) noexcept {
  t->sched->start(t);
  preemption_point();
}

void abandon(task* t) noexcept {
  t->ops = &no_body;
  t->refs.store(1, std::memory_order_relaxed);
  drop(t);
}

bool task_done(task* t) noexcept {
  preemption_point();  // a program may poll it
  return t->ended().done.load(std::memory_order_acquire);
}

namespace {

/// False: timed out.
bool wait_for_end(task* t, waiter& self, std::int64_t deadline,
                  bool cancellable) WEFT_NO_THREAD_SAFETY_ANALYSIS {  // the hook unlocks
  completion& c = t->ended();
  c.lock.lock();
  if (c.done.load(std::memory_order_relaxed)) {
    c.lock.unlock();
    return true;
  }
  wait_record r;
  how const h = wait_in(self, c.waiters, c.lock, r, deadline, wait_reason::join, t, cancellable);
  if (h == how::cancel) throw_cancelled();
  return h != how::timeout;
}

}  // namespace

void task_wait(task* t) {
  throw_if_cancelled_here();
  if (task_done(t)) return;
  if (run_for_join(*t)) {
    throw_if_cancelled_here();  // J2: what cancelled the child meanwhile would have ended this wait too
  } else {
    (void)wait_for_end(t, prepare_wait(), never, true);
  }
}

bool task_wait_until(task* t, std::int64_t deadline) {
  waiter& self = cancellation_point();
  return task_done(t) || wait_for_end(t, self, deadline, true);
}

void task_cancel(task* t) {
  preemption_point();
  cancel_own(*t);
  preemption_point();
}

void task_stop(task* t) noexcept {
  task_cancel(t);
  if (!task_done(t)) (void)wait_for_end(t, uncancellable_waiter(), never, false);
}

void task_release(task* t) noexcept { drop(t); }

completion* task_completion(task* t) noexcept { return &t->ended(); }

void escaped_from_go() noexcept {
  task* t = current_task();
  char const* what = "an exception that is not a std::exception";
  std::exception_ptr held;
  bool const is_cancelled =
      t->current_context()->is_cancelled_for_all() || t->inherited->is_cancelled_for_all() || t->sched->last_call();
  try {
    throw;
  } catch (cancelled const&) {
    if (is_cancelled) return;
    what = "weft::cancelled, although its context is not cancelled";
  } catch (closed_channel const& e) {
    if (is_cancelled) return;  // a neighbour was cancelled too, and let go of its end before this task was woken
    held = std::current_exception();
    what = e.what();
  } catch (std::exception const& e) {
    held = std::current_exception();
    what = e.what();
  } catch (...) {
  }
  if (simulation* s = t->sched->simulated()) {  // the run has failed, not the process
    if (s->failure == nullptr && !s->unwinding) s->failure = std::current_exception();
    return;
  }
  task_extra* e = t->extra.load(std::memory_order_acquire);
  warn("task %llu%s%s%s spawned at %s:%u ended by an exception: %s", static_cast<unsigned long long>(t->id),
       e != nullptr && !e->name.empty() ? " \"" : "", e != nullptr ? e->name.c_str() : "",
       e != nullptr && !e->name.empty() ? "\"" : "", t->place.line() != 0 ? t->place.file_name() : "an unknown place",
       static_cast<unsigned>(t->place.line()), what);
  told_why_it_ends();
  std::terminate();
}

}  // namespace weft::detail

namespace weft::this_task {

namespace {
rt::task& require_task(char const* call) {
  rt::task* t = rt::current_task();
  if (t == nullptr) rt::fatal("%s called outside of a task", call);
  return *t;
}
}  // namespace

task_id id() {
  rt::task* t = rt::current_task();
  return t != nullptr ? t->id : 0;
}

std::string_view name() {
  rt::task* t = rt::current_task();
  rt::task_extra const* e = t != nullptr ? t->extra.load(std::memory_order_acquire) : nullptr;
  return e != nullptr ? std::string_view(e->name) : std::string_view();
}

void set_name(std::string name) { rt::set_task_name(require_task("this_task::set_name"), std::move(name)); }

}  // namespace weft::this_task
