// scheduler: one runtime's workers, processors and queues; who runs what next, and who sleeps.
//
// Picking (find_work, on the native stack): every 61st pick the global queue and the timers first, so that neither starves, and
// one other's queue, so that they even out; own queue; global queue; the network; then as a *searcher* the others' queues and timers, the queues
// for a moment more where that has paid; then idle.
//
// Stacks: a fresh task is called by the loop on whatever pooled stack the worker is on, and needs none of its own. When it
// parks, the stack is the task's from then on, and the worker leaves it: straight to the next ready task that has a stack, to a
// suspended loop with the next fresh one in its hand, or to the native stack if there is nothing at hand (switching.cpp).
//
// Idle protocol. A worker that finds nothing gives its processor back and sleeps: one of them in the poller until the next timer
// is due, the rest each on its own futex. That no wake-up is lost rests on one pair:
//   publisher  I1 queue the task   I2 light fence   I3 idle_ == 0 or searching_ != 0: done; else wake one (searching_ 0 -> 1)
//   sleeper    I4 processor to the idle list, idle_ + 1   I5 searching_ - 1   I6 heavy fence   I7 look at all queues again;
//              something there: take a processor back and search   I8 sleep
// If I3 reads idle_ == 0 from before I4, then I1 is before I6 and I7 sees the task. If I3 reads searching_ != 0, that searcher,
// or the last of them, has yet to pass I5, I6 and I7. A searcher that finds work and is the last one wakes the next (chain), so that a burst needs
// one wake from the publisher; only the first task of all wakes nobody beside the worker that is started for it. At most half of the busy
// processors search at once. Who is not allowed to, or leaves a searcher behind at I5, has no I6 and I7, as long as somebody searches after its I4: that one either finds nothing, and has I6 and I7 before it, or finds something, and sees this processor
// idle when it wakes the next. If nobody does, it looks. So of a crowd that goes idle one fences.
//
// A wake-up is left out where the waker itself will run the task next: a task put into the next slot wakes nobody, only one that
// it displaced does; nor does a task spawned with nothing else queued, if the one before it was joined at once or its spawner has just
// accepted a connection; nor do those that come out of the poller, or whose time has come, if they are little work together; nor a task
// that is woken on a crowded processor while another stands aside (stand_aside.cpp). For the same reason I7 passes over a ring with a single task. The monitor backs up what that leaves open (a next slot or a single task beside an idle
// processor while its owner computes, an unattended poller or timer).
//
// Hand-over. A worker that is stuck in a task loses its processor (hand_over.hpp says how, monitor.cpp when, hand_over.cpp to whom), and
// weft::blocking gives it up before it is. So there may be more workers than processors; between being taken and being handed on a
// processor is held by the monitor, which for the proof above is a holder like any other.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>

#include <weft/options.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/fiber/stack_pool.hpp"
#include "runtime/poll/poller.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/global_queue.hpp"
#include "runtime/sched/io.hpp"
#include "runtime/sched/processor.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/victims.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

class monitor;
struct simulation;

/// The calling task has accepted a connection: it is about to start a task for it and to wait for the next (processor::acceptor).
void expect_handler() noexcept;

class scheduler {
 public:
  /// With a simulation, which must outlive it, everything runs in run_simulated() (simulated.hpp).
  explicit scheduler(options const& o, simulation* sim = nullptr);
  ~scheduler();  // after shutdown()
  scheduler(scheduler const&) = delete;
  scheduler& operator=(scheduler const&) = delete;

  /// Cancels the root context, waits (on a plain thread) until no task is left, and stops the threads. A task that is still there
  /// after `grace` is named on stderr and the process ends with status 70, or aborts (options::on_stuck).
  void shutdown(std::int64_t grace_ns);

