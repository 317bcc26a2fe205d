// What all tasks do at this moment, as text.
#pragma once

#include <iosfwd>

namespace weft {

/// Writes a list of every task of the process's runtimes: id, name, place of spawn, and whether it runs, is ready, has not begun, or is
/// parked: then what it waits on, for how long, and the calls that led there. Tasks with equal stacks stand together.
///
/// Callable from any thread and task. Does not wait, and is no cancellation point; tasks go on meanwhile, but for the one
/// whose stack is being read, which takes microseconds. So each line is true of a moment of its own. Names take some 40 KiB of the
/// caller's stack, more where they are long.
///
/// Times are kept in steps of about a millisecond, and begin at the worker's last look at the clock, which may lie some
/// switches back. Names of functions come from the symbol tables; where these were stripped, addresses are relative to the module, as
/// `addr2line -Cfe module offset` takes them. Throws std::bad_alloc, and what the stream throws.
///
///     weft::dump(std::cerr);
void dump(std::ostream& to);

}  // namespace weft
