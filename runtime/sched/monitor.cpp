// monitor: a thread without a processor. It takes processors from workers that are stuck (M1 to M6 of protocol A, hand_over.hpp), and
// backs up what the workers leave out.
//
// What it looks at, each time, for each processor that is held:
//   V1 the holder's `seq` and the processor's `tick`. Another holder or another tick: another task, start anew.
//   V2 the holder's CPU time (0.2 us). seq and CPU time are what they were at the last look: the worker stands still.
//   V3 blocked: it has stood still for blocked_after, or has been in this task for hog_after without a section, and the kernel says that
//      its thread sleeps (S or D; 2.5 us, so it is asked last). In state R without CPU time the thread was preempted: left alone,
//      another thread on the same core would not run either. Nor does a nap in one of weft's own locks count: another thread would run the next
//      task into the same lock.
//   V4 hog: the task has used hog_after x (1 + hogs / processors) of CPU time. The factor keeps a program of nothing but long
//      computations from becoming a thread for each of them at once.
//   V5 nothing to hand on and another processor idle: skip. Not for ever, if the worker is blocked: a processor that stays held keeps this
//      thread from its sleep. Nor is a hog's taken while the queue of another one was found empty since the last look: its holder looked at
//      the global queue, the others' queues and their timers then, so nothing waits for long.
//   V6 M1 to M5; M6. A hog may be in a section at every look (it spawns in a loop): then it is asked, and hands its processor on itself at its next
//      section that does not park. One that parks needs no asking.
//
// Two thresholds, because the two cost differently: a blocked thread leaves its core free, so the next task should have it soon (64
// tasks that sleep ten times 10 ms take 110 ms with 100 us, 420 ms with 10 ms); a computing one does not.
//
// Backing up. Workers wake nobody for a task that they will run next themselves, arm timers without telling the sleeper in the
// poller, and look at the network only between tasks. All of that is right as long as tasks come back to the scheduler soon. When one does not
// (a processor whose tick has not moved between two looks, with something in its queue, a timer that is overdue, or a poller that nobody
// sleeps in), and there is an idle processor, the monitor wakes a searcher, which steals, fires or polls. A searcher keeps others from being woken,
// by I3; one whose thread the operating system does not run would so keep everybody. So where something is left out at all looks in a millisecond, and no
// processor has been taken in between, another one is woken beside it.
//
// A task that comes back to the scheduler each few milliseconds is none of these, but looks at timers and the global queue each 61st time
// only, and one that joins what it spawns runs that before others that are queued. So where something is overdue at two looks in a row
// the holder is told to look around at its next pick (look_at). Nor does the network wait for that 61st time: where nobody sleeps in the poller and nobody
// has looked for 10 ms (Go's monitor polls by itself then), one holder after the other is told so.
//
// It also gives back the memory of stacks that nobody has needed for a second (stack_pool.hpp, P2): a few at each look, all of
// them if nothing goes on. Before it sleeps it takes back to the pool what idle processors keep at hand, of those that keep more than their share
// of high_water: 64 each are nothing with two processors, and 4,096 with 64.
//
// It looks 20 us after it did something, doubling to 1 ms, earlier if a worker that stands still is due before. When all processors are
// idle, and nothing has been queued and no processor taken since the last look, it sleeps until the worker that takes the first one wakes it:
// that costs as much as waking another worker, and a server is idle for a moment after each request.

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/base/check.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/watchdog.hpp"

namespace weft::rt {

namespace {
constexpr std::int64_t shortest_ns = 20'000;
constexpr std::int64_t longest_ns = 1'000'000;
// Of monitor_word_: 0 awake, or nobody need wake it.
constexpr std::uint32_t sleeping = 1, napping = 2;
// V5: how long a blocked worker may keep a processor that nobody needs.
constexpr std::int64_t keeps_idle_ns = 10'000'000;
constexpr std::int64_t poll_overdue_ns = 10'000'000;
constexpr std::int64_t trim_period_ns = 1'000'000'000;
constexpr std::size_t trimmed_at_once = 32;  // 50 us
}  // namespace

class monitor {
 public:
  explicit monitor(scheduler& s)
      : s_(s),
        blocked_after_(s.options_.blocked_after.count()),
        hog_after_(s.options_.hog_after.count()),
        views_(s.processor_count_),
        dog_(s) {}

