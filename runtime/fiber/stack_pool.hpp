// Idle stacks of all sizes, and the address space they are cut from.
//
// Stacks are cut one by one from slabs of 64 that are mapped at once, because the number of mappings of a process is
// limited; a guard below each is made when the stack is cut. Sizes are rounded up to a power of two, each a class.
//
// A stack that comes back is mostly a *suspended loop*: frames that a later user switches to and that nobody ever
// unwinds. They are never reset, since resetting a stack would leave the sanitizers with a wrong picture of it. The
// pool hands such stacks out first, last in first out, for their warm pages.
//
//   P1  put: to the front of the warm list of its class. No system call: whoever puts a stack back has tasks to run.
//   P2  trim, by a thread that has time: of the stacks beyond high_water that nobody has needed since the period before (the
//       shortest that the warm list has been), those that rested longest give back the memory below their stack pointers and go
//       to the cold list (outside the lock: it is a system call).
//   P3  all stacks of a slab are idle when P2 comes to one of them, and the warm list can spare them: the slab is unmapped
//       instead, suspended loops and all. The same if all of them are cold.
//   P4  get: warm, cold, a place in the newest slab, a new slab; if that is refused, once more after trimming all.
//   P5  who got a place makes the stack there, outside of the lock: its guard is a system call, and its first touch a page fault. Nobody looks at
//       it before it has been put: a slab is taken apart when all its stacks are idle, and the pool ends when none is in use.
//   P6  get_many cuts several at once where stacks_a_spare times as many exist: one system call makes their guards.
//   P7  a pool that ends leaves one slab of the default size, with 3 MiB of stacks at most, to the process's next pool. munmap frees tables of pages, so it interrupts the other
//       processors: 40 us, of 950 that a program which starts a runtime and ends takes, and its end unmaps all of it anyway.
//
// Under the sanitizers P2, P3 and P7 stay out. Under ThreadSanitizer a stack carries its logical thread with it, and the
// pool is first in, first out with at least 64 resting: a user and the next but sixty-three share a logical thread, and
// neighbours never do. A holder's own cache in front of the pool would undo that, so there is none in that build.
//
// Rejected: giving memory back as stacks come (a third of what a hundred thousand tasks that end at once cost, and a program whose
// number of tasks swings pays at each swing); a mapping a stack (at 65,530 mappings the process can neither map nor start threads); resetting stacks by
// make_fcontext at each use (a store or two, but wrong shadow memory after an exit from deep frames).
#pragma once

#include "runtime/base/lock.hpp"
#include "runtime/fiber/stack.hpp"

#include <atomic>
#include <cstddef>

namespace weft::rt {

struct stack_counts {
  std::size_t mapped_bytes = 0;  // address space, guards included
  std::size_t cut = 0;           // stacks that exist
  std::size_t idle = 0;          // of these, in the pool
  std::size_t in_use() const noexcept { return cut - idle; }
};

class stack_pool {
 public:
  static constexpr std::size_t min_size = 16 * 1024;
  static constexpr std::size_t high_water = 256;
  static constexpr std::size_t stacks_per_slab = 64;  // fewer of those over 1 MiB
  static constexpr std::size_t stacks_a_spare = 256;  // P6: who has so many can afford a page more
  static constexpr unsigned max_shift = 30;           // of the largest size, 1 GiB

  explicit stack_pool(std::size_t default_size, guard_kind guard = preferred_guard()) noexcept;
  ~stack_pool();  // no stack may be in use; unmaps everything but for P7
  stack_pool(stack_pool const&) = delete;
  stack_pool& operator=(stack_pool const&) = delete;

  // What a size is rounded up to; 0 if it is beyond all reason (over 1 GiB).
  static std::size_t rounded(std::size_t size) noexcept;

  std::size_t default_size() const noexcept { return default_size_; }
  // Of a default stack, for what a task calls there in its own place: seven eighths.
  std::size_t room_for_child() const noexcept { return room_for_child_; }