  // ---- for tasks and whoever wakes them ----
  /// Queues a fresh task. Any thread.
  void start(task* t) noexcept;
  inline void start_here(worker& w, task* t) noexcept;  // by a task on `w`, outside of a section. In queueing.cpp
  /// Queues a task whose wait was claimed. Any thread.
  void make_ready(task* t) noexcept;
  inline void make_ready_here(worker& w, task* t) noexcept;  // pick_local.hpp
  /// The same for several, in their order. On one of this scheduler's workers, inside a section; `p` may be null.
  /// `if_sharing_pays`: nobody is woken for what is little work.
  void make_ready_all(processor* p, ready_list& list, bool if_sharing_pays = false) noexcept;
  /// A task has ended: bookkeeping for shutdown. `p` may be null.
  void note_end(processor* p) noexcept {
    if (p != nullptr) [[likely]]
      p->count.ended.count_up(std::memory_order_release);
    else outside_ended_.fetch_add(1, std::memory_order_release);
    wake_shutdown(p);
  }
  void note_spawn(processor* p) noexcept {
    if (p != nullptr) [[likely]]
      p->count.spawned.count_up();
    else outside_spawned_.fetch_add(1, std::memory_order_relaxed);
  }
  void note_park(processor* p) noexcept {
    if (p != nullptr) [[likely]]
      p->count.parks.count_up();
    else outside_parks_.fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] task_id new_id(spawn_store& of) noexcept {
    if (of.next_id.get() == of.last_id.get()) [[unlikely]]
      set_ids_aside(of);
    task_id const id = of.next_id.get();
    of.next_id = id + 1;
    return id;
  }
  [[nodiscard]] static task_id new_id_outside() noexcept { return ids_.fetch_add(1, std::memory_order_relaxed); }
  /// Throws std::system_error that names the limit while fresh tasks wait for want of a stack of this size or a smaller one. 0: the default.
  void refuse_if_out_of_stacks(std::size_t wanted) const {
    if (starving()) [[unlikely]]
      refuse_if_as_large(wanted);
  }
  /// After arming a timer that became its heap's earliest, by a thread that is not going to look at it soon.
  void timer_changed(std::int64_t when) noexcept;

  [[nodiscard]] options const& opts() const noexcept { return options_; }
  [[nodiscard]] cancel_node& root() noexcept { return *root_; }
  [[nodiscard]] stack_pool& stacks() noexcept { return stacks_; }
  [[nodiscard]] io_table& io() noexcept { return io_; }
  [[nodiscard]] unsigned processors() const noexcept { return processor_count_; }
  [[nodiscard]] processor& proc(unsigned i) noexcept { return processors_[i]; }
  [[nodiscard]] bool single() const noexcept { return processor_count_ == 1; }
  [[nodiscard]] runtime_metrics metrics() const noexcept;
  [[nodiscard]] worker* workers() noexcept { return all_workers_.load(std::memory_order_acquire); }
  /// Workers that run a task without a processor, and calls of weft::blocking in progress. Never less than there are: raised before the
  /// processor goes. When every processor is idle and both are 0, no task runs.
  [[nodiscard]] std::uint32_t adrift() const noexcept { return adrift_.load(std::memory_order_seq_cst); }
  [[nodiscard]] std::uint32_t blocking_calls() const noexcept {
    return blocking_calls_.load(std::memory_order_seq_cst);
  }

