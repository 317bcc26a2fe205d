// select over channels, ends of tasks, and times: protocol B with many records.
//
//   S1 W1: a cancellation point, unless there is an `otherwise`. With `done` cases of the own context, or of those above,
//      one of theirs that is closed is taken instead of throwing.
//   S2 Look at all cases, without locks.
//   S3 Draw an order of those that look ready; one after the other, lock that one channel and try.
//   S4 None happened: `otherwise`, if there is one and a second look finds nothing either.
//   S5 Make the copies that a partner may take while this task is parked. No lock is held: this is user code.
//   S6 Lock all channels by rising address, each once, and look again. What is ready: as S3, under the locks.
//   S7 Still nothing: link a record for each case and park; the hook releases the locks.
//   S8 R2: one after the other, from the lowest on, lock and unlink what is still linked. Then say which case it was.
//
// Why the choice is uniform: in S3 and S6 every order of the ready cases is equally likely, and the first of them is
// taken. (A random starting point would not do: a ready case behind a gap of unready ones would come up more often.)
// While it waits, the first partner to come decides; among several records of one select on one channel that partner
// meets them in the order in which they were linked, which is then drawn too.
//
// Why S3 may look without all locks: what it does is an ordinary send or receive; and of a biased select only if under that lock no case
// before it looks ready, so that what had made one ready before this one was is seen. Only "nothing is ready" needs all of
// the locks at once, and that is S6; a case is looked at when its lock has been taken, and stays as it is from then on.
// S4 needs none: a value that goes from one channel to another must do so three times to pass two looks.
//
// Why the table may lie on this stack: the hook releases the lowest lock last and touches nothing after it, and S8 takes
// the lowest lock, so this frame outlives the hook. S8 passes over the record that a partner popped: a partner had that lock, so
// if it is the lowest, the hook was done with it.
//
// Rejected: a waiting select that leaves its send copies to be made by the partner. The copy constructor is the user's
// and would run in another task; and try_recv, which cannot wait for it, would find the channel empty. An order of all
// cases, drawn beforehand (as Go does): a third of the instructions of a select of eight, mostly for none or one that is ready.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <new>

#include <weft/detail/select_case.hpp>
#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "runtime/chan/attempt.hpp"
#include "runtime/chan/select_table.hpp"
#include "runtime/sched/completion.hpp"

