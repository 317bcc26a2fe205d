// How a scheduler starts, and how it ends without leaving a task behind.
//
// Start: processors, no threads. The first worker starts with the first task, further ones when a wake or a hand-over finds a processor but
// nobody asleep, the monitor when there is a second task, a timer beside a task that runs, or a second worker.
//
// Threads beyond one a processor are there because others are stuck in tasks. One that has slept for ten seconds leaves; its worker
// is used again by the next that starts. Each joins the one that left before it, and shutdown the last.
//
// Shutdown: D1 the root context is cancelled, which wakes every parked task that is cancellable; their stacks unwind
//           D2 draining_ is set   D3 heavy fence   D4 all ended? else sleep on drained_
//           D5 half of the grace has passed, or nothing else can happen: those that D1 does not reach are woken (last_call.cpp)
//           D6 E6 over_ is set   E7 heavy fence   E8 all over? else E6 is taken back, and D4 again: run_timers   N2, N3: pending_start.hpp
//           D7 the threads are stopped; what waits for sockets and timers of this runtime is told that these have ended
// Each ending task counts itself (relaxed), then, after a light fence, reads draining_ and, if set, looks whether it was the last
// (note_end): either it sees D2, or D4 sees its count. A task that is still there when the grace has passed is named, and the
// process ends: hanging in silence would be worse.
//
// D8 To look whether it was the last is to read what every processor has counted, and each goes on counting. So nobody looks who has another task
// queued on its processor: that one has not ended. Nor does the last one pass over its look. Say that its full fence, before D8, is the last
// of all. A task that it still sees queued has ended, too, so a thief took it out of this queue, counted its end and passed a full fence of its
// own before this one. Then this look at the queue comes after that taking, and does not see the task. (One that ended before D2 has passed a light fence
// only, and may still be seen: the next round of D4, some milliseconds later, finds all ended.)

#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/message.hpp"
#include "runtime/fiber/overflow.hpp"
#include "runtime/fiber/switch.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread.hpp"
#include "runtime/sched/pending_start.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/terminate.hpp"

namespace weft::rt {

namespace {

constexpr unsigned most_workers =
    4096;  // each has a queue, at which the others look, and timers, which task::holds counts

unsigned wanted_workers(options const& o) {
  if (o.workers > most_workers)
    throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                            "weft: options::workers must be a number up to 4096, not " + std::to_string(o.workers));
  if (o.workers != 0) return o.workers;
  if (char const* text = std::getenv("WEFT_WORKERS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    unsigned long const n = std::strtoul(text, &end, 10);
    if (*end != '\0' || n == 0 || n > most_workers)
      throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                              std::string("weft: WEFT_WORKERS must be a number from 1 to 4096, not \"") + text + '"');
    return static_cast<unsigned>(n);
  }
  return usable_cpus();
}

/// Without the first worker nothing goes on at all, so what may be a moment's want of a thread or memory is waited out.
constexpr int tries_for_first_worker = 20;
constexpr std::chrono::milliseconds between_tries(10);

/// In a signal handler, on the worker's thread: is it the stack that this worker runs on?
bool describe_overflow(void* address, overflow_info& info) {
  worker* w = current_worker();
  if (w == nullptr) return false;
  stack* s = w->on;
  if (s == nullptr || !s->guard_contains(address)) return false;
  auto* t = static_cast<task*>(s->owner);
  info.stack_size = s->size;
  if (t == nullptr) return true;
  info.task = t->id;
  if (task_extra* e = t->extra.load(std::memory_order_acquire)) info.name = e->name.c_str();
  if (t->place.line() != 0) {
    info.spawn_file = t->place.file_name();
    info.spawn_line = t->place.line();
  }
  return true;
}

std::size_t checked_stack_size(std::size_t wanted) {
  if (stack_pool::rounded(wanted) != 0) return wanted;
  throw std::system_error(std::make_error_code(std::errc::invalid_argument),
                          "weft: options::stack_size is too large, the largest is 1 GiB");
}

}  // namespace

