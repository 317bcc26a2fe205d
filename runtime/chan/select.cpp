// select over channels, ends of tasks, and times: protocol B with many records.
//
//   S1 W1: a cancellation point, unless there is an `otherwise`. With `done` cases, one of theirs that is closed is taken
//      instead of throwing.
//   S2 Draw a permutation of the cases: the order in which they are looked at.
//   S3 First pass: one case after the other; peek, and only where that says yes lock that one channel and try.
//   S4 Nothing: `otherwise`, if there is one.
//   S5 Make the copies that a partner may take while this task is parked. No lock is held: this is user code.
//   S6 Lock all channels by rising address, each once. Look at all again, in S2's order.
//   S7 Still nothing: link a record for each case, in S2's order, and park; the hook releases the locks.
//   S8 R2: one after the other, from the lowest on, lock and unlink what is still linked. Then say which case it was.
//
// Why the choice is uniform: in S3 and S6 every order of the ready cases is equally likely, and the first of them is
// taken. (A random starting point would not do: a ready case behind a gap of unready ones would come up more often.)
// While it waits, the first partner to come decides; among several records of one select on one channel that partner
// meets them in the order in which they were linked, which is S2's too.
//
// Why S3 may look without all locks: what it does is an ordinary send or receive. Only "nothing is ready" needs all of
// the locks at once, and that is S6.
//
// Why the table may lie on this stack: the hook releases the lowest lock last and touches nothing after it, and S8 takes
// the lowest lock, so this frame outlives the hook. S8 passes over the record that a partner popped: a partner had that lock, so
// if it is the lowest, the hook was done with it.
//
// Rejected: a waiting select that leaves its send copies to be made by the partner. The copy constructor is the user's
// and would run in another task; and try_recv, which cannot wait for it, would find the channel empty.

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
#include "runtime/sched/completion.hpp"

namespace weft::rt {
namespace {

using detail::select_case;
using detail::select_kind;
using detail::select_outcome;

constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

static_assert(sizeof(wait_record) <= sizeof(select_case::record) && alignof(wait_record) <= alignof(void*));

bool on_channel(select_case const& c) noexcept {
  return (c.kind == select_kind::recv || c.kind == select_kind::done || c.kind == select_kind::send) &&
         c.core != nullptr;
}
channel& channel_in(select_case const& c) noexcept { return channel_of(*c.core); }
/// Where its lock is: what the locking order goes by.
void const* lock_in(select_case const& c) noexcept {
  return c.kind == select_kind::join ? static_cast<void const*>(&c.ended->lock) : &channel_in(c).lock;
}
inline void lock_case(select_case const& c, lock_owner me) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (c.kind == select_kind::join) c.ended->lock.lock();
  else channel_in(c).lock.lock(me);
}
inline void unlock_case(select_case const& c) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (c.kind == select_kind::join) c.ended->lock.unlock();
  else channel_in(c).lock.unlock();
}
wait_record& record_in(select_case& c) noexcept { return *std::launder(reinterpret_cast<wait_record*>(c.record)); }

/// What a select works with. The orders lie in the table: entry i of an order is in cases[i].
struct selection {
  select_case* cases;
  std::size_t looks = 0;  // entries of the looking order: what can happen at all
  std::size_t locks = 0;  // entries of the locking order: what is waited for under a lock
  std::size_t otherwise = none;
  bool has_done = false;

  [[nodiscard]] std::size_t look(std::size_t i) const noexcept { return cases[i].look; }
  [[nodiscard]] select_case& locked(std::size_t i) const noexcept { return cases[cases[i].lock]; }
};

/// S2. Inside-out shuffle; up to 8 cases from one random number, since 8! of them fit the orders exactly.
void draw_order(selection& s, std::size_t count, bool biased) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    select_case& c = s.cases[i];
    if (c.kind == select_kind::otherwise) s.otherwise = i;
    bool const timed = c.kind == select_kind::timeout || c.kind == select_kind::deadline;
    if (!timed && !on_channel(c) && c.kind != select_kind::join) continue;
    if (c.kind == select_kind::done) s.has_done = true;
    if (!timed) s.cases[s.locks++].lock = static_cast<std::uint16_t>(i);
    s.cases[s.looks++].look = static_cast<std::uint16_t>(i);
  }
  if (biased || s.looks < 2) return;
  constexpr std::uint64_t factorials[] = {1, 1, 2, 6, 24, 120, 720, 5040, 40320};
  // n / d is n * inverse[d] >> 19 for n < 8!: the inverses are too large by less than d, and 8! * 7 < 2^19. Seven divisions took 35 ns.
  constexpr auto inverse = [] {
    std::array<std::uint64_t, 9> all{};
    for (std::uint64_t d = 1; d <= 8; ++d) all[d] = ((1u << 19) + d - 1) / d;
    return all;
  }();
  std::uint64_t draw = s.looks <= 8 ? random_below(factorials[s.looks]) : 0;
  for (std::size_t i = 1; i < s.looks; ++i) {
    std::uint64_t j;
    if (s.looks <= 8) {
      std::uint64_t const rest = draw * inverse[i + 1] >> 19;
      j = draw - rest * (i + 1);
      draw = rest;
    } else {
      j = random_below(i + 1);
    }
    std::swap(s.cases[i].look, s.cases[j].look);
  }
}

