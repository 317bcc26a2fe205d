// See check.hpp.
#include "runtime/base/check.hpp"

#include "runtime/base/message.hpp"

#include <cstdarg>
#include <cstdlib>

namespace weft::rt {

void fatal(char const* format, ...) {
  message text;
  text << "weft: fatal: ";
  va_list arguments;
  va_start(arguments, format);
  text.vformat(format, arguments);
  va_end(arguments);
  text.write_line();
  std::abort();
}

void warn(char const* format, ...) {
  message text;
  text << "weft: ";
  va_list arguments;
  va_start(arguments, format);
  text.vformat(format, arguments);
  va_end(arguments);
  text.write_line();
}

void check_failed(char const* file, int line, char const* condition, char const* why) noexcept {
  message text;
  text << "weft: internal error: " << file << ":" << static_cast<std::uint64_t>(line) << ": " << condition << ": "
       << why;
  text.write_line();
  std::abort();
}

}  // namespace weft::rt
