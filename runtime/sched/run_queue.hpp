// run_queue: the ready tasks of one processor. A ring of 1,024 places and a next slot, after Go's runq and runnext.
//
// The holder of the processor pushes and pops; anybody may steal. The ring is first in, first out. The next slot takes the
// task that was made ready last (the partner of a channel operation), which runs next on a warm cache; the task it displaces
// goes to the ring. pop() may use the slot only a few times in a row, or two tasks that wake each other would starve the ring.
//
//   push   Q1 tail - head < 1,024: store the task, then tail + 1 (release)            pairs with Q3
//   pop    Q2 compare-exchange head -> head + 1 (acq_rel): thieves do the same, one wins
//   steal  Q3 read head (acquire), tail (acquire), copy half or less, compare-exchange head (acq_rel); lost: again
//          A copy that was torn by the owner's wrapping around (it pushes, or steals itself) is never used: head has moved, and the exchange fails
//   next   Q4 exchanges: a thief may take it too, but only after it stood there untouched for a while (see scheduler)
//          Q7 into an empty one the owner stores (release): thieves put nothing there, so it stays empty until then
//   retract  the owner takes back what it pushed last, to run it itself:
//          Q5 tail - 1 (release)   Q6 compare-exchange head -> the same place, next version (acq_rel); head has passed it: stolen, tail back
//
// Q5 and Q6: head is a place and a version. A thief that read head before Q6 fails at its exchange, however many places it saw; one
// that reads head after it has what Q6 released, the shorter ring. So no place is both retracted and stolen, and a place that is
// pushed again is never taken for the old one. A thief may see tail one short of head between Q5 and the undoing: empty. (A
// version has 32 bits: it would have to come round within one steal.)
//
// Children first. When a task that has spawned waits or ends, what it has spawned goes before all else in the ring, in the order in which it was
// spawned, and so does what that spawns: a tree of tasks is walked in depth, with a handful of its nodes begun at any time, where first in, first
// out would have begun all of a level. Meanwhile the newest is popped, and each eighth time the oldest of those below the tree, so that
// others have their turns; who looks around gives one of these a turn, too, and the oldest of all now and then, since a tree may grow without end.
// A task that spawns some more while earlier ones of its own still stand there (as many at once as it has results to come) has them behind
// these: the ring is first in, first out again. Thieves take the oldest as ever.
//
//   turn over  from a place to the tail, or to another before it, so that the oldest of these is the newest, or back:
//          Q8 tail -> that place (release)   Q9 compare-exchange head -> the same place, next version (acq_rel): no thief sees them now, nor
//          can one that has seen them get them. Head has passed the place: again from there   Q10 turned over, tail -> behind them (release)
//
// Thieves leave the task that was pushed last, too, until it stood there for a while: mostly its pusher is about to join it.
//
// With a single processor there are no thieves, and pop needs no locked instruction.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/sched/owned.hpp"

namespace weft::rt {

struct task;

/// Of a power of two places. A template, since a model check goes round a ring of two.
template <std::uint32_t Capacity>
class ring_and_next {
 public:
  static constexpr std::uint32_t capacity = Capacity;
  static constexpr std::uint32_t next_in_a_row = 8;
  static constexpr std::uint8_t oldest_every = 8;  // where the newest go first, so often the oldest does

