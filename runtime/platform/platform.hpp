// What weft needs of an operating system: the whole list, with what each call requires and promises.
//
// One file a platform implements this header and CMake chooses it, so no other file has a conditional for an
// operating system. Nothing here throws or allocates unless it says so; every call keeps errno.
#pragma once

#include "runtime/base/sanitizer.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

#if WEFT_TSAN
extern "C" void __tsan_atomic_thread_fence(int order);
#endif

namespace weft::rt {

// ---- sleeping on a word ----------------------------------------------------------------------------------------

// Sleeps while `word == expected`. Returns after a wake, spuriously, or at once if the word differs: look again.
// Ordering: none; the caller's own accesses to the word give it.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept;

// The same with a deadline on monotonic_ns()'s clock. False: the deadline passed while asleep.
bool futex_wait_until(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                      std::int64_t deadline_monotonic_ns) noexcept;

// Wakes at most `count` threads of this process that sleep on the word. The word's memory may be gone already.
void futex_wake(std::atomic<std::uint32_t> const& word, int count) noexcept;

// About how long the calling thread has waited for object_locks until now. A sleep counts for little, since whoever waits that long
// waits for a thread that the operating system has preempted.
std::int64_t lock_waited_ns() noexcept;
// From now on *naps is counted up before and after each sleep of the calling thread for an object_lock or a biased one: odd while it
// sleeps, release. Null: nobody is told.
void tell_lock_naps(std::atomic<std::uint32_t>* naps) noexcept;

// ---- clocks ----------------------------------------------------------------------------------------------------

std::int64_t monotonic_ns() noexcept;  // never runs backwards, does not count time in suspend
std::int64_t realtime_ns() noexcept;   // since 1970

// One thread's CPU time, readable from other threads while that thread lives.
struct thread_clock {
  int id = 0;
};
thread_clock current_thread_clock() noexcept;
std::int64_t thread_cpu_ns(thread_clock clock) noexcept;  // -1: that thread is gone

// ---- fences that cost one side only ----------------------------------------------------------------------------

// For a pair "A: store x, fence, load y" and "B: store y, fence, load x" of which A runs a million times and B
// rarely. A uses light_fence, B heavy_fence, and at least one of them sees the other's store, as with two seq_cst
// fences. With membarrier(2) the light one is a compiler barrier; without it (old kernel, seccomp, ThreadSanitizer)
// both are full fences. Decided once, before main; a choice made later would leave a moment in which both are light.
extern std::atomic<bool> membarrier_in_use;  // written before main only, by the platform file

inline bool has_membarrier() noexcept { return membarrier_in_use.load(std::memory_order_relaxed); }
/// The same for light_fence, in each library and program that inlines it, so that its address need not be looked up. False while static
/// objects are made, which costs a full fence and is not wrong.
__attribute__((visibility("hidden"))) inline bool const light_fence_is_light = has_membarrier();

inline void full_fence() noexcept {
#if WEFT_TSAN
  // GCC refuses std::atomic_thread_fence here. This is the same instruction; ThreadSanitizer draws no edge from
  // it, and none is wanted: an edge through every park would hide the races between tasks.
  __tsan_atomic_thread_fence(__ATOMIC_SEQ_CST);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

inline void light_fence() noexcept {
  if (__builtin_expect(light_fence_is_light, 1)) __asm__ volatile("" ::: "memory");
  else full_fence();
}

void heavy_fence() noexcept;

// ---- processors and threads ------------------------------------------------------------------------------------

// How many processors this process may keep busy: the affinity mask, limited by the cgroup's quota rounded up.
// At least 1. Reads files, allocates: for start-up.
unsigned usable_cpus() noexcept;

// How many threads this process may have in all, as far as RLIMIT_NPROC and pids.max say; the largest unsigned if
// nothing does. Both limits count others' threads too, so thread creation may fail earlier. For start-up.
unsigned usable_threads() noexcept;

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
}

// The calling thread's own stack: lowest byte and size.
struct memory_range {
  void* start = nullptr;
  std::size_t size = 0;
};
memory_range thread_stack() noexcept;

// Calls call(arg) when the calling thread ends, among its thread_local variables' destructors, the last one asked for first. May be
// called by one of these, which a thread_local that has gone could not. On the main thread: in exit(), before its handlers. Allocates.
void at_thread_exit(void (*call)(void* arg), void* arg) noexcept;

// As long as the calling thread runs dlclose() leaves the library in memory that weft is linked into. For the threads that nobody joins.
void keep_loaded() noexcept;

void set_thread_name(char const* name) noexcept;  // cut to what the system shows (15 characters on Linux)
int current_thread_id() noexcept;                 // the kernel's number, as in a debugger's thread list

// What the kernel says the thread does: 'R' runs or could, 'S' sleeps, 'D' sleeps unstoppably; 0: not known.
char thread_state(int thread_id) noexcept;

// How many threads this process has, the kernel's own for it included; 0: not known.
unsigned process_threads() noexcept;

// Calls f in each child that fork makes from now on, before fork returns there. For start-up; ignored if there is no memory for it.
void call_after_fork(void (*f)()) noexcept;

// Lets timed sleeps of the calling thread end within a nanosecond of their time rather than the default 50 µs.
void set_precise_sleep() noexcept;

// ---- pages -----------------------------------------------------------------------------------------------------

std::size_t page_size() noexcept;

// Address space that reads as zeros and takes memory when touched, page by page (never huge pages: a stack that uses
// one page must cost one). `size` is a multiple of the page size. nullptr: refused.
void* reserve_pages(std::size_t size) noexcept;
void release_pages(void* start, std::size_t size) noexcept;
void discard_pages(void* start, std::size_t size) noexcept;  // the content becomes zeros, the memory goes back

enum class guard_kind : std::uint8_t {
  none,           // no guard: an overflow runs into the neighbour
  mprotect,       // costs two mappings each, of which the system allows 65,530 in all
  guard_install,  // Linux 6.13: costs nothing
};

// The best kind this system has, or what WEFT_STACK_GUARD (install, mprotect, none) asks for. Decided once, at the
// first call.
guard_kind preferred_guard() noexcept;

// Makes a touch of [start, start + size) a fault; both page-aligned, inside one reservation. Tries `wanted` first,
// then the lesser kinds; returns what it made. mprotect guards are counted and stop at three quarters of the limit of
// mappings, the rest is the program's; when they run out the program is told once on standard error.
guard_kind install_guard(void* start, std::size_t size, guard_kind wanted) noexcept;

// Several guards of the kind guard_install with one system call: [start + i * stride, + size) for each i below `count`.
// False: not all were made, and install_guard is to make them one by one (before Linux 6.14, or for locked memory).
constexpr unsigned most_guards_at_once = 64;
bool install_guards(void* start, std::size_t size, std::size_t stride, unsigned count) noexcept;

// `count` guards of that kind went with their mapping: their share of the limit is free again.
void forget_guards(guard_kind kind, std::size_t count) noexcept;

}  // namespace weft::rt
