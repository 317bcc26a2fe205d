// See stack_pool.hpp.
#include "runtime/fiber/stack_pool.hpp"

#include "runtime/base/check.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <new>
#include <utility>

namespace weft::rt {
namespace {

constexpr bool trims = !asan && !tsan;
constexpr std::size_t least_resting = tsan ? 64 : 0;
constexpr std::size_t most_per_slab_bytes = 64 * 1024 * 1024;

// All tops at one place in their pages would share a few sets of each cache: with thousands of parked tasks those sets
// thrash while the rest of the cache is idle. So the blocks of neighbours stand on different lines. The largest shift
// leaves more than half of the page to frames.
constexpr std::size_t colours = 8;
constexpr std::size_t colour_step = 192;

// An odd number of pages, since stacks have an even one: the first pages of neighbours, which all tasks use, are then not a multiple of a
// power of two apart, as which they would share a few sets of the processor's table of pages (decisions/0044).
std::size_t guard_bytes(guard_kind kind) noexcept {
  switch (kind) {
    case guard_kind::guard_install: return (64 * 1024 / page_size() | 1) * page_size();
    case guard_kind::mprotect: return page_size();
    case guard_kind::none: return 0;
  }
  return 0;
}

}  // namespace

// One mapping. All fields but the constants and those that say so are guarded by the pool's lock.
struct slab {
  char* start = nullptr;   // constant
  std::size_t bytes = 0;   // constant
  std::size_t stride = 0;  // constant: guard and stack
  unsigned capacity = 0;   // constant
  unsigned cut = 0;        // stacks made, or being made by those who claimed their places; the first `cut` places
  unsigned idle = 0;       // of these, in the warm or the cold list
  unsigned cold = 0;       // of these, in the cold list
  std::atomic<unsigned> mprotect_guards{0};
  unsigned size_class = 0;  // constant
  slab* next = nullptr;
  slab* prev = nullptr;
  // Each written once, outside of the lock, by who claimed the place; read under it when all of them have been put (P5).
  stack* stacks[stack_pool::stacks_per_slab] = {};
};

namespace {
// P7. Null, or the slab of a pool that has ended: the next one that maps such a one takes it, with its guards where they are.
constinit std::atomic<slab*> left_over{nullptr};
constexpr std::size_t most_left_over = 3 * 1024 * 1024;  // of stacks that have been used, and may have kept their pages
}  // namespace

void stack_pool::release(slab* dead) noexcept {
  asan_unpoison(dead->start, dead->bytes);
  release_pages(dead->start, dead->bytes);
  delete dead;
}

bool stack_pool::leave_over(slab* dead) noexcept {
  slab* none = nullptr;
  return trims && dead->cut * dead->stride <= most_left_over &&
         left_over.compare_exchange_strong(none, dead, std::memory_order_release, std::memory_order_relaxed);
}

char* stack_pool::map(slab const& wanted) noexcept {
  if (slab* const kept = left_over.exchange(nullptr, std::memory_order_acquire)) {
    char* const start = kept->start;
    // With stacks and strides of one size the guards lie in the same places, too.
    if (kept->size_class == wanted.size_class && kept->stride == wanted.stride) {
      delete kept;
      return start;
    }
    release(kept);
  }
  return static_cast<char*>(reserve_pages(wanted.bytes));
}

// What a function may use below the stack pointer (System V ABI for x86-64; others use less).
constexpr std::uintptr_t red_zone = 128;

void discard_below(stack& stopped) noexcept {
  if (!trims || stopped.fresh) return;
  auto const sp = reinterpret_cast<std::uintptr_t>(stopped.exec.sp) - red_zone;
  auto const low = reinterpret_cast<std::uintptr_t>(stopped.base);
  std::uintptr_t const keep_from = sp & ~(std::uintptr_t{page_size()} - 1);
  if (keep_from > low) discard_pages(stopped.base, keep_from - low);
}

void stack_pool::stack_list::push_front(stack* item) noexcept {
  item->prev = nullptr;
  item->next = first;
  (first != nullptr ? first->prev : last) = item;
  first = item;
  ++count;
}

void stack_pool::stack_list::remove(stack* item) noexcept {
  (item->prev != nullptr ? item->prev->next : first) = item->next;
  (item->next != nullptr ? item->next->prev : last) = item->prev;
  item->next = item->prev = nullptr;
  --count;
}

stack_pool::stack_pool(std::size_t default_size, guard_kind guard) noexcept
    : default_size_(rounded(default_size)),
      room_for_child_(default_size_ / 8 * 7),
      guard_(guard),
      guard_size_(guard_bytes(guard)) {
  if (default_size_ == 0) fatal("a stack size of %zu bytes: the largest is 1 GiB", default_size);
}

stack_pool::~stack_pool() {
  WEFT_CHECK(counts_.in_use() == 0, "a stack pool ends while its stacks are in use");
  for (size_class& each : classes_) {
    for (slab* dead = each.slabs; dead != nullptr; dead = dead->next)
      for (unsigned i = 0; i < dead->cut; ++i) forget(dead->stacks[i]->exec);
    unmap(each.slabs, &each == &classes_[class_of(default_size_)]);
  }
}

std::size_t stack_pool::rounded(std::size_t size) noexcept {
  if (size > (std::size_t{1} << max_shift)) return 0;
  return std::bit_ceil(std::max({size, min_size, 2 * page_size()}));
}

unsigned stack_pool::class_of(std::size_t size) noexcept {
  return static_cast<unsigned>(std::countr_zero(size)) - min_shift;
}

stack* stack_pool::get(std::size_t size) noexcept {
  std::size_t const whole = rounded(size);
  if (whole == 0) {
    error_.store("a stack may have at most 1 GiB", std::memory_order_relaxed);
    return nullptr;
  }
  unsigned const index = class_of(whole);
  for (bool again = false;; again = true) {
    place at;
    {
      guard const held(lock_);
      if (stack* const idle = take_idle(classes_[index])) return idle;
      at = claim_place(index, 1);
      if (at.home == nullptr && (again || surplus() == 0)) return nullptr;
    }
    if (at.home != nullptr) return cut(at);
    trim_all();
  }
}

stack* stack_pool::get_many(std::size_t count) noexcept {
  unsigned const index = class_of(default_size_);
  stack* first = nullptr;
  place at;
  {
    guard const held(lock_);
    for (; count > 0; --count) {
      stack* const idle = take_idle(classes_[index]);
      if (idle == nullptr) break;
      idle->next = first;
      first = idle;
    }
    if (first == nullptr) at = claim_place(index, std::min(count, counts_.cut / stacks_a_spare));
  }
  if (first != nullptr) return first;
  return at.home != nullptr ? cut(at) : get(default_size_);
}

bool stack_pool::put(stack* idle) noexcept {
  idle->next = nullptr;
  return put_many(idle);
}

bool stack_pool::put_many(stack* first) noexcept {
  guard const held(lock_);
  std::size_t const before = surplus();
  while (first != nullptr) {
    stack* const next = first->next;
    add_warm(first);
    first = next;
  }
  return before == 0 && surplus() != 0;
}

stack_counts stack_pool::counts() const noexcept {
  guard const held(lock_);
  return counts_;
}

// P4, the idle part.
stack* stack_pool::take_idle(size_class& from) noexcept {
  stack_list& list = from.warm.count > 0 ? from.warm : from.cold;
  if (list.count == 0 || list.count < least_resting) return nullptr;
  stack* const taken = tsan ? list.last : list.first;
  list.remove(taken);
  --taken->home->idle;
  if (taken->cold) {
    taken->cold = false;
    --taken->home->cold;
  } else {
    from.low = std::min(from.low, list.count);
    if (trims && list.count >= high_water) surplus_.store(surplus() - 1, std::memory_order_relaxed);
  }
  --counts_.idle;
  tsan_acquire(taken);
  return taken;
}

// P1.
void stack_pool::add_warm(stack* idle) noexcept {
  tsan_release(idle);
  if (asan && !idle->fresh) {
    auto* const sp = static_cast<char*>(idle->exec.sp);
    asan_unpoison(idle->base, static_cast<std::size_t>(sp - idle->base));
  }
  idle->owner = nullptr;
  stack_list& warm = classes_[idle->size_class].warm;
  warm.push_front(idle);
  ++idle->home->idle;
  ++counts_.idle;
  if (trims && warm.count > high_water) surplus_.store(surplus() + 1, std::memory_order_relaxed);
}

void stack_pool::count_surplus() noexcept {
  std::size_t sum = 0;
  for (size_class const& each : classes_)
    if (each.warm.count > high_water) sum += each.warm.count - high_water;
  surplus_.store(sum, std::memory_order_relaxed);
}

void stack_pool::begin_trim() noexcept {
  if (!trims) return;
  guard const held(lock_);
  for (size_class& each : classes_) {
    each.budget = each.low > high_water ? each.low - high_water : 0;
    each.low = each.warm.count;
  }
}

bool stack_pool::trim(std::size_t most) noexcept {
  stack* rested = nullptr;
  slab* dead = nullptr;
  bool more = false;
  {
    guard const held(lock_);
    for (size_class& each : classes_) {
      std::size_t const before = each.budget;
      if (before == 0) continue;
      if (most != 0) {
        if (slab* const whole = rest(each, std::min(most, before), rested)) {
          whole->next = dead;
          dead = whole;
        }
        most -= std::min(most, before - each.budget);
      }
      more |= each.budget != 0;
    }
    count_surplus();
  }
  if (rested != nullptr) cool(rested);
  unmap(dead);
  return more;
}

void stack_pool::trim_all() noexcept {
  {
    guard const held(lock_);
    for (size_class& each : classes_) each.low = each.warm.count;
  }
  begin_trim();
  while (trim(stacks_per_slab)) {
  }
}

// P2's choice, and P3: takes up to `most` out of the warm list, which belong to nobody then; or one slab as a whole.
slab* stack_pool::rest(size_class& of, std::size_t most, stack*& rested) noexcept {
  while (most > 0) {
    if (of.warm.count <= high_water) {  // somebody needed them after all
      of.budget = 0;
      break;
    }
    stack* const oldest = of.warm.last;
    slab* const home = oldest->home;
    unsigned const warm = home->idle - home->cold;
    if (home->idle == home->capacity && of.warm.count - warm >= high_water) {
      of.budget -= std::min<std::size_t>(of.budget, warm);
      take_apart(*home);
      of.low = std::min(of.low, of.warm.count);
      return home;
    }
    of.warm.remove(oldest);
    --home->idle;  // in no list for now: nobody may unmap the slab
    oldest->next = rested;
    rested = oldest;
    --of.budget;
    --most;
  }
  of.low = std::min(of.low, of.warm.count);
  return nullptr;
}

// The rest of P2, and P3.
void stack_pool::cool(stack* rested) noexcept {
  for (stack* each = rested; each != nullptr; each = each->next) discard_below(*each);
  slab* dead = nullptr;
  {
    guard const held(lock_);
    while (rested != nullptr) {
      stack* const next = rested->next;
      if (slab* const whole = add_cold(rested)) {
        take_apart(*whole);
        whole->next = dead;
        dead = whole;
      }
      rested = next;
    }
  }
  unmap(dead);
}

// The slab of it, if now all of that is cold and none will be cut from it any more.
slab* stack_pool::add_cold(stack* idle) noexcept {
  classes_[idle->size_class].cold.push_front(idle);
  idle->cold = true;
  slab* const home = idle->home;
  ++home->idle;
  return ++home->cold == home->capacity ? home : nullptr;
}

void stack_pool::take_apart(slab& dead) noexcept {
  size_class& of = classes_[dead.size_class];
  for (unsigned i = 0; i < dead.cut; ++i) (dead.stacks[i]->cold ? of.cold : of.warm).remove(dead.stacks[i]);
  (dead.prev != nullptr ? dead.prev->next : of.slabs) = dead.next;
  if (dead.next != nullptr) dead.next->prev = dead.prev;
  if (of.newest == &dead) of.newest = nullptr;
  counts_.idle -= dead.cut;
  counts_.cut -= dead.cut;
  counts_.mapped_bytes -= dead.bytes;
}

// A list of them.
void stack_pool::unmap(slab* dead, bool leaves_one) noexcept {
  while (dead != nullptr) {
    slab* const next = dead->next;
    forget_guards(guard_kind::mprotect, dead->mprotect_guards);
    if (!leaves_one || !leave_over(dead)) release(dead);
    dead = next;
  }
}

slab* stack_pool::map_slab(unsigned index) noexcept {
  std::size_t const each = (std::size_t{1} << (index + min_shift)) + guard_size_;
  auto const capacity = static_cast<unsigned>(std::clamp<std::size_t>(most_per_slab_bytes / each, 1, stacks_per_slab));
  slab* const made = new (std::nothrow) slab;
  if (made == nullptr) {
    error_.store("no memory for the description of more stacks", std::memory_order_relaxed);
    return nullptr;
  }
  made->stride = each;
  made->capacity = capacity;
  made->bytes = each * capacity;
  made->size_class = index;
  made->start = map(*made);
  if (made->start == nullptr) {
    delete made;
    error_.store(
        "the system refuses address space for more stacks (see ulimit -v, vm.max_map_count and "
        "vm.overcommit_memory)",
        std::memory_order_relaxed);
    return nullptr;
  }
  size_class& of = classes_[index];
  made->next = of.slabs;
  if (of.slabs != nullptr) of.slabs->prev = made;
  of.slabs = of.newest = made;
  counts_.mapped_bytes += made->bytes;
  return made;
}

// P4, the new part: one place, or more side by side where the slab has them. No slab: mappings or memory are exhausted.
stack_pool::place stack_pool::claim_place(unsigned index, std::size_t most) noexcept {
  slab* from = classes_[index].newest;
  if (from == nullptr || from->cut == from->capacity) from = map_slab(index);
  if (from == nullptr) return {};
  auto const count = static_cast<unsigned>(std::clamp<std::size_t>(most, 1, from->capacity - from->cut));
  counts_.cut += count;
  return {from, std::exchange(from->cut, from->cut + count), count};
}

// P5, P6: a list of them.
stack* stack_pool::cut(place at) noexcept {
  slab& from = *at.home;
  char* const first = from.start + from.stride * at.index;
  bool const guarded =
      at.count > 1 && guard_ == guard_kind::guard_install && install_guards(first, guard_size_, from.stride, at.count);
  stack* made = nullptr;
  for (unsigned i = at.count; i-- > 0;) {
    guard_kind guard = guard_;
    if (!guarded && guard_size_ != 0) guard = install_guard(first + i * from.stride, guard_size_, guard_);
    stack* const each = make_stack(from, at.index + i, guard);
    each->next = made;
    made = each;
  }
  return made;
}

stack* stack_pool::make_stack(slab& from, unsigned index, guard_kind guard) noexcept {
  if (guard == guard_kind::mprotect) from.mprotect_guards.fetch_add(1, std::memory_order_relaxed);
  char* const base = from.start + from.stride * index + guard_size_;
  std::size_t const size = from.stride - guard_size_;
  std::size_t const shift = (index % colours) * colour_step;
  auto* const fresh = ::new (base + size - shift - sizeof(stack)) stack;
  fresh->home = &from;
  fresh->base = base;
  fresh->size = size;
  fresh->guard_size = guard != guard_kind::none ? guard_size_ : 0;
  fresh->size_class = static_cast<std::uint8_t>(from.size_class);
  from.stacks[index] = fresh;
  return fresh;
}

}  // namespace weft::rt