  /// Owner. False: full.
  bool push(task* t) noexcept {
    bool alone = false;
    return push(t, alone);
  }
  /// The same; `alone`: no other stood in the ring.
  bool push(task* t, bool& alone) noexcept {
    std::uint32_t const head = place(head_.load(std::memory_order_acquire));  // pairs with Q2, Q3: freed by thieves
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    alone = tail == head;
    if (tail - head >= capacity) return false;
    slots_[tail % capacity].store(t, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // Q1
    return true;
  }

  /// Owner: what `parent`, which runs, pushes from here on is its children. Null: it is not one of this scheduler's tasks. `again`: some that it
  /// pushed earlier may still stand here, and go before these.
  void begin_children(task const* parent, bool again) noexcept {
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    parent_ = parent;
    again_ = again;
    first_child_ = tail;
    if (newest_first_.get() && !lies_before(floor_, tail)) end_newest_first();  // all that went first have gone
  }
  /// Owner: whether t is the parent that began last.
  [[nodiscard]] bool is_parent(task const* t) const noexcept { return parent_.get() == t; }
  /// Owner: whether there is one that has not left: the task that runs, one that it runs above (run_for_join), or one that has lost the processor.
  [[nodiscard]] bool has_parent() const noexcept { return parent_.get() != nullptr; }
  /// Owner: it leaves as others do.
  void forget_parent() noexcept { parent_ = nullptr; }
  /// Owner: where its children begin, in short; and whether any may stand from such a place on. That is less than two rings below the tail then: one of
  /// children, and one behind the last of them. Wrong, at worst, if it looks like that, and was long ago, or in another ring.
  [[nodiscard]] std::uint16_t first_child() const noexcept { return static_cast<std::uint16_t>(first_child_.get()); }
  [[nodiscard]] bool has_any_from(std::uint16_t at) const noexcept {
    auto const below = static_cast<std::uint16_t>(tail_.load(std::memory_order_relaxed) - at);
    return below != 0 && below < 2 * capacity;
  }

  /// Owner: the parent leaves, and its children go first. Whether thieves could not see some of them for a moment.
  bool children_first(bool single) noexcept {
    std::uint32_t const first_child = in_ring(first_child_);
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    bool const any = lies_before(first_child, tail);
    if (any && again_.get() && newest_first_.get()) {
      bool const unseen = oldest_first(single);
      parent_ = nullptr;
      return unseen;
    }
    parent_ = nullptr;
    if (!any) return false;
    if (again_.get() && lies_before(first(), in_order_until_)) {
      in_order_until_ = tail;
      return false;
    }
    if (!newest_first_.get() || lies_before(first_child, floor_)) floor_ = first_child;
    if (newest_first_.get()) grows_ = true;
    newest_first_ = true;
    return tail - first_child > 1 && turn_over(first_child, tail, single);
  }
  [[nodiscard]] bool is_newest_first() const noexcept { return newest_first_.get(); }
  /// Owner: whether some go first that have been spawned by such as went first.
  [[nodiscard]] bool grows() const noexcept { return grows_.get(); }
  /// Owner: of is_newest_first(): what was to be popped first is still, but as the oldest, and what is pushed goes behind it. The same.
  bool oldest_first(bool single) noexcept {
    end_newest_first();
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    in_order_until_ = tail;
    std::uint32_t end = tail;
    bool unseen = false;
    if (has_parent()) {  // has not left, so that its children are not turned yet
      if (again_.get()) end = in_ring(first_child_);
      else unseen = turn_over(in_ring(first_child_), tail, single);
      again_ = true;  // what it pushes later goes behind
    }
    return turn_over(in_ring(floor_), end, single) || unseen;
  }
  /// Owner: where the newest go first, the oldest of those that do not.
  task* pop_below(bool single) noexcept {
    return newest_first_.get() && lies_before(first(), floor_) ? pop_ring(single) : nullptr;
  }

  /// Owner. Puts t into the next slot; returns the task that was there, or null.
  task* push_next(task* t, bool single) noexcept {
    task* const old = next_.load(std::memory_order_relaxed);
    if (old != nullptr && !single) return next_.exchange(t, std::memory_order_acq_rel);  // Q4
    next_.store(t, std::memory_order_release);                                           // Q7
    return old;
  }

  /// Owner.
  __attribute__((always_inline)) task* pop(bool single) noexcept {
    task* t = next_.load(std::memory_order_relaxed);
    std::uint32_t const runs = next_runs_;
    if (t != nullptr && (runs < next_in_a_row || ring_empty())) {
      if (single) next_.store(nullptr, std::memory_order_relaxed);
      else t = take_next();
      if (t != nullptr) {
        next_runs_ = runs + 1;
        return t;
      }
    }
    next_runs_ = 0;
    if (newest_first_.get()) {
      if (task* const child = pop_newest(single)) return child;
    }
    return pop_ring(single);
  }

  task* pop_ring(bool single) noexcept {
    std::uint64_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
      if (tail == place(head)) return nullptr;
      task* t = slots_[place(head) % capacity].load(std::memory_order_relaxed);
      if (single) {
        head_.store(after(head, 1), std::memory_order_relaxed);
        return t;
      }
      if (head_.compare_exchange_weak(head, after(head, 1), std::memory_order_acq_rel, std::memory_order_acquire))
        return t;  // Q2
    }
  }

