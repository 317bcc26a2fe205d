// Signals for tests that need another task to be parked on a channel: no sleeping, the channel itself says so.
#pragma once

#include <weft/chan.hpp>
#include <weft/task.hpp>

#include "runtime/chan/channel.hpp"

namespace weft::test {

/// How many records stand in one of the channel's lists.
template <class Handle>
std::size_t waiting(Handle const& h, bool senders) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::channel& c = rt::channel_of(*detail::core_of(h));
  std::size_t n = 0;
  c.lock.lock(weft::rt::current_lock_owner());
  for (rt::wait_record* r = (senders ? c.senders : c.receivers).head; r != nullptr; r = r->next) ++n;
  c.lock.unlock();
  return n;
}

template <class Handle>
void await_receivers(Handle const& h, std::size_t n = 1) {
  while (waiting(h, false) < n) weft::yield();
}
template <class Handle>
void await_senders(Handle const& h, std::size_t n = 1) {
  while (waiting(h, true) < n) weft::yield();
}

}  // namespace weft::test
