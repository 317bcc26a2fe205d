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

  /// `me` waits for a place if there is none.
  void enter(unsigned me) {
    if (places_.enter()) return;
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
  void wait(unsigned me) {
    lock_.lock();
    if (!places_.queue()) return lock_.unlock();
    reached("the end is waited for");
    waiting_[me] = true;
    lock_.unlock();
    woken_[me].wait();
    lock_.lock();
    lock_.unlock();
  }
  /// As the end of task_group::wait, of one that was cancelled.
  void change_context() {
    lock_.lock();
    if (places_.rest()) {
      check(!places_.in_use(), "a group at rest is in use");
      context_.write();
      places_.resume();
    }
    lock_.unlock();
  }
  void limit(unsigned n) {
    lock_.lock();
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
  void read_context() { context_.read(); }
  [[nodiscard]] unsigned taken() const { return static_cast<unsigned>(places_.taken()); }
  [[nodiscard]] bool in_use() const { return places_.in_use(); }

 private:
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
  unsigned limit_ = 0;        // guarded by lock_, as the lists are
  bool spawning_[most] = {};  // for a place
  bool waiting_[most] = {};   // for the end
  bell woken_[most];
};

/// Thread 0 waits for the end and destroys the group. The others have a place each from the start; of these the first spawns once more.
template <unsigned Members, bool Spawns>
class ending final : public program {
 public:
  ending() {
    for (unsigned i = 0; i < Members; ++i) group_->enter(0);
  }
  [[nodiscard]] unsigned threads() const override { return 1 + Members; }

  void run(unsigned thread) override {
    if (thread == 0) {
      group_->wait(0);
      for (plain& work : done_) work.read();
      return delete group_;
    }
    group_->read_context();
    done_[thread - 1].write();
    if (Spawns && thread == 1) {
      group_->enter(thread);
      group_->leave();
    }
    group_->leave();
  }
  void end() override { check(blocks_given_back() == 1, "the group was not destroyed"); }

 private:
  small_group* group_ = new small_group;
  plain done_[Members];
};

/// Thread 0 waits for the one member, which is thread 1, and puts another context in place; thread 2 is no member and spawns.
class changing final : public program {
 public:
  changing() { group_.enter(0); }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) {
      group_.wait(0);
      return group_.change_context();
    }
    if (thread == 2) group_.enter(thread);
    check(group_.in_use(), "a group with a member is not in use");
    group_.read_context();
    group_.leave();
  }
  void end() override { check(group_.taken() == 0, "a place was lost"); }

 private:
  small_group group_;
};

/// Thread 0 sets a limit of one, and takes it back if `Lifted`; the others take a place and give it back.
template <bool Lifted>
class limiting final : public program {
 public:
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) {
      group_.limit(1);
      if (Lifted) group_.limit(0);
      return group_.wait(0);
    }
    group_.enter(thread);
    group_.read_context();
    group_.leave();
  }
  void end() override { check(group_.taken() == 0, "a place was lost"); }

 private:
  small_group group_;
};

/// The limit is one from the start, and who is inside is alone.
class alone final : public program {
 public:
  alone() { group_.limit(1); }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    group_.enter(thread);
    inside_.write();
    group_.leave();
  }
  void end() override { check(group_.taken() == 0, "a place was lost"); }

 private:
  small_group group_;
  plain inside_;
};

constexpr scenario scenarios[] = {
    {"the end of two tasks", make<ending<2, false>>, true, true},
    {"the end of a task that spawns", make<ending<1, true>>, true, true},
    {"a task that spawns beside one that ends", make<ending<2, true>>, true, true, 4},
    {"another context beside who spawns", make<changing>, true, true, 4},
    {"a limit beside those that enter and leave", make<limiting<false>>, true, true, 4},
    {"a limit that is set and lifted", make<limiting<true>>, true, true, 4},
    {"one at a time", make<alone>, true, true},
};

constexpr harmless harmless_ones[] = {
    {"Y6 queue: state_.load", change::skipped, "the compare-exchange looks once more"},
    {"Y8 resume: state_.fetch_and", change::split, "from Y7 on nobody else writes the word"},
    {"in_use: state_.load", change::skipped, "who asks has a place, or has waited for the end"},
    {"leave: state_.load", change::skipped, "Y3 looks once more"},
    {"limit: state_.fetch_and", change::split, "while the group is limited it is changed under the lock alone"},
    {"rest: state_.load", change::skipped, "Y7 looks once more"},
};

}  // namespace

protocol const group_places{"the places of a group", "runtime/cancel/group_places.hpp", scenarios, harmless_ones};

}  // namespace model