  // ---- hand-over (hand_over.cpp), inside a section ----
  /// Gives w's processor to a spare thread; w is adrift then. False, and nothing happened: there is no thread to be had.
  [[nodiscard]] bool hand_over(worker& w, processor& p, bool as_hog) noexcept;
  /// An idle processor for w, which holds none; null: all are held.
  [[nodiscard]] processor* acquire_processor(worker& w) noexcept;
  /// weft::blocking, before and after: hands over at once if there is something to run.
  void begin_blocking(worker& w) noexcept;
  /// How long a thread that is one too many sleeps before it leaves. Tests shorten it.
  inline static std::atomic<std::int64_t> spare_lives_ns{10'000'000'000};
  void end_blocking() noexcept { blocking_calls_.fetch_sub(1, std::memory_order_seq_cst); }
  /// There is something for the monitor: a second task, or a timer besides a running task.
  void want_monitor() noexcept {
    if (!monitor_wanted_.load(std::memory_order_relaxed)) [[unlikely]]
      start_monitor();
  }
  /// By workers that look around: tries again where the system gave it no thread.
  void try_monitor_again(std::int64_t now) noexcept {
    if (now >= monitor_due_.load(std::memory_order_relaxed)) [[unlikely]]
      start_monitor();
  }

  // ---- a simulated run (simulated.cpp) ----
  [[nodiscard]] simulation* simulated() const noexcept { return sim_; }
  /// Runs body(arg) as the first task, on this thread, until the last has ended. Rethrows what escapes it, or a task that nobody joins.
  void run_simulated(void (*body)(void*), void* arg);
  void preempt_simulated(worker& w, task& t) noexcept;

  // ---- when everything is idle (quiescence.cpp); for the reports ----
  /// quiet: no worker holds a processor, and each sleeps or is about to. `taken` counts the processors that were taken from the idle list:
  /// two looks that are quiet with the same count had no task running between them.
  struct quiet_look {
    bool quiet;
    std::uint64_t taken;
  };
  /// `but`: a worker that runs a task, and is not counted.
  [[nodiscard]] quiet_look look_quiet(worker const* but = nullptr) noexcept;
  [[nodiscard]] std::size_t armed_timers() const noexcept;
  /// How often workers have stood aside (stand_aside.cpp), since they did little but wait for each other's locks.
  [[nodiscard]] std::uint64_t stood_aside() const noexcept { return stood_aside_.load(std::memory_order_relaxed); }
  /// Workers and monitor that live; each counts itself.
  [[nodiscard]] std::uint32_t threads() const noexcept { return live_threads_.load(std::memory_order_acquire); }
  /// X1. Any thread; nothing, the second time.
  void unwind_deadlocked(std::string report) noexcept;
  /// X2. False: there was none.
  bool unwind_some() noexcept;
  /// L1 to L3 (last_call.cpp): wakes the tasks whose waits the root's cancellation does not reach. False: there were none.
  bool call_detached() noexcept;
  /// It has been called: what was cancelled by it is no error.
  [[nodiscard]] bool last_call() const noexcept { return last_call_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool draining() const noexcept { return draining_.load(std::memory_order_acquire); }  // in shutdown()
  [[nodiscard]] bool stopping() const noexcept { return stopping_.load(std::memory_order_acquire); }  // no task is left
  [[nodiscard]] bool deadlocked() const noexcept { return deadlocked_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string deadlock_report();
  /// Fresh tasks wait for a stack.
  [[nodiscard]] bool starving() const noexcept { return starving_.load(std::memory_order_seq_cst); }
  /// Fatal after a second if all others, it was found, wait for what these would do, and one more try fails; else said once after two.
  void starve_for_long(bool for_ever) noexcept;
  /// Tasks starve, and there is nothing else: no processor in use, no task with a stack, no timer.
  [[nodiscard]] bool starve_alone() const noexcept;
  /// Plain threads in runtime::run, which throw weft::deadlock.
  std::atomic<std::uint32_t> runs{0};
  scheduler* next_in_process = nullptr;  // of the list that the reports keep, guarded by its lock

  // ---- calls from outside through pointers that may be stale (guest.cpp) ----
  scheduler* next_known = nullptr;  // guarded by that file's lock
  /// True: s is there, takes guests (`even_shut_down`: or has taken them), and will be until let_out().
  [[nodiscard]] static bool let_in(scheduler* s, bool even_shut_down = false) noexcept;
  void let_out() noexcept;
  /// Returns when none is left.
  void refuse_guests() noexcept;
  /// Whether it is there and deadlocked(); null, or one that has gone, is not.
  [[nodiscard]] static bool is_unwound(scheduler const* s) noexcept;
  static void forget_all_known() noexcept;  // in a child that fork has made, by its only thread
  /// Names every task and ends the process (stuck.cpp).
  [[noreturn]] void report_stuck(char const* why);

  // ---- the switching side (switching.cpp), always inside a section ----
  /// The next task from the local queue; null: go to the native stack. In pick_local.hpp.
  [[nodiscard]] inline task* pick_local(processor& p) noexcept;
  /// For who joins t: true: t has not begun, was queued last, and is the caller's to run; nobody else waits for long.
  [[nodiscard]] inline bool take_back(processor& p, task* t) noexcept;  // pick_local.hpp
  /// After take_back(), if it is not to be run after all.
  inline void put_back(processor& p, task* t) noexcept;  // pick_local.hpp
  /// t leaves, and goes on later: what it spawns then goes behind what it has spawned here.
  static void note_children(processor const& p, task& t) noexcept;
  /// p.queue.has_parent(), and the task that runs waits, but for the network or a time, or has ended.
  void children_first(processor& p) noexcept;
  /// t, which runs, goes behind all, but the newest goes first on p.
  void leave_tree(processor& p, task& t) noexcept;
  [[nodiscard]] stack* take_loop(processor& p) noexcept;  // a suspended loop, from the processor's cache only
  void put_loop(processor* p, stack* s) noexcept;
  void queue_yielded(worker& w, task* t, bool native) noexcept;
  inline void queue_yielded_here(worker& w, task* t, bool native) noexcept;  // pick_local.hpp

 private:
  friend class monitor;
  friend class watchdog;
  friend struct debugger_access;  // runtime/observe/debugger.cpp
  static constexpr std::int64_t first_pause_ns = 3'000'000, patience_with_starving_ns = 1'000'000'000;
  static constexpr std::int64_t ask_again_ns = 10'000'000;  // a system that has given no thread or no memory
  void run_on_stack(worker& w, task* t) noexcept;
  [[nodiscard]] stack* stack_for(worker& w, task* t) noexcept;
  [[nodiscard]] task* find_work(worker& w);  // null: the scheduler stops
  [[nodiscard]] task* find_now(worker& w, processor& p);
  [[nodiscard]] task* take_for_others(processor& p, std::int64_t now) noexcept;
  void note_time(worker& w, processor& p, std::int64_t now) noexcept;
  void note_rest(worker& w) noexcept;              // it may have lain idle for long
  static constexpr std::int64_t much_longer = 16;  // of two run queues
  // stand_aside.cpp
  /// True: w, which spent much of its time waiting for locks, has stood aside for a while.
  bool heed_lock_waits(worker& w, processor& p, std::int64_t now) noexcept;
  bool stand_aside(worker& w, processor& p, std::int64_t for_ns) noexcept;  // false: it is needed here
  [[nodiscard]] bool others_run() const noexcept;
  [[nodiscard]] std::uint64_t picks_of_others(processor const& p) const noexcept;
  [[nodiscard]] task* take_global(processor& p, std::size_t max) noexcept;
  /// What is queued on p, if it runs like the last ones, is enough work for a second worker to be woken.
  [[nodiscard]] static bool sharing_pays(processor const& p) noexcept;
  /// With one other at random, if that has much more to do.
  void even_out(worker& w, processor& p, std::int64_t now) noexcept;
  [[nodiscard]] task* search(worker& w, processor& p) noexcept;
  [[nodiscard]] task* linger(worker& w, processor& p) noexcept;
  [[nodiscard]] task* steal(worker& w, processor& p, bool last_round) noexcept;
  [[nodiscard]] bool work_anywhere(std::int64_t now) noexcept;
  /// Those that are due, and some that are dead; of these a part, where many, if tasks are to run as well: so they go faster than others come.
  swept run_timers(worker& w, processor& holds, processor& of, std::int64_t now, bool busy = false);
  [[nodiscard]] bool has_timers_to_run(processor const& of, std::int64_t now) const noexcept;
  void poll_network(worker& w, std::int64_t timeout_ns);
  void set_ids_aside(spawn_store& of) noexcept;
  inline void push_local(processor& p, task* t) noexcept;   // behind all others
  inline void push_behind(processor& p, task* t) noexcept;  // in the ring, but first where the newest goes first
  inline bool queue_start(worker const& w, processor& p, task* t, bool& queued) noexcept;
  void start_on(worker const& w, processor& p, task* t) noexcept;
  void end_start(worker& w, processor& p, task* t, bool wakes) noexcept;
  void start_after_all(task* t, worker& w) noexcept;
  void start_elsewhere(task* t, worker* w) noexcept;
  void push_displaced(processor& p, task* t) noexcept;
  void push_displaced_and_leave(worker& w, processor& p, task* t) noexcept;
  void make_ready_after_all(task* t, worker& w) noexcept;
  void make_ready_elsewhere(task* t, worker* w) noexcept;
  void push(processor* p, task* t) noexcept;
  void oldest_first(processor& p) noexcept;
  [[nodiscard]] processor* processor_for_sleeper(worker& w) noexcept;
  void overflow(processor& p, task* t) noexcept;

  // idle.cpp
  void wake_if_idle(processor* mine) noexcept;  // I2, I3
  void wake_one_searcher() noexcept;
  void wake_another_searcher() noexcept;  // whoever searches; the monitor
  void wake_searcher() noexcept;
  void stop_searching(worker& w) noexcept;
  [[nodiscard]] bool go_idle(worker& w);  // true: has a processor again; false: the scheduler stops
  [[nodiscard]] bool leave_idle(worker& w) noexcept;
  [[nodiscard]] processor* take_idle_processor_locked() noexcept WEFT_REQUIRES(lock_);
  void give_idle_processor_locked(processor* p) noexcept WEFT_REQUIRES(lock_);
  void add_idle_locked(worker& w) noexcept WEFT_REQUIRES(lock_);
  void remove_idle_locked(worker& w) noexcept WEFT_REQUIRES(lock_);
  [[nodiscard]] bool take_processor(worker& w) noexcept;
  void sleep_in_poller(worker& w, std::int64_t limit);
  bool sleep_until_woken(worker& w, std::int64_t until) noexcept;    // or the runtime's end; false: `until` came first
  [[nodiscard]] bool sleep_on_futex(worker& w, std::int64_t limit);  // true: as a spare, for as long as a spare lives
  // quiescence.cpp
  // never: not this worker, not now
  [[nodiscard]] std::int64_t time_to_ask_locked(worker& w) noexcept WEFT_REQUIRES(lock_);
  void ask_whether_dead() noexcept;

  [[nodiscard]] std::int64_t earliest_timer() const noexcept;
  /// When a worker wakes that is about to sleep until a timer is due at `until`. To fall asleep and to wake costs as much as dozens of timers, and where
  /// they come in crowds, a worker that slept for each few would do little else. So where at least four were fired since a worker last slept for one, and more than
  /// 20,000 a second, it sleeps for 200 us at least. A lone timer, however short, is kept to the moment.
  [[nodiscard]] std::int64_t wakes_at(std::int64_t until) noexcept;
  void wake_worker(worker& w, bool from_poller) noexcept;
  [[nodiscard]] worker* sleeper_to_wake_locked() noexcept WEFT_REQUIRES(lock_);
  bool assign_locked(worker& w, processor& p) noexcept
      WEFT_REQUIRES(lock_);  // to a sleeper; true: it sleeps in the poller
  void hold_locked(worker& w, processor& p) noexcept WEFT_REQUIRES(lock_);

  // hand_over.cpp
  void hand_on(processor& p) noexcept;  // M6
  void empty(processor& p) noexcept;
  [[nodiscard]] bool thread_to_be_had() noexcept;  // a spare, or room for a new one; if not for the limit, says so once
  void report_limit_locked() noexcept WEFT_REQUIRES(lock_);
  void drift_ended(std::uintptr_t word) noexcept;  // `word` was the worker's proc
  [[nodiscard]] bool nothing_to_run(processor& p) const noexcept;

  // simulated.cpp
  [[nodiscard]] task* find_simulated(worker& w, processor& p);
  void gather_ready(processor& p);
  [[nodiscard]] bool count_step() noexcept;
  void refuse_from_outside() const noexcept;
  [[nodiscard]] bool only_ticks(processor const& p) noexcept;
  bool advance_simulated(worker& w, processor& p, std::int64_t until);
  bool wake_idle_waiters() noexcept;
  void unwind_simulated(worker& w, processor& p);

  // lifetime.cpp
  /// A new thread that starts with this processor. False: none to be had. The first is tried for a fifth of a second,
  /// with lock_ released in between, and then fatal. Keeps errno.
  [[nodiscard]] bool new_worker_locked(processor& p, bool searching) noexcept WEFT_REQUIRES(lock_);
  [[nodiscard]] bool try_new_worker_locked(processor& p, bool searching, bool last_try) noexcept WEFT_REQUIRES(lock_);
  [[nodiscard]] worker& unused_worker_locked() WEFT_REQUIRES(lock_);
  void thread_main(worker& w) noexcept;
  [[nodiscard]] bool leave_as_spare(worker& w) noexcept;  // true: this thread is to end, and w is not its own any more
  void start_monitor() noexcept;
  void start_monitor_locked() noexcept WEFT_REQUIRES(lock_);
  void stop_threads();
  void abandon_timers() noexcept;

  // monitor.cpp
  struct delete_monitor {
    void operator()(monitor* m) const noexcept;
  };
  void make_monitor();
  void monitor_main() noexcept;
  void wake_monitor() noexcept;
  void rouse_monitor() noexcept;  // stacks to spare, or tasks that starve, though nothing goes on

  [[nodiscard]] bool all_ended() const noexcept;
  /// And no timer is being fired, which could start another.
  [[nodiscard]] bool all_over() const noexcept;
  [[nodiscard]] bool ends_for_good() noexcept;
  void wake_shutdown(processor const* of_end) noexcept {
    light_fence();  // pairs with D3
    if (draining_.load(std::memory_order_relaxed)) [[unlikely]]
      wake_shutdown_if_over(of_end);
  }
  void wake_shutdown_if_over(processor const* of_end) noexcept;  // D8
  void refuse_if_as_large(std::size_t wanted) const;
  void note_starving_locked() noexcept WEFT_REQUIRES(lock_);
  void starve(task* t) noexcept;  // t could not get a stack: it waits until one is free
  bool feed_starving() noexcept;  // true: some can have their stacks now
  [[nodiscard]] std::int64_t time_to_feed_locked() const noexcept WEFT_REQUIRES(lock_);  // never: the monitor does it
  void feed_without_monitor() noexcept;
  [[nodiscard]] bool stack_can_be_had(std::size_t size) noexcept;  // 0: the default
  bool release_loops(processor& p) noexcept;  // gives up all that it keeps, and feeds the starving: as feed_starving
  void release_idle_loops() noexcept;         // of idle processors that keep more than their share of high_water
  [[nodiscard]] bool keeps_from_starving_locked(processor const& p) const noexcept WEFT_REQUIRES(lock_);
  void give_up_loops(processor& p) noexcept;  // before going idle while tasks starve

  options options_;
  unsigned const processor_count_;
  simulation* const sim_;  // null: an ordinary run. On the line of processor_count_, which each pick reads
  std::unique_ptr<processor[]> processors_;
  victim_order const victims_;     // of the processors
  alignas(64) stack_pool stacks_;  // with a lock: not on that line
  global_queue global_;
  poller poller_;
  io_table io_;
  cancel_node* root_ = nullptr;
  std::atomic<std::uint64_t> outside_spawned_{0}, outside_ended_{0},
      outside_parks_{0};                       // by threads without a processor
  inline static std::atomic<task_id> ids_{1};  // of the process
  std::atomic<std::uint32_t> visitors_{0};     // outside threads between queueing a task and waking somebody for it

  // Shared words of the idle protocol, each on its own line: read at every publish.
  alignas(64) std::atomic<std::uint32_t> searching_{0};
  alignas(64) std::atomic<std::uint32_t> idle_{0};  // processors in the idle list
  std::atomic<std::uint32_t> aside_{0};             // A2; written under lock_
  alignas(64) std::atomic<bool> polling_{false};    // a processor looks at the network in passing
  alignas(64) std::atomic<std::int64_t> poll_until_{
      0};                                         // when the sleeper in the poller will wake; 0: nobody sleeps there
  std::atomic<std::int64_t> timer_until_{never};  // the same for the one that sleeps for a timer on its futex
  std::atomic<std::int64_t> slept_for_timer_{0};  // when a worker did so last, and how many had been fired then
  std::atomic<std::uint64_t> timers_then_{0};
  // Read at each spawn and end, and seldom written: on lines without what idling writes.
  alignas(64) std::atomic<bool> starving_{false};  // fresh tasks wait for a stack
  std::atomic<std::size_t> starving_from_{0};      // the smallest that is wanting. Written under lock_
  std::array<ready_list, stack_pool::max_shift + 1> starving_tasks_;  // by task::stack_shift; guarded by lock_
  std::int64_t starving_since_ = 0;                                   // guarded by lock_: nobody has been fed since
  std::atomic<bool> stopping_{false};
  std::atomic<bool> over_{false};          // no timer is fired any more: E3
  std::atomic<bool> draining_{false};      // shutdown waits for the last task; pairs in note_end
  std::atomic<std::uint32_t> drained_{0};  // futex word
  std::atomic<bool> last_call_{false};

  alignas(64) ranked_lock lock_{lock_rank::leaf};  // leaf: ready() is called under locks of higher layers
  processor* idle_processors_ = nullptr;           // guarded by lock_
  worker* idle_workers_ = nullptr;                 // guarded by lock_, last in first out
  worker* poll_sleeper_ = nullptr;                 // guarded by lock_
  owned<std::uint64_t> taken_;                     // written under lock_: see quiet_look, and the monitor
  worker* asker_ = nullptr;                        // guarded by lock_: who sleeps until it is time to ask
  std::int64_t ask_pause_ = first_pause_ns;  // guarded by lock_: how long first; never: not before a processor is taken
  task* witness_ = nullptr;                  // guarded by lock_: while its wait word stands, there is no need to ask
  std::uint64_t witness_word_ = 0;           // guarded by lock_
  std::string deadlock_report_;              // guarded by lock_
  std::atomic<bool> deadlocked_{false};
  void make_known() noexcept;
  void make_unknown() noexcept;
  static void note_unwinding() noexcept;  // before deadlocked_ is set
  bool takes_guests_ = true;              // guarded by the lock in guest.cpp
  std::atomic<std::uint32_t> guests_{0};
  std::atomic<std::uint32_t> live_threads_{0};    // workers and monitor; each counts itself
  std::atomic<worker*> all_workers_{nullptr};     // pushed under lock_
  std::atomic<std::uint32_t> monitor_word_{0};    // futex: 0 runs, 1 asleep
  std::vector<std::unique_ptr<worker>> storage_;  // guarded by lock_
  worker* unused_workers_ = nullptr;              // guarded by lock_, linked by unused_next
  std::thread leaving_;                      // guarded by lock_: the spare that left last, which the next one joins
  std::thread monitor_;                      // guarded by lock_
  std::atomic<bool> monitor_wanted_{false};  // it runs, or there is nothing for it ever, or is tried again:
  std::atomic<std::int64_t> monitor_due_{never};             // then, since the system gave no thread
  std::atomic<unsigned> threads_{0};                         // workers with a thread; written under lock_
  std::atomic<unsigned> thread_limit_;                       // of these; lowered once by the monitor
  char const* thread_limit_name_ = "options::max_threads";   // guarded by lock_
  bool limit_reported_ = false, starving_reported_ = false;  // guarded by lock_
  std::int64_t refused_until_ = 0;  // guarded by lock_: the system gave no thread, so ask again then
  std::atomic<std::uint32_t> adrift_{0}, hogs_{0}, blocking_calls_{0};  // workers that are adrift; of these, hogs
  std::atomic<std::uint64_t> hand_overs_{0}, stood_aside_{0};           // how often; metrics
  std::size_t default_stack_size_;                                      // constant
  sigset_t signal_mask_;  // constant: of the thread that made the runtime, and so of its workers
  // Constant: what the monitor's thread runs, made beforehand, since that could not say that there is no memory. Null
  // in a simulated run.
  std::unique_ptr<monitor, delete_monitor> watch_;
};

}  // namespace weft::rt
