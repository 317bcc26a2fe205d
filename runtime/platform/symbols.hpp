// Names for code addresses, for reports. Reads files and allocates; where a name is not to be had, module and offset still are, and
// `addr2line -Cfe module offset` does the rest.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace weft::rt {

/// Where a code address belongs.
struct code_place {
  std::string function;       // demangled; empty: not known
  std::uintptr_t into = 0;    // bytes from the function's beginning
  std::string module;         // path of the program or library; empty: in none
  std::uintptr_t offset = 0;  // in the module, as addr2line takes it
};

/// What the loader has added to the addresses in the program's file. May be asked for before a signal handler needs it.
[[nodiscard]] std::uintptr_t program_bias() noexcept;

/// Keeps the tables of the modules that it was asked about. Not for several threads at once.
class symbols {
 public:
  symbols() noexcept;
  ~symbols();
  symbols(symbols const&) = delete;
  symbols& operator=(symbols const&) = delete;

  /// Throws std::bad_alloc.
  [[nodiscard]] code_place find(void const* address);

 private:
  struct table;
  std::map<std::uintptr_t, table> tables_;  // by where the module's segments are listed
};

}  // namespace weft::rt
