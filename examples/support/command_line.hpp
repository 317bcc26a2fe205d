// The command line of the larger examples. CLI11 does the work; its headers, which take ten seconds a file to compile, are
// included in command_line.cpp alone.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace examples {

/// Options with their places: a value is written only if the option is given, and what was there stands in --help as the default.
/// `names` are as in "--workers,--threads"; without dashes it is an argument by position.
///
///   examples::command_line line("serve", "A server.");
///   line.text("--listen", address, "host:port").number("--workers", workers, "threads", 0, 4096);
///   if (auto const status = line.parse(argc, argv)) return *status;
class command_line {
 public:
  command_line(std::string program, std::string purpose);
  ~command_line();

  command_line& text(std::string const& names, std::string& value, std::string const& help);
  command_line& one_of(std::string const& names, std::string& value, std::string const& help,
                       std::vector<std::string> allowed);
  command_line& flag(std::string const& names, bool& value, std::string const& help);

  /// For int, unsigned, unsigned long and double, in decimal; both bounds are allowed values. What is no such number,
  /// NaN for one, is refused.
  template <class T>
  command_line& number(std::string const& names, T& value, std::string const& help,
                       std::type_identity_t<T> least = std::numeric_limits<T>::lowest(),
                       std::type_identity_t<T> most = std::numeric_limits<T>::max());

  /// In seconds: "2", "500ms", "2s", "5m", "1h".
  command_line& duration(std::string const& names, double& value, std::string const& help);

  /// "100", "64K", "500M", "4G"; K is 1000 if `decimal`, else 1024, as KiB always is. A sign, a leading zero and what
  /// does not fit into 64 bits are refused.
  command_line& bytes(std::string const& names, std::size_t& value, std::string const& help, bool decimal = false);

  command_line& required(std::string const& name);
  command_line& excludes(std::string const& name, std::string const& other);

  /// The exit status if the program is to end: 0 after --help, 2 after an error, which has been said on standard error. To be called
  /// before anything is opened: a standard descriptor that is closed is no longer free then.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);

  /// Says what is wrong with an option, for what parse cannot know. Returns 2, the exit status.
  int refuse(std::string const& name, std::string const& why) const;

 private:
  struct parser;
  std::string program_;
  std::unique_ptr<parser> parser_;
};

/// The exit status of a program that prints its result on standard output: `status`, or 1, which is said on standard
/// error, if not all could be written there.
[[nodiscard]] int unless_lost(std::string const& program, int status);

/// The exit status that `body` returns; or 1, after saying on standard error what it threw: no descriptor for a runtime, say.
[[nodiscard]] int or_say_why(std::string const& program, std::function<int()> const& body);

/// SIGHUP, which comes when the terminal is closed: what must not be lost then is kept by whoever takes it as SIGTERM. Where it is ignored,
/// by nohup, it is to stay so: SIGTERM then, since a program that listens to SIGHUP gets it.
[[nodiscard]] int hangup_signal() noexcept;

/// A connection is a descriptor: allows this process as many as the system does.
void allow_all_descriptors();

}  // namespace examples