/// Whether it is worth a try, under its lock or, as a hint, without.
inline bool may_happen(select_case const& c) noexcept {
  if (c.kind == select_kind::join) return c.ended->done.load(std::memory_order_acquire);  // pairs with complete()
  return c.kind == select_kind::send ? c.core->may_send() : c.core->may_receive();
}

/// Tries a case whose lock is held.
bool try_locked(select_case& c, std::size_t index, select_outcome& out,
                waiter*& woken) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  attempt result = attempt::not_now;
  if (c.kind == select_kind::join) {
    if (c.ended->done.load(std::memory_order_relaxed)) result = attempt::done;
  } else if (c.kind == select_kind::send) {
    result = try_send_locked(channel_in(c), c.slot, woken);
  } else {
    result = try_recv_locked(channel_in(c), c.slot, woken);
  }
  if (result == attempt::not_now) return false;
  out = {index, result == attempt::done};
  return true;
}

void prepare(select_case& c) {
  if (c.ready_slot) return;
  c.slot = c.prepare(c.self);
  c.ready_slot = true;
}

/// S3 for one case.
bool try_case(select_case& c, std::size_t index, select_outcome& out) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  switch (c.kind) {
    case select_kind::timeout: out = {index, true}; return c.when <= 0;
    case select_kind::deadline: out = {index, true}; return c.when <= 0 || (c.when != never && c.when <= clock_ns());
    default: break;
  }
  if (!may_happen(c)) return false;
  if (c.kind == select_kind::join) {
    out = {index, true};
    return true;
  }
  if (c.kind == select_kind::send && !c.core->is_closed()) prepare(c);
  waiter* woken = nullptr;
  lock_case(c, current_lock_owner());
  bool const happened = try_locked(c, index, out, woken);
  unlock_case(c);
  if (woken != nullptr) ready(*woken);
  return happened;
}

void sort_by_lock(selection& s) noexcept {
  auto const before = [&](std::uint16_t a, std::uint16_t b) {
    return std::less<>()(lock_in(s.cases[a]), lock_in(s.cases[b]));
  };
  if (s.locks > 16) {  // heap sort by hand: the entries are members of the table's elements
    auto const sift = [&](std::size_t root, std::size_t end) {
      for (std::size_t child; (child = 2 * root + 1) < end; root = child) {
        if (child + 1 < end && before(s.cases[child].lock, s.cases[child + 1].lock)) ++child;
        if (!before(s.cases[root].lock, s.cases[child].lock)) return;
        std::swap(s.cases[root].lock, s.cases[child].lock);
      }
    };
    for (std::size_t i = s.locks / 2; i-- > 0;) sift(i, s.locks);
    for (std::size_t end = s.locks; end-- > 1;) {
      std::swap(s.cases[0].lock, s.cases[end].lock);
      sift(0, end);
    }
    return;
  }
  for (std::size_t i = 1; i < s.locks; ++i) {
    std::uint16_t const moving = s.cases[i].lock;
    std::size_t j = i;
    for (; j > 0 && before(moving, s.cases[j - 1].lock); --j) s.cases[j].lock = s.cases[j - 1].lock;
    s.cases[j].lock = moving;
  }
}

void sort_locks(selection& s) noexcept {
  if (s.locks > 1) sort_by_lock(s);
  void const* before = nullptr;
  for (std::size_t i = 0; i < s.locks; ++i) {
    void const* const here = lock_in(s.locked(i));
    s.locked(i).locks = here != before;
    before = here;
  }
}

// No analysis from here on: which locks is decided at run time, and the hook releases them on another stack.
void lock_all(selection const& s, lock_owner me) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  for (std::size_t i = 0; i < s.locks; ++i)
    if (select_case& c = s.locked(i); c.locks) lock_case(c, me);
}

/// H5 as well. Lowest lock last, and nothing of the selection is touched after it.
void unlock_all(void* arg) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  selection const& s = *static_cast<selection const*>(arg);
  for (std::size_t i = s.locks; i-- > 0;)
    if (select_case& c = s.locked(i); c.locks) unlock_case(c);
}

/// S7 under all locks.
void link_all(selection const& s, waiter& self) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::uint64_t const generation = begin_wait(self);
  for (std::size_t i = 0; i < s.looks; ++i) {
    std::size_t const index = s.look(i);
    select_case& c = s.cases[index];
    if (c.kind == select_kind::timeout || c.kind == select_kind::deadline) continue;
    auto& r = *::new (c.record) wait_record;
    r.who = &self;
    r.generation = generation;
    r.slot = c.slot;
    r.index = static_cast<std::uint32_t>(index);
    if (c.kind == select_kind::join) {
      push_back(c.ended->waiters, r);
    } else {
      channel& ch = channel_in(c);
      r.object = &ch;
      link_locked(ch, c.kind == select_kind::send ? ch.senders : ch.receivers, r);
    }
  }
}