  void run() noexcept {
    std::int64_t pause = shortest_ns;
    while (!s_.stopping_.load(std::memory_order_acquire)) {
      trim();
      if (!nothing_goes_on()) {
        nap(pause);
        due_ = longest_ns;
        bool const acted = look();
        pause = acted ? shortest_ns : std::clamp(due_, shortest_ns, std::min(2 * pause, longest_ns));
      } else {
        if (!trimming_) rest();
        pause = shortest_ns;
      }
    }
  }

 private:
  /// What was seen of a processor at the last look.
  struct view {
    worker* holder = nullptr;
    std::uint64_t tick = 0;
    std::uint32_t seq = 0;
    std::int64_t first_cpu = 0;  // of this task, at the first look
    std::int64_t cpu = 0;        // at the last one
    std::int64_t same_seq = 0;   // since when, on weft's clock
    std::int64_t still = 0;      // the same, and no CPU time used
    std::uint32_t first = 0;     // of the queue: where its oldest task lies
    std::uint32_t dry = 0;       // how often the queue had been found empty
    bool ran_dry = false;        // it was since the last look
    bool owes = false;           // something was overdue
  };

  [[nodiscard]] bool nothing_goes_on() const noexcept {
    return s_.idle_.load(std::memory_order_seq_cst) == s_.processor_count_ && s_.global_.size() == 0 &&
           !(dog_.on() && s_.adrift() != 0) && !s_.starving();
  }

  /// While nothing goes on.
  void rest() noexcept {
    std::uint64_t const before = std::exchange(taken_, s_.taken_.get());
    if (before != taken_) return nap(longest_ns);  // something has gone on since the last look, and probably will again
    s_.release_idle_loops();
    sleep();
  }

  /// Ended early by stop_threads alone: either that sees the word, or its stopping_ is seen here.
  void nap(std::int64_t ns) noexcept {
    s_.monitor_word_.store(napping, std::memory_order_seq_cst);
    if (!s_.stopping_.load(std::memory_order_seq_cst)) futex_wait_until(s_.monitor_word_, napping, clock_ns() + ns);
    s_.monitor_word_.store(0, std::memory_order_relaxed);
  }

  void sleep() noexcept {
    s_.monitor_word_.store(sleeping, std::memory_order_seq_cst);
    // Pairs with take_idle_processor_locked: either it sees the word, or idle_ is seen lowered here.
    if (nothing_goes_on() && !s_.stopping_.load(std::memory_order_seq_cst)) {
      if (s_.stacks_.surplus() == 0) {  // pairs with rouse_monitor
        futex_wait(s_.monitor_word_, sleeping);
      } else {
        futex_wait_until(s_.monitor_word_, sleeping, period_ends_);
      }
    }
    s_.monitor_word_.store(0, std::memory_order_relaxed);
  }

  void trim() noexcept {
    if (s_.stacks_.surplus() == 0) {
      trimming_ = false;
      return;
    }
    if (!trimming_) {
      std::int64_t const now = clock_ns();
      if (now < period_ends_) return;
      s_.stacks_.begin_trim();
      period_ends_ = now + trim_period_ns;
    }
    trimming_ = s_.stacks_.trim(trimmed_at_once);
  }

