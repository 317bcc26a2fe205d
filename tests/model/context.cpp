// A task's own context, which is made when it is first needed: by the task as it spawns, or by a handle's cancel(), while the task waits or
// ends, or what it has inherited is cancelled. And who keeps a context: references that are given up many at a time, beside a cancellation
// from above, which makes new ones.
//
// The word is the runtime's (wait.hpp). What stands in cancel_node.cpp, task_context.cpp and task.cpp is here again, step by step under
// the same names.

#include "runtime/sched/wait.hpp"

#include "tests/model/context_node.hpp"
#include "tests/model/protocols.hpp"

namespace model {
namespace {

using namespace weft::rt;

struct fences {
  static void light() { light_fence(); }
};

// ---- a task with a handle -------------------------------------------------------------------------------------------

enum class other : std::uint8_t { nobody, cancels_too, cancels_above, partner };

struct setting {
  bool root = false;       // what it inherits is the root, which it does not count
  bool may_spawn = false;  // before it waits
  bool cancelled = true;   // by its handle
  other beside = other::nobody;
};

/// Thread 0: the task, whose hook runs there too. 1: who has its handle. 2: the other one; a partner ends a wait in a scope that no
/// cancellation here is meant for.
template <setting S>
class owning final : public program {
 public:
  owning() {
    inherited_ = &top_;
    top_.is_root = S.root;
    create(top_, nullptr, S.beside == other::cancels_above ? 2 : 1);
  }
  [[nodiscard]] unsigned threads() const override { return S.beside == other::nobody ? 2 : 3; }

  void run(unsigned thread) override {
    if (thread == 0) return run_task();
    if (thread == 1) {
      if (S.cancelled) cancel_own(fresh_[1]);
      if (S.beside == other::cancels_too) through_.wait();
      return release();
    }
    if (S.beside == other::cancels_too) {
      cancel_own(fresh_[2]);
      through_.ring();
    } else if (S.beside == other::cancels_above) {
      cancel(top_);
      drop(&top_);
    } else {
      armed_.wait();
      if (claim(task_, 1, how::partner)) make_ready();
    }
  }

  void end() override {
    check(top_.gone, "what the task has inherited is not given back");
    for (context const& n : fresh_) check(n.made == n.gone, "a task's own context is not given back");
  }

 private:
  // ---- the task ----
  void run_task() {
    unsigned const what = S.may_spawn ? choose(S.root ? 3 : 2) : 0;
    if (what == 1) use(own_context());
    if (what == 2) return end_task();
    if (S.beside == other::partner) {
      use(own_context());  // scoped_context
      wait_under(apart_, false);
    } else {
      context* const own = own_.load(std::memory_order_acquire);
      wait_under(own != nullptr ? *own : *inherited_, own == nullptr);
    }
    end_task();
  }

  context& own_context() {
    context* const own = own_.load(std::memory_order_acquire);
    return own != nullptr ? *own : make_own_context();
  }

  context& make_own_context() {
    context& fresh = fresh_[0];
    create(fresh, inherited_, 1 + ahead, true);
    bool const lends = !inherited_->is_root && !lent_;
    if (!lends) retain(*inherited_);
    if (put_into(fresh)) {
      credit_ = ahead;
      lent_ = lends;
      return fresh;
    }
    reached("the task comes too late with a context of its own");
    if (lends && !mutated("make_own_context: who comes too late has lent its reference")) retain(*inherited_);
    drop(&fresh, 1 + ahead);
    return *own_.load(std::memory_order_acquire);
  }

  void wait_under(context& n, bool implicit) {
    bool const notes_late = mutated("W1: whether the wait is under the inherited context is noted after H1");
    if (!notes_late) implicit_.store(implicit, std::memory_order_relaxed);
    if (n.stage.load(std::memory_order_acquire)) return;             // W1
    std::uint64_t const generation = begin_wait(task_);              // W3
    if (!n.stage.load(std::memory_order_acquire)) register_wait(n);  // H0
    publish_wait<fences>(task_, generation, true);                   // H1, H2
    if (notes_late) implicit_.store(implicit, std::memory_order_relaxed);
    bool flagged = n.stage.load(std::memory_order_acquire);  // H3
    bool const looks = !mutated("H3: a context of its own that was made meanwhile is not looked at");
    if (!flagged && looks && implicit_.load(std::memory_order_relaxed)) {
      if (context* const own = own_.load(std::memory_order_acquire)) {
        use(*own);
        flagged = own->stage.load(std::memory_order_acquire);
      }
    }
    if (flagged && claim(task_, generation, how::cancel)) make_ready();
    armed_.ring();
    queued_.wait();
    resume();
  }

