// The idle protocol: workers that find nothing and go to sleep, and who has something for them. idle.cpp, hand_over.cpp and
// global_queue.cpp are the runtime's; the loop that picks tasks is that of find_work() and search(), cut down to the queues.

#include "runtime/sched/scheduler.hpp"

#include "runtime/base/check.hpp"
#include "tests/model/protocols.hpp"

#include <concurrentqueue.h>

namespace weft::rt {

std::int64_t clock_ns() noexcept { return 1; }
void warn(char const*, ...) {}

bool scheduler::work_anywhere(std::int64_t now) noexcept {
  if (model::mutated("I7: does not look again")) return false;
  if (!model::mutated("I7: does not look at the global queue again") && global_.size() != 0) return true;
  for (unsigned i = 0; i < processor_count_; ++i)
    if (processors_[i].queue.size() > 1 || processors_[i].timers.next_deadline() <= now) return true;
  return false;
}

void scheduler::poll_network(worker&, std::int64_t timeout_ns) {
  if (timeout_ns < 0) poller_.bell.wait();  // else time goes on
}

}  // namespace weft::rt

namespace model {
namespace {

using namespace weft::rt;

template <unsigned Processors, unsigned Workers>
class idling : public program {
 public:
  idling() : s_(Processors) {
    for (worker& w : workers_) w.sched = &s_;
  }
  void end() override {
    check(made_ == ran_, "a task waits while a worker sleeps that should have been woken");
    check(s_.global_.size() == 0, "tasks are counted that there are not");
    unsigned searching = 0;
    for (worker& w : workers_) searching += w.searching ? 1 : 0;
    check(s_.searching_.load() == searching, "another number of searchers is counted than there are");
  }

 protected:
  void hold(unsigned w, unsigned p) {
    workers_[w].proc.store(reinterpret_cast<std::uintptr_t>(&s_.processors_[p]));
    s_.processors_[p].holder.store(&workers_[w]);
  }

  /// find_work()
  void work(worker& w) {
    for (bool in_vain = false;;) {
      processor* p = w.held();
      if (p == nullptr) {
        if (!s_.go_idle(w)) return;
        continue;
      }
      if (p->timers.next.load(std::memory_order_acquire) <= 1) {
        p->timers.next.store(never, std::memory_order_relaxed);
        ++ran_;
      }
      task* t = p->queue.pop(s_.single());
      if (t == nullptr) t = take_global(*p);
      if (t == nullptr) t = search(w, *p);
      if (t != nullptr) {
        if (w.searching) s_.stop_searching(w);
        run_task(t);
        in_vain = false;
        continue;
      }
      if (in_vain) pause();  // it saw a task that it could not get: somebody is between G1 and G2, or a thief was first
      in_vain = true;
      if (!s_.go_idle(w)) return;
    }
  }
  task* take_global(processor& p) {
    task* t = nullptr;
    if (s_.global_.size() == 0 || s_.global_.pop(*p.port, &t, 1) == 0) return nullptr;
    if (s_.global_.size() != 0) s_.wake_if_idle(&p);
    return t;
  }
  task* search(worker& w, processor& p) {
    if (s_.single()) return nullptr;
    if (!w.searching) {
      std::uint32_t const busy = Processors - s_.idle_.load(std::memory_order_relaxed);
      if (2 * s_.searching_.load(std::memory_order_relaxed) >= busy) return nullptr;
      s_.searching_.fetch_add(1, std::memory_order_seq_cst);
      w.searching = true;
    }
    for (unsigned i = 0; i < Processors; ++i)
      if (processor& victim = s_.processors_[i]; &victim != &p)
        if (task* t = p.queue.steal_from(victim.queue, false)) return t;
    return take_global(p);
  }

  task* fresh() {
    task* t = &tasks_[made_++];
    t->closure.write();
    return t;
  }
  void run_task(task* t) {
    t->closure.write();
    check(++t->runs == 1, "a task runs twice");
    ++ran_;
    if (ran_ == 1) first_.ring();
  }

