// Small text work that HTTP needs: comparing without case, percent escapes, what may stand in a header.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace weft::rt {

/// Text that stays where it is until clear(): string_views into it are good as long as the arena lives.
/// One block is kept by clear(), so that a reused arena allocates nothing in the ordinary case.
class text_arena {
 public:
  text_arena() = default;
  text_arena(text_arena const&) = delete;
  text_arena& operator=(text_arena const&) = delete;

  /// Uninitialised room for `n` bytes.
  [[nodiscard]] char* room(std::size_t n) {
    if (n > left_) grow(n);
    char* const at = next_;
    next_ += n;
    left_ -= n;
    return at;
  }
  [[nodiscard]] std::string_view add(std::string_view text) {
    char* const at = room(text.size());
    text.copy(at, text.size());
    return {at, text.size()};
  }
  void clear() noexcept;

 private:
  static constexpr std::size_t first_block = 2048;
  static constexpr std::size_t largest_kept = 16 * 1024;
  void grow(std::size_t n);

  struct block {
    std::unique_ptr<char[]> bytes;
    std::size_t size;
  };
  std::vector<block> blocks_;
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

/// A set of characters that is asked once a byte of each request: a load and no branch.
class character_set {
 public:
  enum class alphanumeric : bool { no, yes };
  constexpr character_set(alphanumeric also, std::string_view members) noexcept {
    for (char c : members) add(c);
    if (also == alphanumeric::no) return;
    for (char c = '0'; c <= '9'; ++c) add(c);
    for (char c = 'a'; c <= 'z'; ++c) add(c), add(static_cast<char>(c - 'a' + 'A'));
  }
  [[nodiscard]] constexpr bool operator()(char c) const noexcept { return in_[static_cast<unsigned char>(c)]; }
  [[nodiscard]] constexpr bool all_of(std::string_view s) const noexcept {
    for (char c : s) {
      if (!(*this)(c)) return false;
    }
    return true;
  }

 private:
  constexpr void add(char c) noexcept { in_[static_cast<unsigned char>(c)] = true; }
  bool in_[256] = {};
};

[[nodiscard]] constexpr char ascii_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// ASCII only, as field names are compared.
[[nodiscard]] constexpr bool equal_no_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    // Most are written as they are looked for.
    if (a[i] != b[i] && ascii_lower(a[i]) != ascii_lower(b[i])) return false;
  }
  return true;
}

[[nodiscard]] constexpr bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) noexcept {
  for (std::string_view const n : names) {
    if (equal_no_case(name, n)) return true;
  }
  return false;
}

[[nodiscard]] constexpr std::string_view trim_blanks(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

enum class plus_sign { itself, blank };

/// The text with its percent escapes decoded: `raw` itself where it has none, else a copy in the arena. nullopt: an escape that
/// is none, or one of a null byte.
[[nodiscard]] std::optional<std::string_view> percent_decode(std::string_view raw, text_arena& into,
                                                             plus_sign plus = plus_sign::itself);

/// Whether a field that is a list of tokens has this one.
[[nodiscard]] bool has_option(std::string_view list, std::string_view option) noexcept;

/// The options of several lists, of which there may be many in a peer's header. Views of them.
class listed_options {
 public:
  void add(std::string_view list);
  void sort() noexcept;  // once all are there
  [[nodiscard]] bool contains(std::string_view option) const noexcept;

 private:
  std::vector<std::string_view> all_;
};

/// Fields of one connection, which who passes a message on leaves out, with those that its Connection field lists (RFC 9110, 7.6.1).
[[nodiscard]] bool is_hop_by_hop(std::string_view name) noexcept;

[[nodiscard]] bool is_field_name(std::string_view s) noexcept;   // a token of RFC 9110
[[nodiscard]] bool is_field_value(std::string_view s) noexcept;  // no control characters, so none that ends a line

}  // namespace weft::rt
