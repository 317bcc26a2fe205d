// The run queue: an owner that pushes, pops and takes back, and thieves, on rings of two and four places.

#include "runtime/sched/run_queue.hpp"

#include "runtime/sched/task.hpp"
#include "tests/model/protocols.hpp"

namespace model {
namespace {

using weft::rt::task;

/// Threads: 0 the owner, the others thieves.
template <std::uint32_t Capacity, unsigned Threads, unsigned Tasks>
class theft : public program {
 public:
  using queue = weft::rt::ring_and_next<Capacity>;
  [[nodiscard]] unsigned threads() const override { return Threads; }

  void end() override {
    for (queue& q : queues_)
      while (task* t = q.pop(false)) ++t->runs;
    for (unsigned i = 0; i < made_; ++i) check(tasks_[i].runs == 1, "a task is lost");
  }

 protected:
  queue& own() { return queues_[self()]; }
  queue& victim() { return queues_[0]; }

  task* fresh() {
    task* t = &tasks_[made_++];
    t->closure.write();
    return t;
  }
  void push() { check(own().push(fresh()), "a ring with room is full"); }
  void pop() { run(own().pop(false)); }
  void run(task* t) {
    if (t == nullptr) return;
    t->closure.write();
    check(++t->runs == 1, "a task runs twice");
  }
  void run(unsigned) override = 0;
  void steal(bool if_alone) {
    run(own().steal_from(victim(), if_alone));
    while (task* t = own().pop(false)) run(t);
  }

  queue queues_[Threads];
  task tasks_[Tasks];
  unsigned made_ = 0;  // the owner's
};

struct pushes_and_pops final : theft<4, 2, 4> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push(), push(), push();
      pop(), pop();
    } else {
      steal(choose(2) == 1);
    }
  }
  using theft::run;
};

/// Round and round: what a thief copies is overwritten meanwhile.
struct wraps_around final : theft<2, 2, 6> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push(), push();
      for (unsigned i = 0; i < 3; ++i) pop(), push();
    } else {
      steal(true);
    }
  }
  using theft::run;
};

struct takes_back final : theft<4, 2, 4> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push();
      task* const last = fresh();
      (void)own().push(last);
      if (own().retract(last, false)) run(last);
      push();
      pop();
    } else {
      steal(choose(2) == 1);
    }
  }
  using theft::run;
};

struct takes_back_the_only_one final : theft<2, 3, 3> {
  void run(unsigned thread) override {
    if (thread == 0) {
      task* const only = fresh();
      (void)own().push(only);
      if (own().retract(only, false)) run(only);
      push();
    } else {
      steal(true);
    }
  }
  using theft::run;
};

/// One task stands in the ring, and a parent that leaves has spawned two: these go first. Another spawns one more, and the ring is turned back before it
/// leaves.
struct children_go_first final : theft<4, 2, 5> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push();
      task const parent, other;
      own().begin_children(&parent, false);
      push(), push();
      (void)own().children_first(false);
      pop();
      own().begin_children(&other, false);
      push();
      if (own().is_newest_first()) (void)own().oldest_first(false);
      push();
    } else {
      steal(choose(2) == 1);
    }
  }
  using theft::run;
};

/// A parent's later child stays at the tail while its earlier ones are turned back below it.
struct later_children_go_behind final : theft<4, 2, 4> {
  void run(unsigned thread) override {
    if (thread == 0) {
      task const parent;
      own().begin_children(&parent, false);
      push(), push();
      (void)own().children_first(false);
      own().begin_children(&parent, true);
      push();
      (void)own().children_first(false);
      pop();
      push();
    } else {
      steal(choose(2) == 1);
    }
  }
  using theft::run;
};

/// The ring is turned over in a place that thieves have passed.
struct turned_over_under_two_thieves final : theft<4, 3, 3> {
  void run(unsigned thread) override {
    if (thread == 0) {
      task const parent;
      own().begin_children(&parent, false);
      push(), push(), push();
      (void)own().children_first(false);
    } else {
      steal(true);
    }
  }
  using theft::run;
};

struct two_thieves final : theft<4, 3, 3> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push(), push(), push();
      pop();
    } else {
      steal(true);
    }
  }
  using theft::run;
};

struct next_slot final : theft<2, 3, 3> {
  void run(unsigned thread) override {
    if (thread == 0) {
      for (unsigned i = 0; i < 3; ++i)
        if (task* displaced = own().push_next(fresh(), false))
          if (!own().push(displaced)) run(displaced);
      pop(), pop();
    } else {
      task* t = victim().take_next();
      if (t == nullptr) t = own().steal_from(victim(), true);
      run(t);
    }
  }
  using theft::run;
};

