// The floating-point control words, which belong to the task: asked at every switch, so asking has to be cheap.
//
// On x86-64 there are two, x87's (fnstcw: half a nanosecond) and SSE's MXCSR. To store MXCSR waits for all floating-point instructions
// before it, 3.5 to 5 ns on an AMD EPYC 9005: two fifths of a yield. But only its rounding mode has to be known, and a rounding that
// says which mode it went by tells that as well: roundps, told to use the mode set and to raise no "inexact". Four numbers round to {1, -1, 2, -2} only
// to nearest. It waits for nothing, and the branch on it is predicted. It came with SSE 4.1 (2008); an older processor stores MXCSR.
//
// So a mode set by std::fesetround (both words) or _MM_SET_ROUNDING_MODE (MXCSR alone) is seen, and traps set by feenableexcept (both) are. What
// MXCSR has alone besides, flush-to-zero and denormals-are-zero, stays with the thread.
//
// On ARM64 there is one, FPCR, which a move reads; rounding mode and traps are the task's there, too, and the rest the thread's.
#pragma once

#include <cfenv>
#include <cstdint>

namespace weft::rt {

#if defined(__x86_64__)
inline constexpr std::uint32_t float_flags = 0x3f;  // of MXCSR: what has happened; the rest says what shall happen

extern bool const has_sse4_1
    __attribute__((visibility("hidden")));  // false while static objects are made: slower, not wrong

__attribute__((always_inline)) inline std::uint32_t load_mxcsr() noexcept {
  std::uint32_t now;
  __asm__ volatile("stmxcsr %0" : "=m"(now));
  return now;
}

// Hidden, so that their addresses need not be looked up.
alignas(16) __attribute__((visibility("hidden"))) inline constexpr float quarters[4] = {1.25F, -1.25F, 1.75F, -1.75F};
alignas(16) __attribute__((visibility("hidden"))) inline constexpr float their_nearest[4] = {1.0F, -1.0F, 2.0F, -2.0F};

/// Whether SSE rounds to nearest; may say no where it does.
__attribute__((always_inline)) inline bool sse_rounds_to_nearest() noexcept {
  if (!has_sse4_1) [[unlikely]]
    return false;
  int equal;
  float rounded __attribute__((vector_size(16)));
  __asm__ volatile(
      "roundps $12, %[exact], %[rounded]\n\t"  // 4: by MXCSR's mode, 8: no "inexact"
      "pcmpeqd %[nearest], %[rounded]\n\t"
      "movmskps %[rounded], %[equal]"
      : [rounded] "=&x"(rounded), [equal] "=r"(equal)
      : [exact] "m"(quarters), [nearest] "m"(their_nearest));
  return equal == 0xf;
}

/// The thread's control words: x87's, and above it the rounding mode of SSE.
using float_control = std::uint32_t;
inline constexpr int x87_mode_at = 10, sse_mode_at = 16, mxcsr_mode_at = 13, mxcsr_traps_at = 7;
inline constexpr std::uint32_t mode_bits = 3, trap_bits = 0x3f;

__attribute__((always_inline)) inline float_control current_float_control() noexcept {
  std::uint16_t x87;
  __asm__ volatile("fnstcw %0" : "=m"(x87));
  float_control now = x87;
  if (!sse_rounds_to_nearest()) [[unlikely]]
    now |= (load_mxcsr() >> mxcsr_mode_at & mode_bits) << sse_mode_at;
  return now;
}

/// Makes the thread's `now` what `wanted` says.
void change_float_control(float_control now, float_control wanted) noexcept;

inline bool rounds_to_nearest(float_control c) noexcept {
  return (c & (mode_bits << x87_mode_at | mode_bits << sse_mode_at)) == 0;  // FE_TONEAREST is 0 in both
}

inline float_control to_nearest(float_control c) noexcept {
  return c & ~(mode_bits << x87_mode_at | mode_bits << sse_mode_at);
}
#elif defined(__aarch64__)
/// Of FPCR what the task has.
using float_control = std::uint64_t;
inline constexpr float_control mode_bits = std::uint64_t{3} << 22, trap_bits = 0x9f00;

inline std::uint64_t load_fpcr() noexcept {
  std::uint64_t now;
  __asm__ volatile("mrs %0, fpcr" : "=r"(now));
  return now;
}

inline float_control current_float_control() noexcept { return load_fpcr() & (mode_bits | trap_bits); }
inline void change_float_control(float_control, float_control wanted) noexcept {
  __asm__ volatile("msr fpcr, %0" : : "r"((load_fpcr() & ~(mode_bits | trap_bits)) | wanted));
}
inline bool rounds_to_nearest(float_control c) noexcept { return (c & mode_bits) == 0; }
inline float_control to_nearest(float_control c) noexcept { return c & ~mode_bits; }
#else
/// The rounding mode, as std::fegetround() has it.
using float_control = int;

inline float_control current_float_control() noexcept { return std::fegetround(); }
inline void change_float_control(float_control, float_control wanted) noexcept { std::fesetround(wanted); }
inline bool rounds_to_nearest(float_control c) noexcept { return c == FE_TONEAREST; }
inline float_control to_nearest(float_control) noexcept { return FE_TONEAREST; }
#endif

/// The rounding mode as a task finds it at its beginning.
inline void reset_rounding() noexcept {
  float_control const now = current_float_control();
  if (!rounds_to_nearest(now)) [[unlikely]]
    change_float_control(now, to_nearest(now));
}

}  // namespace weft::rt
