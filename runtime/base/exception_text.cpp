#include "runtime/base/exception_text.hpp"

namespace weft::rt {

void exception_text::add(std::exception const& e, unsigned depth) noexcept {
  constexpr unsigned deepest = 16;
  constexpr std::size_t most = 400, most_of_a_lone_one = 1000;  // an inner one has room: it is the cause
  auto const* const outer = dynamic_cast<std::nested_exception const*>(&e);
  bool const alone =
      outer == nullptr || outer->nested_ptr() == nullptr;  // made where nothing was in flight: none to rethrow
  text_.on_the_line(e.what(), alone && depth == 0 ? most_of_a_lone_one : most);
  if (alone || depth == deepest) return;
  try {
    outer->rethrow_nested();
  } catch (std::exception const& inner) {
    text_ << ": ";
    add(inner, depth + 1);
  } catch (...) {
    text_ << ": an exception that is not a std::exception";
  }
}

}  // namespace weft::rt
