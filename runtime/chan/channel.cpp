// What happens to a channel under its lock, and its life: see channel.hpp for what holds and why.

#include "runtime/chan/attempt.hpp"

#include <cstring>

#include "runtime/base/check.hpp"

namespace weft::rt {

newest send_newest_locked(channel& c, void* from, void* spare, waiter*& woken) noexcept {
  auto const end_source = [&] {
    if (c.ops.move != nullptr) c.ops.destroy(from);  // what was moved from; plain bytes and boxes need no end
  };
  switch (try_send_locked(c, from, woken)) {
    case attempt::closed: return newest::closed;
    case attempt::done: end_source(); return newest::taken;
    case attempt::not_now: break;
  }
  // Full: the place of the oldest element, which comes out, is that of the newest.
  if (c.ops.destroy == nullptr) {
    pass_oldest(c);
    push_ring(c, c.capacity - 1, from);
  } else {
    pop_ring(c, spare);
    push_ring(c, c.capacity - 1, from);
    end_source();
    relocate_element(c.ops, from, spare);
  }
  return newest::exchanged;
}

waiter* return_box_locked(channel& c, box_link* box) noexcept {
  if (wait_record* r = pop_partner(c, c.receivers, how::partner)) {
    std::memcpy(r->slot, &box, sizeof box);
    r->ok = true;
    return r->who;
  }
  box->next = c.returned;
  c.returned = box;
  set_state(c, channel::returned_bit, 0);
  return nullptr;
}

bool close_locked(channel& c, ready_list& woken) noexcept {
  if (c.is_closed()) return false;
  set_state(c, channel::closed_bit, 0);
  while (wait_record* r = pop_partner(c, c.receivers, how::close)) woken.push(*r->who);
  while (wait_record* r = pop_partner(c, c.senders, how::close)) woken.push(*r->who);
  return true;
}

void unlink_own(channel& c, wait_list& list, wait_record& r) noexcept {
  c.lock.lock(current_lock_owner());
  settle_locked(c, list, r);
  r.ok = c.is_closed();
  bool const dead = is_dead_locked(c);
  c.lock.unlock();
  if (dead) free_channel(c);
}

// No analysis: the lock is released on the stack that runs next. The lock is nobody else's: it keeps this frame until the hook is done with it.
how block_on_nil(waiter& w, std::int64_t deadline, wait_reason reason) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  object_lock hook_done;
  hook_done.lock();
  (void)begin_wait(w);
  park_request const request{.unlock = unlock_object_lock, .arg = &hook_done, .deadline = deadline, .reason = reason};
  how const h = park(w, request);
  hook_done.lock();
  hook_done.unlock();
  return h;
}

}  // namespace weft::rt