  void resume() {
    how const h = end_wait(task_);  // R1
    if (S.beside == other::partner)
      return check(h == how::partner, "a handle ends a wait that is under another context");
    context* const own = own_.load(std::memory_order_acquire);
    context& n = own != nullptr ? *own : *inherited_;
    bool const leaves = mutated("R4: a context of its own is left to who cancels above");
    if (!leaves && !n.stage.load(std::memory_order_acquire) && n.parent != nullptr &&
        n.parent->stage.load(std::memory_order_acquire)) {
      reached("a task cancels its own context, since the one above is cancelled");
      cancel(n);
    }
    check(n.stage.load(std::memory_order_acquire), "a wait is cancelled, and its context is not");
  }

  void register_wait(context& n) {
    n.used.store(true, std::memory_order_relaxed);
    full_fence();
    guard hold(n.shard);
    n.registered = true;
    registered_ = &n;
  }

  void end_task() {
    if (registered_ != nullptr && !mutated("end: the task stays registered")) {
      guard hold(registered_->shard);
      registered_->registered = false;
    }
    {
      guard hold(completion_);
      done_ = true;
    }
    if (inherited_->is_root) {
      header_.write();
      inherited_ = nullptr;
    }
    release();
    if (S.root) drop(&top_);  // the end of the runtime
  }

