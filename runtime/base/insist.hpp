// For what needs memory and has nobody to say so to: a destructor, a thread's own loop.
#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace weft::rt {

/// f(), again each few milliseconds until it does not throw std::bad_alloc. A task keeps its thread meanwhile, so that
/// the wait itself needs no memory; its processor goes to others, as with any call that blocks.
template <class F>
decltype(auto) insist(F f) noexcept {
  for (;;) {
    try {
      return f();
    } catch (std::bad_alloc const&) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace weft::rt
