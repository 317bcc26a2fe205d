// Which runtimes are there, for those who know one by a pointer that may be stale: contexts, timers and groups outlive theirs.
//
//   G1 a runtime is in the list from its constructor to its destructor
//   G2 guest: finds it there, and that it still takes guests, and is counted, all under the list's lock
//   G3 shutdown: it takes none from now on, under the lock; waits until those that are counted have gone, and once more at its end
//   G4 as G2, while it is shut down too: for who takes back what the runtime would otherwise destroy at its end
//   G5 destructor: out of the list, under the lock; waits once more, before it destroys anything
//
// A call through a stale pointer to a runtime at whose address another one has been made meanwhile goes to that one.
#include <weft/detail/guest.hpp>

#include <new>
#include <thread>

#include <weft/error.hpp>

#include "runtime/base/lock.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {
namespace {

struct list_of_runtimes {
  ranked_lock lock{lock_rank::leaf};
  scheduler* first WEFT_GUARDED_BY(lock) = nullptr;

  [[nodiscard]] scheduler* find(scheduler const* s) const noexcept WEFT_REQUIRES(lock) {
    scheduler* at = first;
    while (at != nullptr && at != s) at = at->next_known;
    return at;
  }
};
constinit list_of_runtimes known;
constinit std::atomic<std::uint32_t> unwinding{0};  // of these; more than null only where a program is dead

}  // namespace

void scheduler::make_known() noexcept {  // G1
  guard hold(known.lock);
  next_known = known.first;
  known.first = this;
}

void scheduler::make_unknown() noexcept {  // G5
  {
    guard hold(known.lock);
    for (scheduler** at = &known.first; *at != nullptr; at = &(*at)->next_known)
      if (*at == this) {
        *at = next_known;
        break;
      }
  }
  if (deadlocked()) unwinding.fetch_sub(1, std::memory_order_relaxed);
  while (guests_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

void scheduler::forget_all_known() noexcept {
  new (&known) list_of_runtimes;
  unwinding.store(0, std::memory_order_relaxed);
}

void scheduler::refuse_guests() noexcept {  // G3
  {
    guard hold(known.lock);
    takes_guests_ = false;
  }
  while (guests_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

bool scheduler::let_in(scheduler* s, bool even_shut_down) noexcept {  // G2, G4
  guard hold(known.lock);
  scheduler* const there = known.find(s);
  if (there == nullptr || (!there->takes_guests_ && !even_shut_down)) return false;
  there->guests_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void scheduler::let_out() noexcept { guests_.fetch_sub(1, std::memory_order_release); }

void scheduler::note_unwinding() noexcept { unwinding.fetch_add(1, std::memory_order_seq_cst); }

bool scheduler::is_unwound(scheduler const* s) noexcept {
  if (unwinding.load(std::memory_order_seq_cst) == 0) [[likely]]
    return false;
  guard hold(known.lock);
  scheduler const* const there = known.find(s);
  return there != nullptr && there->deadlocked();
}

}  // namespace weft::rt

namespace weft::detail {

guest::guest(rt::scheduler* otherwise) : of_(otherwise) {
  if (rt::worker const* const w = rt::current_worker()) {
    of_ = w->sched;
    return;
  }
  if (otherwise == nullptr || !rt::scheduler::let_in(otherwise)) throw no_runtime();
  counted_ = true;
}

guest::~guest() {
  if (counted_) of_->let_out();
}

}  // namespace weft::detail