  /// Owner: the task pushed last, or null. A thief may take it meanwhile.
  [[nodiscard]] task* newest() const noexcept {
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    return first() == tail ? nullptr : slots_[(tail - 1) % capacity].load(std::memory_order_relaxed);
  }

  /// Owner. True: t was the one pushed last, and is the caller's now.
  bool retract(task const* t, bool single) noexcept {
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    std::uint64_t head = head_.load(std::memory_order_acquire);
    if (newest() != t) return false;
    if (single) {
      tail_.store(tail - 1, std::memory_order_relaxed);
      return true;
    }
    tail_.store(tail - 1, std::memory_order_release);  // Q5
    while (place(head) != tail)
      if (head_.compare_exchange_weak(head, next_version(head), std::memory_order_acq_rel, std::memory_order_acquire))
        return true;  // Q6
    tail_.store(tail, std::memory_order_release);
    return false;
  }

  /// Owner or thief: the task in the next slot, or null.
  task* take_next() noexcept {
    return next_.exchange(nullptr, std::memory_order_acq_rel);  // Q4
  }

  /// Owner, when push failed: takes half of the ring out, oldest first. Returns how many; 0: thieves were there first.
  std::uint32_t take_half(std::array<task*, capacity / 2>& out) noexcept {
    std::uint64_t head = head_.load(std::memory_order_acquire);
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    std::uint32_t const n = (tail - place(head)) / 2;
    for (std::uint32_t i = 0; i < n; ++i) out[i] = slots_[(place(head) + i) % capacity].load(std::memory_order_relaxed);
    if (n == 0 || !head_.compare_exchange_strong(head, after(head, n), std::memory_order_acq_rel)) return 0;
    return n;
  }

  /// Thief: takes half of the victim's ring, oldest first, but no more than `most` and than there is room for in this one, whose owner is
  /// the caller. Returns the last of them, to run at once, and puts the others behind its own; null: none. Takes one that is alone only `if_alone`.
  task* steal_from(ring_and_next& victim, bool if_alone, std::uint32_t most = capacity / 2) noexcept {
    std::uint64_t head = victim.head_.load(std::memory_order_acquire);
    for (;;) {
      std::uint32_t const tail = victim.tail_.load(std::memory_order_acquire);  // Q3, pairs with Q1, Q5
      std::uint32_t n = tail - place(head);
      if (static_cast<std::int32_t>(n) < (if_alone ? 1 : 2)) return nullptr;
      n = n - n / 2;
      if (n > capacity / 2) {  // head and tail were read apart
        head = victim.head_.load(std::memory_order_acquire);
        continue;
      }
      std::uint32_t const mine = tail_.load(std::memory_order_relaxed);
      std::uint32_t const room =
          capacity - (mine - place(head_.load(std::memory_order_acquire)));  // pairs with Q2, Q3: freed by thieves
      n = std::min({n, most, room});
      if (n == 0) return nullptr;
      for (std::uint32_t i = 0; i < n; ++i)
        slots_[(mine + i) % capacity].store(victim.slots_[(place(head) + i) % capacity].load(std::memory_order_relaxed),
                                            std::memory_order_relaxed);
      if (!victim.head_.compare_exchange_weak(head, after(head, n), std::memory_order_acq_rel,
                                              std::memory_order_acquire))
        continue;
      if (n > 1) tail_.store(mine + n - 1, std::memory_order_release);
      return slots_[(mine + n - 1) % capacity].load(std::memory_order_relaxed);
    }
  }

  /// Owner: the task that the ring will give after n more, oldest first, or null. A thief may take it meanwhile: good for a prefetch.
  [[nodiscard]] task* ahead(std::uint32_t n) const noexcept {
    std::uint32_t const at = place(head_.load(std::memory_order_relaxed)) + n;
    if (static_cast<std::int32_t>(tail_.load(std::memory_order_relaxed) - at) <= 0) return nullptr;
    return slots_[at % capacity].load(std::memory_order_relaxed);
  }

  /// Anybody; a snapshot.
  [[nodiscard]] std::uint32_t size() const noexcept {
    std::uint32_t const head = first();
    std::uint32_t const tail = tail_.load(std::memory_order_acquire);
    return tail - head > capacity ? 0 : tail - head;
  }
  /// Anybody: the place of the oldest; it moves when that goes.
  [[nodiscard]] std::uint32_t first() const noexcept { return place(head_.load(std::memory_order_relaxed)); }
  [[nodiscard]] bool ring_empty() const noexcept { return size() == 0; }
  [[nodiscard]] task* peek_next() const noexcept { return next_.load(std::memory_order_relaxed); }

