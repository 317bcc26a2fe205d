// Which sanitizer this build has, and the few words weft says to it. All of it compiles to nothing without one.
//
// ThreadSanitizer knows atomics; what it cannot see is said here:
//   tsan_release(p) / tsan_acquire(p)  an edge from everything before the release to everything after the acquire.
//       Each edge can hide a race of the user's between the two sides: only where one exists in truth (memory handed
//       on through a pool, a closure handed to a task), on the object handed on and nothing wider.
//   WEFT_NO_TSAN                       on a function: its plain accesses are not looked at. For the runtime's own data
//       that is ordered by "one worker runs one thing at a time", which ThreadSanitizer does not know, because tasks on
//       one worker are strangers to it (see runtime/fiber/switch.hpp). Calls stay instrumented; atomics inside it draw
//       no edge.
//   tsan_ignore                        the same for a scope, whatever it calls. Must begin and end on the same task.
//   tsan_no_edges                      a scope in which atomics and locks draw no edge. For what nearly all tasks go through and nobody hands
//       anything on by: the run queues (a pair on the task orders that), the lists of who waits under a context.
//   tsan_hidden                        both: a scope that ThreadSanitizer does not see.
//   tsan_own_by_thread(p, n)           on memory of one OS thread that tasks use by turns: no race is reported there.
#pragma once

#include <cstddef>

#include <weft/detail/sanitizer.hpp>

#if WEFT_TSAN && defined(__clang__)
#define WEFT_NO_TSAN __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation, noinline))
#elif WEFT_TSAN
#define WEFT_NO_TSAN __attribute__((no_sanitize("thread"), noinline))
#else
#define WEFT_NO_TSAN
#endif

#if WEFT_ASAN
extern "C" {
void __asan_poison_memory_region(void const volatile* address, std::size_t size);
void __asan_unpoison_memory_region(void const volatile* address, std::size_t size);
}
#endif
#if WEFT_TSAN
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(char const* file, int line);
void AnnotateIgnoreReadsEnd(char const* file, int line);
void AnnotateIgnoreWritesBegin(char const* file, int line);
void AnnotateIgnoreWritesEnd(char const* file, int line);
void AnnotateIgnoreSyncBegin(char const* file, int line);
void AnnotateIgnoreSyncEnd(char const* file, int line);
void AnnotateBenignRaceSized(char const* file, int line, void const volatile* address, std::size_t size,
                             char const* why);
}
#endif

namespace weft::rt {

inline constexpr bool asan = WEFT_ASAN != 0;
inline constexpr bool tsan = WEFT_TSAN != 0;

inline void asan_poison([[maybe_unused]] void const* address, [[maybe_unused]] std::size_t size) noexcept {
#if WEFT_ASAN
  __asan_poison_memory_region(address, size);
#endif
}

inline void asan_unpoison([[maybe_unused]] void const* address, [[maybe_unused]] std::size_t size) noexcept {
#if WEFT_ASAN
  __asan_unpoison_memory_region(address, size);
#endif
}

inline void tsan_acquire([[maybe_unused]] void const* address) noexcept {
#if WEFT_TSAN
  __tsan_acquire(const_cast<void*>(address));
#endif
}

inline void tsan_release([[maybe_unused]] void const* address) noexcept {
#if WEFT_TSAN
  __tsan_release(const_cast<void*>(address));
#endif
}

inline void tsan_own_by_thread([[maybe_unused]] void const* address, [[maybe_unused]] std::size_t size) noexcept {
#if WEFT_TSAN
  AnnotateBenignRaceSized(__FILE__, __LINE__, address, size, "the thread's own, kept for each task by weft");
#endif
}

// The two halves of tsan_ignore, for what is no block: sections, which a park opens and the resumed task closes.
inline void tsan_ignore_begin() noexcept {
#if WEFT_TSAN
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}
inline void tsan_ignore_end() noexcept {
#if WEFT_TSAN
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

class tsan_ignore {
 public:
#if WEFT_TSAN
  tsan_ignore() noexcept {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~tsan_ignore() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  tsan_ignore() noexcept {}
  ~tsan_ignore() {}
#endif
  tsan_ignore(tsan_ignore const&) = delete;
  tsan_ignore& operator=(tsan_ignore const&) = delete;
};

class tsan_no_edges {
 public:
#if WEFT_TSAN
  tsan_no_edges() noexcept { AnnotateIgnoreSyncBegin(__FILE__, __LINE__); }
  ~tsan_no_edges() { AnnotateIgnoreSyncEnd(__FILE__, __LINE__); }
#else
  tsan_no_edges() noexcept {}
  ~tsan_no_edges() {}
#endif
  tsan_no_edges(tsan_no_edges const&) = delete;
  tsan_no_edges& operator=(tsan_no_edges const&) = delete;
};

struct tsan_hidden {
  tsan_ignore accesses;
  tsan_no_edges edges;
};

}  // namespace weft::rt
