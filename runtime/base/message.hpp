// Text put together without allocation, locale or stdio: usable in a signal handler and while memory is short.
//
// What does not fit is cut off; a line feed at the end always fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::rt {

/// Of what the program says itself, as a task's name: nothing of it ends the line or steers a terminal.
constexpr char on_the_line(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c; }

class message {
 public:
  message& operator<<(std::string_view text) noexcept;
  message& operator<<(char const* text) noexcept;  // a null pointer adds nothing
  message& operator<<(std::uint64_t number) noexcept;
  message& on_the_line(std::string_view text, std::size_t most) noexcept;  // its beginning, so that others have room
  message& hex(std::uint64_t number) noexcept;                             // with 0x in front
  message& vformat(char const* format, __builtin_va_list arguments) noexcept;  // not in a signal handler

  std::string_view text() const noexcept { return {buffer_, length_}; }
  char const* c_str() noexcept {
    buffer_[length_] = '\0';
    return buffer_;
  }

  // Adds a line feed and writes the whole line to standard error in one write(2). Keeps errno.
  void write_line() noexcept;

 private:
  static constexpr std::size_t capacity = 1100;
  char buffer_[capacity + 1];
  std::size_t length_ = 0;
};

/// Writes all of a longer text to standard error. Keeps errno. Where that is a pipe that nobody reads the text is lost, and no SIGPIPE
/// ends the program.
void write_error(std::string_view text) noexcept;

}  // namespace weft::rt
