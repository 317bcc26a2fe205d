// See float_control.hpp.
#include "runtime/fiber/float_control.hpp"

// The loader has asked the processor already. To ask again costs the start of a program 40 us on a virtual machine, where each
// CPUID goes to the hypervisor, and __builtin_cpu_supports makes libgcc ask for all that it knows. To Clang glibc's header is C.
#if defined(__x86_64__) && !defined(__clang__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#endif

namespace weft::rt {

#if defined(__x86_64__)
#if defined(CPU_FEATURE_PRESENT)
bool const has_sse4_1 = CPU_FEATURE_PRESENT(SSE4_1) != 0;
#else
bool const has_sse4_1 = __builtin_cpu_supports("sse4.1") != 0;
#endif

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
