// topic: the channels of broadcast and watch.
//
//   send   S1 under `order_`: closed: throw; too few copies for the list: say how many, and be called again
//          S2 for each listed channel, under its lock: put the element in; where the buffer is full, in exchange for the oldest one,
//             which is counted as missed. Its receiver is claimed if one waits. A channel without receivers is taken off the list
//          S3 unlock; make the receivers ready, all together; what came back in exchange is destroyed by the caller
//   gone   the last receiver of a channel is dropped: what is buffered is destroyed at once, the channel goes with its place in the
//          list: at the next send, or when the list would have to grow
//
// `order_` is a weft::mutex: a second sender parks while S2 runs, and its worker goes on. What it costs: a lock, a move and an
// unlock a subscriber, and no code of the user's; copies (before S1) and destructors (after S3) are under no lock at all. (Measured by
// build/release/bench/bench_broadcast.)
// Without it two values could reach two subscribers in different order, and a watch could end up with the older one.
//
// Rejected: one ring that all subscribers read from by their own position (a send is then one write, but a select needs a channel with
// the value in it, and a value must stay until the slowest has copied it); a copy under the lock for each channel; dropping the newest.

#include <weft/detail/topic.hpp>
#include <weft/watch.hpp>

#include <cstring>
#include <mutex>

#include "runtime/base/check.hpp"
#include "runtime/chan/channel.hpp"

namespace weft::detail {

using rt::channel;
using rt::channel_of;
using rt::newest;
using rt::ready_list;
using rt::waiter;

namespace {

void drop(subscription& s) noexcept {
  // acq_rel: what both sides did with the channel comes before its end.
  if (s.refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  drop_ends(*s.out, chan_core::one_sender);
  delete &s;
}

void drop_all(subscription* gone) noexcept {
  while (gone != nullptr) {
    subscription* const s = gone;
    gone = s->next_gone;
    drop(*s);
  }
}

/// What is in `from` comes to be in `to`, which holds nothing.
void relocate(rt::elem_ops const& ops, void* to, void* from) noexcept {
  if (ops.relocate != nullptr) ops.relocate(to, from);
  else std::memcpy(to, from, ops.size);
}

}  // namespace

subscription::subscription(chan_core& to) noexcept
    : receivers_watcher{[](receivers_watcher& w) noexcept {
        auto& s = static_cast<subscription&>(w);
        rt::destroy_buffered(channel_of(*s.out));
        drop(s);
      }},
      out(&to) {}

topic::~topic() { close(); }

/// Those whose receivers have gone come off the list, to be dropped without the lock.
void topic::unlist_gone_locked(subscription*& gone) noexcept {
  std::size_t kept = 0;
  for (subscription* s : list_) {
    if (s->out->is_closed()) {
      s->next_gone = gone;
      gone = s;
    } else {
      list_[kept++] = s;
    }
  }
  list_.resize(kept);
}

// No analysis here and below: std::lock_guard has no annotations.
subscription& topic::subscribe() WEFT_NO_THREAD_SAFETY_ANALYSIS {
  chan_core* const c = make_core(ops_, capacity_);
  auto* const s = new (std::nothrow) subscription(*c);
  if (s == nullptr) {
    drop_ends(*c, chan_core::one_sender | chan_core::one_receiver);
    throw std::bad_alloc();
  }
  watch_receivers(*c, *s);
  subscription* gone = nullptr;
  bool over = false;
  try {
    std::lock_guard const order(order_);
    if (list_.size() == list_.capacity()) {
      unlist_gone_locked(gone);
      if (list_.size() * 2 >= list_.capacity()) list_.reserve(list_.size() * 2 + 4);
    }
    over = closed_;
    if (!over) list_.push_back(s);
  } catch (...) {  // not listed, and never received from
    drop_all(gone);
    drop(*s);
    drop_ends(*c, chan_core::one_receiver);
    throw;
  }
  drop_all(gone);
  if (over) {
    chan_close(*c);
    drop(*s);
  }
  return *s;
}

std::size_t topic::send(element_batch& batch, topic_hook* hook) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  ready_list woken;
  subscription* gone = nullptr;
  std::size_t missing = 0;
  if (hook != nullptr) (void)rt::uncancellable_waiter();  // it may wait for a lock, and cannot throw
  {
    std::lock_guard const order(order_);
    if (closed_) throw closed_channel();
    if (batch.stride != 0 && batch.count < list_.size()) {  // S1
      unlist_gone_locked(gone);
      if (batch.count < list_.size()) missing = list_.size();
    }
    if (missing == 0) {
      if (hook != nullptr) hook->run(*hook);
      std::size_t kept = 0, back = 0, next = 0;  // channels still listed; elements that came back; elements used
      for (subscription* s : list_) {            // S2
        channel& c = channel_of(*s->out);
        void* const from = batch.at(next++);
        waiter* receiver = nullptr;
        c.lock.lock(rt::current_lock_owner());
        newest const outcome = send_newest_locked(c, from, batch.spare, receiver);
        if (outcome == newest::exchanged)
          s->missed.store(s->missed.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        c.lock.unlock();
        if (receiver != nullptr) woken.push(*receiver);
        if (outcome != newest::closed) {
          list_[kept++] = s;
        } else {
          s->next_gone = gone;
          gone = s;
        }
        if (batch.stride == 0 || outcome == newest::taken) continue;
        if (batch.at(back) != from) relocate(ops_, batch.at(back), from);
        ++back;
      }
      list_.resize(kept);
      if (batch.stride != 0) {
        for (; next < batch.count; ++next, ++back)
          if (back != next) relocate(ops_, batch.at(back), batch.at(next));
        batch.count = back;
      }
    }
  }
  rt::ready_all(woken);  // S3
  drop_all(gone);
  return missing;
}

void topic::close() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  ready_list woken;
  std::vector<subscription*> all;
  (void)rt::uncancellable_waiter_at_last();  // the lock below may wait, and must not throw
  {
    std::lock_guard const order(order_);
    closed_ = true;
    all.swap(list_);
    for (subscription* s : all) {
      channel& c = channel_of(*s->out);
      c.lock.lock(rt::current_lock_owner());
      close_locked(c, woken);
      c.lock.unlock();
    }
  }
  rt::ready_all(woken);
  for (subscription* s : all) drop(*s);
}

void fatal_moved_topic(char const* call) noexcept { rt::fatal("weft::%s: the handle was moved from", call); }

void fatal_no_watch() noexcept { rt::fatal("watch::subscriber::get: it was not made by watch::subscribe"); }

}  // namespace weft::detail
