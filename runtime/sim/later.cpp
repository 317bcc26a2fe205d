#include "runtime/sim/later.hpp"

#include "runtime/base/check.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::sim {

rt::timer_ops const later::ops{
    .retain =
        [](void* owner) noexcept {
          auto& self = *static_cast<later*>(owner);
          if (self.holds_++ == 0) self.kept_ = self.owner();
        },
    .fire = [](rt::timer_node&, void* owner, std::uint64_t) { static_cast<later*>(owner)->happens(); },
    .release =
        [](void* owner) {
          auto& self = *static_cast<later*>(owner);
          std::shared_ptr<void> last;
          if (--self.holds_ == 0) last = std::move(self.kept_);
        },
};

// A run has one processor and one thread, so the heap is that one's, and nobody sleeps who would have to be told.
void later::at(std::int64_t when) noexcept {
  rt::timer_heap& heap = rt::current_worker()->sched->proc(0).timers;
  if (!heap.reserve_one()) rt::fatal("out of memory for a timer");
  heap.arm(node_, when, node_.generation() + 1);
}

void later::never_mind() noexcept { rt::timer_heap::disarm(node_, node_.generation()); }

}  // namespace weft::sim
