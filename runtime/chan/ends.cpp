// The life of a channel: made, its handles counted, its sides shut, its memory given back.
//
// Two sides, each shut once, by whoever drops that side's last handle; the memory goes with the second of them, or with
// the last operation that had parked here (channel::pins). Until a side is shut its handles keep the channel alive, so
// counting them costs one atomic operation a copy and no count of the memory beside it.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>

#include <weft/detail/chan_core.hpp>

#include "runtime/base/check.hpp"
#include "runtime/chan/channel.hpp"

namespace weft::rt {
namespace {

// Aligned by hand where `new` aligns less: aligned_alloc takes four times as long as malloc.

bool over_aligned(elem_ops const& ops) noexcept { return ops.align > alignof(channel); }

/// What more than the channel and the ring is needed, so that the ring, right behind the channel, is aligned.
std::size_t slack(elem_ops const& ops) noexcept {
  if (!over_aligned(ops)) return alignof(channel) - __STDCPP_DEFAULT_NEW_ALIGNMENT__;
  return ops.align > sizeof(channel) ? ops.align - sizeof(channel) : 0;
}

/// Where in its memory the channel begins.
std::size_t offset_in(void const* memory, elem_ops const& ops) noexcept {
  return over_aligned(ops) ? slack(ops) : -reinterpret_cast<std::uintptr_t>(memory) % alignof(channel);
}

}  // namespace

void destroy_buffered(channel& c) noexcept {
  elem_ops const& ops = c.ops;
  if (ops.destroy == nullptr) return;
  c.lock.lock(current_lock_owner());
  std::size_t n = c.count.load(std::memory_order_relaxed), at = c.head;
  box_link* boxes = c.returned;
  c.returned = nullptr;
  c.count.store(0, std::memory_order_release);
  c.lock.unlock();
  for (; n != 0; --n) {
    ops.destroy(c.place(at));
    if (++at == c.capacity) at = 0;
  }
  while (boxes != nullptr) {
    box_link* b = boxes;
    boxes = b->next;
    ops.destroy(&b);
  }
}

void free_channel(channel& c) noexcept {
  elem_ops const& ops = c.ops;
  destroy_buffered(c);
  void* const memory = reinterpret_cast<std::byte*>(&c) - c.offset;
  c.~channel();
  if (over_aligned(ops)) ::operator delete(memory, std::align_val_t{ops.align});
  else ::operator delete(memory);
}

}  // namespace weft::rt

namespace weft::detail {

using rt::channel;
using rt::channel_of;
using rt::ready_list;

void fatal_moved_from(char const* call) noexcept { rt::fatal("weft::chan: %s: the handle was moved from", call); }

chan_core* make_core(elem_ops const& ops, std::size_t capacity) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(ops.size, capacity, &bytes) ||
      __builtin_add_overflow(bytes, sizeof(channel) + rt::slack(ops), &bytes))
    throw std::length_error("weft::make_chan: a buffer of that capacity cannot be addressed");
  void* memory = rt::over_aligned(ops) ? ::operator new(bytes, std::align_val_t{ops.align}) : ::operator new(bytes);
  std::size_t const offset = rt::offset_in(memory, ops);
  auto* c = ::new (static_cast<std::byte*>(memory) + offset) channel(ops, capacity);
  c->offset = static_cast<std::uint32_t>(offset);
  return c;
}

void mark_done_channel(chan_core& c) noexcept { channel_of(c).is_done_channel = true; }

void watch_receivers(chan_core& c, receivers_watcher& w) noexcept { channel_of(c).watcher = &w; }

bool chan_close(chan_core& core) noexcept {
  channel& c = channel_of(core);
  ready_list woken;
  c.lock.lock(current_lock_owner());
  bool const first = close_locked(c, woken);
  c.lock.unlock();
  ready_all(woken);
  return first;
}

void drop_ends(chan_core& core, std::uint64_t which) noexcept {
  // release: what this handle's owner did with the channel comes before its end; acquire: the last one sees that of all.
  std::uint64_t const before = core.ends.fetch_sub(which, std::memory_order_acq_rel);
  auto const half_gone = [](std::uint64_t had, std::uint64_t gave) { return gave != 0 && had == gave; };
  bool const last_sender = half_gone(static_cast<std::uint32_t>(before), static_cast<std::uint32_t>(which));
  bool const last_receiver = half_gone(before >> 32, which >> 32);
  if (!last_sender && !last_receiver) [[likely]]
    return;

  channel& c = channel_of(core);
  ready_list woken;
  c.lock.lock(current_lock_owner());
  if (last_receiver) c.receiver_side = false;
  if (last_sender) {
    c.sender_side = false;
    if (!c.is_closed() && std::uncaught_exceptions() != 0) set_state(c, channel::abandoned_bit, 0);
  }
  close_locked(c, woken);
  bool const dead = is_dead_locked(c);
  receivers_watcher* const watcher = last_receiver ? c.watcher : nullptr;
  c.lock.unlock();
  ready_all(woken);
  if (dead) free_channel(c);
  if (watcher != nullptr) watcher->gone(*watcher);  // which may drop the last sender: c is not touched any more
}

}  // namespace weft::detail