struct overflows final : theft<2, 2, 4> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push(), push();
      task* const t = fresh();
      if (!own().push(t)) {
        std::array<task*, queue::capacity / 2> half{};
        std::uint32_t const n = own().take_half(half);
        for (std::uint32_t i = 0; i < n; ++i) run(half[i]);
        if (!own().push(t)) run(t);
      }
    } else {
      steal(true);
    }
  }
  using theft::run;
};

/// A thief's ring is stolen from in its turn.
struct thief_of_a_thief final : theft<4, 3, 3> {
  void run(unsigned thread) override {
    if (thread == 0) push(), push(), push();
    else if (thread == 1) run(own().steal_from(queues_[0], true));
    else run(own().steal_from(queues_[1], true));
  }
  using theft::run;
};

/// The same; it has had tasks, has one, and takes two that go round its ring: even_out.
struct thief_with_tasks final : theft<4, 3, 6> {
  void run(unsigned thread) override {
    if (thread == 0) {
      push(), push(), push();
    } else if (thread == 1) {
      give(3), pop(), give(4), pop(), give(5);
      run(own().steal_from(queues_[0], false, 2));
    } else {
      run(own().steal_from(queues_[1], true));
    }
  }
  using theft::run;

  void end() override {
    theft::end();
    for (unsigned i = 3; i < 6; ++i) check(tasks_[i].runs == 1, "a thief's own task is lost");
  }

 private:
  void give(unsigned i) {
    tasks_[i].closure.write();
    check(own().push(&tasks_[i]), "a ring with room is full");
  }
};

constexpr scenario scenarios[] = {
    {"an owner that pushes and pops, and a thief", make<pushes_and_pops>},
    {"a ring that goes round under a thief", make<wraps_around>},
    {"an owner that takes back, and a thief", make<takes_back>},
    {"an owner that takes back the only one, and two thieves", make<takes_back_the_only_one>},
    {"children that go first, and a thief", make<children_go_first>},
    {"later children that go behind, and a thief", make<later_children_go_behind>},
    {"children that go first, and two thieves", make<turned_over_under_two_thieves>},
    {"two thieves", make<two_thieves>},
    {"a thief of a thief", make<thief_of_a_thief>},
    {"a thief of a thief with tasks", make<thief_with_tasks>},
    {"the next slot and two thieves", make<next_slot>},
    {"an owner that overflows, and a thief", make<overflows>},
};

constexpr harmless harmless_ones[] = {
    {"Q1 push: tail_.store", change::late, "nothing that follows relies on it"},
    {"Q2 push: head_.load", change::relaxed,
     "a thief's load that comes after its exchange: load buffering, which is not modelled"},
    {"Q2 push: head_.load", change::skipped, "an old head makes the ring look fuller than it is"},
    {"Q2 steal_from: head_.load", change::relaxed, "as for push"},
    {"Q2 steal_from: head_.load", change::skipped, "as for push"},
    {"pop_ring: head_.load", change::none, "the exchange compares and acquires"},
    {"Q2 pop_ring: head_.compare_exchange_weak", change::relaxed, "the owner pushed it itself"},
    {"retract: head_.load", change::none, "Q6 compares and acquires"},
    {"first: head_.load", change::skipped, "newest() is a guess until Q6"},
    {"retract: tail_.store", change::relaxed, "it publishes nothing: a thief has the task"},
    {"retract: tail_.store", change::late, "the same"},
    {"steal_from: tail_.store", change::late, "the thief's own ring: nothing that follows relies on it"},
    {"steal_from: slots_[].store", change::late, "the thief's own ring: its tail comes later still"},
    {"push_next: next_.load", change::skipped, "the exchange says what was there; null stays null until Q7"},
    {"Q7 push_next: next_.store", change::late, "nothing that follows relies on it"},
    {"pop: next_.load", change::skipped, "Q4 exchanges"},
    {"turn_over: head_.load", change::none, "the exchange compares and acquires"},
    {"turn_over: slots_[].store", change::late, "the tail comes later still"},
    {"Q10 turn_over: tail_.store", change::late, "nothing that follows relies on it"},
    {"take_half: head_.load", change::none, "the exchange compares"},
    {"take_half: head_.compare_exchange_strong", change::relaxed, "the owner pushed them itself"},
};

}  // namespace

protocol const running{"run queue", "runtime/sched/run_queue.hpp", scenarios, harmless_ones};

}  // namespace model
