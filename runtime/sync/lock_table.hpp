// Which lock guards the wait list of a mutex, semaphore, latch and the like: one of a fixed table, chosen by address.
//
// The objects of this layer lie in users' memory, and their users may free them at surprising moments: a wait_group
// when wait() has returned, a mutex after its unlock. The one who lets the last waiter go therefore must not touch
// the object afterwards, and a lock inside it would be touched: by its own release. So the locks stand apart, in
// memory that is never given back, and each object keeps only a word of state and a list. The rule that all of this
// layer follows:
//
//   T1 the fast paths change the state word alone, by compare-exchange, and touch nothing after it (a mutex that is biased: the
//      byte that stands in its place, biased_hold.hpp)
//   T2 who must queue or wake takes the object's lock from here, and changes the list under it
//   T3 the change of the word that lets others believe that all is over (free, zero, done) is the last access to the
//      object; the list is emptied before it, the lock (which is not the object's) released and the waiters made
//      ready after it
//   T4 a bit of the word says that the list may hold a waiter: set under the lock before the waiter parks; cleared
//      under it by who finds the list empty. After a cancelled or timed-out wait it may be set without need, never
//      the reverse
//
// Two objects may share a lock: sections under it are a few dozen instructions, so this is a rare short wait; but once in the
// life of a mutex that was biased there is a membarrier in one, and a wait for its owner to come out of a few instructions. It also
// means that nobody may hold two of them: an unlock that belongs to a wait (condition_variable) is made after the
// release.
//
// Rejected: the lock inside the object (above; also four bytes more each), and the whole list in a table, as in
// WebKit's parking lot: finding an object's waiters among a million others is then no longer O(1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <weft/detail/wait.hpp>

#include "runtime/base/lock.hpp"

namespace weft::rt {

inline constexpr unsigned lock_table_bits = 8;

struct alignas(64) lock_table_slot {  // a cache line each: neighbours have nothing to do with each other
  object_lock lock;
};
extern constinit std::array<lock_table_slot, std::size_t{1} << lock_table_bits> lock_table;

/// The lock that guards the wait list of `object`. Valid for ever.
[[nodiscard]] inline object_lock& lock_of(void const* object) noexcept {
  auto const hashed = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(object)) * 0x9E3779B97F4A7C15u;
  return lock_table[hashed >> (64 - lock_table_bits)].lock;
}

/// For park_request::unlock: `arg` is the object_lock.
void unlock_object(void* arg) noexcept;

}  // namespace weft::rt