namespace weft::rt {
namespace {

/// Whether a case on an object is worth a try, under its lock or, as a hint, without.
inline bool may_happen(select_case const& c) noexcept {
  if (c.kind == select_kind::join) return c.ended->done.load(std::memory_order_acquire);  // pairs with complete()
  return c.kind == select_kind::send ? c.core->may_send() : c.core->may_receive();
}

/// Whether a case is a time that has come.
bool is_due(select_case const& c) noexcept {
  if (c.kind == select_kind::timeout) return c.when <= 0;
  return c.kind == select_kind::deadline && (c.when <= 0 || (c.when != never && c.when <= clock_ns()));
}

/// S2 from `c` on, which is no receive.
__attribute__((noinline)) void look_on(selection& s, select_case* c, select_case* drawn, select_case* locks) noexcept {
  for (select_case* const end = s.end; c != end; ++c) {
    if (on_object(*c)) {
      (locks++)->lock = c;
      s.unprepared |= !c->ready_slot;
      if (may_happen(*c)) (drawn++)->drawn = c;
    } else if (c->kind == select_kind::timeout || c->kind == select_kind::deadline) {
      s.timed = true;
      if (is_due(*c)) (drawn++)->drawn = c;
    } else if (c->kind == select_kind::otherwise) {
      s.otherwise = c;
    }
  }
  s.drawn_end = drawn;
  s.locks_end = locks;
}

/// S2. Without a frame, as long as there are receives alone.
void look_at_all(selection& s) noexcept {
  select_case *drawn = s.cases, *locks = s.cases;  // in registers
  for (select_case *c = s.cases, *const end = s.end; c != end; ++c) {
    if (c->kind != select_kind::recv) [[unlikely]]
      return look_on(s, c, drawn, locks);
    if (c->core == nullptr) continue;
    (locks++)->lock = c;
    if (c->core->may_receive()) (drawn++)->drawn = c;
  }
  s.drawn_end = drawn;
  s.locks_end = locks;
}

/// Inside-out shuffle; up to 8 cases from one random number, since 8! of them fit the orders exactly.
__attribute__((noinline)) void shuffle_several(selection& s) noexcept {
  auto const count = static_cast<std::size_t>(s.drawn_end - s.cases);
  constexpr std::uint64_t factorials[] = {1, 1, 2, 6, 24, 120, 720, 5040, 40320};
  // n / d is n * inverse[d] >> 19 for n < 8!: the inverses are too large by less than d, and 8! * 7 < 2^19. Seven divisions took 35 ns.
  constexpr auto inverse = [] {
    std::array<std::uint64_t, 9> all{};
    for (std::uint64_t d = 1; d <= 8; ++d) all[d] = ((1u << 19) + d - 1) / d;
    return all;
  }();
  std::uint64_t draw = count <= 8 ? random_below(factorials[count]) : 0;
  for (std::size_t i = 1; i < count; ++i) {
    std::uint64_t j;
    if (count <= 8) {
      std::uint64_t const rest = draw * inverse[i + 1] >> 19;
      j = draw - rest * (i + 1);
      draw = rest;
    } else {
      j = random_below(i + 1);
    }
    std::swap(s.cases[i].drawn, s.cases[j].drawn);
  }
}

inline void shuffle(selection& s) noexcept {
  if (s.drawn_end > s.cases + 1 && !s.biased) shuffle_several(s);
}

/// Draws an order of the cases that fit.
template <class Fits>
void draw_those(selection& s, Fits fits) noexcept {
  s.drawn_end = s.cases;
  for (select_case* c = s.cases; c != s.end; ++c)
    if (fits(*c)) s.draw(*c);
  shuffle(s);
}

bool looks_ready(select_case const& c) noexcept { return on_object(c) ? may_happen(c) : is_due(c); }

/// A look after the first, S4's or S6's: draws an order of those that look ready. True: there are some.
bool draw_ready(selection& s) noexcept {
  draw_those(s, looks_ready);
  return s.drawn_end != s.cases;
}

/// Of a biased select, whose `c` is ready: whether one before it is by now.
bool comes_too_late(selection const& s, select_case const& c) noexcept {
  return s.biased && std::any_of(s.cases, const_cast<select_case*>(&c), looks_ready);
}

/// One of the cases that fit.
template <class Fits>
select_outcome draw_one(selection& s, Fits fits) noexcept {
  draw_those(s, fits);
  return {s.drawn_end == s.cases ? none : s.index_of(*s.cases->drawn), true};
}

/// Of a select that is cancelled: one of its `done` cases of the own context, or one above, that fit, or the throw.
template <class Fits>
select_outcome done_or_throw(selection& s, Fits fits) {
  select_outcome const out = draw_one(s, [&](select_case& c) {
    return c.kind == select_kind::done && c.core != nullptr && fits(c) && is_own_done_channel(c.core);
  });
  if (out.index == none) throw_cancelled();
  return out;
}

/// Tries a case whose lock is held.
__attribute__((always_inline)) inline bool try_locked(selection const& s, select_case& c, select_outcome& out,
                                                      waiter*& woken) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  attempt result = attempt::not_now;
  if (!on_channel(c)) {
    if (c.kind != select_kind::join || c.ended->done.load(std::memory_order_relaxed)) result = attempt::done;
  } else if (c.kind == select_kind::send) {
    result = try_send_locked(channel_in(c), c.slot, woken);
  } else {
    result = try_recv_locked(channel_in(c), c.slot, woken);
  }
  if (result == attempt::not_now) return false;
  out = {s.index_of(c), result == attempt::done};
  return true;
}

void prepare(select_case& c) {
  if (c.ready_slot) return;
  c.slot = c.prepare(c.self);
  c.ready_slot = true;
}

/// S3. False: all must be looked at anew.
bool try_drawn(selection& s, select_outcome& out) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  for (select_case* e = s.cases; e != s.drawn_end; ++e) {
    select_case& c = *e->drawn;
    if (!on_channel(c)) {  // an end, or a time, that has come, and so it stays
      if (comes_too_late(s, c)) return false;
      out = {s.index_of(c), true};
      return true;
    }
    if (c.kind == select_kind::send && !c.core->is_closed()) prepare(c);
    waiter* woken = nullptr;
    channel& ch = channel_in(c);
    lock_owner const me = current_lock_owner();
    auto* const held = ch.lock.lock_as_owner(me);
    if (held == nullptr) [[unlikely]]
      ch.lock.lock_by_inner(me);
    bool const late = comes_too_late(s, c), happened = !late && try_locked(s, c, out, woken);
    if (held != nullptr) [[likely]]
      ch.lock.unlock_as_owner(held);
    else ch.lock.unlock();
    if (woken != nullptr) ready(*woken);
    if (happened || late) return happened;
  }
  return false;
}

