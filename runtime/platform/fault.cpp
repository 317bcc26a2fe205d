// See fault.hpp.
#include "runtime/platform/fault.hpp"

#include <cerrno>

#include "runtime/base/sanitizer.hpp"

namespace weft::rt {

constinit std::atomic<fault_kind> armed_fault{fault_kind::none};

namespace {
// Written while nothing is armed. `calls` is any thread's.
constinit fault_plan armed_plan;
constinit std::atomic<std::uint32_t> calls{0};
}  // namespace

void arm_fault(fault_plan const& plan) noexcept {
  armed_fault.store(fault_kind::none, std::memory_order_relaxed);
  armed_plan = plan;
  calls.store(0, std::memory_order_relaxed);
  armed_fault.store(plan.kind, std::memory_order_release);
}

std::uint32_t disarm_fault() noexcept {
  armed_fault.store(fault_kind::none, std::memory_order_relaxed);
  return calls.load(std::memory_order_relaxed);
}

// errno is one memory for all tasks of a thread, see runtime/fiber/switch.hpp.
WEFT_NO_TSAN bool fault_now() noexcept {
  std::uint32_t const call = calls.fetch_add(1, std::memory_order_relaxed) + 1;
  if (call < armed_plan.from || call - armed_plan.from >= armed_plan.times) return false;
  errno = armed_plan.error;
  return true;
}

}  // namespace weft::rt
