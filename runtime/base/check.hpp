// The last words of a process: misuse of the API, and our own bugs.
//
// Two of weft's three ways to fail end here (the third, values and exceptions, is for what can happen in a right
// program). `fatal` names a misuse: the message names the function that was misused and says what is allowed.
// WEFT_CHECK is for weft's own bugs and stays in every build; WEFT_ASSERT is for checks too dear for a release.
// All of them write one line with write(2): no stdio buffer, no lock, so they work in the middle of a switch.
#pragma once

namespace weft::rt {

// Writes "weft: fatal: <message>" to standard error as one line and aborts. At most 1000 characters.
[[noreturn]] void fatal(char const* format, ...) __attribute__((format(printf, 1, 2), cold, noinline));

// Writes "weft: <message>" as one line and returns: for what the program is told once and lives on with.
void warn(char const* format, ...) __attribute__((format(printf, 1, 2), cold, noinline));

// Writes "weft: internal error: file:line: condition: why" and aborts.
[[noreturn]] void check_failed(char const* file, int line, char const* condition, char const* why) noexcept
    __attribute__((cold, noinline));

}  // namespace weft::rt

#define WEFT_CHECK(condition, why) \
  (__builtin_expect(!!(condition), 1) ? void() : ::weft::rt::check_failed(__FILE__, __LINE__, #condition, why))

#ifdef NDEBUG
#define WEFT_ASSERT(condition, why) void(sizeof(!!(condition)))
#else
#define WEFT_ASSERT(condition, why) WEFT_CHECK(condition, why)
#endif
