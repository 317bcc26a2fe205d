// The calls that a stack was left in: backtraces of parked tasks.
//
// Who waits in a channel was called by code of the user, which is mostly compiled without frame pointers; a walk along them ends, or
// leaves calls out, at the first such function. Its unwind tables are there all the same, since exceptions need them, and the
// language runtime's unwinder reads them; but that starts only from where it is called. So it is called through a function whose own
// table says that its caller is the parked one:
//   U1 the context (stack pointer, return address, frame pointer) is that of the caller of the function that left the stack; weft's
//      functions do have frame pointers, and switch_to keeps the one of the function that it is part of (execution::frame)
//   U2 a piece of assembly keeps the context's address in a preserved register and calls _Unwind_Backtrace. Its table (written
//      by hand) says where in that context the caller's registers are
//   U3 the unwinder calls back for each frame: those before the stack's bounds are the reader's own; from the first one
//      inside on, a frame must lie above the one before and within the bounds, else the walk ends
// The other preserved registers are not known. Frames are found by stack and frame pointer, so that does not matter.
//
// On processors for which U2 is not written, and where the tables end early, frame pointers are followed: each must point higher and into
// the stack.
//
// Rejected: the layout of what Boost.Context saves (it differs from version to version), an interpreter of the tables of our
// own, a signal to the worker (a parked task has none).
#pragma once

#include <cstddef>

#include "runtime/fiber/stack.hpp"

namespace weft::rt {

/// Fills `out` with return addresses, innermost first; how many. The stack must have been left, and nobody may resume it meanwhile.
[[nodiscard]] std::size_t frames_of(stack const& left, void** out, std::size_t most) noexcept;

/// The same by frame pointers alone.
[[nodiscard]] std::size_t frames_by_pointers(stack const& left, void** out, std::size_t most) noexcept;

}  // namespace weft::rt
