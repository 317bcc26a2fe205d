// Calling a function on another stack than the caller's, and coming back.
#pragma once

#include "runtime/fiber/switch.hpp"

namespace weft::rt {

#if WEFT_SWITCH_BY_HAND
/// Calls f(arg) with its frames below `top`, a multiple of 16. Throws what it throws; exceptions and backtraces pass from the one stack to the other.
extern "C" void weft_call_on(void* arg, void (*f)(void*), void* top);
#endif

}  // namespace weft::rt
