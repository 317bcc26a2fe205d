// What is deep and does not wait, on the native stack of the worker.
//
// A task that waits in shallow calls has touched one page of its stack. A call with a frame of kilobytes takes it another one, for every task that
// makes it, and where tasks take turns by the thousand that page is cold each time. The native stack lies idle while a task runs, was
// used a moment ago by the task before, and is as deep as a thread's.
#pragma once

#include "runtime/fiber/call_on.hpp"
#include "runtime/sched/worker.hpp"

#include <cstdint>
#include <memory>
#include <type_traits>

namespace weft::rt {

/// Calls f(), on the worker's native stack if a task calls on a stack of its own. f must not wait, nor switch tasks in another way: what it would
/// leave there is written over. Throws what f throws. Not under the sanitizers, which know one stack at a time.
template <class F>
void on_native_stack(F&& f) {
#if WEFT_SWITCH_BY_HAND
  constexpr std::uintptr_t red_zone = 128;
  worker* const here = current_worker();
  stack* const on = here != nullptr ? here->on.get() : nullptr;
  auto const frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (on != nullptr && frame - reinterpret_cast<std::uintptr_t>(on->base) < on->usable()) {  // else it is there already
    auto const idle_below = reinterpret_cast<std::uintptr_t>(here->native.sp) - red_zone;
    return weft_call_on(
        std::addressof(f), [](void* call) { (*static_cast<std::remove_reference_t<F>*>(call))(); },
        reinterpret_cast<void*>(idle_below & ~std::uintptr_t{15}));
  }
#endif
  f();
}

}  // namespace weft::rt
