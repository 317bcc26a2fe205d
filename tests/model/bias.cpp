// A biased lock: its owner, those who take the bias away, and a lock whose bias goes from one thread to another.

#include "runtime/base/bias.hpp"

#include "runtime/base/lock.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

struct few_takings {
  static constexpr std::uint16_t first_bias = 1, last_bias = 2;
  static void light() {
    if (!mutated("B3: no light fence")) light_fence();
  }
  static void heavy() {
    if (!mutated("V3: no heavy fence")) heavy_fence();
  }
  static void wait_for_zero(std::atomic<std::uint8_t>& word, where at = where::current()) {
    while (word.load(std::memory_order_acquire, at) != 0) {
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

  void run(unsigned thread) override {
    for (unsigned i = 0; i < (thread == 0 ? Sections : Visits); ++i) {
      lock_.lock(name_of_thread(thread));
      inside_.write();
      lock_.unlock();
    }
  }

 private:
  static weft::rt::lock_owner name_of_thread(unsigned thread) { return thread + 1; }

  weft::rt::biased<weft::rt::object_lock, few_takings> lock_;
  plain inside_;
};

constexpr scenario scenarios[] = {
    {"the bias is taken from an owner that comes twice", make<passing<2, 1, 1>>, true, true},
    {"two threads take it away", make<passing<1, 2, 1>>, true, true, 4},
    {"it is biased anew", make<passing<2, 1, 4>>, true, true, 4},
    {"the same without membarrier", make<passing<2, 1, 1>>, false},
};

constexpr harmless harmless_ones[] = {
    {"B1 lock: owner_.load", change::skipped, "B4 looks once more"},
    {"B5 lock: held.store", change::late, "V1 follows, a lock"},
    {"U1 unlock: held_[].store", change::late, "nothing that follows relies on it"},
    {"U2 unlock: by_inner_.store", change::late, "the unlock follows"},
    {"V2 look_at_owner: owner_.store", change::late, "V3 follows, a full fence"},
    {"V4 lock: by_inner_.store", change::late, "the holder alone reads it"},
    {"V5 look_at_owner: owner_.store", change::left_out, "the lock becomes biased later, or never"},
    {"V5 look_at_owner: owner_.store", change::late, "the unlock of U2 follows before anybody else may look"},
};

}  // namespace

protocol const biased_locking{"the biased lock", "runtime/base/bias.hpp", scenarios, harmless_ones};

}  // namespace model
