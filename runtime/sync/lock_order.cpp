// Orders in which locks are taken, and whether they go in a circle.
//
// Two tasks that take two mutexes in opposite order deadlock only if they meet; a thousand test runs may pass before. The orders are there in
// each run. So, as in Linux's lockdep and ThreadSanitizer's deadlock detector:
//   R1 who is about to wait for lock B while it holds A adds the edge A -> B, once, with its calls
//   R2 a new edge that closes a circle is reported, with the calls of each edge of the circle. The same calls are reported once
//   R3 a lock that was taken by try_lock is held (R1), but nobody waits in that call: no edge leads to it. So std::scoped_lock,
//      which takes the first and tries the others, makes no circle whatever the order
//   R4 a lock that is destroyed goes with its edges: its address may be another's soon
//   R5 who unlocks need not be who locked, and an unlock by a condition variable's wait runs on another stack: a lock that the caller
//      does not hold is taken from whoever does
// A circle is an order that *could* deadlock. If a third lock is always held around both orders it cannot, and is reported all the same.
//
// One lock and some tables for the process, and a search at each new edge: for builds that look for faults. A lock is known by its
// address; of the many objects of one class each is another lock.
//
// Rejected: places in the source instead of addresses (a class of locks for each line, as lockdep has: every transfer between two accounts, each
// with its mutex, would be an order of the class with itself).

#include <weft/detail/lock_order.hpp>

#include <algorithm>
#include <new>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runtime/base/lock.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread_sample.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"

namespace weft {
namespace rt {
namespace {

using lock_name = void const*;

struct node {
  std::unordered_map<lock_name, lock_step> after;  // R1: what was wanted while this was held
  std::unordered_set<lock_name> before;            // whose `after` this is in
};

struct order_tables {
  object_lock lock;
  std::unordered_map<std::uint64_t, std::vector<lock_name>> held WEFT_GUARDED_BY(lock);  // by holder
  std::unordered_map<lock_name, node> nodes WEFT_GUARDED_BY(lock);
  std::unordered_set<std::uint64_t> reported WEFT_GUARDED_BY(lock);  // hashes of the calls of a circle
};

order_tables& tables() {
  static auto* t = new order_tables;  // never destroyed: a mutex may be a static
  return *t;
}

/// A task by its id, a plain thread by the kernel's number.
std::uint64_t holder() noexcept {
  if (task const* t = current_task()) return t->id;
  return std::uint64_t{1} << 63 | static_cast<std::uint64_t>(current_thread_id());
}

lock_step step_here(lock_name held, lock_name wanted) {
  lock_step s;
  s.held = held;
  s.wanted = wanted;
  if (task const* t = current_task()) {
    s.task = t->id;
    if (task_extra const* e = t->extra.load(std::memory_order_acquire)) s.name = e->name;
  }
  s.calls.resize(lock_step::calls_most);
  s.calls.resize(current_calls(s.calls.data(), s.calls.size()));
  return s;
}

/// The edges from `from` to `to`, none: there is no way.
std::vector<lock_step> way_locked(order_tables& t, lock_name from, lock_name to) WEFT_REQUIRES(t.lock) {
  std::unordered_map<lock_name, lock_name> came_from{{from, nullptr}};
  std::vector<lock_name> next{from};
  while (!next.empty() && !came_from.contains(to)) {
    lock_name const at = next.back();
    next.pop_back();
    auto const found = t.nodes.find(at);
    if (found == t.nodes.end()) continue;
    for (auto const& [wanted, step] : found->second.after)
      if (came_from.try_emplace(wanted, at).second) next.push_back(wanted);
  }
  std::vector<lock_step> way;
  if (!came_from.contains(to)) return way;
  for (lock_name at = to; at != from; at = came_from[at]) way.push_back(t.nodes[came_from[at]].after[at]);
  std::reverse(way.begin(), way.end());
  return way;
}

bool first_time_locked(order_tables& t, std::vector<lock_step> const& circle) WEFT_REQUIRES(t.lock) {
  std::uint64_t sum = 0;  // whichever edge came last
  for (lock_step const& s : circle) {
    std::uint64_t hash = 14695981039346656037u;
    for (void* const call : s.calls) hash = (hash ^ reinterpret_cast<std::uintptr_t>(call)) * 1099511628211u;
    sum += hash;
  }
  return t.reported.insert(sum).second;
}

void want(lock_name lock) {
  order_tables& t = tables();
  std::vector<std::vector<lock_step>> circles;
  {
    guard const hold(t.lock);
    auto const mine = t.held.find(holder());
    if (mine == t.held.end()) return;
    for (lock_name const before : mine->second) {
      if (before == lock) continue;  // it waits for itself, or for who unlocks it in its place
      node& from = t.nodes[before];
      if (from.after.contains(lock)) continue;
      lock_step const here = step_here(before, lock);
      std::vector<lock_step> circle = way_locked(t, lock, before);  // R2
      from.after.emplace(lock, here);
      t.nodes[lock].before.insert(before);
      if (circle.empty()) continue;
      circle.insert(circle.begin(), here);
      if (first_time_locked(t, circle)) circles.push_back(std::move(circle));
    }
  }
  observer const* const o = observer_in_use.load(std::memory_order_acquire);
  if (o == nullptr) return;
  for (auto const& circle : circles) o->locks_in_circle(circle);
}

/// Forgets that `lock` is held. False: not by this holder.
bool let_go_locked(order_tables& t, std::uint64_t by, lock_name lock) WEFT_REQUIRES(t.lock) {
  auto const found = t.held.find(by);
  if (found == t.held.end()) return false;
  auto& locks = found->second;
  auto const at = std::find(locks.rbegin(), locks.rend(), lock);
  if (at == locks.rend()) return false;
  locks.erase(std::next(at).base());
  if (locks.empty()) t.held.erase(found);
  return true;
}

bool let_go_locked(order_tables& t, lock_name lock) WEFT_REQUIRES(t.lock) {
  if (let_go_locked(t, holder(), lock)) return true;
  for (auto const& [by, locks] : t.held)  // R5
    if (std::find(locks.begin(), locks.end(), lock) != locks.end()) return let_go_locked(t, by, lock);
  return false;
}

}  // namespace
}  // namespace rt

namespace detail {

// Out of memory: an order is not seen, or a lock thought held that is not.

void note_order_wanted(void const* lock) noexcept {
  try {
    rt::want(lock);
  } catch (std::bad_alloc const&) {
  }
}

void note_order_taken(void const* lock) noexcept {
  rt::order_tables& t = rt::tables();
  rt::guard const hold(t.lock);
  try {
    t.held[rt::holder()].push_back(lock);
  } catch (std::bad_alloc const&) {
  }
}

void note_order_released(void const* lock) noexcept {
  rt::order_tables& t = rt::tables();
  rt::guard const hold(t.lock);
  (void)rt::let_go_locked(t, lock);
}

void note_order_gone(void const* lock) noexcept {
  rt::order_tables& t = rt::tables();
  rt::guard const hold(t.lock);
  while (rt::let_go_locked(t, lock)) {
  }
  auto const found = t.nodes.find(lock);
  if (found == t.nodes.end()) return;
  for (rt::lock_name const before : found->second.before)
    if (auto const n = t.nodes.find(before); n != t.nodes.end()) n->second.after.erase(lock);
  for (auto const& [after, step] : found->second.after)
    if (auto const n = t.nodes.find(after); n != t.nodes.end()) n->second.before.erase(lock);
  t.nodes.erase(found);
}

}  // namespace detail
}  // namespace weft
