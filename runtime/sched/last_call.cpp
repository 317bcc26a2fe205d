// Tasks that the root's cancellation does not reach: they wait under without_cancel, or under a context from outside of the runtime.
// The end of run waits for them too, and when they have had their time it wakes them.
//
// When. They are there to finish something, and may need a while. So they are left alone for half of the grace, unless it is certain
// earlier that they wait for ever: everything is idle, and the search for deadlocks (runtime/observe/deadlock.cpp) says that nothing is
// left in the process that could wake one. The thread in shutdown(), which sleeps in D4 then, counts as one that wakes nobody.
//
// What. L1 walk over the tasks: of each that waits, cancellably and under a context that is not cancelled, freeze it, keep the highest such
//          context of this runtime's above it, thaw it
//       L2 cancel these contexts: C1 to C5, so that their further waits throw as well
//       L3 a wait under a context that is not the runtime's own is claimed by itself, since others may use that context further
// A task that begins to wait meanwhile is met by the next round; rounds follow each other until the last task has ended.
//
// Rejected: a list of all such contexts, kept by the runtime (a lock that every clean-up on 64 processors shares, for a case that is
// rare at the end and does not occur before).

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/platform/platform.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {
namespace {

/// A context and the oldest task that waits under it.
struct detached {
  cancel_node* context = nullptr;
  task_id oldest = 0;
};

struct call_round {
  scheduler* of;
  std::array<detached, 64>
      found{};  // L1's, each with a reference, oldest first, so that a simulated run takes them in the same order
  std::size_t count = 0;                    // what does not fit is met by the next round
  std::array<cancel_node*, 64> given_up{};  // whose last reference may be the round's; the same
  std::size_t given_up_count = 0;
  ready_list woken;

  void keep(cancel_node& n, task_id by) noexcept {
    detached* const end = found.data() + count;
    detached* at = std::find_if(found.data(), end, [&](detached const& d) { return d.context == &n; });
    if (at == end) {
      if (count < found.size()) {
        ++count;
      } else if (found.back().oldest <= by) {
        return;
      } else {
        give_up(*(--at)->context);
      }
      retain(&n);
      *at = {.context = &n, .oldest = by};
    }
    at->oldest = std::min(at->oldest, by);
    for (; at != found.data() && at->oldest < at[-1].oldest; --at) std::swap(*at, at[-1]);
  }

  /// Its task had another reference, but has been thawed since and may have gone on. What goes with the last one is the user's, and nothing of
  /// that runs under the walk's lock.
  void give_up(cancel_node& n) noexcept {
    if (!drop_unless_last(n)) given_up[given_up_count++] = &n;
  }

  bool look(task& t) noexcept {
    if (given_up_count == given_up.size()) return false;
    if (t.sched != of || !freeze(t)) return true;
    std::uint64_t const word = t.word.load(std::memory_order_relaxed);
    cancel_node* n = (word & wait_word::cancellable) != 0 ? t.waits_under : nullptr;
    if (n != nullptr && n->is_cancelled()) n = nullptr;
    bool const ours = n != nullptr && n->sched == of;
    if (ours) {
      while (n->parent != nullptr && n->parent->sched == of && !n->parent->is_cancelled()) n = n->parent;
      keep(*n, t.id);
    }
    if (thaw(t)) {
      ready(t);
    } else if (n != nullptr && !ours && !of->deadlocked() && claim(t, wait_word::generation(word), how::cancel)) {
      woken.push(t);  // L3
    }
    return true;
  }
};

}  // namespace

bool scheduler::call_detached() noexcept {
  last_call_.store(true, std::memory_order_relaxed);
  call_round round{.of = this, .woken = {}};
  for_each_task([](task& t, void* arg) { return static_cast<call_round*>(arg)->look(t); }, &round);  // L1
  for (std::size_t i = 0; i < round.given_up_count; ++i) drop(round.given_up[i]);
  bool const any = round.count != 0 || !round.woken.empty();
  for (std::size_t i = 0; i < round.count; ++i) {
    cancel(*round.found[i].context, cancel_kind::cancelled, nullptr);  // L2
    drop(round.found[i].context);
  }
  ready_all(round.woken);
  return any;
}

}  // namespace weft::rt
