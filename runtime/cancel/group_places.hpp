// The places of a task_group, in one word: how many are taken, and what asks for the group's lock. A group without a limit takes and gives them
// back by one compare-exchange each, so that tasks that begin and end on all cores do not queue for a lock. And so that a spawner does not fight with
// those that end for that word, it takes many at once, and keeps those that it has not used in a second one: they are taken, with a reference to the
// group's context each, and are nobody's yet. They are ahead.
//
//   enter   A1 one is ahead: it is the caller's, by compare-exchange
//           A2 none is, and it is open: Y1 by many. Then references are counted, and all but one put ahead, by compare-exchange; closed meanwhile:
//              their references are dropped, and each is left (Y3)
//           A3 closed, and at rest: under the lock, if no place is taken and there is no limit: Y1 by many, references, open, all but one ahead
//           Y1 else, neither limited nor changing: one more, by compare-exchange, and a reference
//           Y2 else, under the lock, and if there is room: one more, and a reference
//   leave   Y3 not limited, and not the last one while somebody waits for the end: one less, by compare-exchange. Nothing is touched afterwards
//           Y4 else, under the lock: the place goes to who waits for one, or it is one less; the last one lets all go that wait for the
//              end, and Y5 clears queued
//   wait    A4 under the lock: close, by exchange; what was ahead is given back, references first
//           Y6 no place is taken: return. Else set queued, by compare-exchange, and park; when let go, lock and unlock
//   rest    A4 once more, under the lock: places that who spawned meanwhile has left ahead are not to look like tasks
//           Y7 and if no place is taken: set changing and clear used, by compare-exchange; another context may be put in place;
//           Y8 clear changing
//   limit   under the lock: A4, and the limit is set
//
// Why who has a place may read the context without the lock: it is replaced between Y7 and Y8 alone. Y7 finds no place taken, and
// acquires what Y3 released, so the reads of those that have left came before; Y1 fails from there to Y8 and acquires it afterwards, and who takes one
// that is ahead acquires what A2 or A3 released; Y2 waits for the lock.
//
// Why the group may be destroyed when wait() has returned: Y6 saw under the lock that no place was taken. Who gave the last one back did so by
// Y3, its last access; or by Y4, with the lock, which it has let go of since.
//
// Why no waiter is forgotten: Y6's and Y3's compare-exchanges are of one word. Either Y6 sees the place given back, or Y3 sees queued.
//
// Why nobody waits for a place that is ahead: as long as somebody is queued, it is closed. A4 came before Y6 under one lock; A3 alone opens, under the
// lock, and found no place taken, so nobody was queued. What is closed A2 puts nothing into. The same holds while there is a limit: A4 came
// before it was set, or there was one from the start, and Y1 fails.
//
// While the group is limited the number changes under the lock alone, but for A2's that came before: they are given back, and who waits for a
// place gets them. Y1 and Y3 that began before lose their compare-exchange.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::detail {

class group_places {
 public:
  constexpr group_places() noexcept = default;
  group_places(group_places const&) = delete;
  group_places& operator=(group_places const&) = delete;

  /// How many are taken at once.
  static constexpr std::uint32_t many = 64;

  /// A1. False: none is ahead.
  [[nodiscard]] bool take_ahead() noexcept {
    std::uint32_t ahead = ahead_.load(std::memory_order_relaxed);
    while (ahead != 0 && ahead != closed)
      // acquire: pairs with A2 and A3.
      if (ahead_.compare_exchange_weak(ahead, ahead - 1, std::memory_order_acquire, std::memory_order_relaxed))  // A1
        return true;
    return false;
  }
  /// A2, of places that the caller has taken. False: closed.
  [[nodiscard]] bool put_ahead(std::uint32_t n) noexcept {
    std::uint32_t ahead = ahead_.load(std::memory_order_relaxed);
    while (ahead != closed)
      if (ahead_.compare_exchange_weak(ahead, ahead + n, std::memory_order_release,
                                       std::memory_order_relaxed))  // A2: the references come first
        return true;
    return false;
  }
  [[nodiscard]] bool is_closed() const noexcept { return ahead_.load(std::memory_order_relaxed) == closed; }
  /// Whether it seems that A3 would open.
  [[nodiscard]] bool may_open() const noexcept {
    std::uint64_t const state = state_.load(std::memory_order_relaxed);
    return is_closed() && state / one == 0 && (state & limited) == 0;
  }