  scheduler s_;
  worker workers_[Workers];
  task tasks_[3];
  unsigned made_ = 0, ran_ = 0;
  bell first_;
};

/// Worker 0 queues two tasks and computes until somebody has run one of them; worker 1 is about to go idle.
struct busy_publisher final : idling<2, 2> {
  busy_publisher() { hold(0, 0), hold(1, 1); }
  [[nodiscard]] unsigned threads() const override { return 2; }
  void run(unsigned thread) override {
    if (thread == 1) return work(workers_[1]);
    processor& p = *workers_[0].held();
    for (int i = 0; i < 2; ++i) {
      (void)p.queue.push(fresh());
      s_.wake_if_idle(&p);  // I1 to I3
    }
    first_.wait();
    while (task* t = p.queue.pop(false)) run_task(t);
  }
};

/// A plain thread queues a task while both workers go idle.
template <unsigned Workers, unsigned Tasks>
struct outside_publisher final : idling<Workers, Workers> {
  explicit outside_publisher(bool memory = true) {
    moodycamel::has_memory = memory;
    for (unsigned i = 0; i < Workers; ++i) this->hold(i, i);
  }
  ~outside_publisher() override { moodycamel::has_memory = true; }
  [[nodiscard]] unsigned threads() const override { return Workers + 1; }
  void run(unsigned thread) override {
    if (thread < Workers) return this->work(this->workers_[thread]);
    for (unsigned i = 0; i < Tasks; ++i) {
      this->s_.global_.push(this->fresh());
      this->s_.wake_if_idle(nullptr);
    }
  }
};
program* make_without_memory(void* place) { return ::new (place) outside_publisher<1, 2>(false); }

/// Worker 1 is counted as a searcher and has found something, worker 2 was not allowed to search and goes idle, and worker 0 queues two tasks:
/// nobody but worker 2 can run one.
struct searcher_stops final : idling<2, 3> {
  searcher_stops() {
    hold(0, 0), hold(2, 1);
    hold(1, 0);  // one of its own would do, and make the check longer: what counts is that it holds one
    s_.searching_.store(1);
    workers_[1].searching = true;
  }
  [[nodiscard]] unsigned threads() const override { return 3; }
  void run(unsigned thread) override {
    if (thread == 0) {
      processor& p = s_.processors_[0];
      for (int i = 0; i < 2; ++i) (void)p.queue.push(fresh());
      s_.wake_if_idle(&p);
    } else if (thread == 1) {
      s_.stop_searching(workers_[1]);
    } else if (s_.go_idle(workers_[2])) {
      work(workers_[2]);
    }
  }
  void end() override { check(ran_ != 0, "two tasks wait while a worker sleeps that should have been woken"); }
};

/// Workers 1 and 2 have searched in vain and go idle, one of them as the last, while worker 0 queues two tasks: nobody but they can run one.
struct searchers_give_up final : idling<3, 3> {
  searchers_give_up() {
    for (unsigned i = 0; i < 3; ++i) hold(i, i);
    s_.searching_.store(2);
    workers_[1].searching = true, workers_[2].searching = true;
  }
  [[nodiscard]] unsigned threads() const override { return 3; }
  void run(unsigned thread) override {
    if (thread != 0) {
      back_[thread] = s_.go_idle(workers_[thread]);
      return;
    }
    processor& p = s_.processors_[0];
    for (int i = 0; i < 2; ++i) (void)p.queue.push(fresh());
    s_.wake_if_idle(&p);
  }
  void end() override {
    check(back_[1] || back_[2], "two tasks wait while a worker sleeps that should have been woken");
  }

