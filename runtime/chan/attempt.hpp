// One try of a send or a receive, and the wait on one channel: what every operation is made of, for operations.cpp to inline.
// See channel.hpp for what holds and why.
#pragma once

#include <cstring>

#include "runtime/chan/channel.hpp"

namespace weft::rt {

constexpr bool are_few_bytes(std::size_t size) noexcept { return size == 8 || size == 4 || size == 16 || size == 0; }

/// The common sizes as a move or two; memcpy for a size that is not known costs a call. False: it is another one.
inline bool copy_few_bytes(void* to, void const* from, std::size_t size) noexcept {
  switch (size) {
    case 0: return true;
    case 4: std::memcpy(to, from, 4); return true;
    case 8: std::memcpy(to, from, 8); return true;
    case 16: std::memcpy(to, from, 16); return true;
    default: return false;
  }
}

inline void copy_bytes(void* to, void const* from, std::size_t size) noexcept {
  if (!copy_few_bytes(to, from, size)) std::memcpy(to, from, size);
}

inline void move_element(elem_ops const& ops, void* to, void* from) noexcept {
  if (ops.move == nullptr) copy_bytes(to, from, ops.size);
  else ops.move(to, from);
}

inline void relocate_element(elem_ops const& ops, void* to, void* from) noexcept {
  if (ops.relocate == nullptr) copy_bytes(to, from, ops.size);
  else ops.relocate(to, from);
}

/// The place behind the `n` elements that are there, fewer than the capacity.
inline std::byte* next_place(channel& c, std::size_t n) noexcept WEFT_REQUIRES(c.lock) {
  std::size_t const at = c.head + n;  // wraps around only where an element has no bytes, and all places are one
  return c.place(at < c.capacity ? at : at - c.capacity);
}

inline void push_ring(channel& c, std::size_t n, void* from) noexcept WEFT_REQUIRES(c.lock) {
  move_element(c.ops, next_place(c, n), from);
}

/// The place of the oldest element is no longer its place.
inline void pass_oldest(channel& c) noexcept WEFT_REQUIRES(c.lock) {
  if (++c.head == c.capacity) c.head = 0;
}

inline void pop_ring(channel& c, void* to) noexcept WEFT_REQUIRES(c.lock) {
  relocate_element(c.ops, to, c.place(c.head));
  pass_oldest(c);
}

inline void set_count(channel& c, std::size_t n) noexcept {
  c.count.store(n, std::memory_order_release);  // pairs with the acquire of the peeks
}

/// The first of the list that could be claimed, its pin dropped. As pop_claimed(), and with the list goes its bit: after the claim, since a
/// channel that several workers use took a third longer where the bit went first (docs/decisions/0047-functions-without-frames.md).
inline wait_record* pop_partner(channel& c, wait_list& list, how h) noexcept WEFT_REQUIRES(c.lock) {
  while (wait_record* const r = list.head) {
    wait_record* const next = r->next;
    list.head = next;
    (next != nullptr ? next->prev : list.tail) = nullptr;
    r->linked = false;
    waiter& who = *r->who;
    if (!claim(who, r->generation, h)) [[unlikely]]
      continue;
    who.winner = r;
    --c.pins;
    if (next == nullptr) set_state(c, 0, bit_of(c, list));
    return r;
  }
  set_state(c, 0, bit_of(c, list));
  return nullptr;
}

enum class attempt : std::uint8_t { done, closed, not_now };

// With a partner.

/// Hands the element to the first receiver that could be claimed; null: there was none.
inline waiter* hand_to_receiver(channel& c, void* from) noexcept WEFT_REQUIRES(c.lock) {
  wait_record* const r = pop_partner(c, c.receivers, how::partner);
  if (r == nullptr) return nullptr;
  move_element(c.ops, r->slot, from);
  r->ok = true;
  return r->who;
}

/// Takes the element of the first sender that could be claimed, right from it; null: there was none.
inline waiter* take_from_sender(channel& c, void* to) noexcept WEFT_REQUIRES(c.lock) {
  wait_record* const s = pop_partner(c, c.senders, how::partner);
  if (s == nullptr) return nullptr;
  move_element(c.ops, to, s->slot);
  s->ok = true;
  return s->who;
}

/// The first sender that could be claimed puts its element into the ring, which lacks one; null: there was none.
inline waiter* refill(channel& c) noexcept WEFT_REQUIRES(c.lock) {
  wait_record* const s = pop_partner(c, c.senders, how::partner);
  if (s == nullptr) return nullptr;
  push_ring(c, c.capacity - 1, s->slot);
  s->ok = true;
  return s->who;
}

/// One try of a send under the lock. On `done`, `woken` may hold a receiver to make ready after the unlock.
inline attempt try_send_locked(channel& c, void* from, waiter*& woken) noexcept WEFT_REQUIRES(c.lock) {
  if (c.is_closed()) return attempt::closed;
  if (c.receivers.head != nullptr && (woken = hand_to_receiver(c, from)) != nullptr) return attempt::done;
  std::size_t const n = c.count.load(std::memory_order_relaxed);
  if (n == c.capacity) return attempt::not_now;
  push_ring(c, n, from);
  set_count(c, n + 1);
  return attempt::done;
}

/// One try of a receive under the lock. On `done`, `woken` may hold a sender to make ready after the unlock.
inline attempt try_recv_locked(channel& c, void* to, waiter*& woken) noexcept WEFT_REQUIRES(c.lock) {
  if (c.returned != nullptr) [[unlikely]] {
    std::memcpy(to, &c.returned, sizeof c.returned);  // an element of this channel is a pointer to a box
    c.returned = c.returned->next;
    if (c.returned == nullptr) set_state(c, 0, channel::returned_bit);
    return attempt::done;
  }
  if (std::size_t const n = c.count.load(std::memory_order_relaxed); n != 0) {
    pop_ring(c, to);
    if (c.senders.head == nullptr || (woken = refill(c)) == nullptr) set_count(c, n - 1);
    return attempt::done;
  }
  if (c.senders.head != nullptr && (woken = take_from_sender(c, to)) != nullptr) return attempt::done;
  return c.is_closed() ? attempt::closed : attempt::not_now;
}

/// Links a record of a wait that is about to begin, and pins the channel.
inline void link_locked(channel& c, wait_list& list, wait_record& r) noexcept WEFT_REQUIRES(c.lock) {
  push_back(list, r);
  set_state(c, bit_of(c, list), 0);
  ++c.pins;
}

/// H5. No analysis: it was taken on the stack that has just been left.
inline void unlock_after_switch(void* lock) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  static_cast<biased_lock*>(lock)->unlock();
}

/// Blocks on one channel, with a record that is filled: the rest of W3, park and R2. The lock is held on entry and released on return.
// No analysis: it is released on the stack that runs next, and R2 takes it again.
inline how block_on(channel& c, waiter& w, wait_list& list, wait_record& r, std::int64_t deadline,
                    wait_reason reason) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  link_locked(c, list, r);
  // Named, not a temporary: the hook reads it before H1, on another stack, and a dump while the task is parked.
  // By assignments, since a compiler fills a whole aggregate with zeros first.
  park_request request;
  request.unlock = unlock_after_switch;
  request.arg = &c.lock;
  request.deadline = deadline;
  request.reason = reason;
  request.object = &c;
  how const h = park(w, request);
  if (h == how::partner || h == how::close) return h;  // popped, and its pin dropped: the channel may be gone
  unlink_own(c, list, r);
  return h;
}

}  // namespace weft::rt
