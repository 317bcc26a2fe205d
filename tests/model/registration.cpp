// Registration with a context (H0) against its cancellation (C1 to C5): two tasks that are the first, lists that are spread meanwhile. And the
// done channel, which is closed by the cancellation.
//
// The words and lists of waits are the runtime's (wait.hpp). What stands in task_context.cpp, cancel_node.cpp and context.cpp is here again, step by
// step under the same names.

#include "runtime/sched/wait.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

using namespace weft::rt;

struct fences {
  static void light() { light_fence(); }
};

constexpr std::size_t tasks = 2;

/// One of a context's lists.
struct context_shard {
  object_lock lock;
  bool has[tasks] = {};  // guarded by lock
};

/// One list a processor, of which there are as many as tasks.
struct spread_shards {
  plain made;
  context_shard of[tasks];
};

void lock_unless(bool left_out, object_lock& l) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (!left_out) l.lock();
}
void unlock_unless(bool left_out, object_lock& l) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (!left_out) l.unlock();
}

/// Threads 0 and 1: tasks, whose hooks run there too. 2: who cancels. `First`: nobody has registered before. Otherwise the first task has, and
/// ends, and spreads the lists then.
template <bool First>
class registering final : public program {
 public:
  registering() {
    if (First) return;
    used_.store(true);
    first_.has[0] = true;
    at_[0] = &first_;
  }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 2) return cancel();
    if (First || thread == 1) wait(thread);
    if (at_[thread] != nullptr) unregister(thread);
    if (!First && thread == 0) spread();
  }

 private:
  void wait(unsigned i) {
    if (stage_.load(std::memory_order_acquire)) return;             // W1
    std::uint64_t const generation = begin_wait(tasks_[i]);         // W3
    if (!stage_.load(std::memory_order_acquire)) register_wait(i);  // H0
    publish_wait<fences>(tasks_[i], generation, true);              // H1, H2
    bool const flagged = stage_.load(std::memory_order_acquire);    // H3
    if (flagged && claim(tasks_[i], generation, how::cancel)) make_ready(i);
    queued_[i].wait();
    check(end_wait(tasks_[i]) == how::cancel, "a task goes on that nobody has claimed");  // R1
  }

  void register_wait(unsigned i) {
    if (!used_.load(std::memory_order_acquire)) {
      used_.store(true, std::memory_order_relaxed);
      if (!mutated("H0: who is the first has no full fence")) full_fence();
    } else if (First) {
      // What multi-copy atomic processors give to who finds what another has stored: what C1 stored before C2 missed it is there too. The explorer has
      // C++'s memory, which does not promise that, so it is told by a fence.
      if (!mutated("H0: another's `used` may be seen before it has come to all")) full_fence();
    }
    spread_shards* const more = spread_.load(std::memory_order_acquire);
    if (more != nullptr) {
      reached("a task registers in a list of its processor");
      more->made.read();
    }
    context_shard& s = more == nullptr ? first_ : more->of[i];
    bool const unlocked = mutated("H0: registers without the list's lock");
    lock_unless(unlocked, s.lock);
    s.has[i] = true;
    at_[i] = &s;
    unlock_unless(unlocked, s.lock);
  }

  void unregister(unsigned i) {
    guard hold(at_[i]->lock);
    at_[i]->has[i] = false;
  }

  void spread() {
    others_.made.write();
    spread_shards* none = nullptr;
    if (mutated("spread: is installed by a store")) return spread_.store(&others_, std::memory_order_release);
    order const o = mutated("spread: nothing is released") ? std::memory_order_acquire : std::memory_order_acq_rel;
    spread_.compare_exchange_strong(none, &others_, o, std::memory_order_relaxed);
  }

  void make_ready(unsigned i) { check(queued_[i].ring(), "a task is queued twice"); }

  void cancel() {
    stage_.store(true, std::memory_order_release);  // C1
    if (!mutated("C2: no full fence before `used`")) full_fence();
    if (!has_registered()) return;  // C2
    if (!mutated("C3: no heavy fence")) heavy_fence();
    if (!mutated("C4: the first list is left out")) wake_registered(first_);
    spread_shards* const more = spread_.load(std::memory_order_acquire);
    if (more == nullptr || mutated("C4: the lists of the processors are left out")) return;
    more->made.read();
    for (context_shard& s : more->of) wake_registered(s);
  }

  bool has_registered() {
    if (!used_.load(std::memory_order_relaxed)) return false;
    auto const any = [](context_shard& s) {
      bool const unlocked = mutated("C2: looks at a list without its lock");
      lock_unless(unlocked, s.lock);
      bool const has = s.has[0] || s.has[1];
      unlock_unless(unlocked, s.lock);
      return has;
    };
    if (any(first_)) return true;
    spread_shards* more = nullptr;
    if (mutated("C2: asks for the lists of the processors by a load")) more = spread_.load(std::memory_order_acquire);
    else (void)spread_.compare_exchange_strong(more, nullptr, std::memory_order_acq_rel, std::memory_order_acquire);
    if (more == nullptr || mutated("C2: does not look at the lists of the processors")) return false;
    reached("the lists of the processors are looked at");
    for (context_shard& s : more->of)
      if (any(s)) return true;
    return false;
  }

  void wake_registered(context_shard& s) {
    bool woken[tasks] = {};
    {
      guard hold(s.lock);
      for (unsigned i = 0; i < tasks; ++i)
        woken[i] = s.has[i] &&
                   claim(tasks_[i], wait_word::generation(tasks_[i].word.load(std::memory_order_acquire)), how::cancel);
    }
    for (unsigned i = 0; i < tasks; ++i)
      if (woken[i]) make_ready(i);
  }

  waiter tasks_[tasks];
  context_shard* at_[tasks] = {};
  std::atomic<bool> stage_{false};  // the context's, as all that follows
  std::atomic<bool> used_{false};
  std::atomic<spread_shards*> spread_{nullptr};
  context_shard first_;
  spread_shards others_;
  bell queued_[tasks];
};

