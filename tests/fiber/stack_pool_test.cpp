#include "runtime/fiber/stack_pool.hpp"

#include "runtime/platform/fault.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

using namespace weft::rt;

namespace {

constexpr std::size_t kib = 1024;

execution* native_of_loop = nullptr;

void jump(execution& from, execution& to) {
  thread_globals const here = current_thread_globals();
  switch_to(from, to, here.exceptions, here.errno_pointer);
}

// Dirties `bytes` of the stack, then is a suspended loop.
void dirty_loop(void* argument) {
  auto* const self = static_cast<stack*>(argument);
  for (;;) {
    auto* const low = static_cast<char volatile*>(self->base);
    for (std::size_t at = 0; at + 8 * kib < self->usable(); at += 4 * kib) low[at] = 'x';
    jump(self->exec, *native_of_loop);
  }
}

void run_on(stack& each) {
  execution native;
  init_native(native);
  native_of_loop = &native;
  if (each.fresh) each.prepare_entry(dirty_loop, &each);
  jump(native, each.exec);
}

// Two periods in which nobody needs anything.
void trim_all(stack_pool& pool) {
  for (int period = 0; period < 2; ++period) {
    pool.begin_trim();
    while (pool.trim(32)) {
    }
  }
}

bool is_mapped(void* page) {
  unsigned char there = 0;
  return ::mincore(page, page_size(), &there) == 0;
}

std::size_t resident_pages(stack const& of) {
  std::vector<unsigned char> map(of.size / page_size());
  ::mincore(of.base, of.size, map.data());
  std::size_t pages = 0;
  for (unsigned char const each : map) pages += each & 1;
  return pages;
}

bool can_be_read(char const* at) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  bool const read = ::write(ends[1], at, 1) == 1;
  ::close(ends[0]);
  ::close(ends[1]);
  return read;
}

}  // namespace

TEST_CASE("sizes are rounded up to powers of two of at least 16 KiB") {
  CHECK(stack_pool::rounded(1) == 16 * kib);
  CHECK(stack_pool::rounded(16 * kib) == 16 * kib);
  CHECK(stack_pool::rounded(16 * kib + 1) == 32 * kib);
  CHECK(stack_pool::rounded(256 * kib) == 256 * kib);
  CHECK(stack_pool::rounded(std::size_t{1} << 30) == std::size_t{1} << 30);
  CHECK(stack_pool::rounded((std::size_t{1} << 30) + 1) == 0);
}

TEST_CASE("a stack holds its control block in its top page and is aligned for calls") {
  stack_pool pool(256 * kib);
  std::vector<stack*> all;
  for (int i = 0; i < 20; ++i) {
    stack* const each = pool.get();
    REQUIRE(each != nullptr);
    CHECK(each->fresh);
    CHECK(each->size == 256 * kib);
    auto const end = reinterpret_cast<std::uintptr_t>(each->base) + each->size;
    CHECK(reinterpret_cast<std::uintptr_t>(each) % 64 == 0);
    CHECK(end - reinterpret_cast<std::uintptr_t>(each) < page_size() / 2);
    if (!asan && !tsan) CHECK(resident_pages(*each) == 1);
    all.push_back(each);
  }
  for (stack* const each : all) pool.put(each);
  CHECK(pool.counts().in_use() == 0);
}

TEST_CASE("stacks do not overlap, and each may be used down to its base") {
  stack_pool pool(16 * kib);
  std::vector<stack*> all;
  std::set<std::pair<char*, char*>> ranges;
  for (std::size_t const size : {16 * kib, 20 * kib, 256 * kib, 3072 * kib})
    for (int i = 0; i < 70; ++i) {
      stack* const each = pool.get(size);
      REQUIRE(each != nullptr);
      CHECK(each->size >= size);
      each->base[0] = 'x';
      ranges.emplace(each->base - each->guard_size, each->base + each->size);
      all.push_back(each);
    }
  char* end = nullptr;
  for (auto const& [from, to] : ranges) {
    CHECK(from >= end);
    end = to;
  }
  for (stack* const each : all) pool.put(each);
}

TEST_CASE("the stack that came back last goes out first, under ThreadSanitizer the one that rested longest") {
  stack_pool pool(16 * kib);
  std::vector<stack*> all;
  for (int i = 0; i < 100; ++i) all.push_back(pool.get());
  for (stack* const each : all) pool.put(each);
  stack* const next = pool.get();
  CHECK(next == (tsan ? all.front() : all.back()));
  pool.put(next);
}

