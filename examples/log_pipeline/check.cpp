#include "check.hpp"

#include <boost/json.hpp>

#include <cerrno>
#include <fstream>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>

namespace logs {

namespace bj = boost::json;
namespace fs = std::filesystem;

namespace {

/// Stands for a file's lines: how many, how long, and what they are, in order or regardless of it.
struct digest {
  std::uint64_t lines = 0, bytes = 0, hash = 0;
  bool operator==(digest const&) const = default;

  void add(std::string_view line, bool in_order) {
    ++lines;
    bytes += line.size() + 1;
    std::uint64_t const of_line = std::hash<std::string_view>{}(line);
    hash = in_order ? hash * 0x9e3779b97f4a7c15U + of_line : hash + of_line * of_line + of_line;
  }
};

/// The line with one digit in place of every exponent: the value does not matter here, and Boost.JSON refuses one
/// beyond an int.
std::string with_small_exponents(std::string_view line) {
  auto const is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string out;
  bool in_text = false, in_exponent = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    char const c = line[i], before = out.empty() ? ' ' : out.back();
    if (in_exponent && is_digit(c) && is_digit(before)) continue;
    in_exponent = !in_text && (c == 'e' || c == 'E' || (in_exponent && (c == '+' || c == '-' || is_digit(c))));
    if (c == '"') in_text = !in_text;
    out += c;
    if (in_text && c == '\\' && i + 1 < line.size()) out += line[++i];
  }
  return out;
}

/// What a well-formed line says; nullopt: it is not.
struct said {
  level severity;
  std::string service;
};
std::optional<said> parse(std::string_view line) {
  if (line.size() >= longest_line) return std::nullopt;
  bj::parse_options options;
  options.max_depth = 32;
  bj::error_code failed;
  bj::value v = bj::parse(line, failed, {}, options);
  if (failed == bj::error::exponent_overflow) v = bj::parse(with_small_exponents(line), failed, {}, options);
  if (failed || !v.is_object()) return std::nullopt;
  auto const* const severity = v.get_object().if_contains("level");
  auto const* const service = v.get_object().if_contains("service");
  if (severity == nullptr || service == nullptr || !severity->is_string() || !service->is_string()) return std::nullopt;
  static std::map<std::string_view, level> const levels{{"trace", level::trace}, {"debug", level::debug},
                                                        {"info", level::info},   {"warn", level::warn},
                                                        {"error", level::error}, {"fatal", level::fatal}};
  auto const known = levels.find(std::string_view(severity->get_string()));
  std::string name(service->get_string().c_str(), service->get_string().size());
  if (known == levels.end() || !is_service_name(name)) return std::nullopt;
  return said{known->second, std::move(name)};
}

std::ifstream open(fs::path const& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::system_error(errno, std::generic_category(), "cannot read " + path.string());
  return in;
}

std::string text(digest const& d) {
  return std::to_string(d.lines) + " lines, " + std::to_string(d.bytes) + " bytes, hash " + std::to_string(d.hash);
}

}  // namespace

bool check(fs::path const& input, output_folder const& folder, level least, check_totals const& counted, bool in_order,
           std::ostream& out) {
  check_totals totals;
  std::map<fs::path, digest> expected, found;
  {
    auto in = open(input);
    for (std::string line; std::getline(in, line); ++totals.lines) {
      auto const s = parse(line);
      if (!s) {
        ++totals.malformed;
        expected[folder.file_of(0, "rejected")].add(line, in_order);
      } else if (s->severity < least) {
        ++totals.below;
      } else {
        ++totals.kept;
        expected[folder.file_of(1, s->service)].add(line, in_order);
      }
    }
  }
  for (fs::path const& file : folder.files()) {
    auto in = open(file);
    for (std::string line; std::getline(in, line);) found[file].add(line, in_order);
  }
  bool same = totals == counted;
  if (!same) {
    for (auto const& [who, t] : {std::pair("counted", &counted), {"expected", &totals}})
      out << who << ": " << t->lines << " lines, " << t->kept << " kept, " << t->below << " below the level, "
          << t->malformed << " malformed\n";
  }
  for (auto const& [path, want] : expected) {
    if (found[path] == want) continue;
    same = false;
    out << path.string() << " has " << text(found[path]) << "; expected " << text(want) << '\n';
  }
  for (auto const& [path, have] : found) {
    if (expected.contains(path)) continue;
    same = false;
    out << path.string() << " has " << text(have) << "; expected no such file\n";
  }
  return same;
}

}  // namespace logs
