// Leaving one stack for another. The only file that knows Boost.Context.
//
// Boost's raw switch (make_fcontext, jump_fcontext) saves the registers that a call must keep, and nothing else. Two
// more things belong to a task and not to the thread: the exceptions it has caught or that are on their way
// (__cxa_eh_globals), and errno. They are saved here. boost::context::fiber does so for exceptions from 1.88 on and
// not before; with the raw switch the library's version makes no difference, and nothing is saved twice.
//
// switch_to(from, to):
//   S1  save this thread's exception globals and errno into `from`
//   S2  put those of `to` in their place, while this thread's addresses are certainly right: after the jump `from` may
//       come back on another thread, and an address of the old one would be wrong there. Nothing is left to do on
//       arrival, so no thread-local address is ever used on the far side.
//   S3  tell the sanitizer
//   S4  floating-point control words
//   S5  jump
// From then on, and not earlier, another thread may resume `from`: what publishes it runs on the arriving side.
//
// There are two ways to do S4 and S5. Boost's works everywhere, is what the sanitizers understand, and is how every
// stack is entered for the first time. The one by hand, for x86-64, is inlined into the function that leaves: a task
// that parks has called the same functions as the one that goes on, so that the processor's stack of return addresses
// stays right, where a switch behind a call leaves one entry too many and each return of the next task is mispredicted
// (docs/decisions/0014-inlined-switch.md has figures). An execution goes on at resume_at, with sp and frame as they
// were; all other registers are the compiler's to save: the statement that jumps clobbers them. But x87's, and those that
// weft is built without, it does not name. At a call they are free. So what jumps stays a call (noinline) to the
// program's own functions, also where an optimizer sees both, as at link time: tests/structure/jumps.py. One that was
// never entered has no resume_at: Boost made it, and Boost enters it.
//
// S4: Boost's switch on x86-64 saves and loads the whole of MXCSR. Loading a value that differs from the current one
// stops the processor's pipeline: 73 ns instead of 5.7 were measured for a switch between a task that had computed
// with fractions (its "inexact" flag is set) and one that had not. The flags need not survive a call (System V ABI:
// only the control bits do), so where nothing but flags differs, the saved word is overwritten with the current one. It
// is the first word of what Boost saves, in every version; a word that does not look like MXCSR is left alone. By hand
// MXCSR is not even stored, and the control words are loaded only where they differ: float_control.hpp. On other processors
// Boost's switch saves none (ARM64's saves d8 to d15 and not FPCR): they are kept in the execution there, too.
//
// AddressSanitizer is told the bounds of each stack; a fake stack is kept in `execution` while its owner is away.
//
// ThreadSanitizer: each stack is a logical thread of its own (a "fiber" there), switched with no_sync. With the default
// flag each switch would be an edge, and a race between two tasks on one worker would never be reported. So:
//   - switch_to itself is not instrumented: what it hands over (from, to) is ordered by being one OS thread.
//   - what the runtime shares between tasks must be atomic, under a lock, WEFT_NO_TSAN, or under tsan_ignore.
//   - an edge that exists (spawn to first instruction, wake to resume) is one of the atomics of the wait protocol,
//     read by the task itself, or a tsan_release/tsan_acquire pair on the task.
#pragma once

#include "runtime/base/sanitizer.hpp"
#include "runtime/fiber/float_control.hpp"

#include <cxxabi.h>
#include <boost/context/detail/fcontext.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && !WEFT_ASAN && !WEFT_TSAN
#define WEFT_SWITCH_BY_HAND 1
#else
#define WEFT_SWITCH_BY_HAND 0
#endif
#if defined(__x86_64__) && !WEFT_SWITCH_BY_HAND
#define WEFT_BOOST_KEEPS_FLOATS 1
#else
#define WEFT_BOOST_KEEPS_FLOATS 0
#endif

#if WEFT_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, void const* bottom, std::size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, void const** bottom_old, std::size_t* size_old);
}
#endif
#if WEFT_TSAN
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}
#endif

