// A constant that needs no memory and is there from the first instruction to the last.
#pragma once

namespace weft::rt {

/// Declared constinit, it is made by the compiler: its first user may be one that has met a want of memory. It is never destroyed: error codes
/// name their category also while static objects are destroyed.
template <class T>
union lasting {
  T value;
  constexpr lasting() noexcept : value() {}
  lasting(lasting const&) = delete;
  lasting& operator=(lasting const&) = delete;
  ~lasting() {}
};

}  // namespace weft::rt