bool before(select_case const* a, select_case const* b) noexcept { return std::less<>()(object_in(*a), object_in(*b)); }

/// A heap sort by hand: the entries are members of the table's elements.
__attribute__((noinline)) void sort_many_locks(select_case* entries, std::size_t count) noexcept {
  auto const sift = [&](std::size_t root, std::size_t end) {
    for (std::size_t child; (child = 2 * root + 1) < end; root = child) {
      if (child + 1 < end && before(entries[child].lock, entries[child + 1].lock)) ++child;
      if (!before(entries[root].lock, entries[child].lock)) return;
      std::swap(entries[root].lock, entries[child].lock);
    }
  };
  for (std::size_t i = count / 2; i-- > 0;) sift(i, count);
  for (std::size_t end = count; end-- > 1;) {
    std::swap(entries[0].lock, entries[end].lock);
    sift(0, end);
  }
}

void sort_locks(selection const& s) noexcept {
  select_case *const first = s.cases, *const end = s.locks_end;
  if (end - first > 16) return sort_many_locks(first, static_cast<std::size_t>(end - first));
  for (select_case* e = first + 1; e < end; ++e) {
    select_case *const moving = e->lock, *to = e;
    for (; to != first && before(moving, to[-1].lock); --to) to->lock = to[-1].lock;
    to->lock = moving;
  }
}

// No analysis from here on: which locks is decided at run time, and the hook releases them on another stack.
/// S6. Whether one of them is ready, looked at under its lock.
bool lock_all(selection& s, lock_owner me) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  void const* before = nullptr;
  bool some = false;
  for (select_case *e = s.cases, *const end = s.locks_end; e != end; ++e) {
    select_case& c = *e->lock;
    void const* const object = object_in(c);
    c.locks = object != before;
    if (c.locks) lock_case(c, me);
    else s.shared = true;
    before = object;
    some |= may_happen(c);
  }
  return some;
}

/// H5 as well. Lowest lock last, and nothing of the selection is touched after it.
void unlock_all(void* arg) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  selection const& s = *static_cast<selection const*>(arg);
  select_case const *const first = s.cases, *e = s.locks_end;
  while (e != first)
    if (select_case const& c = *(--e)->lock; c.locks) unlock_case(c);
}

inline void link(select_case& c, waiter& self, std::uint64_t generation) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  auto& r = *::new (c.record) wait_record;
  r.who = &self;
  r.generation = generation;
  r.slot = c.slot;
  if (c.kind == select_kind::join) return push_back(c.ended->waiters, r);
  channel& ch = channel_in(c);
  link_locked(ch, c.kind == select_kind::send ? ch.senders : ch.receivers, r);
}

/// S7 under all locks.
void link_all(selection& s, waiter& self) noexcept {
  std::uint64_t const generation = begin_wait(self);
  if (!s.shared) [[likely]] {
    for (select_case *e = s.cases, *const end = s.locks_end; e != end; ++e) link(*e->lock, self, generation);
    return;
  }
  draw_those(s, on_object);
  for (select_case* e = s.cases; e != s.drawn_end; ++e) link(*e->drawn, self, generation);
}

/// S8. `winner`: the record that a partner or closer popped; its pin is dropped already.
void settle_all(selection const& s, wait_record const* winner) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  lock_owner me = current_lock_owner();  // perhaps not that of before the wait
  for (select_case *e = s.cases, *const end = s.locks_end; e != end; ++e) {
    select_case& c = *e->lock;
    wait_record& r = record_in(c);
    if (&r == winner) continue;
    if (c.kind == select_kind::join) {
      guard const hold(c.ended->lock);
      if (r.linked) unlink(c.ended->waiters, r);
      continue;
    }
    channel& ch = channel_in(c);
    auto* const held = ch.lock.lock_as_owner(me);
    if (held == nullptr) [[unlikely]]
      ch.lock.lock_by_inner(me);
    settle_locked(ch, c.kind == select_kind::send ? ch.senders : ch.receivers, r);
    r.ok = ch.is_closed();  // what a cancelled select with done cases asks for
    bool const dead = is_dead_locked(ch);
    if (held != nullptr) [[likely]]
      ch.lock.unlock_as_owner(held);
    else ch.lock.unlock();
    if (!dead) [[likely]]
      continue;
    free_channel(ch);  // which may run destructors of the user's, and wait in them
    me = current_lock_owner();
  }
}

