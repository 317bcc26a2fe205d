// Answers in the Redis protocol, version 2 or 3, appended to a buffer that is sent as a whole.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cache {

class reply {
 public:
  [[nodiscard]] int version() const noexcept { return version_; }
  void version(int v) noexcept { version_ = v; }
  [[nodiscard]] std::string& bytes() noexcept { return out_; }

  void ok() { out_.append("+OK\r\n"); }
  void simple(std::string_view text) { out_.append(1, '+').append(text).append("\r\n"); }
  /// With its code: "ERR no such key". What would end the line becomes a space.
  void error(std::string_view text) {
    std::size_t const from = out_.size();
    out_.append(1, '-').append(text);
    for (std::size_t i = from; i < out_.size(); ++i) {
      if (out_[i] == '\r' || out_[i] == '\n') out_[i] = ' ';
    }
    out_.append("\r\n");
  }
  void integer(std::int64_t n) { header(':', n); }
  void bulk(std::string_view text) {
    header('$', static_cast<std::int64_t>(text.size()));
    out_.append(text).append("\r\n");
  }
  /// Text for people, which version 3 says it is.
  void text(std::string_view text) {
    if (version_ < 3) return bulk(text);
    header('=', static_cast<std::int64_t>(text.size() + 4));
    out_.append("txt:").append(text).append("\r\n");
  }
  void bulk_number(std::int64_t n) {
    char digits[24];
    bulk({digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, n).ptr - digits)});
  }
  void null() { out_.append(version_ >= 3 ? "_\r\n" : "$-1\r\n"); }
  void null_array() { out_.append(version_ >= 3 ? "_\r\n" : "*-1\r\n"); }
  void array(std::size_t n) { header('*', static_cast<std::int64_t>(n)); }
  /// n pairs follow; version 2 has them as an array of twice as many.
  void map(std::size_t n) { version_ >= 3 ? header('%', static_cast<std::int64_t>(n)) : array(2 * n); }

 private:
  void header(char kind, std::int64_t n) {
    char text[24];
    text[0] = kind;
    char* end = text + 1;
    if (n >= 0 && n < 10) *end++ = static_cast<char>('0' + n);
    else end = std::to_chars(end, text + sizeof text - 2, n).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out_.append(text, static_cast<std::size_t>(end - text));
  }

  std::string out_;
  int version_ = 2;
};

}  // namespace cache
