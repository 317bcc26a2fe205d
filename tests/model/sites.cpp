// Which operation of which line: mutations of the runtime's own code, and the names that traces and tables give them.

#include <cctype>
#include <cstring>
#include <fstream>
#include <map>
#include <regex>

#include "tests/model/engine.hpp"

namespace model {
namespace {

char const* const operations[] = {"",      "load",        "store",       "update", "compare_exchange",
                                  "fence", "light_fence", "heavy_fence", "lock"};

/// Mutations are made to weft's own lines only, not to a program's.
bool is_wefts(where at) {
  return (std::strstr(at.file_name(), "runtime/") != nullptr ||
          std::strstr(at.file_name(), "include/weft/") != nullptr) &&
         std::strstr(at.file_name(), "tests/") == nullptr;
}

std::vector<std::string> const& lines_of(char const* file) {
  static std::map<std::string, std::vector<std::string>> files;
  auto const [it, fresh] = files.try_emplace(file);
  if (fresh) {
    // A compiler may have been given the path relative to a folder that is not this process's.
    std::string_view const path = file;
    std::size_t from = path.rfind("/runtime/");
    if (from == std::string_view::npos) from = path.rfind("/include/weft/");
    std::ifstream in(from == std::string_view::npos ? std::string(path)
                                                    : WEFT_SOURCE_DIR + std::string(path.substr(from)));
    for (std::string line; std::getline(in, line);) it->second.push_back(line);
  }
  return it->second;
}

std::string base_name(char const* file) {
  char const* slash = std::strrchr(file, '/');
  return slash != nullptr ? slash + 1 : file;
}

/// The function's bare name, out of all that the compiler says of it.
std::string function_of(where at) {
  std::string name = at.function_name();
  name = name.substr(0, name.find('('));
  std::size_t const from = name.find_last_of(" :*&~");
  return from == std::string::npos ? name : name.substr(from + 1);
}

/// The step that the comment on that line names, or on one of the two that follow within the statement.
std::string step_of(where at) {
  static std::regex const step(R"(//.*?\b([A-Z][0-9]+)\b)");
  auto const& lines = lines_of(at.file_name());
  for (std::size_t n = at.line(); n != 0 && n < at.line() + 3 && n <= lines.size(); ++n) {
    std::smatch m;
    if (std::regex_search(lines[n - 1], m, step)) return m[1];
    if (lines[n - 1].find(';') != std::string::npos) break;
  }
  return {};
}

/// "tail_.store": what it is done to.
std::string expression_of(where at, unsigned kind) {
  char const* const calls[] = {"",
                               "load",
                               "store",
                               "fetch_\\w+|exchange",
                               "compare_exchange_\\w+",
                               "(?:atomic_thread|full|light)_fence|light",
                               "light_fence|light",
                               "heavy_fence|heavy",
                               "lock|hold"};
  auto const& lines = lines_of(at.file_name());
  for (std::size_t n = at.line(); n != 0 && n < at.line() + 2 && n <= lines.size(); ++n) {
    std::smatch m;
    if (std::regex_search(
            lines[n - 1], m,
            std::regex(R"(((?:\w+(?:\.|->|::))*\w+)(\[.*?\])?(\.|->)()" + std::string(calls[kind]) + R"()\s*\()")))
      return m[1].str() + (m[2].matched ? "[]" : "") + "." + m[4].str();
    if (std::regex_search(lines[n - 1], m, std::regex(R"(\b()" + std::string(calls[kind]) + R"()\s*\()"))) return m[1];
  }
  return operations[kind];
}

std::uint64_t key_of(where at, operation what, change how) {
  return mix(mix(reinterpret_cast<std::uintptr_t>(at.file_name()), std::uint64_t{at.line()} << 16 | at.column()),
             static_cast<std::uint64_t>(what) << 8 | static_cast<std::uint64_t>(how));
}

}  // namespace

bool engine::is(change how, operation what_, where at) const noexcept {
  return active.what == how && active.step == nullptr && active.kind == static_cast<unsigned>(what_) &&
         active.at.line() == at.line() && active.at.column() == at.column() &&
         std::strcmp(active.at.file_name(), at.file_name()) == 0;
}

void engine::offer(operation what_, where at, std::initializer_list<change> changes) {
  if (!cataloguing) return;
  for (change const how : changes)
    if (how != change::none && catalogued.insert(key_of(at, what_, how)).second && is_wefts(at))
      catalogue.push_back({at, nullptr, how, static_cast<unsigned>(what_)});
}

void engine::note(where at, char const* did, std::uint64_t value, char const* more) {
  if (!tracing) return;
  char number[32];
  std::snprintf(number, sizeof number, value > 0xffff ? "%#llx" : "%llu", static_cast<unsigned long long>(value));
  std::string const step = step_of(at);
  trace.push_back("thread " + std::to_string(current) + "  " + base_name(at.file_name()) + ":" +
                  std::to_string(at.line()) + " " + function_of(at) + (step.empty() ? "" : " " + step) + ": " + did +
                  " " + number + more);
}

char const* name_of(change c) {
  static constexpr char const* names[] = {
      "unchanged", "relaxed", "split into a load and a store", "not looked at again", "swapped with the next",
      "left out"};
  return names[static_cast<std::size_t>(c)];
}

std::string file_of(mutation const& m) { return m.step != nullptr ? "" : base_name(m.at.file_name()); }

std::string label(mutation const& m) {
  if (m.step != nullptr) return m.step;
  std::string const step = step_of(m.at);
  return (step.empty() ? "" : step + " ") + function_of(m.at) + ": " + expression_of(m.at, m.kind);
}

}  // namespace model
