#include "runtime/sim/choices.hpp"

#include <charconv>
#include <stdexcept>

namespace weft::sim {

namespace {
constexpr std::string_view letters = "npdtwlbca";  // in the order of rt::choice
constexpr std::string_view version = "w1";

[[noreturn]] void refuse(std::string_view text) {
  throw std::invalid_argument("weft::sim: not a list of choices: \"" + std::string(text) + '"');
}

template <class N>
N take_number(std::string_view& rest, std::string_view all) {
  N n = 0;
  auto const [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
  if (error != std::errc()) refuse(all);
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return n;
}

char take(std::string_view& rest, std::string_view all) {
  if (rest.empty()) refuse(all);
  char const c = rest.front();
  rest.remove_prefix(1);
  return c;
}
}  // namespace

char letter_of(rt::choice c) noexcept { return letters[static_cast<std::size_t>(c)]; }

std::string to_text(std::vector<deviation> const& list) {
  std::string text(version);
  std::uint64_t next = 0;
  for (deviation const& d : list) {
    text +=
        '-' + std::to_string(d.at - next) + letter_of(d.what) + std::to_string(d.value) + '/' + std::to_string(d.among);
    next = d.at + 1;
  }
  return text;
}

std::vector<deviation> from_text(std::string_view text) {
  std::string_view rest = text;
  if (!rest.starts_with(version)) refuse(text);
  rest.remove_prefix(version.size());
  std::vector<deviation> list;
  std::uint64_t next = 0;
  while (!rest.empty()) {
    if (take(rest, text) != '-') refuse(text);
    deviation d;
    d.at = next + take_number<std::uint64_t>(rest, text);
    if (d.at + 1 <= next) refuse(text);  // more than the type holds
    std::size_t const kind = letters.find(take(rest, text));
    if (kind == std::string_view::npos) refuse(text);
    d.what = static_cast<rt::choice>(kind);
    d.value = take_number<std::uint32_t>(rest, text);
    if (take(rest, text) != '/') refuse(text);
    d.among = take_number<std::uint32_t>(rest, text);
    if (d.value == 0 || d.value >= d.among) refuse(text);
    list.push_back(d);
    next = d.at + 1;
  }
  return list;
}

}  // namespace weft::sim