 private:
  // head_: the place in the low half, the version in the high one.
  static constexpr std::uint32_t place(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }
  static constexpr std::uint64_t after(std::uint64_t head, std::uint32_t n) noexcept {
    return (head >> 32 << 32) | static_cast<std::uint32_t>(place(head) + n);
  }
  static constexpr std::uint64_t next_version(std::uint64_t head) noexcept { return head + (std::uint64_t{1} << 32); }
  static constexpr bool lies_before(std::uint32_t a, std::uint32_t b) noexcept {
    return static_cast<std::int32_t>(b - a) > 0;
  }
  /// Owner: the place, or the oldest's, if that has moved beyond it; or the tail: a join of one that stood below has taken that back.
  [[nodiscard]] std::uint32_t in_ring(std::uint32_t at) const noexcept {
    std::uint32_t const head = first(), tail = tail_.load(std::memory_order_relaxed);
    if (lies_before(tail, at)) return tail;
    return lies_before(at, head) ? head : at;
  }

  /// Owner.
  void end_newest_first() noexcept {
    newest_first_ = false;
    grows_ = false;
  }

  /// Owner: of those that go first; null: it is the oldest's turn, or there is none left.
  task* pop_newest(bool single) noexcept {
    if (lies_before(floor_, tail_.load(std::memory_order_relaxed))) {
      newest_popped_ += 1;
      if (newest_popped_ % oldest_every == 0 && lies_before(first(), floor_)) return nullptr;
      if (task* const t = newest(); t != nullptr && retract(t, single)) return t;
    }
    end_newest_first();
    return nullptr;
  }

  /// Owner. False: with a single processor nobody looks.
  bool turn_over(std::uint32_t from, std::uint32_t end, bool single) noexcept {
    if (!lies_before(from, end)) return false;
    std::uint32_t const tail = tail_.load(std::memory_order_relaxed);
    if (!single) {
      std::uint64_t head = head_.load(std::memory_order_acquire);
      for (;;) {
        if (lies_before(from, place(head))) from = place(head);  // stolen
        tail_.store(from, std::memory_order_release);            // Q8
        if (head_.compare_exchange_weak(head, next_version(head), std::memory_order_acq_rel, std::memory_order_acquire))
          break;  // Q9
      }
    }
    for (std::uint32_t a = from, b = end; lies_before(a + 1, b); ++a) {
      --b;
      task* const t = slots_[a % capacity].load(std::memory_order_relaxed);
      slots_[a % capacity].store(slots_[b % capacity].load(std::memory_order_relaxed), std::memory_order_relaxed);
      slots_[b % capacity].store(t, std::memory_order_relaxed);
    }
    if (single) return false;
    tail_.store(tail, std::memory_order_release);  // Q10
    return true;
  }

  alignas(64) std::atomic<std::uint64_t> head_{0};  // owner and thieves, compare-exchange
  alignas(64) std::atomic<std::uint32_t> tail_{0};  // written by the owner alone
  std::atomic<task*> next_{nullptr};                // owner and thieves, exchange
  owned<std::uint32_t> next_runs_;                  // owner: how often in a row the next slot was used
  owned<task const*> parent_;                       // owner: only to be compared with
  owned<std::uint32_t> first_child_;                // owner: of these
  owned<std::uint32_t> floor_;                      // owner: where those begin that go first
  owned<std::uint32_t>
      in_order_until_;  // owner: the tail when the ring was turned back, or was lengthened in order since
  owned<std::uint8_t> newest_popped_;  // owner: how many, modulo 256
  owned<bool> grows_;                  // owner: newest_first_, and some of these have spawned such
  owned<bool> newest_first_;           // owner: whether there are some
  owned<bool> again_;                  // owner: of the parent

 public:
  bool unshared =
      false;  // constant: there is no other processor; what the owner says as `single`. Here, on the line that it looks at

 private:
  std::array<std::atomic<task*>, capacity> slots_{};
};

using run_queue = ring_and_next<1024>;

}  // namespace weft::rt
