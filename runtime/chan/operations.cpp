// send and receive on one channel, by the steps of protocol B (runtime/sched/wait.hpp).
//
// A send or receive that need not wait is W1, one lock, a move, one unlock. The clock is read only by those that have to
// wait with a limit.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <weft/detail/chan_core.hpp>
#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "runtime/chan/attempt.hpp"

namespace weft::detail {

using rt::attempt;
using rt::biased_lock;
using rt::channel;
using rt::channel_of;
using rt::how;
using rt::lock_owner;
using rt::pop_partner;
using rt::ready_list;
using rt::wait_at_once;
using rt::wait_reason;
using rt::wait_record;
using rt::waiter;
using rt::waiting_caller;

namespace {

std::int64_t deadline_of(std::int64_t wait_ns) noexcept { return wait_ns == never ? never : deadline_in(wait_ns); }

chan_status wait_on_nil(waiter& w, std::int64_t wait_ns, wait_reason reason) {
  if (wait_ns != 0 && block_on_nil(w, deadline_of(wait_ns), reason) == how::cancel) rt::throw_cancelled();
  return chan_status::timeout;
}

chan_status status_of(attempt outcome, chan_status otherwise) noexcept {
  return outcome == attempt::done ? chan_status::ok : outcome == attempt::closed ? chan_status::closed : otherwise;
}

/// Whether a receive from it returns, once it is closed, where the caller's cancellation would else be thrown.
bool answers_cancellation(channel const& c) noexcept {
  chan_core const* const core = &c;
  return c.is_done_channel && rt::is_own_done_channel(core);
}

/// The rest of a wait that no partner has ended. Whether a close has, as its caller is to see it; else throw_cancelled() is due.
__attribute__((noinline)) bool ended_by_close(channel& c, wait_list& list, wait_record& r, how h) noexcept {
  if (h == how::close) return true;
  bool const answers = &list == &c.receivers && answers_cancellation(c);  // now: afterwards the channel may be gone
  rt::unlink_own(c, list, r);
  return answers && r.ok;
}

/// The wait of nearly all that have to: of a task, without a limit. One function for both sides, and the switch is inlined into it: it saves
/// registers once.
// No analysis: the lock, which is held, is released on another stack.
__attribute__((flatten, noinline)) chan_status chan_wait(channel& c, waiting_caller caller, void* slot, wait_list& list,
                                                         std::uint8_t bit,
                                                         wait_reason reason) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  waiter& w = caller.who();
  wait_record r(w, begin_wait(w), slot, list);  // W3
  push_back_filled(list, r);
  set_state(c, bit, 0);
  ++c.pins;
  // Named, not a temporary: the hook reads it before H1, on another stack, and a dump while the task is parked.
  // By assignments, since a compiler fills a whole aggregate with zeros first.
  rt::park_request request;
  request.unlock = rt::unlock_after_switch;
  request.arg = &c.lock;
  request.reason = reason;
  request.object = &c;
  how const h = caller.park(w, request);
  if (h == how::partner) [[likely]]
    return chan_status::ok;  // R4
  // From where they lie in any case, so that nothing else need be kept across the switch.
  channel& of = *static_cast<channel*>(const_cast<void*>(request.object));
  if (ended_by_close(of, request.reason == wait_reason::chan_recv ? of.receivers : of.senders, r, h))
    return chan_status::closed;
  rt::throw_cancelled();
}

// The rest of a send and of a receive whose one try under the lock, which is held, did not do it. Functions of their own, so that those that
// need not wait save no registers for them.

// No analysis: block_on() releases the lock on another stack.
__attribute__((noinline)) chan_status chan_send_wait(channel& c, waiter& w, void* from, std::int64_t wait_ns,
                                                     attempt outcome) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (outcome == attempt::closed || wait_ns == 0) {
    c.lock.unlock();
    preemption_point();
    return status_of(outcome, chan_status::timeout);
  }
  wait_record r(w, begin_wait(w), from);                                                 // W3
  switch (block_on(c, w, c.senders, r, deadline_of(wait_ns), wait_reason::chan_send)) {  // R4
    case how::partner: return chan_status::ok;
    case how::close: return chan_status::closed;
    case how::cancel: rt::throw_cancelled();
    default: return chan_status::timeout;
  }
}