/// Turns waiting times into deadlines; the earliest.
std::int64_t start_clock(selection const& s) noexcept {
  std::int64_t earliest = never;
  for (select_case* c = s.cases; c != s.end; ++c) {
    if (c->kind == select_kind::timeout) {
      c->kind = select_kind::deadline;
      if (c->when != never) c->when = detail::deadline_in(c->when);
    }
    if (c->kind == select_kind::deadline) earliest = std::min(earliest, c->when);
  }
  return earliest;
}

/// S6, where something is ready: tries it, and releases the locks if it happened.
bool try_all_locked(selection& s, select_outcome& out) noexcept {
  waiter* woken = nullptr;
  (void)draw_ready(s);
  select_case* e = s.cases;
  while (e != s.drawn_end && !try_locked(s, *e->drawn, out, woken)) ++e;
  if (e == s.drawn_end) return false;
  unlock_all(&s);
  if (woken != nullptr) ready(*woken);
  return true;
}

/// S5 to S8. Not inlined: nothing that a caller knows of its thread survives it.
__attribute__((noinline)) select_outcome wait_for_one(selection& s, waiter& self, waiting_caller caller) {
  bool const at_once = !caller.is_nobody() && !s.timed && !s.unprepared;  // and so its worker is still the same
  std::int64_t const deadline = s.timed ? start_clock(s) : never;
  if (s.unprepared) {
    for (select_case* e = s.cases; e != s.locks_end; ++e) prepare(*e->lock);
    (void)prepare_wait();  // S1 again: it may have waited under a context of its own
  }
  how h;
  select_outcome out{none, false};
  if (s.locks_end == s.cases) {
    h = block_on_nil(self, deadline, wait_reason::select);
  } else {
    sort_locks(s);
    if (lock_all(s, current_lock_owner()) && try_all_locked(s, out)) return out;  // after S5, which may have waited
    link_all(s, self);
    // Named, not a temporary: the hook reads it before H1, on another stack, and a dump while the task is parked.
    park_request request;  // by assignments, since a compiler fills a whole aggregate with zeros first
    request.unlock = unlock_all;
    request.arg = &s;
    request.deadline = deadline;
    request.reason = wait_reason::select;
    request.object = &s;
    h = at_once ? caller.park(self, request) : park(self, request);
    wait_record const* const winner = h == how::partner || h == how::close ? self.winner : nullptr;
    settle_all(s, winner);
    if (winner != nullptr) return {s.index_of(case_of(*winner)), winner->ok};
  }
  if (h == how::timeout)
    return draw_one(s, [&](select_case const& c) { return c.kind == select_kind::deadline && c.when <= deadline; });
  return done_or_throw(s, [](select_case& c) { return record_in(c).ok; });
}

/// With an `otherwise`: S3 and S4.
select_outcome try_or_otherwise(selection& s) {
  detail::preemption_point();
  shuffle(s);
  select_outcome out{s.index_of(*s.otherwise), true};
  do {
    if (try_drawn(s, out)) break;
  } while (draw_ready(s));  // what looked ready before was taken by others
  return out;
}

}  // namespace
}  // namespace weft::rt

namespace weft::detail {

select_outcome select_run(select_case* cases, std::size_t count, bool biased) {
  if (count > std::numeric_limits<std::uint32_t>::max()) rt::fatal("weft::select: more than 4294967295 cases");
  rt::selection s{.cases = cases, .end = cases + count, .biased = biased};
  rt::waiting_caller const caller = rt::wait_at_once();  // S1
  rt::waiter* self = caller.is_nobody() ? nullptr : &caller.who();
  rt::look_at_all(s);
  if (s.otherwise != nullptr) return rt::try_or_otherwise(s);
  if (self == nullptr) [[unlikely]] {
    bool cancelled = false;
    self = &rt::wait_point(cancelled);
    if (cancelled) return rt::done_or_throw(s, [](select_case const& c) { return c.core->is_closed(); });
    rt::look_at_all(s);  // others may have gone on in between
  }
  if (s.drawn_end != s.cases) {
    select_outcome out{rt::none, false};
    rt::shuffle(s);
    if (rt::try_drawn(s, out)) return out;
  }
  return rt::wait_for_one(s, *self, caller);
}

}  // namespace weft::detail
