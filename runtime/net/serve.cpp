// What serve keeps of its handlers: a count, and a context that outlives the cancellation of serve's own by the grace.
#include <weft/net/serve.hpp>

#include <algorithm>
#include <memory>

#include "runtime/base/check.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/switching.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::detail {

struct serving::state {
  rt::object_lock lock;
  std::size_t live WEFT_GUARDED_BY(lock) = 0;  // handlers that have not ended
  wait_list waiters;                           // guarded by lock: serve itself, for room or for the end
  std::size_t most = 0;                        // constant; 0: no limit
  std::int64_t grace = 0;                      // constant
  rt::cancel_node* context = nullptr;          // constant; one reference
  rt::cancel_node* own_scope = nullptr;        // of the serving task, between begin_spawn and end_spawn

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

void serving::wait_for_room() WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::cancellation_point();
  for (;;) {
    state_->lock.lock();
    if (state_->most == 0 || state_->live < state_->most) {
      state_->lock.unlock();
      return;
    }
    rt::wait_record record;
    if (rt::wait_in(self, state_->waiters, state_->lock, record, rt::never, rt::wait_reason::task_group, state_) ==
        rt::how::cancel) {
      rt::throw_cancelled();
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
  state_->lock.unlock();  // from here on the state may be gone
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
    rt::warn("net::serve: a handler threw: %s", e.what());
  } catch (...) {
    rt::warn("net::serve: a handler threw what is no std::exception");
  }
}

}  // namespace weft::detail
