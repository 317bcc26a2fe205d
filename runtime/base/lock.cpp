// The checker of the order of locks: what this OS thread holds, and whether it may block on one more.
//
// The list is thread-local and each function that touches it is out of line, so no caller keeps its address across a
// switch. Tasks on one OS thread take turns on it, which ThreadSanitizer cannot know: WEFT_NO_TSAN.
#include "runtime/base/lock.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/sanitizer.hpp"

namespace weft::rt {
namespace {

constexpr unsigned tracked_most =
    32;  // select may hold more, of which those are not checked; more would not fit where a plug-in with weft is loaded

struct held_locks {
  unsigned count = 0;
  unsigned untracked = 0;
  ranked_lock const* locks[tracked_most];
};

thread_local constinit held_locks held{};

}  // namespace

WEFT_NO_TSAN __attribute__((noinline)) void note_lock_wanted(ranked_lock const* lock) noexcept {
  for (unsigned i = 0; i < held.count; ++i) {
    ranked_lock const* const other = held.locks[i];
    WEFT_CHECK(other != lock, "this thread locks a lock that it holds");
    if (other->rank() < lock->rank()) continue;
    if (other->rank() == lock_rank::object && lock->rank() == lock_rank::object && other < lock) continue;
    fatal("internal error: lock order: a thread that holds a lock of rank '%s' (%p) blocks on one of rank '%s' (%p)",
          name_of(other->rank()), static_cast<void const*>(other), name_of(lock->rank()),
          static_cast<void const*>(lock));
  }
}

WEFT_NO_TSAN __attribute__((noinline)) void note_lock_taken(ranked_lock const* lock) noexcept {
  if (held.count == tracked_most) {
    ++held.untracked;
    return;
  }
  held.locks[held.count++] = lock;
}

WEFT_NO_TSAN __attribute__((noinline)) void note_lock_released(ranked_lock const* lock) noexcept {
  for (unsigned i = held.count; i-- > 0;) {
    if (held.locks[i] != lock) continue;
    held.locks[i] = held.locks[--held.count];
    return;
  }
  WEFT_CHECK(held.untracked > 0, "a lock is released by a thread that does not hold it");
  --held.untracked;
}

WEFT_NO_TSAN __attribute__((noinline)) unsigned locks_held_here() noexcept { return held.count + held.untracked; }

}  // namespace weft::rt
