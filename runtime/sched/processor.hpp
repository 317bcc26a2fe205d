// processor: the right to run tasks, and what goes with it. There are options::workers of them.
//
// All of it is plain data of whoever holds the processor (protocol A in worker.hpp hands it on), but what thieves, searchers and
// the monitor look at: the run queue, the timer heap, the counters and the tick.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <weft/detail/task_api.hpp>

#include "runtime/fiber/stack_pool.hpp"
#include "runtime/sched/global_queue.hpp"
#include "runtime/sched/owned.hpp"
#include "runtime/sched/run_queue.hpp"
#include "runtime/timer/timer_heap.hpp"

namespace weft::rt {

struct worker;

/// Summed over the processors when read. Each is written by the holder alone.
struct counters {
  owned<std::uint64_t> spawned, ended, parks, steals, polls;
  owned<std::uint64_t> firing, fired;  // times that due timers were fired: begun, done
  owned<std::uint64_t> timers;         // that were fired
};

/// Weft's clock in steps of 2^20 ns, about a millisecond, for the stamps of waits: reading the clock at each park would cost more than
/// the rest of the park. Wraps after 52 days.
constexpr std::uint32_t coarse_time(std::int64_t ns) noexcept { return static_cast<std::uint32_t>(ns >> 20); }

/// What scheduler::run_timers has left of the dead timers: none, some, or some since the others have left tasks enough behind.
enum class swept : std::uint8_t { all, in_part, into_tasks };

/// How long its holder's tasks run from one pick to the next, on average over the last few dozen. Time without a task does not count.
class run_length {
 public:
  /// The holder has run tasks since the last call of this or of rest(). `tick` is the processor's; so many of its last picks were in vain.
  void add(std::int64_t now, std::uint64_t tick, std::uint32_t in_vain) noexcept {
    busy_ += now - since_.get();
    since_ = now;
    in_vain_ += in_vain;
    std::uint64_t const all = tick - measured_.get(), picks = all > in_vain_.get() ? all - in_vain_.get() : 0;
    if (picks < enough_picks && (picks == 0 || busy_.get() < enough_ns)) return;
    average_ = busy_.get() / static_cast<std::int64_t>(picks);
    busy_ = 0;
    in_vain_ = 0;
    measured_ = tick;
  }
  /// It has run none until now.
  void rest(std::int64_t now) noexcept { since_ = now; }
  [[nodiscard]] std::int64_t average_ns() const noexcept { return average_.get(); }

 private:
  static constexpr std::uint64_t enough_picks = 32;
  static constexpr std::int64_t enough_ns = 500'000;
  owned<std::int64_t> average_{1'000'000};  // as long as nothing is known, long
  owned<std::int64_t> since_, busy_;
  owned<std::uint64_t> measured_, in_vain_;
};

/// How many picks apart a processor looks around. As Go: a prime, so that it does not beat with a program's own period.
inline constexpr std::uint64_t look_every = 61;

struct alignas(64) processor {
  run_queue queue;
  timer_heap timers;
  counters count;
  /// One more at each pick of a task; the monitor and thieves see by it whether the processor moves.
  owned<std::uint64_t> tick;
  /// The tick at which its holder looks around, on the native stack. 0 is at the next pick: the monitor, where somebody waits for more than a
  /// moment; and always in a simulated run, which chooses there.
  owned<std::uint64_t> look_at{look_every};
  /// One more each time that its own queue was found empty: its holder looks at what the others have left then.
  owned<std::uint32_t> dry;
  /// Loops of the default stack size, suspended or not begun, that a switch can go to; last in, first out.
  owned<stack*> loops;
  owned<std::uint32_t> loop_count;
  owned<std::int64_t> last_poll;     // when the network was last looked at from here
  owned<std::uint64_t> poll_turn;    // the tick by which all that were queued then have had their turn
  owned<std::uint64_t> others_turn;  // the tick of the last look whose turn was not this queue's
  owned<std::int64_t> last_evened;   // when another's queue was looked at to even them out
  owned<std::int64_t>
      oldest_since;  // beside a tree that grows: the look from which on the oldest waits for its turn; 0: the next
  owned<std::uint32_t> coarse_now;  // coarse_time at the last look at the clock; by the holder, and by the monitor
  owned<bool>
      joins_here;       // the last spawner that had nothing else queued has joined its task before anybody had begun it
  owned<bool> crowded;  // its holder waits for locks much of the time, or would if nobody stood aside
  owned<task const*> acceptor;  // has accepted a connection here and spawned nothing since; only to be compared with
  run_length runs;
  std::unique_ptr<global_queue::port> port;
  unsigned index = 0;  // constant
  std::atomic<worker*> holder{
      nullptr};  // who got it last, written under the scheduler's lock; its `proc` says if it has it still
  processor* next_idle = nullptr;  // guarded by the scheduler's lock
  bool idle = false;               // the same
};

}  // namespace weft::rt