  /// True: something was taken, asked for or woken.
  bool look() noexcept {
    std::int64_t const now = clock_ns();
    bool acted = false;
    bool left_out = s_.global_.size() != 0;
    if (dog_.on()) dog_.look(now);
    if (s_.starving() && now >= retry_at_) {
      retry_at_ = now + scheduler::ask_again_ns;
      bool const fed = s_.feed_starving();
      acted |= fed;
      if (fed || !s_.starve_alone()) alone_since_ = never;
      else alone_since_ = std::min(alone_since_, now);
      s_.starve_for_long(alone_since_ != never &&
                         now - alone_since_ >= scheduler::patience_with_starving_ns);    // S4, S5
      for (unsigned i = 0; i < s_.processor_count_; ++i) s_.processors_[i].look_at = 0;  // S2
    }
    count_dry();
    std::int64_t last_poll = 0;
    // With all processors idle somebody is about to sleep there, or asks whether that is for ever, and should not be disturbed.
    bool const unattended = s_.poll_until_.load(std::memory_order_relaxed) == 0 &&
                            s_.idle_.load(std::memory_order_relaxed) != s_.processor_count_;
    for (unsigned i = 0; i < s_.processor_count_; ++i) {
      processor& p = s_.processors_[i];
      p.coarse_now = coarse_time(now);
      last_poll = std::max(last_poll, p.last_poll.get());
      bool const same_task = views_[i].tick == p.tick.get();
      acted |= look_at(p, views_[i], now);
      look_for_overdue(p, views_[i], now);
      // Its holder gets on, but has had more than one task waiting ever since the last look.
      left_out |= !views_[i].ran_dry && p.queue.size() > 1;
      left_out |= same_task && (p.queue.peek_next() != nullptr || !p.queue.ring_empty() || unattended);
      left_out |= p.timers.next_deadline() <= now;
    }
    if (unattended && now - last_poll >= poll_overdue_ns) ask_for_poll();
    left_out &= s_.idle_.load(std::memory_order_relaxed) != 0;
    acted |= left_out && !left_out_;  // if it comes again nobody could be woken for it
    if (left_out) wake(now);
    left_out_ = left_out;
    return acted;
  }

  /// A searcher, for what is left out; another one if that has been so, and no processor has been taken, for as long as a wake-up may be late.
  void wake(std::int64_t now) noexcept {
    if (!left_out_ || s_.taken_.get() != taken_by_then_) left_out_since_ = now;
    if (now - left_out_since_ < longest_ns) {
      s_.wake_if_idle(nullptr);
    } else {
      s_.wake_another_searcher();
      left_out_since_ = now;
    }
    taken_by_then_ = s_.taken_.get();
  }

  void ask_for_poll() noexcept {
    for (unsigned i = 0; i < s_.processor_count_; ++i) {
      next_to_poll_ = (next_to_poll_ + 1) % s_.processor_count_;
      if (views_[next_to_poll_].holder != nullptr) break;
    }
    s_.processors_[next_to_poll_].look_at = 0;
  }

  void count_dry() noexcept {
    dry_ = 0;
    for (unsigned i = 0; i < s_.processor_count_; ++i) {
      std::uint32_t const dry = s_.processors_[i].dry;
      views_[i].ran_dry = dry != std::exchange(views_[i].dry, dry);
      dry_ += views_[i].ran_dry ? 1 : 0;
    }
  }

  void look_for_overdue(processor& p, view& v, std::int64_t now) noexcept {
    std::uint32_t const first = p.queue.first();
    bool const owes =
        p.timers.next_deadline() <= now || s_.global_.size() != 0 || (first == v.first && !p.queue.ring_empty());
    if (owes && v.owes && v.holder != nullptr) p.look_at = 0;
    v.first = first;
    v.owes = owes;
  }

  bool look_at(processor& p, view& v, std::int64_t now) noexcept {
    worker* const w = p.holder.load(std::memory_order_acquire);
    std::uint64_t const tick = p.tick;
    if (w == nullptr || w->held() != &p) {
      v.holder = nullptr;
      v.tick = tick;
      return false;
    }
    std::uint32_t const seq =
        w->seq.load(std::memory_order_acquire);  // pairs with L1 of its first section: clock, thread_id
    int const thread = w->thread_id;
    if (thread == 0) return false;  // it is just starting
    std::int64_t const cpu = thread_cpu_ns({w->clock});
    if (v.holder != w || v.tick != tick) {  // V1
      v.holder = w;
      v.tick = tick;
      v.seq = seq;
      v.first_cpu = v.cpu = cpu;
      v.same_seq = v.still = now;
      return false;
    }
    if (v.seq != seq || (seq & 1) != 0) {
      v.seq = seq;
      v.same_seq = v.still = now;
    } else if (v.cpu != cpu) {
      v.still = now;
    }
    v.cpu = cpu;  // V2
    if (is_blocked(v, thread, now)) return take(p, v, now, worker::adrift);
    return is_hog(v) && take(p, v, now, worker::adrift | worker::hog);
  }

