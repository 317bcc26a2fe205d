// Memory of contexts. A task that spawns makes one and lets it go at its end, mostly where it began, so each worker keeps some: malloc's own
// lists take seven of a size, and then it looks for neighbours to unite them with, three times the instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/owned.hpp"

namespace weft::rt {

/// A worker's. Its own thread's alone: no section is needed, since not the worker but its processor can be taken from a thread.
class context_memory {
 public:
  context_memory() noexcept = default;
  context_memory(context_memory const&) = delete;
  context_memory& operator=(context_memory const&) = delete;
  ~context_memory() {
    while (void* const kept = take()) ::operator delete(kept);
  }

  /// Null: there is none.
  [[nodiscard]] void* take() noexcept {
    void* const taken = first_;
    if (taken == nullptr) return nullptr;
    first_ = *static_cast<void**>(taken);
    count_ -= 1;
    return taken;
  }
  /// False: it is full. Never true under the sanitizers, which are to see the end of each.
  [[nodiscard]] bool keep(void* gone) noexcept {
    if (asan || tsan || count_.get() == most) return false;
    first_ = new (gone)(void*)(first_.get());
    count_ += 1;
    return true;
  }

 private:
  static constexpr std::uint32_t most = 32;

  owned<void*> first_;  // each says where the next one lies
  owned<std::uint32_t> count_;
};

}  // namespace weft::rt
