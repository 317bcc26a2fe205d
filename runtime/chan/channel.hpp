// channel: a chan_core with its guarded half. What holds whenever its lock is free:
//
//   - `count` elements stand in the ring, from `head` on, oldest first; count <= capacity.
//   - A live sender's record in `senders` means that the ring is full, a live receiver's in `receivers` that nothing is
//     there to receive. Live: its wait is not claimed yet. Claimed ones stay linked until their owner, or somebody who
//     looks for a partner, unlinks them. Both lists are non-empty only if their live records belong to one select.
//   - Once closed, no live record is in either list.
//   - The state's bits for receivers and senders are set iff their list is non-empty.
//   - `pins` counts the records that were linked here and have not been settled: by the partner that claimed one, else
//     by its owner. A channel is freed only with both sides shut and no pin, so whoever resumes from a timeout or a
//     cancellation finds the lock it has to take, even if every handle has gone meanwhile.
//
// Delivery is direct: a sender moves into the waiting receiver's slot, a receiver takes from the waiting sender's object.
// A receiver that takes from a full ring moves the first waiting sender's value into the place it freed, at the end of
// the queue: values come out in the order of the sends.
#pragma once

#include <cstddef>
#include <cstdint>

#include <weft/detail/annotations.hpp>
#include <weft/detail/chan_core.hpp>

#include "runtime/base/check.hpp"
#include "runtime/platform/biased_lock.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/wait_at_once.hpp"

namespace weft::rt {

using detail::box_link;
using detail::chan_core;
using detail::elem_ops;

/// Two cache lines, and behind them the ring. A value that goes through the ring writes to the first of them alone: where the two sides are on two
/// processors, each line that both write to travels for each value.
struct alignas(64) channel : chan_core {
  channel(elem_ops const& element, std::size_t buffer) noexcept
      : chan_core(buffer, one_sender + one_receiver), ops(element) {}

  bool is_done_channel = false;                     // constant once shared
  bool sender_side WEFT_GUARDED_BY(lock) = true;    // some handle can send
  bool receiver_side WEFT_GUARDED_BY(lock) = true;  // some handle can receive
  biased_lock lock;
  std::size_t head WEFT_GUARDED_BY(lock) = 0;  // place of the oldest element

  alignas(64) elem_ops const& ops;
  wait_list receivers WEFT_GUARDED_BY(lock);
  wait_list senders WEFT_GUARDED_BY(lock);
  box_link* returned WEFT_GUARDED_BY(lock) = nullptr;  // received before anything else
  detail::receivers_watcher* watcher = nullptr;        // constant once shared
  std::uint32_t pins WEFT_GUARDED_BY(lock) = 0;
  std::uint32_t offset = 0;  // constant: of this in its memory

  /// Guarded by lock, as far as it is in use.
  [[nodiscard]] std::byte* place(std::size_t n) noexcept {
    return reinterpret_cast<std::byte*>(this + 1) + n * ops.size;
  }
};

/// A send that never waits, to a channel with a buffer: where that is full, the oldest element makes room. `spare` is room for one element
/// that has a destructor. Afterwards `from` holds: nothing (taken), the oldest element (exchanged; nothing, if it has no destructor), or
/// what it held (closed). On `taken`, `woken` may hold a receiver to make ready after the unlock.
enum class newest : std::uint8_t { taken, exchanged, closed };
newest send_newest_locked(channel& c, void* from, void* spare, waiter*& woken) noexcept WEFT_REQUIRES(c.lock);

/// A receiver's box comes back: to the first waiting receiver, which must be made ready after the unlock, else to the front.
[[nodiscard]] waiter* return_box_locked(channel& c, box_link* box) noexcept WEFT_REQUIRES(c.lock);
/// Closes it; false if it was closed. `woken` must be made ready after the unlock.
bool close_locked(channel& c, ready_list& woken) noexcept WEFT_REQUIRES(c.lock);

/// Adds and removes bits of `state`. Under the lock.
inline void set_state(channel& c, std::uint8_t set, std::uint8_t clear) noexcept WEFT_REQUIRES(c.lock) {
  auto const old = c.state.load(std::memory_order_relaxed);
  // release: pairs with the acquire of the peeks and of closed().
  c.state.store(static_cast<std::uint8_t>((old & ~clear) | set), std::memory_order_release);
}
inline std::uint8_t bit_of(channel& c, wait_list const& list) noexcept WEFT_REQUIRES(c.lock) {
  return &list == &c.receivers ? channel::receivers_bit : channel::senders_bit;
}
/// R2: unlinks the caller's own record if it still is, and drops its pin. For records whose wait nobody of this channel
/// claimed.
inline void settle_locked(channel& c, wait_list& list, wait_record& r) noexcept WEFT_REQUIRES(c.lock) {
  if (r.linked) {
    unlink(list, r);
    if (list.head == nullptr) set_state(c, 0, bit_of(c, list));
  }
  WEFT_ASSERT(c.pins != 0, "a record is settled once");
  --c.pins;
}
/// Whether nothing will ever touch the channel again: the caller, who just unlocked or holds it, must free it.
[[nodiscard]] inline bool is_dead_locked(channel const& c) noexcept WEFT_REQUIRES(c.lock) {
  return !c.sender_side && !c.receiver_side && c.pins == 0;
}
/// Destroys what is buffered. Only when nobody can receive any more: the lock is not held meanwhile.
void destroy_buffered(channel& c) noexcept;
/// Destroys what is buffered, and the channel.
void free_channel(channel& c) noexcept;

/// R2 of block_on: settle_locked under the lock, which it takes; r.ok says afterwards whether the channel is closed. Frees the channel if
/// nothing will touch it any more.
void unlink_own(channel& c, wait_list& list, wait_record& r) noexcept;
/// Blocks on no channel at all: ends by deadline or cancellation alone.
how block_on_nil(waiter& w, std::int64_t deadline, wait_reason reason) noexcept;

[[nodiscard]] inline channel& channel_of(chan_core& c) noexcept { return static_cast<channel&>(c); }

}  // namespace weft::rt
