#include "command_line.hpp"

#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include <iostream>
#include <limits>
#include <map>
#include <utility>

namespace examples {

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
  CLI::Option* const option = parser_->app.add_option(names, value, help);
  using limits = std::numeric_limits<T>;
  if (least != limits::lowest() || most != limits::max()) option->check(CLI::Range(least, most));
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
  parser_->app.add_option(names, value, help)->transform(CLI::AsSizeValue(decimal));
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

void allow_all_descriptors() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace examples
