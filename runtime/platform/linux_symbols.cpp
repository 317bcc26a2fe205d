// Linux: dladdr knows only functions that a module exports, which those of a program mostly are not, and in a static program nothing at
// all; a module's own symbol table, unless it was stripped, stands in the file alone. So the file is read: ELF, the section SHT_SYMTAB,
// functions only, sorted by address. The file may have been replaced since it was loaded, as by an upgrade: another's names would be wrong.
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

/// What is loaded, as the loader knows it; also of a static program.
struct loaded_module {
  std::uintptr_t address = 0;  // whose module is looked for
  std::uintptr_t bias = 0;     // what the loader added to the addresses in the file
  ElfW(Phdr) const* segments = nullptr;
  std::size_t count = 0;
  char const* path = "";

  [[nodiscard]] bool loads(std::uintptr_t linked, std::size_t size) const noexcept {
    return std::any_of(segments, segments + count, [&](ElfW(Phdr) const& s) {
      return s.p_type == PT_LOAD && linked - s.p_vaddr < s.p_memsz && size <= s.p_memsz - (linked - s.p_vaddr);
    });
  }
};

int take_if_there(dl_phdr_info* info, std::size_t, void* arg) {
  auto& m = *static_cast<loaded_module*>(arg);
  loaded_module const seen{m.address, info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum, info->dlpi_name};
  if (!seen.loads(m.address - seen.bias, 1)) return 0;
  m = seen;
  return 1;
}

/// Its segments, and the notes in them, among which is the build's id.
bool was_loaded_from(loaded_module const& m, mapped_file const& file, ElfW(Ehdr) const& head) noexcept {
  auto const* segments = file.at<ElfW(Phdr)>(head.e_phoff, m.count);
  if (segments == nullptr || head.e_phnum != m.count) return false;
  if (std::memcmp(segments, m.segments, m.count * sizeof(ElfW(Phdr))) != 0) return false;
  return std::all_of(segments, segments + m.count, [&](ElfW(Phdr) const& s) {
    if (s.p_type != PT_NOTE || !m.loads(s.p_vaddr, s.p_filesz)) return true;
    auto const* note = file.at<char>(s.p_offset, s.p_filesz);
    return note != nullptr && std::memcmp(note, reinterpret_cast<char const*>(m.bias + s.p_vaddr), s.p_filesz) == 0;
  });
}

// The program's own path may be relative to where it was started, and its file may be gone: the link still opens it.
constexpr char const* program = "/proc/self/exe";

[[gnu::noinline]] std::string
path_of_program() {  // a caller may have a task's stack, which the buffer would be much of
  char real[4096];
  ssize_t const n = ::readlink(program, real, sizeof real);
  return n > 0 ? std::string(real, static_cast<std::size_t>(n)) : std::string("program");  // without /proc
}

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
  std::vector<function> functions;

  void read(loaded_module const& m, char const* from) {
    mapped_file const file(from);
    auto const* head = file.at<ElfW(Ehdr)>(0);
    if (head == nullptr || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(ElfW(Shdr)))
      return;
    if (!was_loaded_from(m, file, *head)) return;
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
        std::size_t const in = entries[k].st_shndx;
        std::uintptr_t size = entries[k].st_size;
        // Where assembly does not say how long it is: to the section's end. Behind _init stand the calls into shared libraries.
        if (size == 0 && in < head->e_shnum) size = sections[in].sh_addr + sections[in].sh_size - entries[k].st_value;
        functions.push_back({entries[k].st_value, size, names + entries[k].st_name});
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
    return linked - f.start < f.size ? &f : nullptr;
  }
};

symbols::symbols() noexcept = default;
symbols::~symbols() = default;

std::uintptr_t program_bias() noexcept {
  std::uintptr_t bias = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* arg) {  // the program comes first
        *static_cast<std::uintptr_t*>(arg) = info->dlpi_addr;
        return 1;
      },
      &bias);
  return bias;
}

code_place symbols::find(void const* address) {
  code_place place;
  loaded_module m;
  m.address = place.offset = reinterpret_cast<std::uintptr_t>(address);
  if (::dl_iterate_phdr(take_if_there, &m) == 0) return place;
  auto const [at, is_new] = tables_.try_emplace(reinterpret_cast<std::uintptr_t>(m.segments));
  table& t = at->second;
  if (is_new) {
    bool const is_program = ::getauxval(AT_PHDR) == at->first;
    t.path = is_program ? path_of_program() : m.path;
    t.read(m, is_program ? program : m.path);
  }
  place.module = t.path;
  place.offset -= m.bias;
  Dl_info known{};
  if (auto const* f = t.find(place.offset)) {
    place.function = demangled(f->name.c_str());
    place.into = place.offset - f->start;
  } else if (::dladdr(address, &known) != 0 && known.dli_sname != nullptr) {
    place.function = demangled(known.dli_sname);
    place.into = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(known.dli_saddr);
  }
  return place;
}

}  // namespace weft::rt