  bool is_blocked(view const& v, int thread, std::int64_t now) noexcept {  // V3
    if (blocked_after_ <= 0 || (v.seq & 1) != 0) return false;
    bool const stands_still = now - v.still >= blocked_after_;
    bool const for_long = hog_after_ > 0 && now - v.same_seq >= hog_after_;
    if (!stands_still && !for_long) {
      if (v.still != now) due_ = std::min(due_, blocked_after_ - (now - v.still));
      return false;
    }
    std::uint32_t const naps = v.holder->naps.load(std::memory_order_acquire);
    if ((naps & 1) != 0) return false;
    char const state = thread_state(thread);
    if (v.holder->naps.load(std::memory_order_relaxed) != naps) return false;
    if (state == 0) return for_long && stands_still;  // no /proc: can only be told from a preempted one by time
    return state == 'S' || state == 'D';
  }

  bool is_hog(view const& v) const noexcept {  // V4
    if (hog_after_ <= 0) return false;
    std::int64_t const hogs = s_.hogs_.load(std::memory_order_relaxed);
    return v.cpu - v.first_cpu >= hog_after_ + hog_after_ * hogs / s_.processor_count_;
  }

  bool take(processor& p, view& v, std::int64_t now, std::uintptr_t left_with) noexcept {
    bool const hog = (left_with & worker::hog) != 0;
    if (s_.nothing_to_run(p) && s_.idle_.load(std::memory_order_relaxed) != 0 &&
        (hog || now - v.same_seq < keeps_idle_ns))
      return false;
    if (hog && dry_ > (v.ran_dry ? 1u : 0u)) return false;  // V5
    if (!s_.thread_to_be_had()) return false;
    // Counted before the processor goes: never less than there are.
    s_.adrift_.fetch_add(1, std::memory_order_seq_cst);
    if (hog) s_.hogs_.fetch_add(1, std::memory_order_relaxed);
    if (v.holder->take(p, v.seq, left_with)) {  // V6, M1 to M5
      s_.hand_overs_.fetch_add(1, std::memory_order_relaxed);
      if (dog_.on()) dog_.taken(*v.holder, p);
      v.holder = nullptr;
      s_.hand_on(p);  // M6
      return true;
    }
    s_.drift_ended(left_with);
    if (hog) v.holder->ask(p);
    return false;
  }

  scheduler& s_;
  std::int64_t const blocked_after_;
  std::int64_t const hog_after_;
  std::vector<view> views_;
  watchdog dog_;
  std::uint64_t taken_ = 0;           // scheduler::taken_ when nothing went on last
  std::uint64_t taken_by_then_ = 0;   // the same, at the last look that found something left out
  std::int64_t left_out_since_ = 0;   // by all looks, and none of them saw one taken
  unsigned next_to_poll_ = 0;         // the processor whose holder was last told to look at the network
  unsigned dry_ = 0;                  // processors whose queues were found empty since the last look
  bool left_out_ = false;             // the last look woke a searcher
  bool trimming_ = false;             // the pool has stacks that are to be trimmed now
  std::int64_t retry_at_ = 0;         // for tasks that starve
  std::int64_t alone_since_ = never;  // each look since then found these and nothing else
  std::int64_t period_ends_ = 0;      // of the pool's trimming
  std::int64_t due_ = longest_ns;     // when the first worker that stands still may be taken, from now
};

void scheduler::make_monitor() { watch_.reset(new monitor(*this)); }

void scheduler::delete_monitor::operator()(monitor* m) const noexcept { delete m; }

void scheduler::wake_monitor() noexcept {
  if (monitor_word_.exchange(0, std::memory_order_seq_cst) == sleeping) futex_wake(monitor_word_, 1);
}

void scheduler::rouse_monitor() noexcept {
  if (sim_ != nullptr) return;  // one thread only
  {
    guard hold(lock_);
    start_monitor_locked();
  }
  wake_monitor();
}

void scheduler::monitor_main() noexcept {
  set_thread_name("weft-monitor");
  set_precise_sleep();
  {
    unsigned const system = usable_threads();
    guard hold(lock_);
    unsigned const most = std::max(processor_count_, std::max(system, 1u) - 1);
    if (most < thread_limit_.load(std::memory_order_relaxed)) {
      thread_limit_.store(most, std::memory_order_relaxed);
      thread_limit_name_ = "the system (RLIMIT_NPROC, pids.max)";
    }
  }
  live_threads_.fetch_add(1, std::memory_order_acq_rel);
  watch_->run();
  live_threads_.fetch_sub(1, std::memory_order_acq_rel);
}

}  // namespace weft::rt