__attribute__((noinline)) chan_status chan_recv_wait(channel& c, waiter& w, void* to, std::int64_t wait_ns,
                                                     attempt outcome) WEFT_NO_THREAD_SAFETY_ANALYSIS {  // as above
  if (outcome == attempt::closed || wait_ns == 0) {
    c.lock.unlock();
    return status_of(outcome, chan_status::timeout);
  }
  wait_record r(w, begin_wait(w), to);           // W3
  bool const answers = answers_cancellation(c);  // asked now: afterwards the channel may be gone
  switch (block_on(c, w, c.receivers, r, deadline_of(wait_ns), wait_reason::chan_recv)) {  // R4
    case how::partner: return chan_status::ok;
    case how::close: return chan_status::closed;
    case how::cancel:
      if (answers && r.ok) return chan_status::closed;
      rt::throw_cancelled();
    default: return chan_status::timeout;
  }
}

// One try under the lock, which is held, and all that may come of it. So are these: what does more than to move a few bytes into the ring or
// out of it ends here.

__attribute__((flatten, noinline)) chan_status chan_send_locked(channel& c, waiter& w, void* from,
                                                                std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  waiter* woken = nullptr;
  attempt const outcome = try_send_locked(c, from, woken);
  if (outcome != attempt::done) return chan_send_wait(c, w, from, wait_ns, outcome);
  c.lock.unlock();
  if (woken != nullptr) ready(*woken);
  preemption_point();  // the receiver may be further than the sender by now
  return chan_status::ok;
}

__attribute__((flatten, noinline)) chan_status chan_recv_locked(channel& c, waiter& w, void* to,
                                                                std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  waiter* woken = nullptr;
  attempt const outcome = try_recv_locked(c, to, woken);
  if (outcome != attempt::done) return chan_recv_wait(c, w, to, wait_ns, outcome);
  c.lock.unlock();
  if (woken != nullptr) ready(*woken);
  return chan_status::ok;
}

// A few bytes to or from a partner, by the lock's owner: no call but the last, so that nothing need be saved for it.

__attribute__((flatten, noinline)) chan_status chan_send_partner(channel& c, waiting_caller caller, void* from,
                                                                 std::int64_t wait_ns, biased_lock::owners_hold held)
    WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::size_t const size = c.ops.size;  // asked once, before the claim and after it
  if (c.ops.move != nullptr || !rt::are_few_bytes(size)) [[unlikely]]
    return chan_send_locked(c, caller.who(), from, wait_ns);
  wait_record* const r = pop_partner(c, c.receivers, how::partner);
  if (r == nullptr) {  // as those of a select that another channel has ended
    if (wait_ns == never && c.count.load(std::memory_order_relaxed) == c.capacity)
      return chan_wait(c, caller, from, c.senders, channel::senders_bit, wait_reason::chan_send);
    return chan_send_locked(c, caller.who(), from, wait_ns);
  }
  (void)rt::copy_few_bytes(r->slot, from, size);
  r->ok = true;
  waiter& woken = *r->who;
  c.lock.unlock_as_owner(held);
  caller.make_ready(woken);
  return chan_status::ok;  // no preemption point: who comes here is in no simulated run
}

__attribute__((flatten, noinline)) chan_status chan_recv_partner(channel& c, waiting_caller caller, void* to,
                                                                 std::int64_t wait_ns, biased_lock::owners_hold held)
    WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::size_t const size = c.ops.size;
  wait_record* const s =
      c.ops.move == nullptr && rt::are_few_bytes(size) ? pop_partner(c, c.senders, how::partner) : nullptr;
  if (s == nullptr) [[unlikely]]
    return chan_recv_locked(c, caller.who(), to, wait_ns);
  (void)rt::copy_few_bytes(to, s->slot, size);
  s->ok = true;
  waiter& woken = *s->who;
  c.lock.unlock_as_owner(held);
  caller.make_ready(woken);
  return chan_status::ok;
}

// W2 of a thread that is not the lock's owner.