  // A stack of at least `size` usable bytes. nullptr: memory or mappings are exhausted, see error().
  stack* get(std::size_t size) noexcept;
  stack* get() noexcept { return get(default_size_); }
  // True: with it a surplus has begun that trim() is to see to.
  bool put(stack* idle) noexcept;

  // Lists linked by `next`, for the processors' caches of default-sized stacks. get_many gives at most
  // `count`: the idle ones; if there is none, new ones, one for each stacks_a_spare that exist, but at least one; nullptr as get.
  stack* get_many(std::size_t count) noexcept;
  bool put_many(stack* first) noexcept;

  // Idle stacks beyond high_water; what a trim may find to do. Racy.
  std::size_t surplus() const noexcept { return surplus_.load(std::memory_order_relaxed); }
  // A period ends and the next begins: what nobody has needed in it is what trim() may take.
  void begin_trim() noexcept;
  // P2, P3 for at most `most` stacks. False: nothing is left of what begin_trim() found.
  bool trim(std::size_t most) noexcept;

  stack_counts counts() const noexcept;

  // Why the last get returned nullptr: text that names the limit.
  char const* error() const noexcept { return error_.load(std::memory_order_relaxed); }

  // What one stack occupies in address space, guard included.
  std::size_t stride(std::size_t size) const noexcept { return rounded(size) + guard_size_; }

 private:
  static constexpr unsigned min_shift = 14;  // 16 KiB
  static constexpr unsigned class_count = max_shift - min_shift + 1;

  struct stack_list {
    stack* first = nullptr;
    stack* last = nullptr;
    std::size_t count = 0;
    void push_front(stack* item) noexcept;
    void remove(stack* item) noexcept;
  };

  struct size_class {
    stack_list warm;
    stack_list cold;
    std::size_t low = 0;     // the least that warm had since begin_trim()
    std::size_t budget = 0;  // what trim() may still take
    slab* newest = nullptr;  // the one that is being cut
    slab* slabs = nullptr;   // all of them
  };

  /// Where stacks are to be cut, side by side. A null slab: nowhere.
  struct place {
    slab* home = nullptr;
    unsigned index = 0;
    unsigned count = 0;
  };

  static unsigned class_of(std::size_t size) noexcept;
  stack* take_idle(size_class& from) noexcept WEFT_REQUIRES(lock_);
  place claim_place(unsigned index, std::size_t most) noexcept WEFT_REQUIRES(lock_);
  stack* cut(place at) noexcept;
  stack* make_stack(slab& home, unsigned index, guard_kind guard) noexcept;
  slab* map_slab(unsigned index) noexcept WEFT_REQUIRES(lock_);
  void add_warm(stack* idle) noexcept WEFT_REQUIRES(lock_);
  void count_surplus() noexcept WEFT_REQUIRES(lock_);
  void trim_all() noexcept;
  slab* rest(size_class& of, std::size_t most, stack*& rested) noexcept WEFT_REQUIRES(lock_);
  void cool(stack* rested) noexcept;
  slab* add_cold(stack* idle) noexcept WEFT_REQUIRES(lock_);
  void take_apart(slab& dead) noexcept WEFT_REQUIRES(lock_);
  static void unmap(slab* dead, bool leaves_one = false) noexcept;
  static void release(slab* dead) noexcept;
  static bool leave_over(slab* dead) noexcept;
  static char* map(slab const& wanted) noexcept;

  std::size_t const default_size_, room_for_child_;
  guard_kind const guard_;
  std::size_t const guard_size_;
  mutable ranked_lock lock_{lock_rank::stack_pool};
  size_class classes_[class_count] WEFT_GUARDED_BY(lock_);
  stack_counts counts_ WEFT_GUARDED_BY(lock_);
  std::atomic<std::size_t> surplus_{0};  // written under lock_
  std::atomic<char const*> error_{""};   // points to constants only
};

}  // namespace weft::rt
