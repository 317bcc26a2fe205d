// The untyped channel behind chan<T>: what the templates may know of it. Compiled once, in runtime/chan.
//
// An element is `elem_ops::size` bytes in the channel's ring, in a waiting sender's object or in a waiting receiver's
// slot, and elem_ops says how one moves. Everything in elem_ops is noexcept, because it runs under the channel's lock:
// values whose move may throw, or may run code of the user's, stand there as pointers to boxes (chan_elem.hpp).
//
// Handles are counted in `ends`: senders in the low half, receivers in the high half, so that copying a chan is one
// atomic addition. Who takes a half to zero closes that side; the memory goes when both sides are closed and no parked
// operation needs the channel any more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <weft/detail/deadline.hpp>
#include <weft/error.hpp>

namespace weft::detail {

/// How an element moves. Nothing here throws.
struct elem_ops {
  std::size_t size;  // 0: nothing to store and nothing to move
  std::size_t align;
  void (*move)(void* to, void* from) noexcept;      // makes *to from *from; null: copies `size` bytes
  void (*relocate)(void* to, void* from) noexcept;  // the same, and ends *from; null together with move
  void (*destroy)(void* at) noexcept;               // null: nothing to do
};

/// First member of the boxes that stand in a channel in place of values. `next` links those that came back.
struct box_link {
  box_link* next = nullptr;
};

/// The part of a channel that is read without its lock.
struct chan_core {
  // Bits of `state`.
  static constexpr std::uint8_t closed_bit = 1;      // never cleared
  static constexpr std::uint8_t receivers_bit = 2;   // somebody stands in the list of receivers
  static constexpr std::uint8_t senders_bit = 4;     // the same of senders
  static constexpr std::uint8_t returned_bit = 8;    // a receiver put a box back
  static constexpr std::uint8_t abandoned_bit = 16;  // the last sender went with an exception; never cleared

  // How many handles: senders in the low half, receivers in the high half. Changed by whoever copies or drops a handle.
  static constexpr std::uint64_t one_sender = 1, one_receiver = std::uint64_t{1} << 32;
  std::atomic<std::uint64_t> ends;

  std::size_t const capacity;

  // Written under the channel's lock; stores release, so that a peek that finds something finds what led to it too.
  std::atomic<std::size_t> count{0};  // elements in the ring
  std::atomic<std::uint8_t> state{0};

  chan_core(std::size_t buffer, std::uint64_t first_ends) noexcept : ends(first_ends), capacity(buffer) {}
  chan_core(chan_core const&) = delete;
  chan_core& operator=(chan_core const&) = delete;

  // The peeks. "No" means: at some moment during the call nothing could be done without waiting. "Yes" is a hint.
  // count is read before state (acquire keeps it so): what is seen not closed after the ring was seen empty, or full,
  // was not closed then either.
  [[nodiscard]] bool may_receive() const noexcept {
    return count.load(std::memory_order_acquire) != 0 ||
           (state.load(std::memory_order_acquire) & (closed_bit | senders_bit | returned_bit)) != 0;
  }
  [[nodiscard]] bool may_send() const noexcept {
    return count.load(std::memory_order_acquire) < capacity ||
           (state.load(std::memory_order_acquire) & (closed_bit | receivers_bit)) != 0;
  }
  [[nodiscard]] bool is_closed() const noexcept { return (state.load(std::memory_order_acquire) & closed_bit) != 0; }
};

/// What a handle holds: a channel, null for the nil channel, or this after it was moved from.
inline chan_core* moved_from() noexcept { return reinterpret_cast<chan_core*>(std::uintptr_t{1}); }
[[nodiscard]] inline bool is_channel(chan_core const* c) noexcept { return reinterpret_cast<std::uintptr_t>(c) > 1; }
/// Ends the process: `call` was made through a handle that was moved from.
[[noreturn]] void fatal_moved_from(char const* call) noexcept;
inline void check_not_moved(chan_core const* c, char const* call) noexcept {
  if (reinterpret_cast<std::uintptr_t>(c) == 1) [[unlikely]]
    fatal_moved_from(call);
}

// ---- life -----------------------------------------------------------------------------------------------------------

/// A channel with one sender and one receiver counted. Throws std::bad_alloc, std::length_error.
[[nodiscard]] chan_core* make_core(elem_ops const& ops, std::size_t capacity);

inline void add_ends(chan_core& c, std::uint64_t which) noexcept { c.ends.fetch_add(which, std::memory_order_relaxed); }
/// Drops handles: closes the sides that have none left, destroys the channel with the last. Runs the destructors of
/// what is buffered; never blocks. Usable from anywhere, without a current task.
void drop_ends(chan_core& c, std::uint64_t which) noexcept;

/// recv() on this channel, and select's on_done, prefer it to the caller's cancellation, if that is of this context or of one below.
/// Before it is shared.
void mark_done_channel(chan_core& c) noexcept;

/// Told once, when the last handle that can receive has gone: by whoever dropped it, anywhere, with no lock held.
struct receivers_watcher {
  void (*gone)(receivers_watcher&) noexcept;
};
/// For weft's own sources (signals, timers), before the channel is shared. The watcher outlives the receivers.
void watch_receivers(chan_core& c, receivers_watcher& w) noexcept;

// ---- operations -----------------------------------------------------------------------------------------------------
// `c` may be nil (blocks for ever, try: full or empty) or moved from (fatal). `wait_ns`: how long to wait, `never`: as
// long as it takes. `from` and `to` point to an element. Those that wait are cancellation points and throw
// weft::cancelled; then, and on any result but ok, nothing has moved.

/// ok, closed or timeout. Blocks.
[[nodiscard]] chan_status chan_send(chan_core* c, void* from, std::int64_t wait_ns = never);
/// ok, full or closed. Does not block. Usable from anywhere.
[[nodiscard]] chan_status chan_try_send(chan_core* c, void* from) noexcept;
/// Sends and closes in one step: ok or closed. For channels whose buffer has room as long as they are open. Usable from anywhere.
[[nodiscard]] chan_status chan_send_last(chan_core& c, void* from) noexcept;
/// ok, closed or timeout. Blocks.
[[nodiscard]] chan_status chan_recv(chan_core* c, void* to, std::int64_t wait_ns = never);
/// ok, empty or closed. Does not block. Usable from anywhere.
[[nodiscard]] chan_status chan_try_recv(chan_core* c, void* to) noexcept;
/// Up to `max` elements that are there, the n-th to `to` + n * stride. How many. Does not block.
[[nodiscard]] std::size_t chan_take(chan_core& c, void* to, std::size_t stride, std::size_t max) noexcept;
/// Puts a box back: it is received before anything else. The caller counts as a receiver.
void chan_put_back(chan_core& c, box_link* box) noexcept;
/// How many elements there are, with those that were put back; never more than the capacity.
[[nodiscard]] std::size_t chan_size(chan_core& c) noexcept;
/// True: this call closed it. Usable from anywhere, hooks and native stacks included.
bool chan_close(chan_core& c) noexcept;

}  // namespace weft::detail
