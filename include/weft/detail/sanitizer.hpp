// Which sanitizer this file is compiled with. Each of the two must be told when one stack is left for another: with a weft that does not they
// report races and overflows that are none. So what is compiled with one refers to a symbol that only a weft built with the same has, and
// the linker names what is missing.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WEFT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(WEFT_ASAN)
#define WEFT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(WEFT_TSAN)
#define WEFT_TSAN 1
#endif
#ifndef WEFT_ASAN
#define WEFT_ASAN 0
#endif
#ifndef WEFT_TSAN
#define WEFT_TSAN 0
#endif

#if WEFT_ASAN
extern "C" char const weft_must_be_built_with_fsanitize_address;
namespace weft::detail {
[[gnu::used]] inline char const* const needs_address_sanitizer = &weft_must_be_built_with_fsanitize_address;
}
#endif
#if WEFT_TSAN
extern "C" char const weft_must_be_built_with_fsanitize_thread;
namespace weft::detail {
[[gnu::used]] inline char const* const needs_thread_sanitizer = &weft_must_be_built_with_fsanitize_thread;
}
#endif
