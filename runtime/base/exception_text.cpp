#include "runtime/base/exception_text.hpp"

namespace weft::rt {

void exception_text::add(std::exception const& e, unsigned depth) noexcept {
  constexpr unsigned deepest = 16;
  constexpr std::size_t most = 400;  // of each, so that an inner one has room: it is the cause
  text_.on_the_line(e.what(), most);
  if (depth == deepest) return;
  try {
    std::rethrow_if_nested(e);
  } catch (std::exception const& inner) {
    text_ << ": ";
    add(inner, depth + 1);
  } catch (...) {
    text_ << ": an exception that is not a std::exception";
  }
}

}  // namespace weft::rt
