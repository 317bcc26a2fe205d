// The steps T1 to T7 are those of timer_heap.hpp.
//
// Layout: entries_[0] stands three entries into a block aligned to 64 bytes, so that the four children of each entry
// (4i+1 to 4i+4, 16 bytes each) share one cache line: moving down touches one line of keys a level.

#include "runtime/timer/timer_heap.hpp"
#include "runtime/base/check.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

namespace weft::rt {

namespace {

constexpr std::size_t arity = 4;
constexpr std::size_t far_down = 1024;  // what stands above is in a cache: 16 KB
constexpr std::size_t lead = 3;         // unused entries before the root
constexpr std::size_t first_capacity = 64;
constexpr std::size_t moves_a_collect = 256;
constexpr std::size_t swept_a_collect = 256;
constexpr std::size_t asked_each = 1024;  // a power of two

// The low two bits of timer_node::state_.
constexpr std::uint64_t out_bits = 0;
constexpr std::uint64_t armed_bits = 1;
constexpr std::uint64_t dead_bits = 2;
constexpr std::uint64_t mask = 3;

constexpr std::uint64_t pack(std::uint64_t generation, std::uint64_t bits) noexcept { return generation << 2 | bits; }

}  // namespace

timer_heap::~timer_heap() WEFT_NO_THREAD_SAFETY_ANALYSIS {
  WEFT_CHECK(size_.load(std::memory_order_relaxed) == 0, "a timer heap must be drained before it is destroyed");
  while (dead_.load(std::memory_order_acquire) != 0) std::this_thread::yield();  // T9
  std::free(block_);
}

// T1. The limit is read without the lock: capacity_ only grows and is stored after the array under the lock that the arm
// will take, so whoever counted on it finds the larger array.
bool timer_heap::reserve_one() noexcept {
  std::size_t others = used_.fetch_add(1, std::memory_order_relaxed);
  while (others >= capacity_.load(std::memory_order_relaxed)) {
    unreserve_one();
    if (!grow()) return false;
    others = used_.fetch_add(1, std::memory_order_relaxed);
  }
  if ((others & (asked_each - 1)) == asked_each - 1 && too_many_dead()) [[unlikely]]
    crowded_.store(true, std::memory_order_relaxed);  // T10
  return true;
}

void timer_heap::unreserve_one() noexcept { used_.fetch_sub(1, std::memory_order_relaxed); }

bool timer_heap::grow() noexcept {
  std::size_t const old_capacity = capacity_.load(std::memory_order_relaxed);
  std::size_t const wanted = old_capacity == 0 ? first_capacity : old_capacity * 2;
  // Rounded up to what aligned_alloc wants.
  std::size_t const bytes = ((wanted + lead) * sizeof(entry) + 63) & ~std::size_t{63};
  void* block = std::aligned_alloc(64, bytes);
  if (block == nullptr) return false;
  // The pages that will be copied to are touched here and not under the lock.
  std::memset(block, 0, (old_capacity + lead) * sizeof(entry));
  entry* const entries = static_cast<entry*>(block) + lead;

  lock_.lock();
  if (capacity_.load(std::memory_order_relaxed) < wanted) {
    if (entries_ != nullptr) std::memcpy(entries, entries_, size_.load(std::memory_order_relaxed) * sizeof(entry));
    std::swap(block, block_);
    entries_ = entries;
    capacity_.store(wanted, std::memory_order_relaxed);
  }
  lock_.unlock();
  std::free(block);  // the old one, or ours if another thread was faster
  return true;
}

// T2
timer_heap& timer_heap::lock_for(timer_node& node) noexcept {
  // acquire: pairs with the release in take_out
  if (timer_heap* const home = node.home_.load(std::memory_order_acquire)) {
    home->lock_.lock();
    if (node.home_.load(std::memory_order_relaxed) == home) {
      unreserve_one();
      return *home;
    }
    home->lock_.unlock();  // it has just been taken out; only we put it in again
  }
  lock_.lock();
  return *this;
}

bool timer_heap::arm(timer_node& node, std::int64_t when, std::uint64_t generation) noexcept {
  timer_heap& heap = lock_for(node);
  bool const earlier = heap.arm_locked(node, when, generation);
  heap.lock_.unlock();
  return earlier;
}

// T2 to T4. Order of the stores: home_ and when_ before state_ (release), which disarm acquires.
bool timer_heap::arm_locked(timer_node& node, std::int64_t when, std::uint64_t generation) noexcept {
  node.when_.store(when, std::memory_order_relaxed);
  std::uint64_t const armed = pack(generation, armed_bits);

  if (node.home_.load(std::memory_order_relaxed) == this) {
    std::uint64_t const was = node.state_.exchange(armed, std::memory_order_acq_rel);
    if ((was & mask) == dead_bits) dead_.fetch_sub(1, std::memory_order_relaxed);
    std::size_t const i = place_of(node);
    if (when >= entries_[i].key) return false;
    sift_up(i, entry{when, &node});
    return publish();
  }

  std::size_t const n = size_.load(std::memory_order_relaxed);
  WEFT_CHECK(n < capacity_.load(std::memory_order_relaxed), "a timer was armed without a reservation");
  node.ops->retain(node.owner);
  node.home_.store(this, std::memory_order_relaxed);
  node.state_.store(armed, std::memory_order_release);
  size_.store(n + 1, std::memory_order_relaxed);
  sift_up(n, entry{when, &node});
  return publish();
}

// T5. home_ is read between the load of the state and its compare-exchange; a node that was armed with this generation
// at both ends has not moved in between.
bool timer_heap::disarm(timer_node& node, std::uint64_t generation) noexcept {
  std::uint64_t expected = pack(generation, armed_bits);
  if (node.state_.load(std::memory_order_acquire) != expected) return false;
  timer_heap* const home = node.home_.load(std::memory_order_relaxed);
  // release: pairs with T6's acquire, so that whoever takes the dead node out, and perhaps frees its owner, comes
  // after all that the caller did with it
  if (!node.state_.compare_exchange_strong(expected, pack(generation, dead_bits), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
    return false;
  home->dead_.fetch_add(1, std::memory_order_release);  // the last touch of home: pairs with T9
  return true;
}

// T6 and T7
std::size_t timer_heap::collect(std::int64_t now, due_entry* out, std::size_t max) noexcept {
  std::size_t n = 0;
  std::size_t moves = 0;
  lock_.lock();
  while (n < max && size_.load(std::memory_order_relaxed) != 0) {
    entry const top = entries_[0];
    std::uint64_t state = top.node->state_.load(std::memory_order_acquire);
    if ((state & mask) == armed_bits) {
      if (top.key > now) break;
      std::int64_t const when = top.node->when_.load(std::memory_order_relaxed);
      if (when > top.key) {
        if (++moves > moves_a_collect) break;
        sift_down(0, entry{when, top.node});
        continue;
      }
      if (!top.node->state_.compare_exchange_strong(state, pack(state >> 2, out_bits), std::memory_order_acq_rel,
                                                    std::memory_order_acquire))
        continue;  // disarmed this moment: dead, on the next round
      out[n++] = take_out(0, state, true);
    } else {
      out[n++] = take_out(0, state, false);
    }
  }
  if (too_many_dead()) n += sweep(out + n, max - n);
  publish();
  lock_.unlock();
  if (n != 0) used_.fetch_sub(n, std::memory_order_relaxed);
  return n;
}

// Looks through the next entries below sweep_at_, from the back to the front. What fills the place of a removed entry comes
// from further back, and has been looked at, unless it pushed a parent down into that place: so that place is looked at again.
// Collects in between may move an entry past the index; the next round finds it.
std::size_t timer_heap::sweep(due_entry* out, std::size_t max) noexcept {
  std::size_t n = 0;
  for (std::size_t looked = 0; looked < swept_a_collect && n < max; ++looked) {
    std::size_t const size = size_.load(std::memory_order_relaxed);
    if (size == 0) break;
    if (sweep_at_ == 0 || sweep_at_ > size) sweep_at_ = size;
    std::size_t const i = sweep_at_ - 1;
    std::uint64_t const state = entries_[i].node->state_.load(std::memory_order_acquire);
    if ((state & mask) == dead_bits) out[n++] = take_out(i, state, false);
    else --sweep_at_;
  }
  return n;
}

bool timer_heap::only_idles() const noexcept {
  for (std::size_t i = 0; i < size_.load(std::memory_order_relaxed); ++i) {
    timer_node const& node = *entries_[i].node;
    if (node.armed() && (node.ops->idles == nullptr || !node.ops->idles(node.owner))) return false;
  }
  return true;
}

std::size_t timer_heap::drain(due_entry* out, std::size_t max) noexcept {
  std::size_t n = 0;
  lock_.lock();
  while (n < max) {
    std::size_t const size = size_.load(std::memory_order_relaxed);
    if (size == 0) break;
    // From the back, so nothing moves. The exchange decides against a disarm, as at T6.
    timer_node& node = *entries_[size - 1].node;
    std::uint64_t const generation = node.state_.load(std::memory_order_relaxed) >> 2;
    std::uint64_t const state = node.state_.exchange(pack(generation, out_bits), std::memory_order_acq_rel);
    out[n++] = take_out(size - 1, state, false);
  }
  publish();
  lock_.unlock();
  if (n != 0) used_.fetch_sub(n, std::memory_order_relaxed);
  return n;
}

// `state` is what was found last: armed (then the caller has made it out already) or dead (nobody but the holder of the
// lock changes that). The entry carries the hold away; after the store to home_ the node may be armed again elsewhere.
due_entry timer_heap::take_out(std::size_t i, std::uint64_t state, bool fire) noexcept {
  timer_node& node = *entries_[i].node;
  remove(i);
  if ((state & mask) == dead_bits) {
    dead_.fetch_sub(1, std::memory_order_relaxed);
    node.state_.store(pack(state >> 2, out_bits), std::memory_order_relaxed);
  }
  timer_ops const& ops = *node.ops;
  due_entry const result{node.owner, &node, state >> 2, fire ? ops.fire : nullptr,
                         fire || ops.abandon == nullptr ? ops.release : ops.abandon};
  node.home_.store(nullptr, std::memory_order_release);  // pairs with T2 in lock_for
  return result;
}

void timer_heap::remove(std::size_t i) noexcept {
  std::size_t const last = size_.load(std::memory_order_relaxed) - 1;
  size_.store(last, std::memory_order_relaxed);
  if (i == last) return;
  entry const e = entries_[last];
  if (i != 0 && e.key < entries_[(i - 1) / arity].key) sift_up(i, e);
  else sift_down(i, e);
}

// T8
std::size_t timer_heap::place_of(timer_node const& node) const noexcept {
  std::size_t i = node.index_;
  while (i >= size_.load(std::memory_order_relaxed) || entries_[i].node != &node) {
    WEFT_CHECK(i != 0, "a timer is not where its heap has put it");
    i = (i - 1) / arity;
  }
  return i;
}

void timer_heap::set(std::size_t i, entry e) noexcept {
  entries_[i] = e;
  e.node->index_ = static_cast<std::uint32_t>(i);
}

// Puts e where i is or above. What stands at i is overwritten.
void timer_heap::sift_up(std::size_t i, entry e) noexcept {
  while (i != 0) {
    std::size_t const parent = (i - 1) / arity;
    if (entries_[parent].key <= e.key) break;
    set(i, entries_[parent]);
    i = parent;
  }
  set(i, e);
}

// Puts e where i is or below. What stands at i is overwritten. T8: those that move up are not told, since each is a line that is cold.
void timer_heap::sift_down(std::size_t i, entry e) noexcept {
  std::size_t const size = size_.load(std::memory_order_relaxed);
  for (;;) {
    std::size_t const first = i * arity + 1;
    if (first >= size) break;
    std::size_t const end = first + arity < size ? first + arity : size;
    if (end >= far_down && end * arity < size)  // one of these lines is next, and deep down they are cold
      for (std::size_t c = first; c < end; ++c) __builtin_prefetch(&entries_[c * arity + 1], 1);
    std::size_t least = first;
    for (std::size_t c = first + 1; c < end; ++c)
      if (entries_[c].key < entries_[least].key) least = c;
    if (entries_[least].key >= e.key) break;
    entries_[i] = entries_[least];
    if (i <= arity) __builtin_prefetch(entries_[i].node, 1);  // it is among the next
    i = least;
  }
  set(i, e);
}

// T4. True: earlier than before. Only lowering is seq_cst, for the sleeper that reads next_deadline().
bool timer_heap::publish() noexcept {
  std::int64_t const now_first = size_.load(std::memory_order_relaxed) == 0 ? no_deadline : entries_[0].key;
  std::int64_t const before = earliest_.load(std::memory_order_relaxed);
  if (now_first < before) {
    earliest_.store(now_first, std::memory_order_seq_cst);
    return true;
  }
  if (now_first > before) earliest_.store(now_first, std::memory_order_relaxed);
  return false;
}

}  // namespace weft::rt
