// The places of a task_group: who waits for the end beside those that enter and leave, a context that is replaced, a limit that is set meanwhile.

#include "runtime/cancel/group_places.hpp"

#include "runtime/base/lock.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

/// As weft::detail::group_core (runtime/cancel/task_group.cpp), where who waits for a place is the one thread that may.
class small_group {
 public:
  static constexpr unsigned most = 3;

  /// `counted`: what A2 does to the references before it puts places ahead, to be seen by who drops one. Only one thread may do A2.
  explicit small_group(unsigned many, plain* counted = nullptr) : many_(many), counted_(counted) {}

  /// `me` waits for a place if there is none. Says under which context, to which a reference has been counted.
  unsigned enter(unsigned me) {
    if (enter_if_ahead()) return current();
    if (many_ != 1 && (enter_with_many() || enter_at_rest())) return current();
    if (!places_.enter(1)) enter_locked(me);
    return retain(current(), 1);
  }
  [[nodiscard]] bool enter_if_ahead() {
    if (!places_.take_ahead()) return false;
    if (counted_ != nullptr) counted_->read();
    reached("a place that is ahead is taken");
    return true;
  }
  void leave() {
    if (places_.leave()) return;
    lock_.lock();
    bool* const next = limit_ == 0 || places_.taken() <= limit_ ? first_of(spawning_) : nullptr;
    if (next != nullptr) {
      wake(spawning_, next);
    } else if (places_.leave_locked()) {
      while (bool* const one = first_of(waiting_)) wake(waiting_, one);
      places_.let_go();
    }
    lock_.unlock();
  }
  /// By a task of the group, as the last thing, which has been spawned under this context.
  void end_of_task(unsigned context) {
    leave();
    retain(context, -1);
  }
  /// Gives back what is ahead.
  void wait(unsigned me) {
    lock_.lock();
    give_back_ahead();
    if (!places_.queue()) return lock_.unlock();
    reached("the end is waited for");
    waiting_[me] = true;
    lock_.unlock();
    woken_[me].wait();
    lock_.lock();
    lock_.unlock();
  }
  /// As a wait that is cancelled when it has just begun: nobody waits, and the places say that somebody does.
  void give_up_waiting() {
    lock_.lock();
    give_back_ahead();
    if (places_.queue()) reached("a wait is given up");
    lock_.unlock();
  }
  /// As the end of task_group::wait, of one that was cancelled.
  void change_context() {
    lock_.lock();
    give_back_ahead();
    if (places_.rest()) {
      check(!places_.in_use(), "a group at rest is in use");
      context_.write();
      ++used_;
      places_.resume();
    }
    lock_.unlock();
  }
  void limit(unsigned n) {
    lock_.lock();
    give_back_ahead();
    limit_ = n;
    places_.limit(true);
    while (limit_ == 0 || places_.taken() < limit_) {
      bool* const next = first_of(spawning_);
      if (next == nullptr) break;
      places_.enter_locked();
      wake(spawning_, next);
    }
    if (n == 0) places_.limit(false);
    lock_.unlock();
  }

  /// By who has a place.
  unsigned current() {
    context_.read();
    return used_;
  }
  [[nodiscard]] unsigned taken() const { return static_cast<unsigned>(places_.taken()); }
  [[nodiscard]] bool in_use() const { return places_.in_use(); }
  void check_that_all_is_back() {
    wait(0);
    check(taken() == 0, "a place was lost");
    for (int const counted : references_) check(counted == 0, "a reference to the context was lost, or is left");
  }

