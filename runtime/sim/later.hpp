// What happens later in a simulated run, by the virtual clock: a timer with an owner that stays alive until it has come.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/timer/timer_heap.hpp"

namespace weft::sim {

class later {
 public:
  later() noexcept : node_(ops, this) {}
  later(later const&) = delete;
  later& operator=(later const&) = delete;

 protected:
  ~later() = default;

  /// happens() is called at `when`, in place of an earlier call of at(). In the run alone.
  void at(std::int64_t when) noexcept;
  void never_mind() noexcept;

 private:
  virtual void happens() noexcept = 0;
  /// What owns this object.
  [[nodiscard]] virtual std::shared_ptr<void> owner() noexcept = 0;

  static rt::timer_ops const ops;

  rt::timer_node node_;
  unsigned holds_ = 0;          // of the heap
  std::shared_ptr<void> kept_;  // while there are holds
};

}  // namespace weft::sim
