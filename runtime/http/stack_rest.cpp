// The pages between the end of the stack and the frame that runs now hold nothing: whatever is called next writes before it
// reads. The page of the frame itself stays, and so does what the frames of the system call below it may use.
#include "runtime/http/stack_rest.hpp"

#include "runtime/base/sanitizer.hpp"
#include "runtime/fiber/stack.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/worker.hpp"

#include <cstdint>

namespace weft::rt {

[[gnu::noinline]] void give_back_stack_below() noexcept {
  constexpr std::uintptr_t in_use = 768;  // this frame's callees: two thin functions around a system call
  if (asan || tsan) return;
  stack* const on = current_worker() ? current_worker()->on.get() : nullptr;
  if (on == nullptr) return;
  auto const here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  auto const base = reinterpret_cast<std::uintptr_t>(on->base);
  std::uintptr_t const end = (here - in_use) & ~static_cast<std::uintptr_t>(page_size() - 1);
  if (here < base || here - base > on->usable() || end <= base) return;  // not on that stack
  discard_pages(on->base, end - base);
}

}  // namespace weft::rt