scheduler::scheduler(options const& o, simulation* sim)
    : options_(o),
      processor_count_(std::max(1u, wanted_workers(o))),
      sim_(sim),
      processors_(std::make_unique<processor[]>(processor_count_)),
      victims_(processor_count_),
      stacks_(checked_stack_size(o.stack_size)),
      io_(poller_),
      thread_limit_(std::max(processor_count_, std::max(1u, o.max_threads) - 1)),  // the monitor is a thread too
      default_stack_size_(stack_pool::rounded(o.stack_size)) {
  if (std::error_code const error = sim != nullptr ? std::error_code() : poller_.open(); error)
    throw std::system_error(error, "weft: cannot open the poller");
  ::pthread_sigmask(SIG_SETMASK, nullptr, &signal_mask_);
  for (unsigned i = 0; i < processor_count_; ++i) {
    processors_[i].index = i;
    processors_[i].queue.unshared = processor_count_ == 1;
    processors_[i].port = global_.make_port();
    if (sim_ != nullptr) processors_[i].look_at = 0;
  }
  if (sim_ == nullptr) make_monitor();
  root_ = new cancel_node(this, nullptr, false);  // the last that may throw: no member's destructor gives it back
  root_->is_root = true;
  install_overflow_report(describe_overflow);
  install_terminate_report();
  {
    guard hold(lock_);
    for (unsigned i = processor_count_; i-- > 0;) give_idle_processor_locked(&processors_[i]);
  }
  make_known();
}

scheduler::~scheduler() {
  refuse_guests();
  stop_threads();
  while (visitors_.load(std::memory_order_acquire) != 0) cpu_relax();
  make_unknown();
  abandon_timers();
  for (unsigned i = 0; i < processor_count_; ++i)
    while (stack* s = take_loop(processors_[i])) stacks_.put(s);
  for (auto& w : storage_) drain_task_cache(w->store.tasks);
  remove_overflow_report();
  drop(root_);
}

void scheduler::abandon_timers() noexcept {
  std::array<due_entry, 64> gone;
  for (unsigned i = 0; i < processor_count_; ++i)
    while (std::size_t const n = processors_[i].timers.drain(gone.data(), gone.size()))
      for (std::size_t k = 0; k < n; ++k) gone[k].release(gone[k].owner);
}

// ---- threads --------------------------------------------------------------------------------------------------------

worker& scheduler::unused_worker_locked() {
  if (worker* w = unused_workers_) {
    unused_workers_ = w->unused_next;
    return *w;
  }
  storage_.push_back(std::make_unique<worker>());
  worker& w = *storage_.back();
  w.sched = this;
  w.index = static_cast<unsigned>(storage_.size() - 1);
  w.random.seed(static_cast<std::uint64_t>(clock_ns()) * (w.index + 1) ^ reinterpret_cast<std::uintptr_t>(&w));
  w.all_next = all_workers_.load(std::memory_order_relaxed);
  all_workers_.store(&w, std::memory_order_release);
  return w;
}

bool scheduler::new_worker_locked(processor& p, bool searching) noexcept {
  int* const error_number = &errno;  // no switch in here
  int const kept = *error_number;
  bool started = false;
  for (int tries_left = tries_for_first_worker - 1;; --tries_left) {
    started = try_new_worker_locked(p, searching, tries_left <= 0);
    if (started || threads_.load(std::memory_order_relaxed) != 0 || stopping_.load(std::memory_order_relaxed)) break;
    // p stands in no list meanwhile, and who else comes here, as the monitor's second searcher does, has another one.
    lock_.unlock();
    std::this_thread::sleep_for(between_tries);
    lock_.lock();
  }
  *error_number = kept;
  return started;
}

bool scheduler::try_new_worker_locked(processor& p, bool searching, bool last_try) noexcept {
  unsigned const running = threads_.load(std::memory_order_relaxed);
  if (running >= thread_limit_.load(std::memory_order_relaxed)) return false;
  if (stopping_.load(std::memory_order_relaxed) || clock_ns() < refused_until_) return false;
  worker* w = nullptr;
  try {
    w = &unused_worker_locked();
    hold_locked(*w, p);
    w->searching = searching;
    w->thread = start_thread([this, w] { thread_main(*w); });
  } catch (std::exception const& e) {
    if (running == 0 && last_try) fatal("cannot start a worker thread: %s", e.what());
    if (w != nullptr) {
      w->proc.store(0, std::memory_order_relaxed);
      w->unused_next = std::exchange(unused_workers_, w);
    }
    if (running == 0) return false;
    refused_until_ = clock_ns() + ask_again_ns;  // the workers that are there go on
    if (!std::exchange(limit_reported_, true))
      warn("no more than %u worker threads can be had (%s): tasks wait until one is free", running, e.what());
    return false;
  }
  threads_.store(running + 1, std::memory_order_relaxed);
  if (running + 1 == 2) start_monitor_locked();
  return true;
}

bool scheduler::leave_as_spare(worker& w) noexcept {
  drain_task_cache(w.store.tasks);
  std::thread before;
  {
    guard hold(lock_);
    unsigned const running = threads_.load(std::memory_order_relaxed);
    if (!w.in_idle_list || running <= processor_count_ || stopping_.load(std::memory_order_relaxed)) return false;
    remove_idle_locked(w);
    threads_.store(running - 1, std::memory_order_relaxed);
    w.thread_id = 0;
    tell_lock_naps(nullptr);
    set_current_worker(nullptr);
    before = std::exchange(leaving_, std::move(w.thread));
    w.unused_next = std::exchange(unused_workers_, &w);  // from here on w may be another thread's
  }
  if (before.joinable()) before.join();
  return true;
}

