// Whether a mutex is held, as long as one thread alone takes it and lets it go: without a locked instruction.
//
// A mutex in one worker's hands needs no compare-exchange. Once one thread has taken it many times in a row, whether it is held stands in a
// byte of that thread's, and the mutex's word says only that it is biased, until another one comes or a task must wait; that one pays a heavy fence to *share* the mutex, once in
// its life. As the channels' lock is biased (runtime/base/bias.hpp, Dice, Moir and Scherer 2003), but for two things: what is
// biased is not a section but the word that says whether it is held, and it is never biased again.
//
//   turn    from free to held, or from held to free:
//           T1 owner is me, and the byte is `from`? no: the caller shares it     T2 byte := busy     T3 light fence, pairs with S2
//           T4 owner is still me: byte := `to` (release), the last access; else byte := `from` (release), and the caller shares it
//   share   under the mutex's lock: S0 the word says that it is biased (acquire)     S1 owner := none     S2 heavy fence
//           S3 wait until the byte is not busy (acquire): it says whether the mutex is held     S4 from now on the word does (release)
//   settle  by who holds the mutex: N1 byte := held     N2 owner := me     N3 the word says that it is biased (release, which S0 acquires)
//
// Why the byte and the word never disagree. The byte is written by the owner alone, the word only by who shares. T2 before T4
// in the one, S1 before S3 in the other, with the fences between them: the owner sees S1, or S3 sees `busy` and waits for what the owner makes
// of it. If the owner saw S1, it puts back what was there, and S3 reads the same before T2 or after T4. If it did not, S3 acquires its outcome. After S2 the owner finds at T4 that it is none; what it then writes is read by
// nobody, since a mutex is never biased again. That it was late does not matter to the mutex's life: who takes it is a user
// of it, and who lets it go holds it until it has found the word.
// An unlock happens before the next lock: by the byte from owner to owner; by S3 and the word's store (release) to all others.
#pragma once

#include <atomic>
#include <cstdint>

#include <weft/detail/lock_owner.hpp>

namespace weft::detail {

/// `Policy` has the fences light() and heavy(), wait_while(byte, value), which returns what else it has loaded, with acquire,
/// takings_in_a_row, how many by one thread make a bias, and others, how often another one may come before these.
template <class Policy>
class biased_hold {
 public:
  // Bits of the mutex's word, which has others, too. Neither of shared and biased: undecided. Where it is biased no other bit is set, and `held` says nothing.
  static constexpr std::uint32_t held = 1, shared = 16, biased = 32;

  /// T1 to T4. Whether the mutex was free and is held now; false: it must be shared.
  [[nodiscard]] bool take(lock_owner me) noexcept { return turn(me, free, taken); }
  /// T1 to T4. Whether it was held and is free now; false: it must be shared.
  [[nodiscard]] bool let_go(lock_owner me) noexcept { return turn(me, taken, free); }

  /// S0 to S4, under the mutex's lock. The word as it is then.
  std::uint32_t share(std::atomic<std::uint32_t>& word) noexcept {
    std::uint32_t state = word.load(std::memory_order_acquire);  // S0
    if (state != biased) return state;
    owner_.store(no_owner, std::memory_order_relaxed);  // S1
    Policy::heavy();                                    // S2
    std::uint8_t const own =
        Policy::wait_while(own_, busy);  // S3; looked at no more: a late owner may write until it has looked
    state = shared | (own == taken ? held : 0u);
    word.store(state, std::memory_order_release);  // S4
    return state;
  }

  /// By who has just taken the mutex by its word, which is not shared: settles the mutex, or shares it, where it is time to. `me` is what the
  /// calling thread takes it as, passing_owner where there is no light fence.
  void note_taking(std::atomic<std::uint32_t>& word, lock_owner me) noexcept {
    if (last_ != me || me == passing_owner) {
      last_ = me;
      in_a_row_ = 0;
      if (me == passing_owner || ++others_ > Policy::others) word.fetch_or(shared, std::memory_order_relaxed);
    } else if (++in_a_row_ >= Policy::takings_in_a_row) {
      own_.store(taken, std::memory_order_relaxed);  // N1
      owner_.store(me, std::memory_order_relaxed);   // N2
      std::uint32_t state = held;                    // and nobody waits; who does shares it
      word.compare_exchange_strong(state, biased, std::memory_order_release, std::memory_order_relaxed);  // N3
    }
  }

 private:
  enum : std::uint8_t { free, taken, busy };

  bool turn(lock_owner me, std::uint8_t from, std::uint8_t to) noexcept {
    // The byte is acquired for ThreadSanitizer, to which two tasks of the owner are two threads.
    if (owner_.load(std::memory_order_relaxed) != me || own_.load(std::memory_order_acquire) != from)
        [[unlikely]]  // T1
      return false;
    own_.store(busy, std::memory_order_relaxed);                      // T2
    Policy::light();                                                  // T3
    bool const still = owner_.load(std::memory_order_relaxed) == me;  // T4
    own_.store(still ? to : from, std::memory_order_release);         // T4
    return still;
  }

  std::atomic<lock_owner> owner_{no_owner};
  std::atomic<std::uint8_t> own_{free};  // written by the owner
  // Guarded by the mutex itself, until it is biased or shared.
  std::uint8_t others_ = 0;  // how often another one came
  std::uint16_t in_a_row_ = 0;
  lock_owner last_ = no_owner;  // who took it last, and how often
};

}  // namespace weft::detail
