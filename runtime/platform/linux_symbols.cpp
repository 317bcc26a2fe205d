// Linux: dladdr knows only functions that a module exports, which those of a program mostly are not; its own symbol table, unless it was
// stripped, stands in the file alone. So the file is read: ELF, the section SHT_SYMTAB, functions only, sorted by address.
#include "runtime/platform/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace weft::rt {
namespace {

/// A file, mapped to be read.
class mapped_file {
 public:
  explicit mapped_file(char const* path) noexcept {
    int const fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat what{};
    if (::fstat(fd, &what) == 0 && what.st_size > 0) {
      void* at = ::mmap(nullptr, static_cast<std::size_t>(what.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
      if (at != MAP_FAILED) {
        start_ = static_cast<char const*>(at);
        size_ = static_cast<std::size_t>(what.st_size);
      }
    }
    ::close(fd);
  }
  ~mapped_file() {
    if (start_ != nullptr) ::munmap(const_cast<char*>(start_), size_);
  }
  mapped_file(mapped_file const&) = delete;
  mapped_file& operator=(mapped_file const&) = delete;

  /// `count` objects of T at `offset`; null if they do not lie in the file.
  template <class T>
  [[nodiscard]] T const* at(std::size_t offset, std::size_t count = 1) const noexcept {
    if (offset > size_ || count > (size_ - offset) / sizeof(T) || offset % alignof(T) != 0) return nullptr;
    return reinterpret_cast<T const*>(start_ + offset);
  }

 private:
  char const* start_ = nullptr;
  std::size_t size_ = 0;
};

std::string demangled(char const* name) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> const text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 && text != nullptr ? std::string(text.get()) : std::string(name);
}

}  // namespace

struct symbols::table {
  struct function {
    std::uintptr_t start;  // as linked
    std::uintptr_t size;
    std::string name;  // mangled
  };
  std::string path;
  std::uintptr_t bias = 0;  // what the loader added
  std::vector<function> functions;

  void read() {
    mapped_file const file(path.c_str());
    auto const* head = file.at<ElfW(Ehdr)>(0);
    if (head == nullptr || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(ElfW(Shdr)))
      return;
    auto const* sections = file.at<ElfW(Shdr)>(head->e_shoff, head->e_shnum);
    if (sections == nullptr) return;
    for (std::size_t i = 0; i < head->e_shnum; ++i) {
      ElfW(Shdr) const& s = sections[i];
      if (s.sh_type != SHT_SYMTAB || s.sh_link >= head->e_shnum || s.sh_entsize != sizeof(ElfW(Sym))) continue;
      std::size_t const count = s.sh_size / sizeof(ElfW(Sym));
      auto const* entries = file.at<ElfW(Sym)>(s.sh_offset, count);
      ElfW(Shdr) const& text = sections[s.sh_link];
      auto const* names = file.at<char>(text.sh_offset, text.sh_size);
      if (entries == nullptr || names == nullptr || text.sh_size == 0 || names[text.sh_size - 1] != '\0') continue;
      for (std::size_t k = 0; k < count; ++k) {
        if ((entries[k].st_info & 0xf) != STT_FUNC || entries[k].st_value == 0 || entries[k].st_name >= text.sh_size)
          continue;
        functions.push_back({entries[k].st_value, entries[k].st_size, names + entries[k].st_name});
      }
    }
    std::sort(functions.begin(), functions.end(),
              [](function const& a, function const& b) { return a.start < b.start; });
  }

  [[nodiscard]] function const* find(std::uintptr_t linked) const {
    auto after = std::upper_bound(functions.begin(), functions.end(), linked,
                                  [](std::uintptr_t at, function const& f) { return at < f.start; });
    if (after == functions.begin()) return nullptr;
    function const& f = *--after;
    return f.size == 0 || linked - f.start < f.size ? &f : nullptr;
  }
};

symbols::symbols() noexcept = default;
symbols::~symbols() = default;

symbols::table const& symbols::table_of(std::uintptr_t base, char const* path) {
  auto const found = tables_.find(base);
  if (found != tables_.end()) return found->second;
  table& t = tables_[base];
  // The loader maps the file's head at the base.
  auto const* head = reinterpret_cast<ElfW(Ehdr) const*>(base);
  t.bias = head->e_type == ET_DYN ? base : 0;
  // The program's own path may be relative to where it was started.
  bool const program = ::getauxval(AT_PHDR) == base + head->e_phoff;
  char real[4096];
  ssize_t const n = program ? ::readlink("/proc/self/exe", real, sizeof real) : -1;
  t.path = n > 0 ? std::string(real, static_cast<std::size_t>(n)) : std::string(path);
  t.read();
  return t;
}

code_place symbols::find(void const* address) {
  code_place place;
  Dl_info known{};
  if (::dladdr(address, &known) == 0 || known.dli_fbase == nullptr) {
    place.offset = reinterpret_cast<std::uintptr_t>(address);
    return place;
  }
  table const& t = table_of(reinterpret_cast<std::uintptr_t>(known.dli_fbase), known.dli_fname);
  place.module = t.path;
  place.offset = reinterpret_cast<std::uintptr_t>(address) - t.bias;
  if (auto const* f = t.find(place.offset)) {
    place.function = demangled(f->name.c_str());
    place.into = place.offset - f->start;
  } else if (known.dli_sname != nullptr) {
    place.function = demangled(known.dli_sname);
    place.into = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(known.dli_saddr);
  }
  return place;
}

}  // namespace weft::rt
