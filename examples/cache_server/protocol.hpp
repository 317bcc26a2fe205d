// Requests in the Redis protocol (RESP), as arrays of bulk strings or as a line that a person typed.
//
// The parser looks at bytes that somebody else buffers, copies none of them, and remembers how far it has come: a command that
// comes in a thousand pieces is not looked at a thousand times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cache {

class command_parser {
 public:
  enum class status { command, incomplete, error };

  static constexpr std::size_t longest_line = 64 * 1024;            // an inline command, or a count
  static constexpr std::int64_t most_arguments = 16 * 1024 * 1024;  // their places take 32 bytes each
  static constexpr std::int64_t longest_argument = 512LL * 1024 * 1024;
  static constexpr std::size_t longest_command = 1024UL * 1024 * 1024;

  /// `unread` begins where the last command ended; after `incomplete` it begins as before, with more behind.
  /// command: args() and consumed() say what it was; an empty one is to be passed over. error: error() says why, and what
  /// follows cannot be understood.
  [[nodiscard]] status next(std::string_view unread);

  /// Views of `unread`, or of the parser's own memory; good until the next call.
  [[nodiscard]] std::span<std::string_view const> args() const noexcept { return args_; }
  [[nodiscard]] std::size_t consumed() const noexcept { return at_; }
  /// As Redis words it, without the "-ERR ".
  [[nodiscard]] std::string const& error() const noexcept { return error_; }

  /// Between two reads: gives back what a command of very many arguments has taken.
  void trim() {
    if (missing_ != none || places_.capacity() <= 64UL * 1024) return;
    decltype(places_)().swap(places_);  // = {} would keep the memory
    decltype(args_)().swap(args_);
  }

 private:
  status inline_command(std::string_view unread);
  status fail(std::string why);
  /// The number between `at_` and "\r\n"; moves at_ behind it.
  enum class number { whole, incomplete, bad };
  number count(std::string_view unread, std::int64_t& n);

  static constexpr std::int64_t none = -1;
  std::int64_t missing_ = none;                              // arguments of a command that has begun; none: of none
  std::int64_t length_ = none;                               // of the argument that has begun
  std::size_t at_ = 0;                                       // what has been understood of `unread`
  bool over_ = false;                                        // the last call returned a command
  std::vector<std::pair<std::size_t, std::size_t>> places_;  // of arguments: where, how long
  std::vector<std::string_view> args_;
  std::vector<std::string> typed_;  // arguments of an inline command
  std::string error_;
};

}  // namespace cache
