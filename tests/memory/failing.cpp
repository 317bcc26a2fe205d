#include "tests/memory/failing.hpp"

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

extern "C" void* __real_malloc(std::size_t size);

namespace failing {

std::atomic<long> outstanding{0};

namespace {

constexpr long never = -1;

thread_local constinit long left = never;  // allocations before the first that fails; below never: so many have failed
thread_local constinit long to_fail = 0;
std::atomic<char const*> failing_thread{nullptr};

bool fails_by_name() noexcept {
  char const* const name = failing_thread.load(std::memory_order_acquire);
  char mine[16] = {};
  return name != nullptr && ::pthread_getname_np(::pthread_self(), mine, sizeof mine) == 0 &&
         std::strcmp(mine, name) == 0;
}

// Not inlined into code that waits.
__attribute__((noinline)) bool fails_now() noexcept {
  if (fails_by_name()) return true;
  if (left > 0) {
    --left;
    return false;
  }
  if (left == never || left <= never - to_fail) return false;
  left = left == 0 ? never - 1 : left - 1;
  return true;
}

void* allocate(std::size_t size, std::size_t align) noexcept {
  if (fails_now()) return nullptr;
  size = (std::max<std::size_t>(size, 1) + align - 1) / align * align;
  void* const p = align <= alignof(std::max_align_t) ? __real_malloc(size) : std::aligned_alloc(align, size);
  if (p != nullptr) outstanding.fetch_add(1, std::memory_order_relaxed);
  return p;
}

void* allocate_or_throw(std::size_t size, std::size_t align) {
  if (void* const p = allocate(size, align)) return p;
  throw std::bad_alloc();
}

void give_back(void* p) noexcept {
  if (p != nullptr) outstanding.fetch_sub(1, std::memory_order_relaxed);
  std::free(p);
}

}  // namespace

__attribute__((noinline)) void fail_after(long n, long times) noexcept {
  left = n;
  to_fail = times;
}
__attribute__((noinline)) bool stop_failing() noexcept { return std::exchange(left, never) < never; }

fail_on::fail_on(char const* thread_name) noexcept { failing_thread.store(thread_name, std::memory_order_release); }
fail_on::~fail_on() { failing_thread.store(nullptr, std::memory_order_release); }

}  // namespace failing

extern "C" void* __wrap_malloc(std::size_t size) { return failing::fails_now() ? nullptr : __real_malloc(size); }

void* operator new(std::size_t size) { return failing::allocate_or_throw(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t align) {
  return failing::allocate_or_throw(size, static_cast<std::size_t>(align));
}
void* operator new(std::size_t size, std::nothrow_t const&) noexcept {
  return failing::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t align, std::nothrow_t const&) noexcept {
  return failing::allocate(size, static_cast<std::size_t>(align));
}
void operator delete(void* p) noexcept { failing::give_back(p); }
void operator delete(void* p, std::size_t) noexcept { failing::give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { failing::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { failing::give_back(p); }
