// A biased lock: its owner, those who take the bias away, and a lock whose bias goes from one thread to another. And a mutex of which the bias
// says whether it is held.

#include <weft/detail/biased_hold.hpp>

#include "runtime/base/bias.hpp"

#include "runtime/base/lock.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

struct few_takings {
  static constexpr std::uint16_t first_bias = 1, last_bias = 2;
  static std::uint16_t worth() { return first_bias; }
  static void light() {
    if (!mutated("B3: no light fence")) light_fence();
  }
  static void heavy() {
    if (!mutated("V3: no heavy fence")) heavy_fence();
  }
  static std::uint8_t wait_while(std::atomic<std::uint8_t>& word, std::uint8_t value, where at = where::current()) {
    for (;;) {
      if (std::uint8_t const seen = word.load(std::memory_order_acquire, at); seen != value) return seen;
      reached("the bias is taken away while the owner is inside");
      pause();
    }
  }
};

/// Thread 0 is the owner from the start; the others come by.
template <unsigned Sections, unsigned Others, unsigned Visits>
class passing final : public program {
 public:
  passing() {
    for (int i = 0; i < 2; ++i) {
      lock_.lock(name_of_thread(0));
      lock_.unlock();
    }
  }
  [[nodiscard]] unsigned threads() const override { return 1 + Others; }

  void run(unsigned thread) override WEFT_NO_THREAD_SAFETY_ANALYSIS {
    for (unsigned i = 0; i < (thread == 0 ? Sections : Visits); ++i) {
      auto* const held = i == 0 ? lock_.lock_as_owner(name_of_thread(thread)) : nullptr;
      if (i != 0) lock_.lock(name_of_thread(thread));
      else if (held == nullptr) lock_.lock_by_inner(name_of_thread(thread));
      inside_.write();
      if (held != nullptr) lock_.unlock_as_owner(held);
      else lock_.unlock();
    }
  }

 private:
  static weft::rt::lock_owner name_of_thread(unsigned thread) { return thread + 1; }

  weft::rt::biased<weft::rt::object_lock, few_takings> lock_;
  plain inside_;
};

struct few_holders : few_takings {
  static constexpr std::uint16_t takings_in_a_row = 1;
  static constexpr std::uint8_t others = 1;
  static void light() {
    if (!mutated("T3: no light fence")) light_fence();
  }
  static void heavy() {
    if (!mutated("S2: no heavy fence")) heavy_fence();
  }
};

/// As weft::mutex (runtime/sync/mutex.cpp), for three threads, all of which an unlock wakes.
class small_mutex {
  using hold = weft::detail::biased_hold<few_holders>;
  static constexpr std::uint32_t queued = 2;

 public:
  void lock(weft::rt::lock_owner me) {
    for (;;) {
      std::uint32_t state = word_.load(std::memory_order_relaxed);
      if (state == hold::biased) {
        if (hold_.take(me)) return;
        share();
      } else if ((state & hold::held) != 0) {
        wait(me);
      } else if (word_.compare_exchange_strong(state, state | hold::held, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
        if ((state & hold::shared) == 0) hold_.note_taking(word_, me);
        return;
      }
    }
  }
  void unlock(weft::rt::lock_owner me) {
    std::uint32_t state = word_.load(std::memory_order_relaxed);
    if (state == hold::biased) {
      if (hold_.let_go(me)) return;
      share();
    }
    for (state = word_.load(std::memory_order_relaxed); (state & queued) == 0;) {
      check((state & hold::held) != 0, "a mutex is let go that nobody holds");
      if (word_.compare_exchange_strong(state, state & ~hold::held, std::memory_order_release,
                                        std::memory_order_relaxed))
        return;
    }
    guard_.lock();
    word_.store(hold::shared, std::memory_order_release);
    for (unsigned i = 0; i < 3; ++i)
      if (std::exchange(waits_[i], false)) woken_[i].ring();
    guard_.unlock();
  }

 private:
  void share() {
    guard_.lock();
    (void)hold_.share(word_);
    guard_.unlock();
  }

  void wait(weft::rt::lock_owner me) {
    guard_.lock();
    std::uint32_t state = word_.load(std::memory_order_relaxed);
    while ((state & hold::held) != 0) {
      if (!word_.compare_exchange_strong(state, state | queued | hold::shared, std::memory_order_relaxed)) continue;
      waits_[me - 1] = true;
      guard_.unlock();
      return woken_[me - 1].wait();
    }
    guard_.unlock();
  }

  std::atomic<std::uint32_t> word_{0};
  hold hold_;
  weft::rt::object_lock guard_;
  bool waits_[3] = {};  // guarded by guard_
  bell woken_[3];
};

/// Thread 0 is the owner from the start, or with one taking before only becomes it; the others come by.
template <unsigned Sections, unsigned Others, unsigned Visits, unsigned Before = 2>
class sharing final : public program {
 public:
  sharing() {
    for (unsigned i = 0; i < Before; ++i) {
      mutex_.lock(1);
      mutex_.unlock(1);
    }
  }
  [[nodiscard]] unsigned threads() const override { return 1 + Others; }

