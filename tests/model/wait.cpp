// Protocol B: one task that waits, and partner, closer, timer, canceller and freezer that meet it.
//
// The words and lists are the runtime's (wait.hpp). What stands in wait.cpp and cancel_node.cpp, between a worker and its stacks, is here
// again, step by step under the same names. Two threads are workers: one runs the hook while the other may go on with the task already.

#include "runtime/sched/wait.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

using namespace weft::rt;

struct named_fences {
  static void light() {
    if (!mutated("H2: no light fence")) light_fence();
  }
  static void heavy() {
    if (!mutated("C3: no heavy fence")) heavy_fence();
  }
};

enum claimant : unsigned { partner = 1, closer = 2, timer = 4, canceller = 8, freezer = 16 };

/// Threads 0 and 1: workers. 2 and 3: those of `First` and `Second`; of several in one, each is tried.
template <unsigned First, unsigned Second, unsigned Waits = 1>
class meeting final : public program {
 public:
  [[nodiscard]] unsigned threads() const override { return Second != 0 ? 4 : 3; }

  void run(unsigned thread) override {
    if (thread == 0) wait_once();
    if (thread <= 1) return work();
    unsigned const kinds = thread == 2 ? First : Second;
    unsigned which = choose(static_cast<unsigned>(__builtin_popcount(kinds)));
    unsigned kind = 1;
    while ((kinds & kind) == 0 || which-- != 0) kind *= 2;
    if (kind == partner || kind == closer)
      for (unsigned i = 0; i < Waits; ++i) meet(kind == partner ? how::partner : how::close);
    else if (kind == timer) fire();
    else if (kind == canceller) cancel();
    else freeze_and_thaw();
  }

  void end() override { check(waits_ == 0, "the task has not come to its end"); }