TEST_CASE("batches give idle stacks, or one new if there is none and few exist") {
  stack_pool pool(16 * kib);
  stack* list = pool.get_many(8);
  REQUIRE(list != nullptr);
  CHECK(list->next == nullptr);
  std::vector<stack*> all;
  for (int i = 0; i < 79; ++i) all.push_back(pool.get());
  for (stack* const each : all) {
    each->next = list;
    list = each;
  }
  pool.put_many(list);
  CHECK(pool.counts().idle == 80);
  list = pool.get_many(8);
  std::size_t got = 0;
  for (stack* at = list; at != nullptr; at = at->next) ++got;
  CHECK(got == 8);
  CHECK(pool.counts().in_use() == 8);
  pool.put_many(list);
}

TEST_CASE("where many stacks exist a batch of new ones is cut, and each has its guard") {
  for (guard_kind const kind : {preferred_guard(), guard_kind::mprotect})
    for (bool const refused : {false, true}) {
      stack_pool pool(16 * kib, kind);
      constexpr std::size_t many = 8 * stack_pool::stacks_a_spare;
      std::vector<stack*> all;
      for (std::size_t i = 0; i < many; ++i) all.push_back(pool.get());
      if (refused) arm_fault({fault_kind::guard, 1, 1, ENOMEM});  // of all at once; they are made one by one then
      std::size_t got = 0;
      for (stack* each = pool.get_many(100); each != nullptr; each = each->next, ++got) all.push_back(each);
      if (refused) CHECK(disarm_fault() >= 1);
      CHECK(got == many / stack_pool::stacks_a_spare);
      CHECK(pool.counts().in_use() == many + got);
      for (std::size_t i = many; i < all.size(); ++i) {
        CHECK(all[i]->fresh);
        CHECK(can_be_read(all[i]->base));
        bool const left_out = refused && kind == guard_kind::mprotect && i == many + got - 1;  // refused for itself
        CHECK(can_be_read(all[i]->base - 1) == left_out);
        CHECK((all[i]->guard_size == 0) == left_out);
      }
      for (stack* const each : all) pool.put(each);
    }
}

TEST_CASE("a size beyond all reason is refused with a reason") {
  stack_pool pool(16 * kib);
  CHECK(pool.get(std::size_t{1} << 40) == nullptr);
  CHECK(std::string(pool.error()).find("1 GiB") != std::string::npos);
}

TEST_CASE("a hundred thousand stacks exist at once under the default limit of mappings and are unmapped when idle") {
  if (asan || tsan) return;  // the sanitizers keep what is mapped
  for (guard_kind const guard : {preferred_guard(), guard_kind::mprotect}) {
    stack_pool pool(256 * kib, guard);
    std::vector<stack*> all;
    for (int i = 0; i < 100000; ++i) {
      stack* const each = pool.get();
      REQUIRE(each != nullptr);
      all.push_back(each);
    }
    CHECK(pool.counts().in_use() == 100000);
    for (stack* const each : all) pool.put(each);
    CHECK(pool.counts().in_use() == 0);
    trim_all(pool);
    CHECK(pool.counts().cut < 1000);
    CHECK(pool.counts().mapped_bytes < 1000 * 512 * kib);
  }
}

TEST_CASE("a trim takes what nobody needed in the period before and leaves the rest") {
  if (asan || tsan) return;  // the sanitizers keep what is mapped
  constexpr std::size_t many = 1000;
  stack_pool pool(64 * kib);
  std::vector<stack*> all;
  for (std::size_t i = 0; i < many; ++i) all.push_back(pool.get());
  for (std::size_t i = 0; i < many; ++i)  // the first surplus is said, once
    CHECK(pool.put(all[i]) == (i == stack_pool::high_water));
  CHECK(pool.surplus() == many - stack_pool::high_water);
  pool.begin_trim();  // they have come in this period
  CHECK_FALSE(pool.trim(many));
  CHECK(pool.counts().cut == many);

  all.clear();
  for (int i = 0; i < 500; ++i) all.push_back(pool.get());  // needed in the second period
  for (stack* const each : all) pool.put(each);
  pool.begin_trim();
  while (pool.trim(10)) {
  }
  CHECK(pool.surplus() > 500 - stack_pool::stacks_per_slab);
  CHECK(pool.surplus() <= 500);
  CHECK(pool.counts().cut < 900);
  trim_all(pool);
  CHECK(pool.surplus() == 0);
  CHECK(pool.counts().cut <= stack_pool::high_water + 2 * stack_pool::stacks_per_slab);
  CHECK(pool.counts().in_use() == 0);
}

