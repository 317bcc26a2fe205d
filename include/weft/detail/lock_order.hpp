// The checker of the order in which a program takes its locks (runtime/sync/lock_order.cpp): in builds of weft with the CMake option
// WEFT_LOCK_ORDER, which hand the definition on to who uses them. In all others the calls below are empty. Not for applications.
#pragma once

#ifndef WEFT_LOCK_ORDER
#define WEFT_LOCK_ORDER 0
#endif

namespace weft::detail {

void note_order_wanted(void const* lock) noexcept;    // before a call that may wait for it
void note_order_taken(void const* lock) noexcept;     // by whatever call
void note_order_released(void const* lock) noexcept;  // before it is free
void note_order_gone(void const* lock) noexcept;      // before it is destroyed

inline void order_wanted([[maybe_unused]] void const* lock) noexcept {
#if WEFT_LOCK_ORDER
  note_order_wanted(lock);
#endif
}
inline void order_taken([[maybe_unused]] void const* lock) noexcept {
#if WEFT_LOCK_ORDER
  note_order_taken(lock);
#endif
}
inline void order_released([[maybe_unused]] void const* lock) noexcept {
#if WEFT_LOCK_ORDER
  note_order_released(lock);
#endif
}

}  // namespace weft::detail