namespace weft::rt {

// The two words of the C++ ABI's per-thread exception state (Itanium ABI 2.2.2), whose type the library keeps opaque.
struct exception_state {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

// Where an execution stopped, and what of the thread's state is its own. Written by the thread that switches.
struct execution {
  boost::context::detail::fcontext_t sp = nullptr;  // valid only while switched away
#if WEFT_SWITCH_BY_HAND
  void* resume_at = nullptr;  // null: never entered
#endif
#if !WEFT_BOOST_KEEPS_FLOATS
  float_control floats = 0;  // by hand: once it has been entered
#endif
  int saved_errno = 0;
  exception_state exceptions;
  void* frame = nullptr;           // of the function that it was left in: {its caller's frame, its return address}
  execution* successor = nullptr;  // whom this one jumped to: a first entry finds itself by it
  void (*entry)(void*) = nullptr;  // of a first entry
  void* argument = nullptr;
#if WEFT_ASAN
  void* fake_stack = nullptr;
  void const* stack_bottom = nullptr;
  std::size_t stack_size = 0;
#endif
#if WEFT_TSAN
  void* tsan_fiber = nullptr;  // not owned
#endif
};

// The calling thread's own addresses, for switch_to. Out of line and never inlined: both come from functions that the
// compiler believes constant. Good until the next switch.
struct thread_globals {
  abi::__cxa_eh_globals* exceptions;
  int* errno_pointer;
};
thread_globals current_thread_globals() noexcept __attribute__((noinline));

// Describes the calling thread's own stack. Call on that stack, once.
void init_native(execution& self) noexcept;

// Makes `fresh` an execution that, when first switched to, calls entry(argument) on the stack that ends below
// `stack_top` (16-byte aligned) and is `size` bytes large. The entry must never return or throw. Under
// ThreadSanitizer the execution keeps the logical thread it has, or gets a new one.
void prepare(execution& fresh, void* stack_top, std::size_t size, void (*entry)(void*), void* argument) noexcept;

// Gives back what the sanitizers hold for an execution that will not be resumed again.
void forget(execution& dead) noexcept;

// To ThreadSanitizer the native stack comes after all that ran on its worker. What it does for tasks to which it has nothing to tell, such as
// waking them because time has passed, it does as this logical thread, which has seen only what it met there: else the woken task would be
// ordered after all these others, and its races with them be hidden. Used by one thread at a time, on its native stack.
class bystander {
 public:
  bystander() noexcept = default;
  bystander(bystander const&) = delete;
  bystander& operator=(bystander const&) = delete;
#if WEFT_TSAN
  ~bystander();
#endif

  class scope {
   public:
#if WEFT_TSAN
    explicit scope(bystander& who) noexcept;
    ~scope();
#else
    explicit scope(bystander&) noexcept {}
    ~scope() {}
#endif
    scope(scope const&) = delete;
    scope& operator=(scope const&) = delete;
#if WEFT_TSAN

   private:
    void* native_;
#endif
  };
#if WEFT_TSAN

 private:
  void* fiber_ = nullptr;
#endif
};

/// What of the thread's state is the caller's own, put aside while another task runs on the caller's stack, which finds none of it. put_back
/// is given the addresses anew: it may be another thread by then.
class set_aside {
 public:
  set_aside(abi::__cxa_eh_globals* exceptions, int const* errno_pointer) noexcept : errno_(*errno_pointer) {
    constexpr exception_state none;
    auto* const here = reinterpret_cast<exception_state*>(exceptions);
    std::memcpy(&exceptions_, here, sizeof exceptions_);  // as a whole, as in switch_to
    std::memcpy(here, &none, sizeof none);
    if (!rounds_to_nearest(floats_)) [[unlikely]]
      change_float_control(floats_, to_nearest(floats_));
  }
  void put_back(abi::__cxa_eh_globals* exceptions, int* errno_pointer) const noexcept {
    std::memcpy(reinterpret_cast<exception_state*>(exceptions), &exceptions_, sizeof exceptions_);
    *errno_pointer = errno_;
    if (float_control const now = current_float_control(); now != floats_) [[unlikely]]
      change_float_control(now, floats_);
  }