TEST_CASE("idle suspended loops beyond the mark give back their memory and can be resumed") {
  if (asan || tsan) return;  // the sanitizers keep what is mapped
  stack_pool pool(64 * kib);
  std::vector<stack*> all;
  // Every other one stays in use, so that no slab can be unmapped.
  for (int i = 0; i < 800; ++i) all.push_back(pool.get());
  for (stack* const each : all) run_on(*each);
  CHECK(resident_pages(*all[0]) > 10);
  for (std::size_t i = 0; i < all.size(); i += 2) pool.put(all[i]);
  trim_all(pool);
  std::size_t rested = 0;
  for (std::size_t i = 0; i < all.size(); i += 2) rested += resident_pages(*all[i]) <= 2;
  CHECK(rested == 400 - stack_pool::high_water);
  std::vector<stack*> again;
  for (int i = 0; i < 400; ++i) again.push_back(pool.get());
  CHECK(pool.counts().cut == 800);
  for (stack* const each : again) {
    CHECK_FALSE(each->fresh);
    run_on(*each);
    pool.put(each);
  }
  for (std::size_t i = 1; i < all.size(); i += 2) pool.put(all[i]);
  CHECK(pool.counts().idle == pool.counts().cut);
}

TEST_CASE("want of address space is an answer with a reason and not an end") {
  if (asan || tsan) return;  // the sanitizers keep what is mapped
  auto const end = run_child([] {
    stack_pool pool(256 * kib);
    rlimit limit;
    ::getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = std::size_t{1} << 30;
    ::setrlimit(RLIMIT_AS, &limit);
    stack* all = nullptr;
    while (stack* const each = pool.get()) {
      each->next = all;
      all = each;
    }
    if (pool.counts().cut < 100) return 1;
    pool.put_many(all);
    return std::string(pool.error()).find("ulimit") != std::string::npos ? 0 : 2;
  });
  CHECK(end.exit_code == 0);
  CHECK(end.signal == 0);
}

TEST_CASE("several threads get and put stacks at once") {
  stack_pool pool(16 * kib);
  std::vector<std::thread> crowd;
  for (int t = 0; t < 4; ++t)
    crowd.emplace_back([&] {
      std::vector<stack*> mine;
      for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < 10; ++i) mine.push_back(pool.get());
        for (stack* const each : mine) pool.put(each);
        mine.clear();
      }
    });
  for (auto& each : crowd) each.join();
  CHECK(pool.counts().in_use() == 0);
}

TEST_CASE("a pool that ends leaves a slab with few stacks to the next one of the same stack size") {
  if (asan || tsan) return;  // the sanitizers keep what is mapped
  // Where the first stack of a new pool lies, which is used and left.
  auto const used = [](std::size_t size) {
    stack_pool pool(size);
    stack* const s = pool.get();
    CHECK(s->fresh);
    run_on(*s);
    CHECK_FALSE(s->fresh);
    char* const base = s->base;
    pool.put(s);
    return base;
  };
  char* const first = used(64 * kib);
  CHECK(is_mapped(first));
  CHECK(used(64 * kib) == first);
  CHECK(used(64 * kib) == first);
  char* const other = used(128 * kib);  // has no use for it, and takes its place
  CHECK(is_mapped(other));
  CHECK(used(128 * kib) == other);
}

TEST_CASE("a slab whose guards lie elsewhere is not taken over, even if its stacks are as far apart") {
  if (asan || tsan) return;
  std::size_t const page = page_size();
  {
    stack_pool installed(64 * kib, guard_kind::guard_install);
    installed.put(installed.get());
  }
  stack_pool protecting(128 * kib, guard_kind::mprotect);
  stack* const s = protecting.get();
  for (char* at = s->base; at < s->base + s->usable(); at += page) *static_cast<char volatile*>(at) = 'x';
  protecting.put(s);
}

TEST_CASE("a stack of a slab that was left over has its guard") {
  if (asan || tsan) return;
  {
    stack_pool first(64 * kib);
    first.put(first.get());
  }
  stack_pool next(64 * kib);
  stack* const s = next.get();
  REQUIRE(s->guard_size != 0);
  auto const end = run_child([s] {
    *static_cast<char volatile*>(s->base - 1) = 'x';
    return 0;
  });
  CHECK(end.signal == SIGSEGV);
  next.put(s);
}

TEST_CASE("a slab with more stacks than a few is unmapped when its pool ends") {
  if (asan || tsan) return;
  char* base = nullptr;
  {
    stack_pool pool(64 * kib);
    std::vector<stack*> all;
    for (int i = 0; i < 40; ++i) all.push_back(pool.get());
    base = all.front()->base;
    for (stack* s : all) pool.put(s);
  }
  CHECK_FALSE(is_mapped(base));
}

TEST_CASE("neighbours lie an odd number of pages apart") {
  for (guard_kind const kind : {guard_kind::guard_install, guard_kind::mprotect}) {
    for (std::size_t const size : {16 * kib, 64 * kib, 256 * kib, 1024 * kib}) {
      stack_pool pool(size, kind);
      stack* const one = pool.get();
      stack* const other = pool.get();
      auto const apart = static_cast<std::size_t>(std::abs(one->base - other->base));
      CHECK(apart % page_size() == 0);
      CHECK(apart / page_size() % 2 == 1);
      pool.put(one);
      pool.put(other);
    }
  }
}
