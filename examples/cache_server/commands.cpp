// Which command it is, and the answer when it is none.
#include "commands.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iostream>
#include <string>

namespace cache {

namespace {

/// A name of at most eight letters as one number, regardless of case; 0 if it is longer, or has a NUL.
std::uint64_t packed(std::string_view name) noexcept {
  if (name.size() > 8) return 0;
  std::uint64_t n = 0;
  for (char const c : name) {
    if (c == '\0') return 0;  // with some before it, it would be another name
    n = n << 8 | static_cast<unsigned char>(upper(c));
  }
  return n;
}

/// Open addressing over packed names: found at the first look nearly always.
class command_table {
 public:
  command_table() {
    for (auto const group : command_groups()) {
      for (command const& c : group) {
        std::size_t i = slot(packed(c.name));
        while (slots_[i].what != nullptr) i = (i + 1) % slots_.size();
        slots_[i] = {packed(c.name), &c};
      }
    }
  }
  [[nodiscard]] command const* find(std::string_view name) const noexcept {
    std::uint64_t const n = packed(name);
    for (std::size_t i = slot(n); slots_[i].what != nullptr; i = (i + 1) % slots_.size()) {
      if (slots_[i].name == n) return slots_[i].what;
    }
    return nullptr;
  }

 private:
  struct entry {
    std::uint64_t name = 0;
    command const* what = nullptr;
  };
  static std::size_t slot(std::uint64_t n) noexcept { return (n * 0x9e3779b97f4a7c15U) >> 56; }
  std::array<entry, 256> slots_{};
};

void unknown(session& s, arguments args) {
  // A web page can make a browser send these, with commands of its own in the body: nothing more is taken from there.
  if (is_word(args[0], "POST") || is_word(args[0], "HOST:")) {
    std::cerr << "cache_server: client " << s.id << " speaks HTTP: its connection is closed\n";
    s.closing = true;
    return;
  }
  std::string shown;
  for (std::string_view const a : args.subspan(1)) {
    if (shown.size() >= 128) break;
    shown.append(1, '\'').append(a.substr(0, 128 - (shown.size() - 1))).append("' ");
  }
  s.out.error("ERR unknown command '" + std::string(args[0].substr(0, 128)) + "', with args beginning with: " + shown);
}

}  // namespace

subcommand const* subcommand_of(session& s, std::string_view container, std::span<subcommand const> subs,
                                arguments args) {
  auto const found = std::ranges::find_if(subs, [&](subcommand const& c) { return is_word(args[1], c.name); });
  if (found == subs.end())
    s.out.error("ERR unknown subcommand '" + std::string(args[1].substr(0, 128)) + "'. Try " + std::string(container) +
                " HELP.");
  else if (!fits(found->arity, args.size()))
    s.out.error("ERR wrong number of arguments for '" + lower(container) + '|' + lower(found->name) + "' command");
  else return &*found;
  return nullptr;
}

void execute(session& s, arguments args) {
  static command_table const table;
  ++s.commands;
  command const* const c = table.find(args[0]);
  bool const good = c != nullptr && fits(c->arity, args.size());
  if (good && (s.queued == nullptr || c->between == in_multi::at_once)) return c->run(s, args);
  if (good) return enqueue(s, *c, args);
  if (s.queued != nullptr) s.queued->broken = true;
  if (c == nullptr) return unknown(s, args);
  std::string const why = "wrong number of arguments for '" + lower(c->name) + "' command";
  if (c->name != "EXEC") return s.out.error("ERR " + why);
  s.queued.reset();  // it was to be the end of the transaction, and is
  s.watched.clear();
  s.out.error("EXECABORT Transaction discarded because of: " + why);
}

}  // namespace cache