 private:
  bool enter_with_many() {
    if (places_.is_closed() || !places_.enter(many_)) return false;
    unsigned const under = retain(current(), static_cast<int>(many_));
    if (counted_ != nullptr) counted_->write();
    if (places_.put_ahead(many_ - 1)) return true;
    reached("what was to be ahead is left");
    retain(under, 1 - static_cast<int>(many_));
    for (unsigned i = 1; i < many_; ++i) leave();
    return true;
  }
  bool enter_at_rest() {
    if (!places_.may_open()) return false;
    lock_.lock();
    bool const entered = places_.enter_at_rest(many_);
    if (entered) {
      reached("the group is opened again");
      retain(current(), static_cast<int>(many_));
      places_.open(many_ - 1);
    }
    lock_.unlock();
    return entered;
  }
  void enter_locked(unsigned me) {
    reached("a place is taken under the lock");
    lock_.lock();
    if (limit_ == 0 || places_.taken() < limit_) {
      places_.enter_locked();
      return lock_.unlock();
    }
    reached("a place is waited for");
    spawning_[me] = true;
    lock_.unlock();
    woken_[me].wait();
  }
  void give_back_ahead() {
    unsigned const ahead = places_.close();
    if (ahead == 0) return;
    if (counted_ != nullptr) counted_->read();
    reached("what is ahead is given back");
    retain(current(), -static_cast<int>(ahead));
    places_.give_back(ahead);
  }
  unsigned retain(unsigned context, int n) {
    references_[context] += n;
    return context;
  }
  static bool* first_of(bool (&list)[most]) {
    for (bool& one : list)
      if (one) return &one;
    return nullptr;
  }
  void wake(bool (&list)[most], bool* one) {
    *one = false;
    woken_[one - list].ring();
  }

  weft::rt::object_lock lock_;
  weft::detail::group_places places_;
  plain context_;
  unsigned used_ = 0;       // guarded as context_ is: which one it is
  int references_[2] = {};  // to each
  unsigned const many_;     // are taken at once
  plain* const counted_;
  unsigned limit_ = 0;        // guarded by lock_, as the lists are
  bool spawning_[most] = {};  // for a place
  bool waiting_[most] = {};   // for the end
  bell woken_[most];
};

/// Thread 0 waits for the end and destroys the group. The others have a place each from the start; of these the first `Spawners` spawn once more.
template <unsigned Members, unsigned Spawners, unsigned Many = 1>
class ending final : public program {
 public:
  ending() {
    for (unsigned i = 0; i < Members; ++i) (void)group_->enter(0);
  }
  [[nodiscard]] unsigned threads() const override { return 1 + Members; }

  void run(unsigned thread) override {
    if (thread == 0) {
      group_->wait(0);
      for (plain& work : done_) work.read();
      return delete group_;
    }
    (void)group_->current();
    done_[thread - 1].write();
    if (thread <= Spawners) {
      (void)group_->enter(thread);
      group_->leave();
    }
    group_->leave();
  }
  void end() override { check(blocks_given_back() == 1, "the group was not destroyed"); }

 private:
  small_group* group_ = new small_group(Many);
  plain done_[Members];
};

/// Thread 0 waits for the one member, which is thread 1, and puts another context in place; then it spawns, if it is to, and waits again. Thread 2 is no
/// member and spawns.
template <unsigned Many, bool Again>
class changing final : public program {
 public:
  changing() : under_(group_.enter(0)) {}
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) {
      group_.wait(0);
      group_.change_context();
      if (!Again) return;
      group_.end_of_task(group_.enter(0));
      return group_.wait(0);
    }
    unsigned const under = thread == 2 ? group_.enter(thread) : under_;
    check(group_.in_use(), "a group with a member is not in use");
    check(group_.current() == under, "the context changed under a task");
    group_.end_of_task(under);
  }
  void end() override { group_.check_that_all_is_back(); }

 private:
  small_group group_{Many};
  unsigned const under_;
};

/// Thread 0 sets a limit of one, and takes it back if `Lifted`; the others take a place and give it back.
template <bool Lifted, unsigned Many>
class limiting final : public program {
 public:
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) {
      group_.limit(1);
      if (Lifted) group_.limit(0);
      return group_.wait(0);
    }
    unsigned const under = group_.enter(thread);
    (void)group_.current();
    group_.end_of_task(under);
  }
  void end() override { group_.check_that_all_is_back(); }

 private:
  small_group group_{Many};
};

