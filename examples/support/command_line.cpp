#include "command_line.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <exception>
#include <iostream>
#include <limits>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

namespace examples {

namespace {

/// The whole text in decimal. Not by CLI11, which takes -1 for the largest number there is, and 010 for 8.
template <class T>
std::optional<T> number_of(std::string_view text) {
  T n{};
  if (std::is_integral_v<T> && text.size() > 1 && text[text[0] == '-' ? 1 : 0] == '0') return std::nullopt;
  auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

/// "64K", "64kb", "64KiB": a number and a unit, without a sign; nullopt also for more than there are numbers.
std::optional<std::uint64_t> bytes_of(std::string_view text, bool decimal) {
  std::size_t const digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto const n = number_of<std::uint64_t>(text.substr(0, digits));
  std::string unit(text.substr(digits));
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit.ends_with('b')) unit.pop_back();
  std::uint64_t step = decimal ? 1000 : 1024, factor = 1;
  if (unit.size() == 2 && unit[1] == 'i') unit.pop_back(), step = 1024;
  std::size_t const power =
      unit.empty() ? 0 : std::string_view("kmgtpe").find(unit) + 1;  // 0, too, if it is none of them
  if (!n || unit.size() > 1 || (power == 0 && !unit.empty())) return std::nullopt;
  for (std::size_t i = 0; i < power; ++i) factor *= step;
  if (*n > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
  return *n * factor;
}

/// Where a standard descriptor is closed, the next file or socket would take its place, and what is said to people would go there. What
/// stands there now fails as a closed one does.
void occupy_standard_descriptors() noexcept {
  for (int const fd : {0, 1, 2}) {
    if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

struct command_line::parser {
  CLI::App app;
};

command_line::command_line(std::string program, std::string purpose)
    : program_(std::move(program)), parser_(std::make_unique<parser>()) {
  parser_->app.name(program_);
  parser_->app.description(std::move(purpose));
  parser_->app.option_defaults()->always_capture_default();
}

command_line::~command_line() = default;

command_line& command_line::text(std::string const& names, std::string& value, std::string const& help) {
  parser_->app.add_option(names, value, help);
  return *this;
}

command_line& command_line::one_of(std::string const& names, std::string& value, std::string const& help,
                                   std::vector<std::string> allowed) {
  parser_->app.add_option(names, value, help)->check(CLI::IsMember(std::move(allowed)));
  return *this;
}

command_line& command_line::flag(std::string const& names, bool& value, std::string const& help) {
  parser_->app.add_flag(names, value, help);
  return *this;
}

template <class T>
command_line& command_line::number(std::string const& names, T& value, std::string const& help,
                                   std::type_identity_t<T> least, std::type_identity_t<T> most) {
  using limits = std::numeric_limits<T>;
  bool const bounded = least != limits::lowest() || most != limits::max();
  std::ostringstream wanted;
  wanted << " is not a " << (std::is_integral_v<T> ? "whole number" : "number");
  if (bounded) wanted << " from " << least << " to " << most;
  auto const wrong = [least, most, says = wanted.str()](std::string const& text) {
    auto const n = number_of<T>(text);
    return n && *n >= least && *n <= most ? std::string() : text + says;  // NaN is neither
  };
  parser_->app.add_option(names, value, help)
      ->check(wrong, bounded ? CLI::Range(least, most).get_description() : std::string());
  return *this;
}
template command_line& command_line::number(std::string const&, int&, std::string const&, int, int);
template command_line& command_line::number(std::string const&, unsigned&, std::string const&, unsigned, unsigned);
template command_line& command_line::number(std::string const&, unsigned long&, std::string const&, unsigned long,
                                            unsigned long);
template command_line& command_line::number(std::string const&, double&, std::string const&, double, double);

command_line& command_line::duration(std::string const& names, double& value, std::string const& help) {
  std::map<std::string, double> const units{{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
  parser_->app.add_option(names, value, help)
      ->transform(CLI::AsNumberWithUnit(units))
      ->check(CLI::Range(0.0, 1e9).description(""));
  return *this;
}

command_line& command_line::bytes(std::string const& names, std::size_t& value, std::string const& help, bool decimal) {
  auto const in_digits = [decimal](std::string& text) {
    auto const n = bytes_of(text, decimal);
    if (!n) return text + " is not a number of bytes, as 100, 64K, 500M and 4G are";
    text = std::to_string(*n);
    return std::string();
  };
  parser_->app.add_option(names, value, help)
      ->transform(CLI::Validator(in_digits, decimal ? "SIZE [K=1000, KiB=1024, ...]" : "SIZE [K=1024, ...]"));
  return *this;
}

command_line& command_line::required(std::string const& name) {
  parser_->app.get_option(name)->required();
  return *this;
}

command_line& command_line::excludes(std::string const& name, std::string const& other) {
  parser_->app.get_option(name)->excludes(parser_->app.get_option(other));
  return *this;
}

std::optional<int> command_line::parse(int argc, char** argv) {
  occupy_standard_descriptors();
  try {
    parser_->app.parse(argc, argv);
    return std::nullopt;
  } catch (CLI::ParseError const& e) {
    if (e.get_exit_code() == 0) return parser_->app.exit(e);  // --help
    std::cerr << program_ << ": " << e.what() << '\n';
    return 2;
  }
}

int command_line::refuse(std::string const& name, std::string const& why) const {
  std::cerr << program_ << ": " << name << ' ' << why << '\n';
  return 2;
}

int unless_lost(std::string const& program, int status) {
  if (std::cout.flush()) return status;
  std::cerr << program << ": cannot write to standard output\n";
  return 1;
}

int or_say_why(std::string const& program, std::function<int()> const& body) try {
  return body();
} catch (std::exception const& e) {
  std::cerr << program << ": " << e.what() << '\n';
  return 1;
}

int hangup_signal() noexcept {
  struct sigaction now{};
  return ::sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_IGN ? SIGTERM : SIGHUP;
}

void allow_all_descriptors() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace examples