__attribute__((noinline)) chan_status chan_send_shared(channel& c, waiter& w, lock_owner owner, void* from,
                                                       std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  c.lock.lock_by_inner(owner);
  return chan_send_locked(c, w, from, wait_ns);
}

__attribute__((noinline)) chan_status chan_recv_shared(channel& c, waiter& w, lock_owner owner, void* to,
                                                       std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  c.lock.lock_by_inner(owner);
  return chan_recv_locked(c, w, to, wait_ns);
}

/// W2, after W1. By itself a value that goes into the ring of a channel whose lock is the thread's own: a function without a frame, since all
/// else is another one's, by a jump.
__attribute__((always_inline)) inline chan_status send_now(channel& c, waiting_caller caller, void* from,
                                                           std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  lock_owner const owner = caller.owner();
  auto* const held = c.lock.lock_as_owner(owner);
  if (held == nullptr) [[unlikely]]
    return chan_send_shared(c, caller.who(), owner, from, wait_ns);
  if (auto const state = c.state.load(std::memory_order_relaxed) & (channel::closed_bit | channel::receivers_bit)) {
    if (state == channel::receivers_bit) return chan_send_partner(c, caller, from, wait_ns, held);
    return chan_send_wait(c, caller.who(), from, wait_ns, attempt::closed);
  }
  std::size_t const n = c.count.load(std::memory_order_relaxed);
  if (n == c.capacity && wait_ns == never)
    return chan_wait(c, caller, from, c.senders, channel::senders_bit, wait_reason::chan_send);
  if (n == c.capacity) return chan_send_wait(c, caller.who(), from, wait_ns, attempt::not_now);
  if (c.ops.move != nullptr || !rt::copy_few_bytes(next_place(c, n), from, c.ops.size))
    return chan_send_locked(c, caller.who(), from, wait_ns);
  set_count(c, n + 1);
  c.lock.unlock_as_owner(held);
  return chan_status::ok;  // no preemption point: who comes here is in no simulated run
}

__attribute__((always_inline)) inline chan_status recv_now(channel& c, waiting_caller caller, void* to,
                                                           std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  lock_owner const owner = caller.owner();
  auto* const held = c.lock.lock_as_owner(owner);
  if (held == nullptr) [[unlikely]]
    return chan_recv_shared(c, caller.who(), owner, to, wait_ns);
  auto const state = c.state.load(std::memory_order_relaxed);
  std::size_t const n = c.count.load(std::memory_order_relaxed);
  if ((state & (channel::senders_bit | channel::returned_bit)) != 0) {
    if (n == 0 && (state & channel::returned_bit) == 0) return chan_recv_partner(c, caller, to, wait_ns, held);
    return chan_recv_locked(c, caller.who(), to, wait_ns);
  }
  if (n == 0 && wait_ns == never && (state & channel::closed_bit) == 0)
    return chan_wait(c, caller, to, c.receivers, channel::receivers_bit, wait_reason::chan_recv);
  if (n == 0)
    return chan_recv_wait(c, caller.who(), to, wait_ns,
                          (state & channel::closed_bit) != 0 ? attempt::closed : attempt::not_now);
  if (c.ops.relocate != nullptr || !rt::copy_few_bytes(to, c.place(c.head), c.ops.size))
    return chan_recv_locked(c, caller.who(), to, wait_ns);
  pass_oldest(c);
  set_count(c, n - 1);
  c.lock.unlock_as_owner(held);
  return chan_status::ok;
}

// The first wait under a context, cancellation, plain threads, simulated runs, the nil channel.

__attribute__((noinline)) chan_status chan_send_first(chan_core* core, void* from,
                                                      std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  check_not_moved(core, "send");
  waiter& w = rt::cancellation_point();  // W1
  if (core == nullptr) return wait_on_nil(w, wait_ns, wait_reason::chan_send);
  channel& c = channel_of(*core);
  c.lock.lock(current_lock_owner());
  return chan_send_locked(c, w, from, wait_ns);
}

