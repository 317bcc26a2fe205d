// See message.hpp.
#include "runtime/base/message.hpp"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace weft::rt {

namespace {

/// Takes back the SIGPIPE of a write(2) while it lives: it is the calling thread's own.
class pipe_signal_withheld {
 public:
  pipe_signal_withheld() noexcept {
    ::sigemptyset(&signal_);
    ::sigaddset(&signal_, SIGPIPE);
    sigset_t pending;
    was_pending_ = ::sigpending(&pending) != 0 || ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &signal_, &before_);
  }
  ~pipe_signal_withheld() {
    timespec const at_once{};
    while (!was_pending_ && ::sigtimedwait(&signal_, nullptr, &at_once) < 0 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  pipe_signal_withheld(pipe_signal_withheld const&) = delete;
  pipe_signal_withheld& operator=(pipe_signal_withheld const&) = delete;

 private:
  sigset_t signal_, before_;
  bool was_pending_;
};

/// How much of a text goes into one write: where standard error is a pipe, no more than this comes out in one piece, and
/// what other threads write must not come to stand within a line.
std::size_t whole_lines(std::string_view text) noexcept {
  if (text.size() <= PIPE_BUF) return text.size();
  std::size_t const end = text.substr(0, PIPE_BUF).rfind('\n');
  return end != std::string_view::npos ? end + 1 : PIPE_BUF;
}

std::int64_t now_ms() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

/// Whoever shares the terminal or pipe may have made it non-blocking. A reader is waited for, but not one that has stopped to read:
/// false after `patience_ms` without any room, whatever signals have come meanwhile.
class room_awaited {
 public:
  [[nodiscard]] bool wait() noexcept {
    std::int64_t const now = now_ms();
    if (until_ms_ == none) until_ms_ = now + patience_ms;
    if (now >= until_ms_) return false;
    pollfd error{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    return ::poll(&error, 1, static_cast<int>(until_ms_ - now)) != 0;
  }
  void found() noexcept { until_ms_ = none; }

 private:
  static constexpr std::int64_t patience_ms = 1000, none = -1;
  std::int64_t until_ms_ = none;
};

}  // namespace

message& message::operator<<(std::string_view text) noexcept {
  std::size_t const fits = std::min(text.size(), capacity - length_);
  std::memcpy(buffer_ + length_, text.data(), fits);
  length_ += fits;
  return *this;
}

message& message::on_the_line(std::string_view text, std::size_t most) noexcept {
  for (char const c : text.substr(0, std::min(most, capacity - length_))) buffer_[length_++] = rt::on_the_line(c);
  return *this;
}

message& message::operator<<(char const* text) noexcept {
  return text != nullptr ? *this << std::string_view(text) : *this;
}

message& message::operator<<(std::uint64_t number) noexcept {
  char digits[20];
  char* at = digits + sizeof digits;
  do {
    *--at = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  return *this << std::string_view(at, static_cast<std::size_t>(digits + sizeof digits - at));
}

message& message::hex(std::uint64_t number) noexcept {
  char digits[16];
  char* at = digits + sizeof digits;
  do {
    *--at = "0123456789abcdef"[number % 16];
    number /= 16;
  } while (number != 0);
  *this << "0x";
  return *this << std::string_view(at, static_cast<std::size_t>(digits + sizeof digits - at));
}

message& message::vformat(char const* format, va_list arguments) noexcept {
  std::size_t const room = capacity - length_;
  int const wanted = std::vsnprintf(buffer_ + length_, room, format, arguments);
  if (wanted <= 0 || room == 0) return *this;
  char* const end = buffer_ + length_ + std::min(static_cast<std::size_t>(wanted), room - 1);
  std::transform(buffer_ + length_, end, buffer_ + length_, rt::on_the_line);  // what() may have several lines
  length_ = static_cast<std::size_t>(end - buffer_);
  return *this;
}

void message::write_line() noexcept {
  buffer_[length_] = '\n';
  write_error({buffer_, length_ + 1});
  length_ = 0;
}

void write_error(std::string_view text) noexcept {
  int const kept = errno;
  {
    pipe_signal_withheld const meanwhile;
    room_awaited room;
    while (!text.empty()) {
      ssize_t const written = ::write(STDERR_FILENO, text.data(), whole_lines(text));
      if (written < 0 && (errno == EINTR || (errno == EAGAIN && room.wait()))) continue;
      if (written <= 0) break;
      room.found();
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  errno = kept;
}

}  // namespace weft::rt
