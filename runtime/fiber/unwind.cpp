// See unwind.hpp.
#include "runtime/fiber/unwind.hpp"

#include <cstdint>

#include <unwind.h>

namespace weft::rt {
namespace {

/// The bounds of a stack, as addresses.
struct bounds {
  explicit bounds(stack const& s) noexcept
      : low(reinterpret_cast<std::uintptr_t>(s.base)), high(reinterpret_cast<std::uintptr_t>(&s)) {}
  std::uintptr_t low, high;
  [[nodiscard]] bool hold_frame(std::uintptr_t at) const noexcept {
    return at % sizeof(void*) == 0 && at >= low && at <= high - 2 * sizeof(void*);
  }
};

// Words of a stack that is not ours: neither sanitizer is to look. What frames hold is poisoned or not as their code left it.
WEFT_NO_TSAN __attribute__((no_sanitize("address"), noinline)) std::uintptr_t word_at(std::uintptr_t address) noexcept {
  return *reinterpret_cast<std::uintptr_t const volatile*>(address);
}

}  // namespace

std::size_t frames_by_pointers(stack const& left, void** out, std::size_t most) noexcept {
  bounds const in(left);
  std::size_t n = 0;
  std::uintptr_t frame = reinterpret_cast<std::uintptr_t>(left.exec.frame);
  while (n < most && in.hold_frame(frame)) {
    std::uintptr_t const address = word_at(frame + sizeof(void*));
    if (address == 0) break;
    out[n++] = reinterpret_cast<void*>(address);
    std::uintptr_t const next = word_at(frame);
    if (next <= frame) break;
    frame = next;
  }
  return n;
}

#if defined(__x86_64__)

namespace {

/// U1. The assembly knows the layout.
struct unwind_context {
  std::uintptr_t stack_pointer;
  std::uintptr_t return_address;
  std::uintptr_t frame_pointer;
};

struct unwind_state {
  bounds in;
  void** out;
  std::size_t most;
  std::size_t n = 0;
  std::uintptr_t last = 0;  // stack pointer of the frame before; 0: not on the parked stack yet
};

// U3. Before a frame's stack pointer the unwinder has read nothing of it but by that frame's table.
_Unwind_Reason_Code visit(_Unwind_Context* context, void* arg) noexcept {
  auto& s = *static_cast<unwind_state*>(arg);
  std::uintptr_t const at = _Unwind_GetCFA(context);
  if (at < s.in.low || at > s.in.high) return s.last == 0 ? _URC_NO_REASON : _URC_END_OF_STACK;
  if (at <= s.last) return _URC_END_OF_STACK;
  s.last = at;
  std::uintptr_t const address = _Unwind_GetIP(context);
  if (address == 0 || s.n == s.most) return _URC_END_OF_STACK;
  s.out[s.n++] = reinterpret_cast<void*>(address);
  return _URC_NO_REASON;
}

}  // namespace

extern "C" void weft_unwind_from(unwind_context const* where, _Unwind_Trace_Fn each, void* arg) noexcept;

// U2. DWARF: 0x0f define the frame's address by an expression, 0x10 a register's place by one; 0x73 rbx plus a number, 0x06 read there.
__asm__(R"(
.text
.p2align 4
.globl weft_unwind_from
.hidden weft_unwind_from
.type weft_unwind_from, @function
weft_unwind_from:
    .cfi_startproc
    endbr64
    pushq %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    movq %rdi, %rbx
    movq %rsi, %rdi
    movq %rdx, %rsi
    .cfi_remember_state
    .cfi_escape 0x0f, 3, 0x73, 0, 0x06
    .cfi_escape 0x10, 16, 2, 0x73, 8
    .cfi_escape 0x10, 6, 2, 0x73, 16
    .cfi_same_value %rbx
    call _Unwind_Backtrace@PLT
    .cfi_restore_state
    popq %rbx
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
.size weft_unwind_from, .-weft_unwind_from
)");

std::size_t frames_of(stack const& left, void** out, std::size_t most) noexcept {
  bounds const in(left);
  auto const frame = reinterpret_cast<std::uintptr_t>(left.exec.frame);
  if (!in.hold_frame(frame)) return 0;
  unwind_context const where{frame + 2 * sizeof(void*), word_at(frame + sizeof(void*)), word_at(frame)};
  unwind_state state{in, out, most};
  weft_unwind_from(&where, visit, &state);
  return state.n > 1 ? state.n : frames_by_pointers(left, out, most);
}

#else

std::size_t frames_of(stack const& left, void** out, std::size_t most) noexcept {
  return frames_by_pointers(left, out, most);
}

#endif

}  // namespace weft::rt