void scheduler::start_monitor() noexcept {
  guard hold(lock_);
  // Unless somebody else has wanted it, and it was refused.
  if (monitor_due_.load(std::memory_order_relaxed) == never && single() && options_.hog_after.count() <= 0 &&
      options_.blocked_after.count() <= 0 && options_.watchdog.count() <= 0) {
    monitor_wanted_.store(true, std::memory_order_relaxed);  // nobody to wake, nothing to take
  } else {
    start_monitor_locked();
  }
}

void scheduler::start_monitor_locked() noexcept {
  monitor_wanted_.store(true, std::memory_order_relaxed);
  if (monitor_.joinable() || stopping_.load(std::memory_order_relaxed)) return;
  std::int64_t const due = monitor_due_.load(std::memory_order_relaxed), now = clock_ns();
  if (due != never && now < due) return;
  try {
    monitor_ = start_thread([this] { monitor_main(); });
    monitor_due_.store(never, std::memory_order_relaxed);
  } catch (std::exception const& e) {
    monitor_due_.store(now + ask_again_ns, std::memory_order_relaxed);
    if (due == never)
      warn(
          "the monitor's thread could not be started (%s): until one can, wake-ups that workers leave out come late, "
          "and no processor is handed over",
          e.what());
  }
}

void scheduler::thread_main(worker& w) noexcept {
  live_threads_.fetch_add(1, std::memory_order_acq_rel);
  tsan_ignore_begin();  // its seq is odd: a worker begins inside, in its native loop
  char name[16];
  std::snprintf(name, sizeof name, "weft-%u", w.index);
  set_thread_name(name);
  w.owner = new_lock_owner();
  set_current_worker(&w);
  // A thread begins with what the one that starts it has, and that may run a task which has set these for itself.
  reset_rounding();
  ::pthread_sigmask(SIG_SETMASK, &signal_mask_, nullptr);
  alternate_stack const signals;
  thread_globals const globals = current_thread_globals();
  w.exceptions = globals.exceptions;
  w.errno_pointer = globals.errno_pointer;
  w.thread_id = current_thread_id();
  w.clock = current_thread_clock().id;
  tell_lock_naps(&w.naps);
  init_native(w.native);
  if (w.held() != nullptr) note_rest(w);
  tsan_release(&w.sched);  // what was set up until now, for the tasks: see switching.cpp
  while (true) {
    (void)arrive();
    task* t = w.handoff.take();
    if (t == nullptr) t = find_work(w);
    if (t == nullptr) break;  // w may have gone, see leave_as_spare
    run_on_stack(w, t);
  }
  tsan_ignore_end();
  tell_lock_naps(nullptr);
  set_current_worker(nullptr);  // and no look at w: it may be another thread's
  live_threads_.fetch_sub(1, std::memory_order_acq_rel);
}

void scheduler::stop_threads() {
  std::thread monitor;
  {
    guard hold(lock_);
    stopping_.store(true, std::memory_order_seq_cst);
    monitor.swap(monitor_);
    for (auto& w : storage_) w->wakeups.store(1, std::memory_order_release);
  }
  // Without lock_, which each takes as it wakes. Nobody adds to storage_ any more: see below.
  for (auto& w : storage_) futex_wake(w->wakeups, 1);
  if (sim_ == nullptr) poller_.wake();
  monitor_word_.store(0, std::memory_order_seq_cst);
  futex_wake(monitor_word_, 1);  // sleeping or napping, or about to: see monitor::nap
  // Who sees stopping_ under the lock neither starts a worker nor leaves as a spare: the handles are this thread's.
  if (leaving_.joinable()) leaving_.join();
  for (auto& w : storage_)
    if (w->thread.joinable()) w->thread.join();
  if (monitor.joinable()) monitor.join();
}

// ---- the end --------------------------------------------------------------------------------------------------------

bool scheduler::all_ended() const noexcept {
  // Ends first: if they equal the spawns that are read later, none was under way in between.
  std::uint64_t ended = outside_ended_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < processor_count_; ++i) ended += processors_[i].count.ended.published();
  std::uint64_t spawned = outside_spawned_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < processor_count_; ++i) spawned += processors_[i].count.spawned;
  return ended == spawned;
}

