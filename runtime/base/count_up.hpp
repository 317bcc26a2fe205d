// Counting up a word that one thread alone writes.
#pragma once

#include <atomic>

#include "runtime/base/sanitizer.hpp"

namespace weft::rt {

/// A relaxed load and a store of one more. One instruction, without a lock, where compilers make three of an atomic's two accesses.
template <class T>
__attribute__((always_inline)) inline void count_up(std::atomic<T>& word, std::memory_order order) noexcept {
#if defined(__x86_64__) && !WEFT_TSAN
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  // Each store of this machine is a release; what the compiler may not move across one is all memory.
  if (order != std::memory_order_relaxed) __asm__ volatile("" : : : "memory");
  auto& plain = reinterpret_cast<T&>(word);
  if constexpr (sizeof(T) == 4) __asm__ volatile("addl $1, %0" : "+m"(plain) : : "cc");
  else __asm__ volatile("addq $1, %0" : "+m"(plain) : : "cc");
#else
  word.store(word.load(std::memory_order_relaxed) + 1, order);
#endif
}

}  // namespace weft::rt
