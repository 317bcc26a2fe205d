// The table of a select: its cases, as the caller has them on its stack, and the orders that select.cpp draws and sorts in it.
#pragma once

#include <cstddef>
#include <limits>
#include <new>

#include <weft/detail/select_case.hpp>

#include "runtime/chan/channel.hpp"
#include "runtime/sched/completion.hpp"

namespace weft::rt {

using detail::select_case;
using detail::select_kind;
using detail::select_outcome;

inline constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

static_assert(sizeof(wait_record) <= sizeof(select_case::record) && alignof(wait_record) <= alignof(void*));

inline bool on_channel(select_case const& c) noexcept {
  return c.kind == select_kind::recv || c.kind == select_kind::done || c.kind == select_kind::send;
}
/// On something with a lock.
inline bool on_object(select_case const& c) noexcept {
  return c.kind == select_kind::join || (on_channel(c) && c.core != nullptr);
}
inline channel& channel_in(select_case const& c) noexcept { return channel_of(*c.core); }
/// What it waits for, by whose address the locks are ordered.
inline void const* object_in(select_case const& c) noexcept {
  return c.kind == select_kind::join ? static_cast<void const*>(c.ended) : c.core;
}
inline void lock_case(select_case const& c, lock_owner me) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (c.kind == select_kind::join) c.ended->lock.lock();
  else channel_in(c).lock.lock(me);
}
inline void unlock_case(select_case const& c) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (c.kind == select_kind::join) c.ended->lock.unlock();
  else channel_in(c).lock.unlock();
}
inline wait_record& record_in(select_case& c) noexcept {
  return *std::launder(reinterpret_cast<wait_record*>(c.record));
}
/// Whose record it is.
inline select_case const& case_of(wait_record const& r) noexcept {
  return *std::launder(
      reinterpret_cast<select_case const*>(reinterpret_cast<std::byte const*>(&r) - offsetof(select_case, record)));
}

/// What a select works with. The orders lie in the table, from its first element on.
struct selection {
  select_case* cases;
  select_case* end;
  bool biased;
  select_case* drawn_end = cases;  // select_case::drawn: what is to be tried, or linked, in that order
  select_case* locks_end = cases;  // select_case::lock: what can be waited for under a lock, from S6 on by address
  select_case* otherwise = nullptr;
  bool timed = false;       // some case is a time
  bool unprepared = false;  // prepare() is due for some case
  bool shared = false;      // some cases have one lock (S6)

  [[nodiscard]] std::size_t index_of(select_case const& c) const noexcept {
    return static_cast<std::size_t>(&c - cases);
  }
  void draw(select_case& c) noexcept { (drawn_end++)->drawn = &c; }
};

}  // namespace weft::rt
