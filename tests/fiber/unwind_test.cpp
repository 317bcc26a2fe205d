#include "runtime/fiber/unwind.hpp"

#include "runtime/fiber/stack_pool.hpp"
#include "runtime/platform/symbols.hpp"
#include "tests/support/catch.hpp"

#include <cstdint>
#include <initializer_list>
#include <new>
#include <string>

using namespace weft::rt;

// Where stacks are walked by frame pointers alone, all have them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WITHOUT_FRAME_POINTER __attribute__((noinline, optimize("omit-frame-pointer")))
#else
#define WITHOUT_FRAME_POINTER __attribute__((noinline))
#endif

extern "C" void _init();  // of the C library, without a size

namespace {

struct scene {
  stack* on;
  execution native;
  int depth;
  int volatile sum = 0;
};

__attribute__((noinline)) void leave(scene& s) {
  thread_globals const here = current_thread_globals();
  switch_to(s.on->exec, s.native, here.exceptions, here.errno_pointer);
  s.sum = s.sum + 1;
}

WITHOUT_FRAME_POINTER void go_down(scene& s, int depth) {
  if (depth == 0) leave(s);
  else go_down(s, depth - 1);
  s.sum = s.sum + 1;  // no tail call
}

void scene_main(void* arg) {
  auto& s = *static_cast<scene*>(arg);
  go_down(s, s.depth);
  for (;;) leave(s);
}

void enter(scene& s) {
  init_native(s.native);
  thread_globals const here = current_thread_globals();
  switch_to(s.native, s.on->exec, here.exceptions, here.errno_pointer);
}

std::size_t calls_of(std::string const& name, void* const* frames, std::size_t n) {
  symbols names;
  std::size_t found = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (names.find(static_cast<char const*>(frames[i]) - 1).function.find(name) != std::string::npos) ++found;
  return found;
}

}  // namespace

TEST_CASE("the calls that a stack was left in are found, also through functions without frame pointers",
          "[fiber][unwind]") {
  stack_pool pool(64 * 1024);
  scene s{};
  s.on = pool.get();
  s.depth = 5;
  if (s.on->fresh) s.on->prepare_entry(scene_main, &s);
  enter(s);
  void* frames[64];
  std::size_t const n = frames_of(*s.on, frames, 64);
  CHECK(n >= 7);
  CHECK(n < 16);
  CHECK(calls_of("go_down", frames, n) == 6);
  CHECK(calls_of("scene_main", frames, n) == 1);
  CHECK(frames_of(*s.on, frames, 3) <= 3);
  enter(s);
  pool.put(s.on);
}

TEST_CASE("a walk along frame pointers stays inside the stack whatever these hold", "[fiber][unwind]") {
  alignas(64) static char memory[4096];
  auto* const block = new (memory + sizeof memory - sizeof(stack)) stack;
  block->base = memory;
  auto* const words = reinterpret_cast<std::uintptr_t*>(memory + 1024);
  void* frames[16];
  auto walk = [&] { return frames_by_pointers(*block, frames, 16); };
  block->exec.frame = nullptr;
  CHECK(walk() == 0);
  block->exec.frame = words;
  words[1] = 0x1234;
  for (std::uintptr_t const next :
       {std::uintptr_t{0}, reinterpret_cast<std::uintptr_t>(words), reinterpret_cast<std::uintptr_t>(words) + 3,
        reinterpret_cast<std::uintptr_t>(memory) - 64, reinterpret_cast<std::uintptr_t>(block) - 8,
        ~std::uintptr_t{0} - 7}) {
    words[0] = next;
    CHECK(walk() == 1);
    CHECK(frames[0] == reinterpret_cast<void*>(0x1234));
  }
  words[0] = reinterpret_cast<std::uintptr_t>(words + 8);
  words[8] = 0;
  words[9] = 0x5678;
  CHECK(walk() == 2);
  block->~stack();
}

TEST_CASE("what stands behind a function without a size is not taken for it") {
  symbols names;
  auto const* const at = reinterpret_cast<char const*>(&_init);
  CHECK(names.find(at).function == "_init");
  CHECK(names.find(at + 64).function != "_init");  // its section has half of that
}
