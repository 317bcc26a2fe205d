// See float_control.hpp.
#include "runtime/fiber/float_control.hpp"

namespace weft::rt {

#if defined(__x86_64__)
bool const has_sse4_1 = __builtin_cpu_supports("sse4.1") != 0;

void change_float_control(float_control now, float_control wanted) noexcept {
  auto const x87 = static_cast<std::uint16_t>(wanted);
  __asm__ volatile("fldcw %0" : : "m"(x87));
  std::uint32_t mxcsr = load_mxcsr() & ~(mode_bits << mxcsr_mode_at);
  mxcsr |= (wanted >> sse_mode_at & mode_bits) << mxcsr_mode_at;
  // Traps are in both words. Those of MXCSR alone, which nobody has looked for, are left alone.
  if (((now ^ wanted) & trap_bits) != 0)
    mxcsr = (mxcsr & ~(trap_bits << mxcsr_traps_at)) | (wanted & trap_bits) << mxcsr_traps_at;
  __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}
#endif

}  // namespace weft::rt
