// Whom a biased lock is biased to: a thread's name.
#pragma once

#include <cstdint>

#include <weft/detail/sanitizer.hpp>

namespace weft::detail {

/// Names a thread for biased locks; 31 bits. Never used again for another one.
using lock_owner = std::uint32_t;
inline constexpr lock_owner no_owner = 0;                // in a lock: nobody
inline constexpr lock_owner passing_owner = 0x7fffffff;  // a thread that no lock becomes biased to: a plain one

}  // namespace weft::detail

/// The calling thread's name. Written by weft alone, when a thread becomes a worker and when it ends.
extern "C" thread_local constinit std::uint32_t weft_lock_owner __attribute__((tls_model("initial-exec")));

namespace weft::detail {

/// The same, out of line: no compiler keeps the address of the thread_local across a switch.
[[nodiscard]] lock_owner lock_owner_out_of_line() noexcept;

/// The calling thread's name. Void after any call that may park, which may return on another thread.
[[nodiscard]] inline lock_owner current_lock_owner() noexcept {
#if defined(__x86_64__) && defined(__LP64__) && defined(__ELF__) && !WEFT_TSAN
  // Volatile, so that each call reads: to a compiler a function stays on its thread, and the address could be kept.
  std::uint64_t name;
  __asm__ volatile(
      "{movq weft_lock_owner@gottpoff(%%rip), %0|mov %0, QWORD PTR weft_lock_owner@gottpoff[rip]}\n\t"
      "{movl %%fs:(%0), %k0|mov %k0, DWORD PTR fs:[%0]}"
      : "=r"(name));
  return static_cast<lock_owner>(name);
#else
  return lock_owner_out_of_line();
#endif
}

void full_fence() noexcept;

/// The cheap side of a pair of fences (runtime/platform/platform.hpp), for headers.
inline void light_fence() noexcept {
#if WEFT_TSAN
  full_fence();
#else
  __asm__ volatile("" ::: "memory");
#endif
}

}  // namespace weft::detail
