// weft::oneshot: one value, once, from whoever has it first.
//
//     weft::oneshot<answer> reply;
//     for (auto& replica : replicas) weft::go([=] { reply.send(ask(replica)); });
//     answer first = reply.recv();
#pragma once

#include <memory>
#include <utility>

#include <weft/chan.hpp>
#include <weft/detail/simulated.hpp>

namespace weft {

/// A channel that takes one value and is closed with it. A cheap handle: copies mean the same oneshot, and count as channel handles do.
/// T as in a channel: movable is enough.
///
/// Order: the send that was first happens before the return of the recv that gets its value.
template <class T>
class oneshot {
 public:
  using value_type = T;

  /// Throws std::bad_alloc.
  oneshot() : channel_(1) {}

  /// True: this was the first, and its value is the one. False: the value is dropped. Never blocks, no cancellation point. Throws what
  /// moving `v` throws; then nothing was sent.
  bool send(T v) const {
    detail::chan_core* const c = detail::core_of(channel_);
    detail::check_not_moved(c, "oneshot::send");
    detail::preemption_point();
    if constexpr (!detail::is_boxed<T>) {
      return detail::chan_send_last(*c, std::addressof(v)) == chan_status::ok;
    } else {
      if (c->is_closed()) return false;
      detail::send_box<T> boxed(std::move(v));
      if (detail::chan_send_last(*c, boxed.place()) != chan_status::ok) return false;
      boxed.sent();
      return true;
    }
  }

  /// The value. It is there for one receiver: throws closed_channel if another has got it, before or while this waits. Blocks; a
  /// cancellation point. A cancelled recv leaves the value to others.
  T recv() const {
    detail::keep_receiver<T> const kept(detail::core_of(channel_));
    detail::chan_core* const c = detail::core_of(channel_);
    detail::recv_slot<T> slot;
    if (detail::chan_recv(c, slot.place()) != chan_status::ok) throw closed_channel();
    return slot.take(c);
  }

  /// Where the value comes, for select and for the receiver's other operations; closed after it. Closed without a value once all
  /// handles have gone.
  [[nodiscard]] receiver<T> channel() const noexcept { return channel_.rx(); }

 private:
  chan<T> channel_;
};

}  // namespace weft