/// Thread 0: who cancels. 1: a task that receives from the done channel. 2: who looks at the channel and then at the context, or the other way
/// round.
class closing final : public program {
 public:
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) return mark();
    if (thread == 1) {
      done();
      receive();
      check(is_cancelled_for_all(), "the done channel is closed, and W1 does not throw");
    } else if (choose(2) == 0) {
      if (!is_cancelled_for_all()) return;
      done();
      check(is_closed(), "W1 throws, and the done channel is open");
    } else {
      done();
      if (is_closed()) check(err(), "the done channel is closed, and err() says nothing");
    }
  }

 private:
  enum stages : std::uint8_t { none, closing_done, set };

  // ---- the context ----
  void mark() {
    guard hold(lock_);
    cancelled_ = true;
    bool const early = mutated("C1: the stage is set before the done channel is closed");
    if (early) stage_.store(set, std::memory_order_release);
    if (done_channel_.load(std::memory_order_relaxed)) {
      reached("a done channel is closed");
      if (!early && !mutated("C1: nothing says that the done channel is being closed"))
        stage_.store(closing_done, std::memory_order_release);
      close();
    }
    if (!early) stage_.store(set, std::memory_order_release);
  }

  bool is_cancelled_for_all() {
    std::uint8_t const now = stage_.load(std::memory_order_acquire);
    if (now != closing_done) return now == set;
    reached("somebody finds the done channel about to be closed");
    if (mutated("W1: does not wait until the done channel is closed")) return true;
    guard hold(lock_);
    return true;
  }

  bool err() {
    if (stage_.load(std::memory_order_acquire) == set) return true;
    if (!done_channel_.load(std::memory_order_acquire)) return false;
    if (mutated("err: does not wait until the stage is set")) return false;
    guard hold(lock_);
    return cancelled_;
  }

  void done() {
    if (done_channel_.load(std::memory_order_acquire)) return;
    bool const unlocked = mutated("done: the channel is made without the context's lock");
    lock_unless(unlocked, lock_);
    if (!done_channel_.load(std::memory_order_relaxed)) {
      if (cancelled_ && !mutated("done: a channel that is made after C1 is open")) close();
      done_channel_.store(true, std::memory_order_release);
    }
    unlock_unless(unlocked, lock_);
  }

  // ---- the channel ----
  void close() {
    wait_record* r = nullptr;
    {
      guard hold(channel_);
      closed_ = true;
      r = pop_claimed(receivers_, how::close);
    }
    if (r != nullptr) check(queued_.ring(), "a task is queued twice");
  }

  bool is_closed() {
    guard hold(channel_);
    return closed_;
  }

  void receive() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    channel_.lock();
    if (closed_) return channel_.unlock();
    record_.who = &task_;
    record_.generation = begin_wait(task_);
    push_back(receivers_, record_);
    publish_wait<fences>(task_, record_.generation, false);
    channel_.unlock();
    queued_.wait();
    check(end_wait(task_) == how::close, "a task goes on that nobody has claimed");
  }

  object_lock lock_;
  bool cancelled_ = false;  // guarded by lock_
  std::atomic<std::uint8_t> stage_{none};
  std::atomic<bool> done_channel_{false};  // it is there
  object_lock channel_;
  bool closed_ = false;  // guarded by channel_
  wait_list receivers_;  // the same
  wait_record record_;
  waiter task_;
  bell queued_;
};

constexpr scenario scenarios[] = {
    {"two tasks that are the first to register", make<registering<true>>, true, false, 3},
    {"a task that registers while the lists are spread", make<registering<false>>, true, false, 3},
    {"two tasks that are the first to register, without membarrier", make<registering<true>>, false, false, 2},
    {"a done channel", make<closing>, true, true, 4},
};

}  // namespace

protocol const registration{
    "registration", "runtime/sched/cancel_node.cpp, runtime/sched/task_context.cpp", scenarios, {}};

}  // namespace model