bool scheduler::all_over() const noexcept {
  // The same. The sums are taken one after the other, as all_ended does, with both kinds in each.
  std::uint64_t ended = outside_ended_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < processor_count_; ++i) {
    counters const& c = processors_[i].count;
    ended += c.ended.published() + c.fired.published();
  }
  std::uint64_t begun = outside_spawned_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < processor_count_; ++i) {
    counters const& c = processors_[i].count;
    begun += c.spawned + c.firing;
  }
  return ended == begun;
}

bool scheduler::ends_for_good() noexcept {
  over_.store(true, std::memory_order_seq_cst);  // E6
  heavy_fence();                                 // E7
  if (all_over()) {                              // E8
    drop_starts_of(*this);                       // N2
    if (all_over()) return true;                 // N3
  }
  over_.store(false, std::memory_order_seq_cst);
  return false;
}

void scheduler::wake_shutdown_if_over(processor const* of_end) noexcept {
  full_fence();
  if (of_end != nullptr && (of_end->queue.peek_next() != nullptr || !of_end->queue.ring_empty())) return;  // D8
  if (all_over()) {
    drained_.store(1, std::memory_order_release);
    futex_wake(drained_, 1);
  }
}

namespace {
constexpr std::int64_t between_rounds_ns = 20'000'000;
}

void scheduler::shutdown(std::int64_t grace_ns) {
  cancel(*root_, cancel_kind::cancelled, nullptr);   // D1
  draining_.store(true, std::memory_order_seq_cst);  // D2
  heavy_fence();                                     // D3
  std::int64_t deadline = detail::deadline_in(grace_ns);
  std::int64_t round = detail::deadline_in(grace_ns / 2);
  while (!all_over() || !ends_for_good()) {  // D4, D6
    // While the process is stopped, by a debugger or SIGSTOP, no task can end: what this thread is late by is no part of the grace. A stop that
    // ends before the wait would have does not show, so waits are short.
    std::int64_t const until = std::min({round, deadline, detail::deadline_in(between_rounds_ns)});
    if (!futex_wait_until(drained_, 0, until) && !all_over()) {
      std::int64_t const now = clock_ns(), late = now - until;
      deadline += std::min(late, never - deadline);
      round += std::min(late, never - round);
      if (now >= deadline) report_stuck("shutdown: these tasks did not end within the grace");
      if (now >= round) {
        call_detached();  // D5
        round = detail::deadline_in(between_rounds_ns);
      }
    }
    if (drained_.load(std::memory_order_acquire) == 0 || all_over()) continue;
    drained_.store(0, std::memory_order_relaxed);
    full_fence();  // pairs with that of wake_shutdown_if_over: either it is over at D4, or the word is 1 again
  }
  stop_threads();  // D7
  // Now, and not in the destructor, which may be long in coming: others wait for what they look for here.
  io_.forget_all();
  abandon_timers();
  refuse_guests();  // once more: G4 may be at what it has taken back
}

runtime_metrics scheduler::metrics() const noexcept {
  std::uint64_t ended = outside_ended_.load(std::memory_order_acquire);
  std::uint64_t spawned = outside_spawned_.load(std::memory_order_acquire);
  runtime_metrics m{};
  m.workers = processor_count_;
  m.parks = outside_parks_.load(std::memory_order_relaxed);
  for (unsigned i = 0; i < processor_count_; ++i) {
    processor const& p = processors_[i];
    ended += p.count.ended;
    spawned += p.count.spawned;
    m.steals += p.count.steals;
    m.parks += p.count.parks;
    m.polls += p.count.polls;
    m.runnable += p.queue.size() + (p.queue.peek_next() != nullptr ? 1 : 0);
  }
  m.runnable += global_.size();
  m.spawns = spawned;
  m.live = spawned > ended ? spawned - ended : 0;
  struct census {
    scheduler const* of;
    std::size_t parked;
  } c{this, 0};
  for_each_task(
      [](task& t, void* arg) {
        auto& to = *static_cast<census*>(arg);
        task_phase const phase = t.phase.load(std::memory_order_acquire);
        if ((phase == task_phase::parked || phase == task_phase::joining) && t.sched == to.of) ++to.parked;
        return true;
      },
      &c);
  m.parked = c.parked;
  stack_counts const stacks = stacks_.counts();
  m.stacks = stacks.in_use();
  m.bytes = stacks.mapped_bytes;
  m.threads = threads_.load(std::memory_order_relaxed);
  m.hand_overs = hand_overs_.load(std::memory_order_relaxed);
  return m;
}

io_table* current_io_table() noexcept {
  worker* w = current_worker();
  return w != nullptr && w->current.get() != nullptr ? &w->sched->io() : nullptr;
}

}  // namespace weft::rt