/// S8. `winner`: the record that a partner or closer popped; its pin is dropped already.
void settle_all(selection const& s, wait_record const* winner) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  lock_owner me = current_lock_owner();  // perhaps not that of before the wait
  for (std::size_t i = 0; i < s.locks; ++i) {
    select_case& c = s.locked(i);
    wait_record& r = record_in(c);
    if (&r == winner) continue;
    lock_case(c, me);
    if (c.kind == select_kind::join) {
      if (r.linked) unlink(c.ended->waiters, r);
      unlock_case(c);
      continue;
    }
    channel& ch = channel_in(c);
    settle_locked(ch, c.kind == select_kind::send ? ch.senders : ch.receivers, r);
    r.ok = ch.is_closed();  // what a cancelled select with done cases asks for
    bool const dead = is_dead_locked(ch);
    unlock_case(c);
    if (!dead) continue;
    free_channel(ch);  // which may run destructors of the user's, and wait in them
    me = current_lock_owner();
  }
}

/// Turns waiting times into deadlines; the earliest.
std::int64_t start_clock(selection const& s) noexcept {
  std::int64_t earliest = never;
  for (std::size_t i = 0; i < s.looks; ++i) {
    select_case& c = s.cases[s.look(i)];
    if (c.kind == select_kind::timeout) {
      c.kind = select_kind::deadline;
      if (c.when != never) c.when = detail::deadline_in(c.when);
    }
    if (c.kind == select_kind::deadline) earliest = std::min(earliest, c.when);
  }
  return earliest;
}

/// The first in the looking order of the cases that fit.
template <class Fits>
select_outcome first_that(selection const& s, Fits fits) noexcept {
  for (std::size_t i = 0; i < s.looks; ++i)
    if (fits(s.cases[s.look(i)])) return {s.look(i), true};
  return {none, false};
}

/// S5 to S8.
select_outcome wait_for_one(selection& s, waiter& self) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::int64_t const deadline = start_clock(s);
  for (std::size_t i = 0; i < s.locks; ++i) prepare(s.locked(i));
  how h;
  select_outcome out{none, false};
  if (s.locks == 0) {
    h = block_on_nil(self, deadline, wait_reason::select);
  } else {
    sort_locks(s);
    lock_all(s, current_lock_owner());  // after S5, which may have waited
    waiter* woken = nullptr;
    for (std::size_t i = 0; i < s.looks; ++i) {
      select_case& c = s.cases[s.look(i)];
      if (c.kind == select_kind::deadline || !may_happen(c) || !try_locked(c, s.look(i), out, woken)) continue;
      unlock_all(&s);
      if (woken != nullptr) ready(*woken);
      return out;
    }
    link_all(s, self);
    // Named, so that it lives past S8: the hook reads it until the last lock is released.
    park_request const request{
        .unlock = unlock_all, .arg = &s, .deadline = deadline, .reason = wait_reason::select, .object = &s};
    h = park(self, request);
    wait_record const* const winner = h == how::partner || h == how::close ? self.winner : nullptr;
    settle_all(s, winner);
    if (winner != nullptr) return {winner->index, winner->ok};
  }
  if (h == how::timeout)
    return first_that(s, [&](select_case const& c) { return c.kind == select_kind::deadline && c.when <= deadline; });
  out = first_that(s, [](select_case& c) { return c.kind == select_kind::done && record_in(c).ok; });
  if (out.index == none) throw_cancelled();
  return out;
}

}  // namespace
}  // namespace weft::rt

namespace weft::detail {

select_outcome select_run(select_case* cases, std::size_t count, bool biased) {
  if (count > std::numeric_limits<std::uint16_t>::max()) rt::fatal("weft::select: more than 65535 cases");
  rt::selection s{cases};
  rt::draw_order(s, count, biased);
  rt::waiter* self = nullptr;
  if (s.otherwise != rt::none) preemption_point();
  else {  // S1
    bool cancelled = false;
    self = &rt::wait_point(cancelled);
    if (cancelled) [[unlikely]] {
      select_outcome const out =
          rt::first_that(s, [](select_case const& c) { return c.kind == select_kind::done && c.core->is_closed(); });
      if (out.index == rt::none) rt::throw_cancelled();
      return out;
    }
  }
  select_outcome out{rt::none, false};
  for (std::size_t i = 0; i < s.looks; ++i)
    if (rt::try_case(cases[s.look(i)], s.look(i), out)) return out;
  if (self == nullptr) return {s.otherwise, true};  // S4
  return rt::wait_for_one(s, *self);
}

}  // namespace weft::detail