  /// Y1. False: the caller is to do Y2.
  [[nodiscard]] bool enter(std::uint32_t n) noexcept {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    while ((state & (limited | changing)) == 0)
      // acquire: pairs with Y8.
      if (state_.compare_exchange_weak(state, (state + n * one) | used, std::memory_order_acquire,  // Y1
                                       std::memory_order_relaxed))
        return true;
    return false;
  }

  /// Y3. False: the caller is to do Y4.
  [[nodiscard]] bool leave() noexcept {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    while ((state & limited) == 0 && ((state & queued) == 0 || state / one != 1))
      // release: pairs with Y4 of who comes last, with Y6 and with Y7.
      if (state_.compare_exchange_weak(state, state - one, std::memory_order_release,  // Y3
                                       std::memory_order_relaxed))
        return true;
    return false;
  }

  // What follows is called with the group's lock.

  void enter_locked() noexcept {
    state_.fetch_or(used, std::memory_order_relaxed);
    state_.fetch_add(one, std::memory_order_relaxed);  // Y2
  }
  /// Y4 of who gives its place to nobody. Whether it was the last one and there may be who waits for the end: they are to be let go, and then Y5.
  [[nodiscard]] bool leave_locked() noexcept {
    std::uint64_t const before = state_.fetch_sub(one, std::memory_order_acq_rel);  // Y4
    return before / one == 1 && (before & queued) != 0;
  }
  void let_go() noexcept { state_.fetch_and(~queued, std::memory_order_relaxed); }  // Y5

  /// A3's first half. True: n are taken, and open() is to follow, when references have been counted.
  [[nodiscard]] bool enter_at_rest(std::uint32_t n) noexcept {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    while (is_closed() && state / one == 0 && (state & limited) == 0)
      if (state_.compare_exchange_weak(state, (state + n * one) | used,
                                       std::memory_order_relaxed))  // A3: the lock orders
        return true;
    return false;
  }
  void open(std::uint32_t ahead) noexcept { ahead_.store(ahead, std::memory_order_release); }  // A3

  /// A4. How many were ahead: for each a reference is to be dropped, and then give_back() to follow.
  [[nodiscard]] std::uint32_t close() noexcept {
    // acquire: pairs with A2 and A3, whose references are to be dropped.
    return ahead_.exchange(closed, std::memory_order_acquire) & ~closed;  // A4
  }
  /// Nobody waits, neither for the end nor for a place.
  void give_back(std::uint32_t n) noexcept {
    state_.fetch_sub(n * one,
                     std::memory_order_relaxed);  // A4: the lock orders
  }

  /// Y6. False: no place is taken.
  [[nodiscard]] bool queue() noexcept {
    std::uint64_t state = state_.load(std::memory_order_acquire);  // Y6
    while (state / one != 0)
      if (state_.compare_exchange_weak(state, state | queued, std::memory_order_acquire)) return true;  // Y6
    return false;
  }

  /// Y7. False: a place is taken. Else resume() is to follow.
  [[nodiscard]] bool rest() noexcept {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    while (state / one == 0)
      if (state_.compare_exchange_weak(state, (state & ~used) | changing, std::memory_order_acquire,  // Y7
                                       std::memory_order_relaxed))
        return true;
    return false;
  }
  void resume() noexcept { state_.fetch_and(~changing, std::memory_order_release); }  // Y8

  /// Whether a place has been taken since the last rest().
  [[nodiscard]] bool in_use() const noexcept { return (state_.load(std::memory_order_relaxed) & used) != 0; }
  /// How many are taken; exact while limited.
  [[nodiscard]] std::uint64_t taken() const noexcept { return state_.load(std::memory_order_relaxed) / one; }
  void limit(bool on) noexcept {
    if (on) state_.fetch_or(limited, std::memory_order_relaxed);
    else state_.fetch_and(~limited, std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t queued = 1, limited = 2, changing = 4, used = 8, one = 16;
  static constexpr std::uint32_t closed = std::uint32_t{1} << 31;

  alignas(64) std::atomic<std::uint64_t> state_{0};  // written by those that end
  alignas(64) std::atomic<std::uint32_t> ahead_{0};  // by those that spawn
};

}  // namespace weft::detail