  void run(unsigned thread) override {
    for (unsigned i = 0; i < (thread == 0 ? Sections : Visits); ++i) {
      mutex_.lock(thread + 1);
      inside_.write();
      mutex_.unlock(thread + 1);
    }
  }

 private:
  small_mutex mutex_;
  plain inside_;
};

/// Thread 0 is the owner, and has the mutex; thread 1 lets it go, and both take it once more.
class letting_go_for_another final : public program {
 public:
  letting_go_for_another() {
    for (int i = 0; i < 2; ++i) {
      mutex_.lock(1);
      mutex_.unlock(1);
    }
    mutex_.lock(1);
    inside_.write();
  }
  [[nodiscard]] unsigned threads() const override { return 2; }

  void run(unsigned thread) override {
    if (thread == 1) mutex_.unlock(2);
    mutex_.lock(thread + 1);
    inside_.write();
    mutex_.unlock(thread + 1);
  }

 private:
  small_mutex mutex_;
  plain inside_;
};

constexpr scenario hold_scenarios[] = {
    {"the mutex is shared beside an owner that comes twice", make<sharing<2, 1, 1>>, true, true},
    {"two threads share it", make<sharing<1, 2, 1>>, true, true, 3},
    {"another thread lets it go", make<letting_go_for_another>, true, true},
    {"it becomes biased while another one comes", make<sharing<2, 1, 1, 1>>, true, true},
    {"the same without membarrier", make<sharing<2, 1, 1>>, false},
};

constexpr harmless hold_harmless[] = {
    {"N1 note_taking: own_.store", change::late, "N3 follows, a release"},
    {"N3 note_taking: word.compare_exchange_strong", change::relaxed,
     "S2 shows N1 and N2 to who shares; a store of S1 that comes before N2 is beyond the memory here"},
    {"S0 share: word.load", change::relaxed, "the same"},
    {"S1 share: owner_.store", change::late, "S2 follows, a full fence"},
    {"S4 share: word.store", change::late, "the unlock of the guard follows"},
    {"T1 turn: owner_.load", change::skipped, "T4 looks once more"},
    {"T4 turn: own_.store", change::late, "a turn that did nothing is followed by the guard's lock"},
};

constexpr scenario scenarios[] = {
    {"the bias is taken from an owner that comes twice", make<passing<2, 1, 1>>, true, true},
    {"two threads take it away", make<passing<1, 2, 1>>, true, true, 4},
    {"it is biased anew", make<passing<2, 1, 4>>, true, true, 4},
    {"the same without membarrier", make<passing<2, 1, 1>>, false},
};

constexpr harmless harmless_ones[] = {
    {"B1 lock_as_owner: owner_.load", change::skipped, "B4 looks once more"},
    {"B5 lock_as_owner: held.store", change::late, "V1 follows, a lock"},
    {"U1 unlock: held_[].store", change::late, "nothing that follows relies on it"},
    {"U1 unlock_as_owner: held.store", change::late, "nothing that follows relies on it"},
    {"U2 unlock: by_inner_.store", change::late, "the unlock follows"},
    {"V2 look_at_owner: owner_.store", change::late, "V3 follows, a full fence"},
    {"V4 lock_by_inner: by_inner_.store", change::late, "the holder alone reads it"},
    {"V5 look_at_owner: owner_.store", change::left_out, "the lock becomes biased later, or never"},
    {"V5 look_at_owner: owner_.store", change::late, "the unlock of U2 follows before anybody else may look"},
};

}  // namespace

protocol const biased_locking{"the biased lock", "runtime/base/bias.hpp", scenarios, harmless_ones};
protocol const biased_holding{"the mutex of one thread", "include/weft/detail/biased_hold.hpp", hold_scenarios,
                              hold_harmless};

}  // namespace model
