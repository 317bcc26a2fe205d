// Memory for what a program makes when it is set up: the same addresses in each execution, all of it given back at once.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "tests/model/engine.hpp"

namespace model {
namespace {
constexpr std::size_t arena_size = 256 * 1024;
alignas(64) std::byte arena[arena_size];
std::size_t arena_used = 0;
bool arena_open = false;
unsigned given_back = 0;

bool in_arena(void const* p) noexcept { return p >= arena && p < arena + arena_size; }
}  // namespace

bool open_arena(bool open) noexcept {
  bool const before = arena_open;
  arena_open = open;
  return before;
}
void empty_arena() noexcept { arena_used = given_back = 0; }
unsigned blocks_given_back() noexcept { return given_back; }

namespace {
void* take(std::size_t size, std::size_t align) noexcept {
  if (!arena_open) {
    if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::malloc(size == 0 ? 1 : size);
    return std::aligned_alloc(align, (size + align - 1) / align * align);
  }
  std::size_t const at = (arena_used + align - 1) / align * align;
  if (at + size > arena_size) return nullptr;
  arena_used = at + size;
  return arena + at;
}
void* take_or_throw(std::size_t size, std::size_t align) {
  void* const p = take(size, align);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void give(void* p) noexcept {
  if (in_arena(p)) ++given_back;
  else std::free(p);
}
constexpr std::size_t usual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
}  // namespace
}  // namespace model

void* operator new(std::size_t n) { return model::take_or_throw(n, model::usual); }
void* operator new[](std::size_t n) { return model::take_or_throw(n, model::usual); }
void* operator new(std::size_t n, std::align_val_t a) { return model::take_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return model::take_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return model::take(n, model::usual); }
void* operator new(std::size_t n, std::align_val_t a, std::nothrow_t const&) noexcept {
  return model::take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { model::give(p); }
void operator delete[](void* p) noexcept { model::give(p); }
void operator delete(void* p, std::size_t) noexcept { model::give(p); }
void operator delete[](void* p, std::size_t) noexcept { model::give(p); }
void operator delete(void* p, std::align_val_t) noexcept { model::give(p); }
void operator delete[](void* p, std::align_val_t) noexcept { model::give(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { model::give(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { model::give(p); }
