#include "glob.hpp"

#include <algorithm>
#include <cstddef>

namespace cache {

namespace {

/// Takes one element other than '*' off the pattern; whether it stands for c.
bool takes(std::string_view& pattern, char c) noexcept {
  char const first = pattern[0];
  pattern.remove_prefix(1);
  if (first == '?') return true;
  if (first == '\\' && !pattern.empty()) {
    bool const same = pattern[0] == c;
    pattern.remove_prefix(1);
    return same;
  }
  if (first != '[') return first == c;
  bool const not_in = pattern.starts_with('^');
  if (not_in) pattern.remove_prefix(1);
  bool in = false;
  while (!pattern.empty() && pattern[0] != ']') {
    if (pattern[0] == '\\' && pattern.size() >= 2) {
      in = in || pattern[1] == c;
      pattern.remove_prefix(2);
    } else if (pattern.size() >= 3 && pattern[1] == '-') {
      auto const [low, high] = std::minmax(pattern[0], pattern[2]);
      in = in || (c >= low && c <= high);
      pattern.remove_prefix(3);
    } else {
      in = in || pattern[0] == c;
      pattern.remove_prefix(1);
    }
  }
  if (!pattern.empty()) pattern.remove_prefix(1);
  return in != not_in;
}

}  // namespace

// On a mismatch only the last '*' is tried again, one character further: time is at most the product of the two lengths.
bool matches(std::string_view pattern, std::string_view text) noexcept {
  std::string_view after_star{}, rest{};
  bool star = false;
  for (;;) {
    if (pattern.starts_with('*')) {
      pattern.remove_prefix(1);
      if (pattern.empty()) return true;
      star = true;
      after_star = pattern;
      rest = text;
      continue;
    }
    if (text.empty() && pattern.empty()) return true;
    if (!text.empty() && !pattern.empty() && takes(pattern, text[0])) {
      text.remove_prefix(1);
      continue;
    }
    if (!star || rest.empty()) return false;
    rest.remove_prefix(1);
    pattern = after_star;
    text = rest;
  }
}

}  // namespace cache