 private:
  exception_state exceptions_;
  int errno_;
  float_control floats_ = current_float_control();
};

#if defined(__x86_64__)
__attribute__((always_inline)) inline void agree_on_float_flags(void* saved_context) noexcept {
  std::uint32_t const now = load_mxcsr();
  auto* const saved = static_cast<std::uint32_t*>(saved_context);
  if (((*saved ^ now) & ~float_flags) == 0) *saved = now;
}
#endif

#if WEFT_SWITCH_BY_HAND
#if defined(__AVX512F__)
#define WEFT_MORE_VECTOR_REGISTERS                                                                              \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
      "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define WEFT_MORE_VECTOR_REGISTERS
#endif
#if defined(__CET__) && (__CET__ & 1)
#define WEFT_LANDING_PAD "endbr64\n\t"
#else
#define WEFT_LANDING_PAD
#endif
// Notes where `from` stops, does `go`, and is where `from` goes on. %[from] is rdi and %[to] is rsi.
#define WEFT_JUMP(go)                                                                                             \
  __asm__ volatile(                                                                                               \
      "leaq 1f(%%rip), %%rax\n\t"                                                                                 \
      "movq %%rax, %c[resume_at](%[from])\n\t"                                                                    \
      "movq %%rbp, %c[frame](%[from])\n\t"                                                                        \
      "movq %%rsp, %c[sp](%[from])\n\t" go "1:\n\t" WEFT_LANDING_PAD                                              \
      : [from] "+D"(leaving), [to] "+S"(entering)                                                                 \
      : [sp] "i"(offsetof(execution, sp)), [frame] "i"(offsetof(execution, frame)),                               \
        [resume_at] "i"(offsetof(execution, resume_at))                                                           \
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", \
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",      \
        "xmm15" WEFT_MORE_VECTOR_REGISTERS, "cc", "memory")

/// S4 and S5 by hand.
__attribute__((always_inline)) inline void jump_by_hand(execution& from, execution& to) noexcept {
  float_control const floats = current_float_control();
  from.floats = floats;
  execution* leaving = &from;
  execution* entering = &to;
  if (to.resume_at == nullptr) [[unlikely]] {
    from.successor = &to;
    agree_on_float_flags(to.sp);
    // Boost notes where it was called from, below the red zone; nobody will go there.
    WEFT_JUMP(
        "leaq -128(%%rsp), %%rsp\n\t"
        "andq $-16, %%rsp\n\t"
        "movq %%rdi, %%rax\n\t"
        "movq %c[sp](%[to]), %%rdi\n\t"
        "movq %%rax, %%rsi\n\t"
        "call jump_fcontext@PLT\n\t"
        "ud2\n");
    return;
  }
  if (floats != to.floats) [[unlikely]]
    change_float_control(floats, to.floats);
  WEFT_JUMP(
      "movq %c[frame](%[to]), %%rbp\n\t"
      "movq %c[sp](%[to]), %%rsp\n\t"
      "jmpq *%c[resume_at](%[to])\n");
}
#undef WEFT_JUMP
#undef WEFT_LANDING_PAD
#undef WEFT_MORE_VECTOR_REGISTERS
#endif

#if WEFT_TSAN
#define WEFT_SWITCH_INLINE WEFT_NO_TSAN
#else
#define WEFT_SWITCH_INLINE __attribute__((always_inline))
#endif

// Leaves `from`, which is the execution that calls this, for `to`, which must be switched away or prepared.
// `exceptions` and `errno_pointer` are the calling thread's. Returns when somebody switches to `from`, perhaps on
// another OS thread: whatever was read of the thread before is void then.
WEFT_SWITCH_INLINE inline void switch_to(execution& from, execution& to, abi::__cxa_eh_globals* exceptions,
                                         int* errno_pointer) noexcept {
  auto* const here = reinterpret_cast<exception_state*>(exceptions);
  std::memcpy(&from.exceptions, here, sizeof *here);  // S1; as a whole, where members would go one by one
  from.saved_errno = *errno_pointer;
  std::memcpy(here, &to.exceptions, sizeof *here);  // S2
  *errno_pointer = to.saved_errno;
#if !WEFT_SWITCH_BY_HAND
  from.successor = &to;
  from.frame = __builtin_frame_address(0);  // for backtraces; by hand it is saved with the rest
#endif
#if WEFT_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_size);  // S3
#endif
#if WEFT_TSAN
  from.tsan_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_fiber, 1 /* no_sync */);
#endif
#if WEFT_SWITCH_BY_HAND
  jump_by_hand(from, to);  // S4, S5
#else
#if WEFT_BOOST_KEEPS_FLOATS
  agree_on_float_flags(to.sp);  // S4
#else
  from.floats = current_float_control();  // S4
  if (from.floats != to.floats) [[unlikely]]
    change_float_control(from.floats, to.floats);
#endif
  auto const arrived = boost::context::detail::jump_fcontext(to.sp, &from);  // S5
  static_cast<execution*>(arrived.data)->sp = arrived.fctx;
#endif
#if WEFT_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace weft::rt
