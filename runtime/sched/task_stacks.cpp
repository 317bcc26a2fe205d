// Which stack a task runs on: suspended loops in the processors' caches, and what happens when no stack is to be had. See scheduler.hpp,
// "Stacks", and fiber/stack_pool.hpp.
//
// A fresh task for which there is no stack *starves*: it waits in a list of its own until one comes back, while parked tasks, which have
// theirs, go on; go and spawn throw meanwhile. The monitor tries for the oldest of them each ten milliseconds, since memory may be free again
// without a stack having come back. If no stack is in use, or everything else has waited for a second for what these tasks would do, nothing
// will ever run again, and that is fatal.

#include <system_error>

#include "runtime/base/check.hpp"
#include "runtime/fiber/switch.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"

namespace weft::rt {

namespace {
constexpr std::uint32_t loops_kept = 64;  // suspended loops in a processor's cache
}  // namespace

stack* scheduler::take_loop(processor& p) noexcept {
  stack* s = p.loops;
  if (s == nullptr) return nullptr;
  p.loops = s->next;
  p.loop_count -= 1;
  s->next = nullptr;
  return s;
}

void scheduler::put_loop(processor* p, stack* s) noexcept {
  bool const starving = starving_.load(std::memory_order_relaxed);
  if (tsan || p == nullptr || starving || s->size != default_stack_size_) {
    if (stacks_.put(s)) rouse_monitor();
  } else {
    s->next = p->loops;
    p->loops = s;
    p->loop_count += 1;
    if (p->loop_count.get() > loops_kept) {
      stack* first = p->loops;
      stack* last = first;
      for (std::uint32_t i = 1; i < loops_kept / 2; ++i) last = last->next;
      p->loops = last->next;
      last->next = nullptr;
      p->loop_count -= loops_kept / 2;
      if (stacks_.put_many(first)) rouse_monitor();
    }
  }
  if (starving_.load(std::memory_order_relaxed)) [[unlikely]]
    feed_starving();
}

stack* scheduler::stack_for(worker& w, task* t) noexcept {
  if (t->big_stack) return stacks_.get(t->stack_size);
  processor* p = w.held();
  if (tsan || p == nullptr) return stacks_.get();
  if (stack* s = take_loop(*p)) return s;
  // Idle ones come in batches; a new one is cut alone, since it may be the only one that is ever needed.
  stack* s = stacks_.get_many(loops_kept / 4);
  if (s == nullptr) return nullptr;
  for (stack* more = s->next; more != nullptr;) {
    stack* after = more->next;
    more->next = p->loops;
    p->loops = more;
    p->loop_count += 1;
    more = after;
  }
  s->next = nullptr;
  return s;
}

void scheduler::run_on_stack(worker& w, task* t) noexcept {
  stack* s = t->own_stack;
  if (s != nullptr) {
    w.current = t;
    t->phase.store(task_phase::running, std::memory_order_release);
  } else {
    s = stack_for(w, t);
    if (s == nullptr) return starve(t);
    w.handoff = t;
    if (s->fresh) s->prepare_entry(loop_main, s);
  }
  w.on = s;
  switch_to(w.native, s->exec, w.exceptions, w.errno_pointer);
}

bool scheduler::stack_can_be_had(std::size_t size) noexcept {
  stack* const s = size != 0 ? stacks_.get(size) : stacks_.get();
  if (s == nullptr) return false;
  (void)stacks_.put(s);
  return true;
}

void scheduler::starve(task* t) noexcept {
  std::size_t const size = t->big_stack ? t->stack_size : 0;
  t->next_ready = nullptr;
  {
    guard hold(lock_);
    (starving_head_ != nullptr ? starving_tail_->next_ready : starving_head_) = t;
    starving_tail_ = t;
    if (!starving_.load(std::memory_order_relaxed)) starving_since_ = clock_ns();
    starving_.store(true, std::memory_order_seq_cst);  // pairs with the monitor, which goes to sleep
  }
  // A stack that came back before the flag was seen: its put and this look are ordered by the pool's lock, so one of the two sides
  // feeds the task. Not by whether some stack is idle: it may be of another size, and the task would be tried for ever.
  if (stack_can_be_had(size)) return feed_starving();
  rouse_monitor();
}

void scheduler::feed_starving() noexcept {
  task* t = nullptr;
  {
    guard hold(lock_);
    t = static_cast<task*>(starving_head_);
    if (t != nullptr) starving_head_ = t->next_ready;
    if (starving_head_ == nullptr) starving_.store(false, std::memory_order_relaxed);
  }
  if (t == nullptr) return;
  global_.push(t);
  wake_if_idle(nullptr);
}

void scheduler::give_up_loops(processor& p) noexcept {
  while (stack* s = take_loop(p)) stacks_.put(s);
  stack_counts const counts = stacks_.counts();
  if (counts.idle != 0) return feed_starving();
  if (counts.in_use() == 0) fatal("no stack can be had, so that no task can run: %s", stacks_.error());
}

bool scheduler::retry_starving() noexcept {
  std::size_t size = 0;
  {
    guard hold(lock_);
    if (starving_head_ == nullptr) return false;
    auto const* const t = static_cast<task*>(starving_head_);
    size = t->big_stack ? t->stack_size : 0;
  }
  if (!stack_can_be_had(size)) return false;
  feed_starving();
  return true;
}

void scheduler::starve_for_ever() noexcept {
  constexpr std::int64_t patience_ns = 1'000'000'000;
  if (retry_starving()) return;
  {
    guard hold(lock_);
    if (starving_head_ == nullptr || clock_ns() - starving_since_ < patience_ns) return;
  }
  fatal("no stack can be had for the next task, and all others wait: %s", stacks_.error());
}

void scheduler::throw_out_of_stacks() const {
  throw std::system_error(std::make_error_code(std::errc::not_enough_memory),
                          std::string("weft: no stack for another task: ") + stacks_.error());
}

}  // namespace weft::rt
