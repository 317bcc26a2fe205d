// Protocol A: a worker that enters and leaves, the monitor that takes its processor or asks for it, and a spare that gets it.

#include "runtime/sched/hand_over.hpp"

#include "runtime/base/lock.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

struct alignas(16) processor {
  plain data;
};

struct named_fences {
  static void light() {
    if (!mutated("E2: no light fence")) light_fence();
  }
  static void heavy() {
    if (!mutated("M3: no heavy fence")) heavy_fence();
  }
};

using words = weft::rt::hand_over_words<processor, named_fences>;

/// Thread 0: the worker. Thread 1: the monitor. Thread 2, if there is one: the spare.
template <unsigned Sections, unsigned Takes, bool Asks, bool Spare>
class robbery final : public program {
 public:
  robbery() { worker_.proc.store(reinterpret_cast<std::uintptr_t>(&processor_)); }
  [[nodiscard]] unsigned threads() const override { return Spare ? 3 : 2; }

  void run(unsigned thread) override {
    if (thread == 0) work();
    else if (thread == 1) monitor();
    else sleep_as_spare();
  }

 private:
  void work() {
    worker_.leave();
    for (unsigned i = 0; i < Sections; ++i) {
      if ((worker_.proc.load(std::memory_order_relaxed) & words::asked) != 0)
        reached("the worker is asked for its processor");
      processor* mine = worker_.enter();
      if (mine == nullptr) mine = acquire();
      if (mine != nullptr) mine->data.write();
      worker_.leave();
    }
  }

  /// acquire_processor(): a worker that was robbed takes an idle one.
  processor* acquire() {
    weft::rt::guard hold(lock_);
    processor* const p = std::exchange(idle_, nullptr);
    if (p != nullptr) worker_.proc.store(reinterpret_cast<std::uintptr_t>(p), std::memory_order_release);
    return p;
  }

  void monitor() {
    for (unsigned i = 0; i < Takes; ++i) {
      if (Asks && choose(2) == 1) worker_.ask(processor_);
      std::uint32_t const s = worker_.seq.load(std::memory_order_relaxed);
      if (!worker_.take(processor_, s, words::adrift)) continue;
      reached("the monitor takes the processor");
      processor_.data.write();
      if (Spare) {  // M6
        spare_.proc.store(reinterpret_cast<std::uintptr_t>(&processor_), std::memory_order_release);
        break;
      }
      weft::rt::guard hold(lock_);
      idle_ = &processor_;
    }
    if (Spare) given_.ring();
  }

  void sleep_as_spare() {
    given_.wait();
    if (processor* mine = spare_.held()) mine->data.write();
  }

  processor processor_;
  words worker_, spare_;
  weft::rt::object_lock lock_;
  processor* idle_ = nullptr;  // guarded by lock_
  bell given_;
};

/// The worker gives its processor up by itself (weft::blocking, or asked to) while the monitor asks, or is about to take it.
class giving_up final : public program {
 public:
  giving_up() { worker_.proc.store(reinterpret_cast<std::uintptr_t>(&processor_)); }
  [[nodiscard]] unsigned threads() const override { return 3; }

  void run(unsigned thread) override {
    if (thread == 0) {
      worker_.leave();
      if (processor* mine = worker_.enter()) hand_over(*mine);
      worker_.leave();
      if (processor* mine = worker_.enter()) mine->data.write();
      worker_.leave();
    } else if (thread == 1) {
      if (choose(2) == 1) worker_.ask(processor_);
      if (worker_.take(processor_, worker_.seq.load(std::memory_order_relaxed), words::adrift)) give();
    } else {
      weft::rt::guard hold(lock_);
      if (idle_ != nullptr) idle_->data.write();
    }
  }

 private:
  void hand_over(processor& p) {
    p.data.write();
    weft::rt::guard hold(lock_);
    worker_.proc.store(words::adrift, std::memory_order_release);
    idle_ = &p;
  }
  void give() {
    processor_.data.write();
    weft::rt::guard hold(lock_);
    idle_ = &processor_;
  }

  processor processor_;
  words worker_;
  weft::rt::object_lock lock_;
  processor* idle_ = nullptr;  // guarded by lock_
};

constexpr scenario scenarios[] = {
    {"a worker that is robbed takes its processor up again", make<robbery<2, 2, false, false>>, true, true},
    {"a monitor that asks and takes", make<robbery<2, 1, true, false>>, true, true},
    {"a monitor that hands on to a spare", make<robbery<2, 1, false, true>>, true},
    {"a worker that gives its processor up", make<giving_up>, true, false, 4},
    {"the same without membarrier", make<robbery<2, 1, true, false>>, false},
};

constexpr harmless harmless_ones[] = {
    {"L1 leave: store", change::late, "the access that follows is E1, to the same word, or the task's own"},
    {"M1 take: seq.load", change::relaxed, "M3, a fence after the load, acquires what it read"},
    {"M1 take: seq.load", change::skipped, "M4 looks once more"},
    {"M4 take: seq.load", change::relaxed, "the same value was read at M1, and M3 has acquired it"},
    {"take: proc.load", change::skipped, "M2 compares"},
    {"M2 take: proc.compare_exchange_strong", change::relaxed, "M3 is a full fence"},
    {"M5 take: proc.compare_exchange_strong", change::relaxed,
     "M4 has acquired, and M6 releases, by the lock or by the store that hands on"},
    {"take: proc.compare_exchange_strong", change::relaxed, "the monitor has not touched the processor"},
    {"take: proc.compare_exchange_strong", change::left_out,
     "the worker takes the mark off at its next E5, which costs it an exchange"},
    {"reclaim: proc.load", change::skipped, "E5 compares"},
    {"reclaim: proc.compare_exchange_weak", change::relaxed, "nobody else has touched the processor"},
};

}  // namespace

protocol const hand_over{"hand-over", "runtime/sched/hand_over.hpp", scenarios, harmless_ones};

}  // namespace model