 private:
  // ---- the task ----
  void wait_once() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    if (flag_.load(std::memory_order_acquire)) return finish();  // W1
    lock_.lock();                                                // W2
    if (done_) {
      lock_.unlock();
      return finish();
    }
    frame_.write();
    request_.write();
    record_ = {};
    record_.who = &task_;
    record_.generation = wait_word::generation(task_.word.load(std::memory_order_relaxed)) + 1;  // W3
    task_.word.store(record_.generation << wait_word::generation_shift, std::memory_order_relaxed);
    push_back(list_, record_);
    hook();
  }

  void register_wait() {
    if (!mutated("H0: the context is not told that a task registers")) {
      used_.store(true, std::memory_order_relaxed);
      if (!mutated("H0: no full fence")) full_fence();
    }
    guard hold(shard_);
    registered_ = true;
  }

  bool is_registered() {
    guard hold(shard_);
    return registered_;
  }

  void hook() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    std::uint64_t const generation = record_.generation;
    bool const registers_late = mutated("H0 after H3: the task registers when it has looked at the flag");
    if (!registered_ && !registers_late && !flag_.load(std::memory_order_acquire)) register_wait();  // H0
    bool const early = mutated("H5 before H1: the lock is released before the wait is published");
    if (early) lock_.unlock();
    bool const look_first = mutated("H3 before H1: the flag is looked at before the wait is published");
    bool flagged = look_first && flag_.load(std::memory_order_acquire);
    bool const reads_late = mutated("H1: the request is read after it");
    if (!reads_late) request_.read();                     // copied before H1
    publish_wait<named_fences>(task_, generation, true);  // H1, H2
    if (reads_late) request_.read();
    if (!look_first && !mutated("H3: the flag is not looked at again")) flagged = flag_.load(std::memory_order_acquire);
    bool const mine = flagged && claim(task_, generation, how::cancel);  // H3
    if (!registered_ && registers_late && !flagged) register_wait();
    if (generation == 1) armed_.ring();  // H4
    object_.read();
    if (!early) lock_.unlock();  // H5
    if (mine) ready_task();      // H6
  }

  void resume() {
    std::uint64_t const word = task_.word.load(std::memory_order_acquire);  // R1, pairs with the claim
    task_.word.store(word & ~(wait_word::state_mask | wait_word::how_mask), std::memory_order_relaxed);
    how const h = wait_word::winner(word);
    check((word & wait_word::state_mask) == wait_word::claimed, "a task goes on that nobody has claimed");
    check((word & (wait_word::frozen | wait_word::delivered)) == 0, "a task goes on that is frozen");
    check(h != how::timeout || wait_word::generation(word) == 1, "a timer ends a wait that is not its own");
    bool const popped = h == how::partner || h == how::close;
    if (popped) check(task_.winner == &record_, "the winner has not said who it is");
    request_.write();  // park() may be over before R2
    if (!popped && !mutated("R2: is left out")) {
      guard hold(lock_);
      if (record_.linked) unlink(list_, record_);
    }
    if (h == how::partner) value_.read();
    object_.write();  // whoever goes on may free the object,
    frame_.write();   // and leaves the frame
    if (waits_ > 1) {
      waits_ -= 1;
      wait_once();
    } else {
      finish();
    }
  }

  void finish() {
    waits_ = 0;
    armed_.ring();  // whoever waits for it comes too late
    queued_.ring();
  }

  // ---- workers: a run queue for one task ----
  void work() {
    for (;;) {
      queued_.wait();
      if (waits_ == 0) break;
      resume();
    }
    queued_.ring();  // to the other worker
  }

  /// ready()
  void ready_task() {
    if (!mutated("F2: a frozen task is made ready all the same") && left_to_thawer(task_)) return;
    queue();
  }
  void queue() {
    check(waits_ != 0, "a task is queued that has ended");
    check(queued_.ring(), "a task is queued twice");
  }

  // ---- the claimants ----
  void meet(how h) {
    wait_record* r = nullptr;
    bool const early = mutated("partner: makes ready before it delivers");
    {
      guard hold(lock_);
      if (list_.head != nullptr) frame_.read();
      r = pop_claimed(list_, h);
      if (r == nullptr) {
        done_ = true;  // the value, or the news, stays in the object
        return;
      }
      if (early) ready_task();
      if (h == how::partner) value_.write();
    }
    if (!early) ready_task();
    if (mutated("partner: touches the record after it has made ready")) frame_.read();
  }

  void fire() {
    armed_.wait();
    std::uint64_t generation = 1;
    if (mutated("timer: claims whatever wait there is"))
      generation = wait_word::generation(task_.word.load(std::memory_order_acquire));
    if (claim(task_, generation, how::timeout)) ready_task();
  }

  void cancel() {
    bool const late = mutated("C1 after C4: the flag is set after the waits were claimed");
    if (!late) flag_.store(true, std::memory_order_release);  // C1
    if (!mutated("C2: no full fence")) full_fence();
    bool won = false;
    if (used_.load(std::memory_order_relaxed) && is_registered()) {  // C2
      named_fences::heavy();                                         // C3
      guard hold(shard_);
      if (registered_ && !mutated("C4: is left out")) {
        std::uint64_t const generation = wait_word::generation(task_.word.load(std::memory_order_acquire));
        won = claim(task_, generation, how::cancel);  // C4
      }
    }
    if (late) flag_.store(true, std::memory_order_release);
    if (won) ready_task();  // C5
  }

  void freeze_and_thaw() {
    if (!freeze(task_)) return;
    frame_.read();  // the dump reads the request and the stack
    if (thaw(task_)) queue();
  }

  waiter task_;
  object_lock lock_;
  wait_list list_;     // guarded by lock_
  bool done_ = false;  // guarded by lock_
  wait_record record_;
  plain frame_, request_, object_, value_;
  atomic<bool> flag_{false};  // the context's
  atomic<bool> used_{false};  // the same
  object_lock shard_;         // the same
  bool registered_ = false;   // written under shard_, by the task alone
  bell armed_;                // the timer, for the first wait
  bell queued_;
  unsigned waits_ = Waits;
};

constexpr unsigned claims = partner | closer | canceller;

constexpr scenario scenarios[] = {
    {"a partner or closer or canceller", make<meeting<claims, 0>>, true, true},
    {"a partner or closer and a canceller", make<meeting<partner | closer, canceller>>, true, false, 4},
    {"a partner and a freezer", make<meeting<partner, freezer>>, true},
    {"a canceller and a freezer", make<meeting<canceller, freezer>>, true, false, 4},
    {"two waits and a timer of the first", make<meeting<timer, partner, 2>>, true},
    {"a canceller without membarrier", make<meeting<canceller, 0>>, false},
};

constexpr harmless harmless_ones[] = {
    {"claim: w.word.load", change::relaxed,
     "who reads the record has the object's lock, which the waiter had; the exchange acquires"},
    {"claim: w.word.compare_exchange_weak", change::relaxed,
     "the object's lock, and the run queue that ready() goes by, order what the exchange would"},
    {"left_to_thawer: w.word.load", change::skipped,
     "the caller has claimed the word, and FROZEN is never set on a claimed one; the exchange looks"},
};

}  // namespace

protocol const waiting{"waiting", "runtime/sched/wait.hpp", scenarios, harmless_ones};

}  // namespace model
