// A stack, and the control block at its top.
//
//     low                                                            high
//     | guard | ............ grows this way <------ | frames | block |
//             ^ base                                         ^ this, 64-byte aligned
//
// The block lies in the page that the first frames use, so a task that parks in shallow calls costs one page in all.
// Who may touch it: the holder of the stack. While it is idle in the pool that is the pool, under its lock.
#pragma once

#include "runtime/fiber/switch.hpp"
#include "runtime/platform/platform.hpp"

#include <cstddef>
#include <cstdint>

namespace weft::rt {

struct slab;

struct alignas(64) stack {
  execution exec;              // where its last user stopped
  stack* next = nullptr;       // link of the list it is in: the pool's, or a holder's own cache
  stack* prev = nullptr;       // the pool's alone
  slab* home = nullptr;        // the mapping it was cut from; constant
  char* base = nullptr;        // lowest usable byte; constant
  std::size_t size = 0;        // usable bytes, this block included; constant
  std::size_t guard_size = 0;  // below base; 0: no guard; constant
  void* owner = nullptr;       // the task that runs or is parked on it, for overflow reports; written by the scheduler
  std::uint8_t size_class = 0;
  bool fresh = true;  // never entered: `prepare` it. Otherwise it is a suspended loop: switch to it
  bool cold = false;  // in the pool's cold list

  // Where the first frame begins.
  void* top() noexcept { return this; }
  std::size_t usable() const noexcept { return static_cast<std::size_t>(reinterpret_cast<char const*>(this) - base); }

  // Makes a fresh stack enterable: the first switch to exec calls entry(argument). Ends its being fresh.
  void prepare_entry(void (*entry)(void*), void* argument) noexcept {
    prepare(exec, top(), usable(), entry, argument);
    fresh = false;
  }

  // Whether a fault at this address is an overflow of this stack. Async-signal-safe.
  bool guard_contains(void const* address) const noexcept {
    auto const* const at = static_cast<char const*>(address);
    return at < base && at >= base - guard_size;
  }
};

// Gives back the memory below where a switched-away stack stopped. Nobody may resume it meanwhile. Nothing under the
// sanitizers, whose picture of that memory would stay.
void discard_below(stack& stopped) noexcept;

static_assert(sizeof(stack) <= 192 || asan || tsan, "the control block shares a page with the first frames");

}  // namespace weft::rt
