// Which stack a task runs on: suspended loops in the processors' caches, and what happens when no stack is to be had. See scheduler.hpp,
// "Stacks", and fiber/stack_pool.hpp.
//
// A fresh task for which there is no stack *starves*: it waits in a list until one comes back, while parked tasks, which have theirs, go on;
// go and spawn throw meanwhile, unless for a smaller stack than any that is wanting.
//   S1  starve: the task is listed, starving_ is set, and the loops that idle processors keep go to the pool
//   S2  who goes idle gives up the loops that it keeps. go_idle looks at the flag under lock_, as S1 sets it, and hand_on does so before: no
//       processor is idle with loops while a task starves. A busy one gives them up when it looks around (find_now), which the monitor
//       has it do soon: a task that does nothing but yield ends no other, and begins none
//   S3  who puts a stack back, and who has found one, feeds the oldest task of each stack size for which there is one now: a list a size,
//       since a large stack that is not to be had is no reason for a small one to wait. The monitor does so each ten milliseconds: memory may
//       be free again without a stack having come back. So do workers that sleep, where the system, for the same want, gave the monitor no thread
//   S4  if nobody could be fed for a second, and all processors are idle, with no stack in use, at each of the monitor's looks in a second, or
//       everything else waits for what these tasks would do (deadlock.cpp), nothing will ever run again, and that is fatal. Not at the first
//       look: a refusal may be a moment's, and a worker between two tasks has no stack either. A simulated run, which has one thread and
//       whose time does not pass by itself, is told at once
//   S5  where something else may still happen, if only a signal, they go on waiting; a line on stderr says so once

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <utility>

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
    if (starving && p != nullptr) {
      (void)release_loops(*p);
      return;
    }
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
    (void)feed_starving();  // S3
}

stack* scheduler::stack_for(worker& w, task* t) noexcept {
  if (t->stack_shift != 0) return stacks_.get(t->stack_size());
  processor* p = w.held();
  if (tsan || p == nullptr) return stacks_.get();
  if (stack* s = take_loop(*p)) return s;
  // Idle ones come in batches; a new one is cut alone where few exist, since it may be the only one that is ever needed.
  stack* s = stacks_.get_many(loops_kept / 4);
  if (s == nullptr) return nullptr;
  for (stack* more = s->next; more != nullptr;) {
    stack* after = more->next;
    // It may be of a batch of new ones, or cut by stack_can_be_had, and whoever takes a loop from the cache jumps to it as it is.
    if (more->fresh) more->prepare_entry(loop_main, more);
    more->next = p->loops;
    p->loops = more;
    p->loop_count += 1;
    more = after;
  }
  s->next = nullptr;
  return s;
}

