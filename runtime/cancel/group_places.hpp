// The places of a task_group, in one word: how many are taken, and what asks for the group's lock. A group without a limit takes and gives them
// back by one compare-exchange each, so that tasks that begin and end on all cores do not queue for a lock.
//
//   enter   Y1 neither limited nor changing: one more, by compare-exchange
//           Y2 else, under the lock, and if there is room: one more
//   leave   Y3 not limited, and not the last one while somebody waits for the end: one less, by compare-exchange. Nothing is touched afterwards
//           Y4 else, under the lock: the place goes to who waits for one, or it is one less; the last one lets all go that wait for the
//              end, and Y5 clears queued
//   wait    Y6 under the lock: no place is taken: return. Else set queued, by compare-exchange, and park; when let go, lock and unlock
//   rest    Y7 under the lock, and if no place is taken: set changing and clear used, by compare-exchange; another context may be put in place;
//           Y8 clear changing
//
// Why who has a place may read the context without the lock: it is replaced between Y7 and Y8 alone. Y7 finds no place taken, and
// acquires what Y3 released, so the reads of those that have left came before; Y1 fails from there to Y8 and acquires it afterwards; Y2
// waits for the lock.
//
// Why the group may be destroyed when wait() has returned: Y6 saw under the lock that no place was taken. Who gave the last one back did so by
// Y3, its last access; or by Y4, with the lock, which it has let go of since.
//
// Why no waiter is forgotten: Y6's and Y3's compare-exchanges are of one word. Either Y6 sees the place given back, or Y3 sees queued.
//
// While the group is limited the number changes under the lock alone: Y1 and Y3 that began before lose their compare-exchange.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::detail {

class group_places {
 public:
  constexpr group_places() noexcept = default;
  group_places(group_places const&) = delete;
  group_places& operator=(group_places const&) = delete;

  /// Y1. False: the caller is to do Y2.
  [[nodiscard]] bool enter() noexcept {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    while ((state & (limited | changing)) == 0)
      // acquire: pairs with Y8.
      if (state_.compare_exchange_weak(state, (state + one) | used, std::memory_order_acquire,  // Y1
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

  std::atomic<std::uint64_t> state_{0};
};

}  // namespace weft::detail