 private:
  bool back_[3] = {};
};

/// Worker 0 was started for the first task of all and has found it, worker 1 goes idle, and a plain thread has a second one: nobody but
/// worker 1 can run that.
struct second_task final : idling<2, 2> {
  second_task() {
    hold(0, 0), hold(1, 1);
    s_.searching_.store(1);
    workers_[0].searching = true;
    s_.monitor_wanted_.store(false);
  }
  [[nodiscard]] unsigned threads() const override { return 3; }
  void run(unsigned thread) override {
    if (thread == 0) {
      s_.stop_searching(workers_[0]);
    } else if (thread == 1) {
      if (s_.go_idle(workers_[1])) work(workers_[1]);
    } else {
      s_.monitor_wanted_.store(true, std::memory_order_relaxed);
      s_.global_.push(fresh());
      s_.wake_if_idle(nullptr);
    }
  }
};

/// Worker 1 was woken to search, and its thread does not run for long; workers 2 and 3 sleep. Worker 0 queues two tasks while the monitor wakes
/// another searcher, and worker 1 finds something after all.
struct late_searcher final : idling<4, 4> {
  late_searcher() {
    hold(0, 0), hold(1, 1);
    s_.searching_.store(1);
    workers_[1].searching = true;
    for (unsigned i = 2; i < 4; ++i) {
      s_.give_idle_processor_locked(&s_.processors_[i]);
      s_.add_idle_locked(workers_[i]);
    }
  }
  [[nodiscard]] unsigned threads() const override { return 3; }
  void run(unsigned thread) override {
    if (thread == 1) return s_.stop_searching(workers_[1]);
    if (thread == 2) return s_.wake_another_searcher();
    processor& p = *workers_[0].held();
    for (int i = 0; i < 2; ++i) (void)p.queue.push(fresh());
    s_.wake_if_idle(&p);
  }
  void end() override {
    unsigned woken = 0;
    for (unsigned i = 2; i < 4; ++i) woken += workers_[i].held() != nullptr && workers_[i].searching ? 1 : 0;
    check(woken != 0, "the monitor has woken nobody");
    check(s_.searching_.load() == woken, "another number of searchers is counted than there are");
  }
};

/// Two searchers stop at once, with something or without.
struct two_searchers final : idling<2, 2> {
  two_searchers() {
    hold(0, 0), hold(1, 1);
    s_.searching_.store(2);
    for (worker& w : workers_) w.searching = true;
  }
  [[nodiscard]] unsigned threads() const override { return 2; }
  void run(unsigned thread) override {
    if (choose(2) == 0) s_.stop_searching(workers_[thread]);
    else (void)s_.go_idle(workers_[thread]);
  }
};

/// Two plain threads have something for two workers that sleep.
struct two_wakers final : idling<2, 2> {
  two_wakers() {
    for (unsigned i = 0; i < 2; ++i) {
      s_.give_idle_processor_locked(&s_.processors_[i]);
      s_.add_idle_locked(workers_[i]);
    }
  }
  [[nodiscard]] unsigned threads() const override { return 2; }
  void run(unsigned) override { s_.wake_if_idle(nullptr); }
};

/// A plain thread arms a timer while the only worker goes idle.
struct timer_armer final : idling<1, 1> {
  timer_armer() { hold(0, 0); }
  [[nodiscard]] unsigned threads() const override { return 2; }
  void run(unsigned thread) override {
    if (thread == 0) return work(workers_[0]);
    ++made_;
    s_.processors_[0].timers.next.store(1, std::memory_order_release);
    s_.timer_changed(1);
  }
};

/// The monitor has taken a processor with two tasks and finds no thread for it, while a worker without one comes back from its task.
struct no_thread_for_it final : idling<1, 1> {
  no_thread_for_it() {
    workers_[0].proc.store(worker::adrift);
    s_.adrift_.store(1);
    for (int i = 0; i < 2; ++i) (void)s_.processors_[0].queue.push(fresh());
  }
  [[nodiscard]] unsigned threads() const override { return 2; }
  void run(unsigned thread) override {
    if (thread == 0) {
      check(true, "");
      workers_[0].proc.load(std::memory_order_relaxed);
      if (s_.go_idle(workers_[0])) work(workers_[0]);
    } else {
      s_.hand_on(s_.processors_[0]);
    }
  }
};

constexpr scenario scenarios[] = {
    {"a busy worker queues two tasks", make<busy_publisher>, true, false, 3, true},
    {"a searcher stops while another worker goes idle", make<searcher_stops>, true, true, 2, true},
    {"two searchers give up while a busy worker queues two tasks", make<searchers_give_up>, true, true, 2, true},
    {"a second task comes while the searcher that found the first stops", make<second_task>, true, false, 2, true},
    {"a searcher's thread does not run, and the monitor wakes another", make<late_searcher>, true, false, 3, true},
    {"two plain threads wake somebody", make<two_wakers>, true, false, 255, true},
    {"two searchers stop", make<two_searchers>, true, false, 3, true},
    {"a plain thread queues two tasks for one worker", make<outside_publisher<1, 2>>, true, false, 2, true},
    {"the same when the queue has no memory", make_without_memory, true, false, 2, true},
    {"a plain thread arms a timer", make<timer_armer>, true, false, 3, true},
    {"the monitor finds no thread for a processor", make<no_thread_for_it>, true, false, 2, true},
    {"a plain thread queues a task for two workers", make<outside_publisher<2, 1>>, true, false, 1, true},
};

constexpr harmless harmless_ones[] = {
    {"I4 give_idle_processor_locked: idle_.fetch_add", change::split, "only changed under lock_"},
    {"take_idle_processor_locked: idle_.fetch_sub", change::split, "only changed under lock_"},
    {"take_idle_processor_locked: idle_.fetch_sub", change::relaxed,
     "who sees too many idle processors finds out under lock_"},
    {"wake_one_searcher: searching_.compare_exchange_strong", change::relaxed,
     "its lock_ orders it against a sleeper's I4"},
    {"wake_searcher: searching_.fetch_sub", change::relaxed, "the same"},
    {"wake_searcher: searching_.fetch_sub", change::split,
     "would need a third thread between the two: beyond the bounds"},
    {"wake_another_searcher: searching_.fetch_add", change::relaxed, "its lock_ orders it against a sleeper's I4"},
    {"hold_locked: p.holder.store", change::none, "for the monitor, which is not in these programs"},
    {"hold_locked: w.proc.store", change::none, "the worker takes lock_ before it looks"},
    {"assign_locked: w.wakeups.store", change::none, "the worker takes lock_ after it has slept"},
    {"add_idle_locked: w.wakeups.store", change::late, "the worker itself reads it next"},
    {"go_idle: hold", change::left_out,
     "what lock_ guards is not modelled, and one sleeper's section meets no other here"},
    {"hand_on: hold", change::left_out, "the same"},
    {"go_idle: w.proc.load", change::skipped, "the worker's own word"},
    {"go_idle: w.proc.store", change::none,
     "for the monitor, which is not in these programs; the worker gets the next processor under lock_"},
    {"I5 go_idle: searching_.fetch_sub", change::relaxed, "I6 is a fence"},
    {"go_idle: idle_.load", change::none, "chooses between two fences, either of which would do here"},
    {"go_idle: full_fence", change::left_out,
     "what it orders is read seq_cst here; timers have a fence of their own in sleep_in_poller"},
    {"sleep_in_poller: w.wakeups.load", change::none, "only spares a system call: the poller's wake-up is kept"},
    {"sleep_until_woken: w.wakeups.load", change::relaxed, "the worker takes lock_ after it has slept"},
    {"sleep_in_poller: poll_until_.store", change::none, "who reads 0 wakes a worker by I3 instead"},
    {"timer_changed: poll_until_.load", change::skipped, "the same"},
    {"sleep_on_futex: poll_until_.load", change::skipped, "only says whether this sleep has a limit too"},
    {"I6 hand_on: heavy_fence", change::left_out,
     "would need a third thread that publishes from another processor: beyond the bounds"},
    {"G1 push: count_.fetch_add", change::relaxed, "I2 of a plain thread and I6 are fences"},
    {"size: count_.load", change::relaxed, "the same"},
    {"pop: listed_.load", change::relaxed, "the list's lock orders it"},
    {"pop_list: hold", change::left_out, "what the list's lock guards is not modelled"},
    {"push_list: hold", change::left_out, "the same"},
    {"pop_list: listed_.fetch_sub", change::split, "only changed under the list's lock"},
    {"push_list: listed_.fetch_add", change::none, "the same; the lock orders it"},
};

}  // namespace

protocol const idle{"idle", "idle.cpp hand_over.cpp global_queue.cpp global_queue.hpp", scenarios, harmless_ones};

}  // namespace model