  void release() {
    if (refs_.load(std::memory_order_acquire) != 1 && refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    header_.write();  // destroy_contents
    context* const inherited = lent_ ? nullptr : inherited_;
    if (context* const own = own_.load(std::memory_order_acquire)) drop(own, 1 + credit_);
    drop(inherited);
    block_.write();  // free_task: it is another task's from here on
  }

  void make_ready() { check(queued_.ring(), "a task is queued twice"); }

  // ---- who cancels ----
  bool put_into(context& n) {
    context& parent = *n.parent;
    use(parent);
    bool const unlocked = mutated("put_into: without the parent's lock");
    lock_unless(unlocked, parent.lock);
    bool const puts = put_into_locked(n, parent, unlocked);
    if (puts) own_.store(&n, std::memory_order_release);
    unlock_unless(unlocked, parent.lock);
    return puts;
  }

  bool put_into_locked(context& n, context& parent, bool unlocked) {
    bool const blind = mutated("put_into: does not look whether there is one");
    if (!blind && own_.load(std::memory_order_relaxed) != nullptr) return false;
    if (!parent.cancelled || mutated("put_into: does not look whether the parent is cancelled")) {
      n.is_child = !mutated("put_into: the parent does not get to know it");
      if (n.is_child) parent.child = &n;
      return true;
    }
    unlock_unless(unlocked, parent.lock);
    cancel(n);
    lock_unless(unlocked, parent.lock);
    bool const looks = !mutated("put_into: does not look again when it has cancelled it");
    if (!looks || own_.load(std::memory_order_relaxed) == nullptr) return true;
    reached("two are made under a cancelled context");
    return false;
  }

  void cancel_own(context& fresh) {
    context* inherited = nullptr;
    bool const keeps = !mutated("cancel_own: the inherited context is not kept");
    {
      guard hold(completion_);
      bool const looks = !mutated("cancel_own: does not look whether the task has ended");
      if (looks && done_) return;
      header_.read();
      inherited = inherited_;
      check(inherited != nullptr, "a task that has ended is cancelled");
      if (keeps) retain(*inherited);
    }
    context* own = own_.load(std::memory_order_acquire);
    bool installed = false;
    if (own == nullptr) {
      create(fresh, inherited, 1);
      retain(*inherited);
      installed = put_into(fresh);
      own = installed ? &fresh : own_.load(std::memory_order_acquire);
      if (!installed) drop(&fresh);
    }
    bool const early = mutated("cancel_own: the wait is claimed before the context is cancelled");
    if (early && installed) claim_implicit();
    cancel(*own);
    if (!early && installed) claim_implicit();
    if (keeps) drop(inherited);
  }

  void claim_implicit() {
    if (mutated("cancel_own: the wait under the inherited context is not claimed")) return;
    if (!mutated("cancel_own, C3: no heavy fence")) heavy_fence();
    std::uint64_t const word = task_.word.load(std::memory_order_acquire);
    if ((word & wait_word::state_mask) != wait_word::waiting) return;
    bool const any = mutated("cancel_own: a wait under another context is claimed, too");
    if (!implicit_.load(std::memory_order_relaxed) && !any) return;
    if (claim(task_, wait_word::generation(word), how::cancel)) make_ready();
  }

  bool mark(context& n, context*& below) {
    use(n);
    guard hold(n.lock);
    if (n.cancelled) return false;
    n.cancelled = true;
    n.stage.store(true, std::memory_order_release);
    if (n.child != nullptr && !mutated("C1: what is below is not cancelled") && try_retain(*n.child)) below = n.child;
    return true;
  }

  void cancel(context& n) {
    context *below = nullptr, *none = nullptr;
    if (!mark(n, below)) return;  // C1
    retain(n);
    if (below != nullptr && !mark(*below, none)) {
      reached("what is below is cancelled already");
      drop(std::exchange(below, nullptr));
    }
    full_fence();
    bool const any = has_registered(n) || (below != nullptr && has_registered(*below));  // C2
    if (any) heavy_fence();                                                              // C3
    for (context* c : {&n, below}) {
      if (c == nullptr) continue;
      if (any) wake_registered(*c);  // C4, C5
      drop(c);
    }
  }

  bool has_registered(context& n) {
    if (!n.used.load(std::memory_order_relaxed)) return false;
    guard hold(n.shard);
    return n.registered;
  }

  void wake_registered(context& n) {
    bool won = false;
    {
      guard hold(n.shard);
      if (n.registered) {
        block_.read();  // the links
        won = claim(task_, wait_word::generation(task_.word.load(std::memory_order_acquire)), how::cancel);
      }
    }
    if (won) make_ready();
  }

  static constexpr std::uint32_t ahead = 1;

  waiter task_;
  std::atomic<context*> own_{nullptr};
  std::atomic<bool> implicit_{false};
  std::atomic<std::uint32_t> refs_{2};
  object_lock completion_;
  bool done_ = false;             // guarded by completion_
  plain header_, block_;          // what others than the task read of it; its memory
  context* inherited_ = nullptr;  // as header_
  context* registered_ = nullptr;
  std::uint32_t credit_ = 0;
  bool lent_ = false;
  context top_, apart_, fresh_[3];
  bell armed_, queued_, through_;
};

// ---- references to a context -----------------------------------------------------------------------------------------

/// Thread 0: the end of a task that has spawned, with the references that it has counted ahead. 1: the end of its child. 2: who cancels above.
class keeping final : public program {
 public:
  keeping() {
    create(top_, nullptr, 2);
    create(own_, &top_, 3, true);
    own_.is_child = true;
    top_.child = &own_;
  }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) return drop(&own_, 2);
    if (thread == 1) return drop_at_end(own_);
    context* below = nullptr;
    {
      guard hold(top_.lock);  // mark
      if (top_.child != nullptr && try_retain(*top_.child)) below = top_.child;
    }
    if (below != nullptr) {
      reached("a context is found from above");
      use(*below);
      drop(below);
    }
    drop(&top_);
  }
  void end() override { check(own_.gone && top_.gone, "a context is not given back"); }

 private:
  context top_, own_;
};

constexpr scenario scenarios[] = {
    {"the references to a context", make<keeping>, true, true},
    {"a task and its handle", make<owning<setting{.may_spawn = true}>>, true, true, 2},
    {"a task under the root and its handle", make<owning<setting{.root = true, .may_spawn = true}>>, true, false, 3},
    {"a task that is cancelled from above",
     make<owning<setting{.may_spawn = true, .cancelled = false, .beside = other::cancels_above}>>, true, false, 2},
    {"a task in a scope", make<owning<setting{.beside = other::partner}>>, true, false, 2},
    {"a task and two who cancel it", make<owning<setting{.may_spawn = true, .beside = other::cancels_too}>>, true,
     false, 2},
    {"a task that is cancelled by its handle and from above",
     make<owning<setting{.may_spawn = true, .beside = other::cancels_above}>>, true, false, 2},
    {"a task and its handle without membarrier", make<owning<setting{.may_spawn = true}>>, false, false, 3},
};

}  // namespace

protocol const own_contexts{
    "own contexts", "runtime/sched/cancel_node.cpp, runtime/sched/task_context.cpp", scenarios, {}};

}  // namespace model
