// What serve keeps of its handlers: a count, and a context that outlives the cancellation of serve's own by the grace.
#include <weft/net/serve.hpp>

#include <algorithm>
#include <memory>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/exception_text.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/io.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::detail {

struct serving::state {
  rt::object_lock lock;
  std::size_t live WEFT_GUARDED_BY(lock) = 0;         // handlers that have not ended
  wait_list waiters;                                  // guarded by lock: serve itself, for room or for the end
  rt::io_slot* full WEFT_GUARDED_BY(lock) = nullptr;  // the listener at which serve waits for room
  std::size_t most = 0;                               // constant; 0: no limit
  std::int64_t grace = 0;                             // constant
  rt::cancel_node* context = nullptr;                 // constant; one reference
  rt::cancel_node* own_scope = nullptr;               // of the serving task, between begin_spawn and end_spawn

  void wake_locked(rt::ready_list& woken) noexcept WEFT_REQUIRES(lock) {
    while (rt::wait_record* r = rt::pop_claimed(waiters, rt::how::partner)) woken.push(*r->who);
  }
};

serving::serving(net::serve_options const& options) : state_(nullptr) {
  rt::task* t = rt::current_task();
  if (t == nullptr) throw no_runtime();
  auto made = std::make_unique<state>();
  made->most = options.max_connections;
  made->grace = saturated_ns(options.grace);
  // Under the caller's, for its values, but deaf to its cancellation.
  made->context = rt::make_context(t->sched, t->current_context(), false);
  state_ = made.release();
}

serving::~serving() {
  rt::cancel(*state_->context, rt::cancel_kind::cancelled, nullptr);
  wait_until_idle(rt::never);
  rt::drop(state_->context);
  delete state_;
}

namespace {

/// Waits in the list of the listener's writers, where its close finds us: no listener is ever writable, so that no connection that comes in
/// the meantime does. As io_wait, but needs no poller.
rt::how wait_for_edge(rt::io_slot& listener, rt::waiter& self, std::uint32_t seen,
                      void const* object) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::io_side& side = listener.side(rt::io_direction::write);
  listener.lock.lock();
  if (listener.closing() || side.edges.load(std::memory_order_relaxed) != seen) {
    rt::how const already = listener.closing() ? rt::how::close : rt::how::partner;
    listener.lock.unlock();
    return already;
  }
  rt::wait_record record;
  return rt::wait_in(self, side.waiters, listener.lock, record, rt::never, rt::wait_reason::task_group, object);
}

}  // namespace

/// Two objects cannot be locked at once: at a listener, the end of a handler is told as an edge.
void serving::wait_at(rt::io_slot* listener) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::cancellation_point();
  if (state_->most == 0) return;
  rt::io_use const use(listener);
  if (listener != nullptr && !use) return;
  for (rt::how ended = rt::how::partner;;) {
    std::uint32_t seen = 0;
    if (use) seen = listener->side(rt::io_direction::write).edges.load(std::memory_order_acquire);  // before the count
    state_->lock.lock();
    bool const full = ended == rt::how::partner && state_->live >= state_->most;
    state_->full = full ? listener : nullptr;
    if (!full) {
      state_->lock.unlock();
      if (ended == rt::how::cancel) rt::throw_cancelled();
      return;
    }
    if (use) {
      state_->lock.unlock();
      ended = wait_for_edge(*listener, self, seen, state_);
    } else {
      rt::wait_record record;
      ended = rt::wait_in(self, state_->waiters, state_->lock, record, rt::never, rt::wait_reason::task_group, state_);
    }
  }
}

void serving::begin_spawn() noexcept {
  rt::task* t = rt::current_task();
  state_->own_scope = t->set_scope(state_->context);
  rt::guard<rt::object_lock> hold(state_->lock);
  ++state_->live;
}

void serving::end_spawn(bool spawned) noexcept {
  rt::task* t = rt::current_task();
  t->set_scope(state_->own_scope);
  rt::unregister_from(*t, state_->context);
  if (!spawned) end_one();
}

void serving::refused(char const* why) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::warn("net::serve: a connection is dropped: %s", why);
  rt::waiter& self = rt::cancellation_point();
  rt::wait_record record;
  state_->lock.lock();  // the end of a handler may free what was lacking
  if (rt::wait_in(self, state_->waiters, state_->lock, record, rt::clock_ns() + 10'000'000, rt::wait_reason::task_group,
                  state_) == rt::how::cancel) {
    rt::throw_cancelled();
  }
}

void serving::end_one() noexcept {
  rt::ready_list woken;
  state_->lock.lock();
  --state_->live;
  state_->wake_locked(woken);
  rt::io_slot* const listener = std::exchange(state_->full, nullptr);
  state_->lock.unlock();
  // From here on the state may be gone, and the slot another's, for whom it is an edge for nothing.
  if (listener != nullptr) {
    rt::io_report(*listener, {.tag = 0, .readable = false, .writable = true, .hangup = false, .error = false}, woken);
  }
  rt::ready_all(woken);
}

void serving::drain() noexcept {
  std::int64_t grace = state_->grace;
  rt::scheduler& sched = *rt::current_task()->sched;
  // The runtime itself is ending, and it counts every task that outstays its own grace as stuck: leave room to unwind.
  if (sched.root().is_cancelled()) grace = std::min(grace, saturated_ns(sched.opts().shutdown_grace) / 2);
  wait_until_idle(grace == rt::never ? rt::never : deadline_in(grace));
  // Also when none is left: nothing may begin to wait under this context any more.
  rt::cancel(*state_->context, rt::cancel_kind::cancelled, nullptr);
  wait_until_idle(rt::never);
}

void serving::wait_until_idle(std::int64_t deadline) noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::uncancellable_waiter();
  for (;;) {
    state_->lock.lock();
    if (state_->live == 0) {
      state_->lock.unlock();
      return;
    }
    rt::wait_record record;
    if (rt::wait_in(self, state_->waiters, state_->lock, record, deadline, rt::wait_reason::task_group, state_,
                    false) == rt::how::timeout) {
      return;
    }
  }
}

void serving::report(std::exception_ptr thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (std::exception const& e) {
    rt::warn("net::serve: a handler threw: %s", rt::exception_text(e).c_str());
  } catch (...) {
    rt::warn("net::serve: a handler threw what is no std::exception");
  }
}

}  // namespace weft::detail
