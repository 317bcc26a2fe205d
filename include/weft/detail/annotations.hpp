// Clang's thread-safety annotations under weft's names.
//
// They let the compiler prove that a field is only touched under its lock (-Wthread-safety). GCC has no such
// analysis, and there every macro here is empty. A lock that is taken on one stack and released on another (a park
// does that) is beyond the analysis: such functions say WEFT_NO_THREAD_SAFETY_ANALYSIS and explain themselves.
#pragma once

#if defined(__clang__)
#define WEFT_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define WEFT_THREAD_ATTRIBUTE(x)
#endif

#define WEFT_CAPABILITY(name) WEFT_THREAD_ATTRIBUTE(capability(name))
#define WEFT_SCOPED_CAPABILITY WEFT_THREAD_ATTRIBUTE(scoped_lockable)
#define WEFT_GUARDED_BY(...) WEFT_THREAD_ATTRIBUTE(guarded_by(__VA_ARGS__))
#define WEFT_PT_GUARDED_BY(...) WEFT_THREAD_ATTRIBUTE(pt_guarded_by(__VA_ARGS__))
#define WEFT_ACQUIRE(...) WEFT_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define WEFT_ACQUIRE_SHARED(...) WEFT_THREAD_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define WEFT_RELEASE(...) WEFT_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define WEFT_RELEASE_SHARED(...) WEFT_THREAD_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define WEFT_TRY_ACQUIRE(...) WEFT_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define WEFT_TRY_ACQUIRE_SHARED(...) WEFT_THREAD_ATTRIBUTE(try_acquire_shared_capability(__VA_ARGS__))
#define WEFT_REQUIRES(...) WEFT_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define WEFT_REQUIRES_SHARED(...) WEFT_THREAD_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
#define WEFT_EXCLUDES(...) WEFT_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define WEFT_ASSERT_HELD(...) WEFT_THREAD_ATTRIBUTE(assert_capability(__VA_ARGS__))
#define WEFT_RETURN_CAPABILITY(x) WEFT_THREAD_ATTRIBUTE(lock_returned(x))
#define WEFT_NO_THREAD_SAFETY_ANALYSIS WEFT_THREAD_ATTRIBUTE(no_thread_safety_analysis)
