// errno as a task has it. Out of line: compilers keep errno's address from one use in a function to the next, and a task may go on
// on another thread (docs/faq.md). To ThreadSanitizer each task is a thread, but errno's memory is one: it may not look.
#pragma once

#include <cerrno>

#include "runtime/base/sanitizer.hpp"

namespace weft::test {

WEFT_NO_TSAN [[gnu::noinline]] inline void set_errno(int to) { errno = to; }
WEFT_NO_TSAN [[gnu::noinline]] inline int get_errno() { return errno; }

}  // namespace weft::test
