// What a line of a report says of an exception.
#pragma once

#include <exception>

#include "runtime/base/message.hpp"

namespace weft::rt {

/// e's text and those of the exceptions nested in it (std::throw_with_nested), outermost first: "outer: inner: innermost". Allocates nothing of
/// its own.
class exception_text {
 public:
  explicit exception_text(std::exception const& e) noexcept { add(e, 0); }
  [[nodiscard]] char const* c_str() noexcept { return text_.c_str(); }

 private:
  void add(std::exception const& e, unsigned depth) noexcept;

  message text_;
};

}  // namespace weft::rt
