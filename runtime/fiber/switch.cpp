// See switch.hpp.
#include "runtime/fiber/switch.hpp"

#include "runtime/base/lock.hpp"

#include "runtime/base/check.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {
namespace {

// The outermost frame of a stack: unwinders and debuggers stop here.
WEFT_NO_TSAN void first_frame(boost::context::detail::transfer_t arrived) noexcept {
#if defined(__GCC_HAVE_DWARF2_CFI_ASM) && defined(__x86_64__)
  __asm__ volatile(".cfi_undefined rip");
#elif defined(__GCC_HAVE_DWARF2_CFI_ASM) && defined(__aarch64__)
  __asm__ volatile(".cfi_undefined x30");
#endif
  auto* const from = static_cast<execution*>(arrived.data);
#if !WEFT_SWITCH_BY_HAND
  from->sp = arrived.fctx;
#endif
  execution* const self = from->successor;
#if WEFT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  self->entry(self->argument);
  check_failed(__FILE__, __LINE__, "self->entry(self->argument)", "the entry of a stack returned");
}

}  // namespace

// switch_to keeps errno for each task; to ThreadSanitizer the tasks of a thread are strangers who write to one variable.
thread_globals current_thread_globals() noexcept {
  tsan_own_by_thread(&errno, sizeof errno);
  return {abi::__cxa_get_globals(), &errno};
}

void init_native([[maybe_unused]] execution& self) noexcept {
#if WEFT_ASAN
  memory_range const range = thread_stack();
  self.stack_bottom = range.start;
  self.stack_size = range.size;
#endif
#if WEFT_TSAN
  self.tsan_fiber = __tsan_get_current_fiber();
#endif
}

#if WEFT_TSAN
namespace {
/// To ThreadSanitizer a new thread comes after all that its maker has seen, and the native stack has seen every task of its worker: a
/// task on a new stack would be ordered after all of them. So one logical thread that sees nothing makes them all.
WEFT_NO_TSAN void* make_logical_thread() noexcept {
  static object_lock lock;
  static void* maker = nullptr;  // guarded by lock
  guard hold(lock);
  if (maker == nullptr) maker = __tsan_create_fiber(0);
  void* here = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(maker, 1 /* no_sync */);
  void* made = __tsan_create_fiber(0);
  __tsan_switch_to_fiber(here, 1 /* no_sync */);
  return made;
}
}  // namespace

bystander::~bystander() {
  if (fiber_ != nullptr) __tsan_destroy_fiber(fiber_);
}

// Neither is instrumented: a function that is would begin on one logical thread and end on another.
WEFT_NO_TSAN bystander::scope::scope(bystander& who) noexcept : native_(__tsan_get_current_fiber()) {
  if (who.fiber_ == nullptr) who.fiber_ = make_logical_thread();
  __tsan_switch_to_fiber(who.fiber_, 1 /* no_sync */);
  tsan_ignore_begin();  // as on the native stack
}

WEFT_NO_TSAN bystander::scope::~scope() {
  tsan_ignore_end();
  __tsan_switch_to_fiber(native_, 1 /* no_sync */);
}
#endif

void prepare(execution& fresh, void* stack_top, std::size_t size, void (*entry)(void*), void* argument) noexcept {
  fresh.entry = entry;
  fresh.argument = argument;
  fresh.exceptions = {};
  fresh.saved_errno = 0;
#if WEFT_SWITCH_BY_HAND
  fresh.resume_at = nullptr;
#elif !WEFT_BOOST_KEEPS_FLOATS
  fresh.floats = current_float_control();  // as Boost does on x86-64
#endif
  fresh.sp = boost::context::detail::make_fcontext(stack_top, size, first_frame);
#if WEFT_ASAN
  fresh.fake_stack = nullptr;
  fresh.stack_bottom = static_cast<char*>(stack_top) - size;
  fresh.stack_size = size;
#endif
#if WEFT_TSAN
  if (fresh.tsan_fiber == nullptr) fresh.tsan_fiber = make_logical_thread();
#endif
}

void forget([[maybe_unused]] execution& dead) noexcept {
#if WEFT_ASAN
  if (dead.stack_bottom != nullptr) asan_unpoison(dead.stack_bottom, dead.stack_size);
#endif
#if WEFT_TSAN
  if (dead.tsan_fiber != nullptr) __tsan_destroy_fiber(dead.tsan_fiber);
  dead.tsan_fiber = nullptr;
#endif
}

}  // namespace weft::rt