__attribute__((noinline)) void scheduler::run_on_stack(worker& w, task* t) noexcept {
  stack* s = t->own_stack;
  if (s != nullptr) {
    w.current = t;
    t->phase.store(task_phase::running, std::memory_order_release);
  } else {
    s = stack_for(w, t);
    if (s == nullptr) return starve(t);
    if (starving_.load(std::memory_order_relaxed)) [[unlikely]]
      (void)feed_starving();  // S3: it may be one of many that came back at once
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

void scheduler::starve(task* t) noexcept {  // S1
  stack* kept = nullptr;                    // by idle processors
  {
    guard hold(lock_);
    starving_tasks_[t->stack_shift].push(*t);
    if (!starving_.load(std::memory_order_relaxed)) starving_since_ = clock_ns();
    note_starving_locked();
    starving_.store(true, std::memory_order_seq_cst);  // pairs with the monitor, which goes to sleep
    for (processor* p = idle_processors_; p != nullptr; p = p->next_idle)
      while (stack* s = take_loop(*p)) {
        s->next = kept;
        kept = s;
      }
  }
  if (kept != nullptr) (void)stacks_.put_many(kept);
  // A stack that came back before the flag was seen: its put and this look are ordered by the pool's lock, so one of the two sides
  // feeds the task.
  (void)feed_starving();
  if (!starving()) return;
  rouse_monitor();
  wake_if_idle(nullptr);  // who sleeps does not know yet that it is to try again, if there is no monitor
}

bool scheduler::feed_starving() noexcept {  // S3
  bool fed = false;
  for (ready_list& from : starving_tasks_) {
    std::size_t size = 0;
    {
      guard hold(lock_);
      // Its maker wrote it before a run queue, which draws no edge, brought it to who left it here.
      tsan_ignore const written_by_its_maker;
      auto const* const first = static_cast<task const*>(from.front());
      if (first == nullptr) continue;
      size = first->stack_shift != 0 ? first->stack_size() : 0;
    }
    // Not by whether some stack is idle: it may be of another size, and the task would be tried for ever.
    if (!stack_can_be_had(size)) continue;
    waiter* t = nullptr;
    {
      guard hold(lock_);
      t = from.pop();
      starving_since_ = clock_ns();  // S4 counts from the last that was fed
      note_starving_locked();
      if (std::ranges::all_of(starving_tasks_, &ready_list::empty)) starving_.store(false, std::memory_order_relaxed);
    }
    if (t == nullptr) continue;  // somebody else was first
    global_.push(static_cast<task*>(t));
    fed = true;
  }
  if (fed) wake_if_idle(nullptr);
  return fed;
}

bool scheduler::keeps_from_starving_locked(processor const& p) const noexcept {  // S2
  return starving_.load(std::memory_order_relaxed) && p.loops.get() != nullptr;
}

std::int64_t scheduler::time_to_feed_locked() const noexcept {  // S3
  return starving_.load(std::memory_order_relaxed) && !monitor_.joinable() ? clock_ns() + ask_again_ns : never;
}

void scheduler::feed_without_monitor() noexcept {  // S3, S5
  rouse_monitor();
  if (starving() && !feed_starving()) starve_for_long(false);
}

void scheduler::give_up_loops(processor& p) noexcept {  // S2
  if (release_loops(p)) return;
  if (sim_ != nullptr && stacks_.counts().in_use() == 0 && starving())  // S4
    fatal("no stack can be had, so that no task can run: %s", stacks_.error());
}

// An idle processor's loops are guarded by lock_, as S1. One processor each time, whose stacks are counted back with lock_ let go.
void scheduler::release_idle_loops() noexcept {
  auto const keeps = static_cast<std::uint32_t>(std::max<std::size_t>(stack_pool::high_water / processor_count_, 1));
  for (stack* given = nullptr;; given = nullptr) {
    {
      guard hold(lock_);
      processor* p = idle_processors_;
      while (p != nullptr && p->loop_count.get() <= keeps) p = p->next_idle;
      if (p == nullptr) return;
      given = p->loops.take();
      p->loop_count = 0;
    }
    (void)stacks_.put_many(given);
  }
}

bool scheduler::release_loops(processor& p) noexcept {  // S2
  p.loop_count = 0;
  if (stack* kept = p.loops.take(); kept != nullptr) (void)stacks_.put_many(kept);
  return starving() && feed_starving();
}

void scheduler::starve_for_long(bool for_ever) noexcept {  // S4, S5
  if (for_ever && feed_starving()) return;
  {
    guard hold(lock_);
    std::int64_t const patience =
        (for_ever ? 1 : 2) * patience_with_starving_ns;  // so that S5 is not said just before S4
    if (!starving_.load(std::memory_order_relaxed) || clock_ns() - starving_since_ < patience) return;
    if (!for_ever && std::exchange(starving_reported_, true)) return;
  }
  if (for_ever) fatal("no stack can be had for the next task, and all others wait: %s", stacks_.error());
  warn("tasks have waited for a stack for two seconds, and begin when others have ended or there is memory again: %s",
       stacks_.error());
}

bool scheduler::starve_alone() const noexcept {  // S4
  // What a timer starts may do with a stack that is there.
  return idle_.load(std::memory_order_seq_cst) == processor_count_ && global_.size() == 0 && adrift() == 0 &&
         stacks_.counts().in_use() == 0 && armed_timers() == 0;
}

void scheduler::note_starving_locked() noexcept {
  std::size_t from = SIZE_MAX;
  for (std::size_t shift = 0; shift < starving_tasks_.size(); ++shift)
    if (!starving_tasks_[shift].empty())
      from = std::min(from, shift != 0 ? std::size_t{1} << shift : default_stack_size_);
  starving_from_.store(from, std::memory_order_relaxed);
}

void scheduler::refuse_if_as_large(std::size_t wanted) const {
  std::size_t const size = wanted != 0 ? stack_pool::rounded(wanted) : default_stack_size_;
  if (size < starving_from_.load(std::memory_order_relaxed)) return;
  throw std::system_error(std::make_error_code(std::errc::not_enough_memory),
                          std::string("weft: no stack for another task: ") + stacks_.error());
}

}  // namespace weft::rt
