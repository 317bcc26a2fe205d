// See call_on.hpp. The caller's frame pointer is what both unwinders need: by pointers, and by the table, where it is the frame's address.
//
// gdb takes a frame that lies above its caller's for a broken stack, and ends its backtrace at weft_call_on. To call it a signal's frame would
// mend that, and make the unwinder look for handlers behind the call in the frame below.
#include "runtime/fiber/call_on.hpp"

#if WEFT_SWITCH_BY_HAND

__asm__(R"(
.text
.p2align 4
.globl weft_call_on
.type weft_call_on, @function
weft_call_on:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdx, %rsp
    call *%rsi
    leave
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
.size weft_call_on, .-weft_call_on
)");

#endif
