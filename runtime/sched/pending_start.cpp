#include "runtime/sched/pending_start.hpp"

#include <iterator>

#include "runtime/base/lock.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

namespace {

struct alignas(64) start_shard {
  ranked_lock lock{lock_rank::pending_start};
  pending_start* first WEFT_GUARDED_BY(lock) = nullptr;

  void add(pending_start& p) noexcept WEFT_REQUIRES(lock) {
    p.previous = nullptr;
    p.next = first;
    if (first != nullptr) first->previous = &p;
    first = &p;
    p.listed = true;
  }
  void remove(pending_start& p) noexcept WEFT_REQUIRES(lock) {
    (p.previous != nullptr ? p.previous->next : first) = p.next;
    if (p.next != nullptr) p.next->previous = p.previous;
    p.listed = false;
  }
};

constinit start_shard shards[16];

}  // namespace

void list_start(pending_start& p, task const& t) noexcept {
  p.sched = t.sched;
  p.shard = static_cast<unsigned>(t.id % std::size(shards));
  start_shard& s = shards[p.shard];
  guard const hold(s.lock);
  s.add(p);
}

void unlist_start(pending_start& p) noexcept {
  start_shard& s = shards[p.shard];
  guard const hold(s.lock);
  if (p.listed) s.remove(p);
}

void start_listed(pending_start& p) noexcept {
  start_shard& s = shards[p.shard];
  guard const hold(s.lock);
  if (!p.listed) return;
  s.remove(p);
  if (task* const t = p.take(p)) p.sched->start(t);
}

void drop_starts_of(scheduler& of) noexcept {
  for (start_shard& s : shards) {
    for (;;) {
      pending_start* found = nullptr;
      {
        guard const hold(s.lock);
        found = s.first;
        while (found != nullptr && found->sched != &of) found = found->next;
        if (found == nullptr) break;
        s.remove(*found);
        found->keep(*found);
      }
      found->destroy(*found);
    }
  }
}

}  // namespace weft::rt