/// Thread 0 lifts a limit, beside one member that leaves and one that spawns.
class lifting final : public program {
 public:
  lifting() : under_(group_.enter(0)) { group_.limit(1); }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) return group_.limit(0);
    group_.end_of_task(thread == 1 ? under_ : group_.enter(thread));
  }
  void end() override { group_.check_that_all_is_back(); }

 private:
  small_group group_{2};
  unsigned const under_;
};

/// Thread 0 waits, thread 1 puts places ahead, and thread 2 spawns only if one is there.
class counting final : public program {
 public:
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) return group_.wait(0);
    if (thread == 1) group_.end_of_task(group_.enter(thread));
    else if (group_.enter_if_ahead()) group_.end_of_task(group_.current());
  }
  void end() override { group_.check_that_all_is_back(); }

 private:
  plain counted_;
  small_group group_{2, &counted_};
};

/// Thread 0 gives up to wait for the one member, which is thread 1; it spawns and waits anew, beside thread 2, which spawns.
class giving_up final : public program {
 public:
  giving_up() : under_(group_.enter(0)) {}
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) group_.give_up_waiting();
    group_.end_of_task(thread == 1 ? under_ : group_.enter(thread));
    if (thread == 0) group_.wait(0);
  }
  void end() override { group_.check_that_all_is_back(); }

 private:
  small_group group_{2};
  unsigned const under_;
};

/// The limit is one from the start, and who is inside is alone.
class alone final : public program {
 public:
  alone() { group_.limit(1); }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    (void)group_.enter(thread);
    inside_.write();
    group_.leave();
  }
  void end() override { check(group_.taken() == 0, "a place was lost"); }

 private:
  small_group group_{2};
  plain inside_;
};

constexpr scenario scenarios[] = {
    {"the end of two tasks", make<ending<2, 0>>, true, true},
    {"the end of a task that spawns", make<ending<1, 1>>, true, true},
    {"a task that spawns beside one that ends", make<ending<2, 1>>, true, true, 4},
    {"two tasks that spawn, places ahead", make<ending<2, 2, 2>>, true, true, 3},
    {"references to the context", make<counting>, true, true, 4},
    {"another context beside who spawns one", make<changing<1, false>>, true, true, 4},
    {"another context beside who spawns", make<changing<2, false>>, true, true, 3},
    {"a group that is used again", make<changing<2, true>>, true, true, 3},
    {"a wait that is given up", make<giving_up>, true, true, 3},
    {"a limit beside those that enter and leave", make<limiting<false, 2>>, true, true, 3},
    {"a limit that is set and lifted", make<limiting<true, 1>>, true, true, 2},
    {"a limit that is lifted", make<lifting>, true, true, 4},
    {"one at a time", make<alone>, true, true, 3},
};

constexpr harmless harmless_ones[] = {
    {"A3 open: ahead_.store", change::late, "what follows is the unlocking"},
    {"Y8 resume: state_.fetch_and", change::split, "from Y7 on nobody else writes the word"},
    {"enter: state_.load", change::skipped, "Y1 looks once more"},
    {"enter_at_rest: state_.load", change::skipped, "A3 looks once more"},
    {"in_use: state_.load", change::skipped, "who asks has a place, or has waited for the end"},
    {"leave: state_.load", change::skipped, "Y3 looks once more"},
    {"limit: state_.fetch_and", change::split, "while the group is limited it is changed under the lock alone"},
    {"may_open: state_.load", change::skipped, "A3 looks once more"},
    {"put_ahead: ahead_.load", change::skipped, "A2 looks once more"},
    {"rest: state_.load", change::skipped, "Y7 looks once more"},
    {"take_ahead: ahead_.load", change::skipped, "A1 looks once more"},
};

}  // namespace

protocol const group_places{"the places of a group", "runtime/cancel/group_places.hpp", scenarios, harmless_ones};

}  // namespace model
