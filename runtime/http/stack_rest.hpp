// Giving back the stack pages that a handler has touched, while the connection is idle.
#pragma once

namespace weft::rt {

/// Gives back the memory of the current task's stack below the caller's frame, which comes back as zeros when it is touched. A
/// system call; nothing under the sanitizers, whose picture of that memory would stay.
void give_back_stack_below() noexcept;

}  // namespace weft::rt