__attribute__((noinline)) chan_status chan_recv_first(chan_core* core, void* to,
                                                      std::int64_t wait_ns) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  check_not_moved(core, "recv");
  bool cancelled = false;
  waiter& w = rt::wait_point(cancelled);  // W1
  if (cancelled && !(core != nullptr && core->is_closed() && answers_cancellation(channel_of(*core))))
    rt::throw_cancelled();
  if (core == nullptr) return wait_on_nil(w, wait_ns, wait_reason::chan_recv);
  channel& c = channel_of(*core);
  c.lock.lock(current_lock_owner());
  return chan_recv_locked(c, w, to, wait_ns);
}

}  // namespace

// Flattened, as chan_recv: each call costs as much as what it does.
// aligned: what a value takes changes by a tenth with where these two begin in a line, which is else up to the code before them.
__attribute__((flatten, noinline, aligned(64))) chan_status chan_send(chan_core* core, void* from,
                                                                      std::int64_t wait_ns) {
  waiting_caller const caller = wait_at_once();  // W1
  if (caller.is_nobody() || !is_channel(core)) [[unlikely]]
    return chan_send_first(core, from, wait_ns);
  return send_now(channel_of(*core), caller, from, wait_ns);
}

__attribute__((flatten, noinline, aligned(64))) chan_status chan_recv(chan_core* core, void* to, std::int64_t wait_ns) {
  waiting_caller const caller = wait_at_once();  // W1
  if (caller.is_nobody() || !is_channel(core)) [[unlikely]]
    return chan_recv_first(core, to, wait_ns);
  return recv_now(channel_of(*core), caller, to, wait_ns);
}

chan_status chan_try_send(chan_core* core, void* from) noexcept {
  check_not_moved(core, "try_send");
  if (core == nullptr || !core->may_send()) return chan_status::full;
  channel& c = channel_of(*core);
  waiter* woken = nullptr;
  c.lock.lock(current_lock_owner());
  attempt const outcome = try_send_locked(c, from, woken);
  c.lock.unlock();
  if (woken != nullptr) ready(*woken);
  return status_of(outcome, chan_status::full);
}

chan_status chan_try_recv(chan_core* core, void* to) noexcept {
  check_not_moved(core, "try_recv");
  if (core == nullptr || !core->may_receive()) return chan_status::empty;
  channel& c = channel_of(*core);
  waiter* woken = nullptr;
  c.lock.lock(current_lock_owner());
  attempt const outcome = try_recv_locked(c, to, woken);
  c.lock.unlock();
  if (woken != nullptr) ready(*woken);
  return status_of(outcome, chan_status::empty);
}

chan_status chan_send_last(chan_core& core, void* from) noexcept {
  channel& c = channel_of(core);
  ready_list woken;
  waiter* receiver = nullptr;
  c.lock.lock(current_lock_owner());
  attempt const outcome = try_send_locked(c, from, receiver);
  WEFT_ASSERT(outcome != attempt::not_now, "a channel that is to be sent to once is full and open");
  if (receiver != nullptr) woken.push(*receiver);
  if (outcome == attempt::done) close_locked(c, woken);
  c.lock.unlock();
  ready_all(woken);
  return outcome == attempt::done ? chan_status::ok : chan_status::closed;
}

std::size_t chan_take(chan_core& core, void* to, std::size_t stride, std::size_t max) noexcept {
  channel& c = channel_of(core);
  ready_list senders;
  std::size_t n = 0;
  c.lock.lock(current_lock_owner());
  for (; n < max; ++n) {
    waiter* woken = nullptr;
    if (try_recv_locked(c, static_cast<std::byte*>(to) + n * stride, woken) != attempt::done) break;
    if (woken != nullptr) senders.push(*woken);
  }
  c.lock.unlock();
  ready_all(senders);
  return n;
}

void chan_put_back(chan_core& core, box_link* box) noexcept {
  channel& c = channel_of(core);
  c.lock.lock(current_lock_owner());
  waiter* receiver = return_box_locked(c, box);
  c.lock.unlock();
  if (receiver != nullptr) ready(*receiver);
}

std::size_t chan_size(chan_core& core) noexcept {
  channel& c = channel_of(core);
  c.lock.lock(current_lock_owner());
  std::size_t n = c.count.load(std::memory_order_relaxed);
  for (box_link const* b = c.returned; b != nullptr; b = b->next) ++n;
  c.lock.unlock();
  return std::min(n, c.capacity);
}

}  // namespace weft::detail
