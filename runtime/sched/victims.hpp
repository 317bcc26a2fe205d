// victims: in which order a thief looks at the others' queues.
//
// Each of them once, in an order drawn anew each time. To go round from a random place is not random enough: the idle list hands out the lowest
// processors first, so the busy ones stand side by side, and every thief that begins among the idle ones comes to the same busy one first. With 8
// busy of 64 that is seven thieves of eight. So the step is drawn as well, of those that have no divisor in common with the number of
// processors: these reach each place once (Go's randomOrder).
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

namespace weft::rt {

class victim_order {
 public:
  explicit victim_order(unsigned count) : count_(count) {
    for (unsigned step = 1; step <= count; ++step)
      if (std::gcd(step, count) == 1) steps_.push_back(step);
  }

  /// One round. `drawn`: any number; its halves decide where it begins and the step.
  class walk {
   public:
    walk(victim_order const& of, std::uint64_t drawn) noexcept
        : count_(of.count_),
          step_(of.steps_[scaled(drawn >> 32, of.steps_.size())]),
          at_(static_cast<unsigned>(scaled(drawn & 0xffff'ffff, of.count_))),
          left_(of.count_) {}
    [[nodiscard]] bool done() const noexcept { return left_ == 0; }
    [[nodiscard]] unsigned at() const noexcept { return at_; }
    void next() noexcept {
      --left_;
      at_ += step_;
      if (at_ >= count_) at_ -= count_;
    }

   private:
    /// From 32 random bits, a number below n.
    static std::uint64_t scaled(std::uint64_t bits, std::uint64_t n) noexcept { return bits * n >> 32; }

    unsigned count_, step_, at_, left_;
  };

 private:
  unsigned const count_;
  std::vector<unsigned> steps_;  // constant
};

}  // namespace weft::rt
