// The slow paths of weft::mutex. They follow T1 to T4 of lock_table.hpp.
//
// Two ways to pass a mutex on, as in Go: *release*, which leaves it free and wakes the first waiter, who must then
// compete with whoever comes by; and *hand-over*, which leaves it held and gives it to the first waiter. Release is
// fast, since a running task can take the mutex again and again without a switch; hand-over is fair. A waiter that
// has lost for 1 ms asks for the second.
//
//   held       somebody holds the mutex. Set by compare-exchange (acquire), cleared by the holder (release).
//   queued     the list may hold a waiter (T4).
//   called     one waiter has been woken by a release and has not looked yet: a second need not be woken. Set by the
//              releasing holder, cleared by the woken one when it takes the mutex or queues again.
//   hand_over  the next unlock hands over. Set under the lock by a waiter that waited for too long, and only together
//              with held; cleared by the unlock after which the one that got the mutex had not waited so long, or was
//              the last.
//   biased     alone, never with other bits: one thread takes and releases it, and a byte of that thread's says whether it
//              is held (biased_hold.hpp). Taken off for good, under the lock, by whoever else comes, must wait, or finds what it must
//              report: share().
//   shared     never biased again. Set with the first waiter at the latest. Neither of the two: takings are still counted.
//
// With the lock taken *and* the mutex held, no bit can change under the holder's hands: all bits but held are changed
// under the lock, by who takes a free mutex, or, biased and shared while takings are counted, by the holder. Hence the plain stores
// in unlock_slow, all of which keep or set `shared`, since somebody has waited.
//
//   lock    L1 free: take it   L2 spin a little, if nobody queues
//           L3 under the lock: free after all: L1; else queued, link, park
//           L4 handed over: done; woken: L1, and if it queues again, in front
//   unlock  U1 nobody queues, or one is called already: clear held   U2 under the lock: pop and claim the first
//           U3 release: held off, called on; or hand over: held stays   U4 unlock the lock, make the waiter ready
#include <weft/mutex.hpp>

#include <cstdint>
#include <thread>

#include "runtime/base/check.hpp"
#include "runtime/platform/biased_lock.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sync/lock_table.hpp"

namespace weft {
namespace {

constexpr std::int64_t patience_ns = 1'000'000;
constexpr int spins = 30;  // about as long as a short critical section; a park and a wake-up cost more

struct mutex_record : rt::wait_record {
  std::int64_t since = 0;  // when its lock() began to wait; guarded as the record is
};

void push_front(rt::wait_list& list, rt::wait_record& r) noexcept {
  r.prev = nullptr;
  r.next = list.head;
  (list.head != nullptr ? list.head->prev : list.tail) = &r;
  list.head = &r;
  r.linked = true;
}

}  // namespace

void mutex::bias_policy::heavy() noexcept { rt::heavy_fence(); }

std::uint8_t mutex::bias_policy::wait_while(std::atomic<std::uint8_t>& byte, std::uint8_t value) noexcept {
  return rt::bias_policy::wait_while(byte, value);
}

// After the first takings of a mutex: a few thousand at most.
void mutex::note_taking() noexcept { hold_.note_taking(state_, detail::current_lock_owner()); }

// Afterwards it is not biased, and will not be. The state as it was then.
std::uint32_t mutex::share() noexcept {
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  std::uint32_t const state = hold_.share(state_);
  guard.unlock();
  return state;
}

// L2. On one processor the holder cannot let go while we look.
bool mutex::spin() noexcept {
  static bool const worthwhile = std::thread::hardware_concurrency() > 1;
  if (!worthwhile) return false;
  for (int i = 0; i < spins; ++i) {
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    if ((state & (held | biased)) == 0 &&
        state_.compare_exchange_weak(state, state | held, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
    if ((state & (queued | hand_over | biased)) != 0) return false;
    rt::cpu_relax();
  }
  return false;
}

void mutex::lock_slow() WEFT_NO_THREAD_SAFETY_ANALYSIS {
  if (state_.load(std::memory_order_relaxed) == biased) {
    // Free, most likely: then it is taken without the waiter, which a plain thread allocates.
    std::uint32_t state = share();
    if ((state & held) == 0 &&
        state_.compare_exchange_strong(state, state | held, std::memory_order_acquire, std::memory_order_relaxed))
      return;
  }
  if (spin()) return;
  rt::waiter& self = rt::uncancellable_waiter();
  rt::object_lock& guard = rt::lock_of(this);
  mutex_record record;
  record.since = rt::clock_ns();
  rt::park_request const request{.unlock = rt::unlock_object,
                                 .arg = &guard,
                                 .deadline = rt::never,
                                 .reason = rt::wait_reason::mutex,
                                 .object = this,
                                 .cancellable = false};
  bool woken = false;  // this call owns the bit `called`
  for (;;) {
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    if (state == biased) {
      (void)share();
      continue;
    }
    if ((state & held) == 0) {  // L1
      std::uint32_t const taken = (state | held) & ~(woken ? called : 0u);
      if (state_.compare_exchange_weak(state, taken, std::memory_order_acquire, std::memory_order_relaxed)) return;
      continue;
    }
    bool const impatient = woken && rt::clock_ns() - record.since >= patience_ns;
    guard.lock();  // L3
    state = state_.load(std::memory_order_relaxed);
    bool free = false;
    for (;;) {
      if ((free = (state & held) == 0)) break;  // or biased
      std::uint32_t const next = ((state | queued | shared) & ~(woken ? called : 0u)) | (impatient ? hand_over : 0u);
      if (state_.compare_exchange_weak(state, next, std::memory_order_relaxed)) break;
    }
    if (free) {
      guard.unlock();
      continue;
    }
    record.who = &self;
    record.generation = rt::begin_wait(self);
    record.ok = false;
    if (woken) push_front(waiters_, record);
    else push_back(waiters_, record);
    rt::how const ended = rt::park(self, request);
    if (ended != rt::how::partner) {  // a deadlocked program is being unwound
      guard.lock();
      if (record.linked) unlink(waiters_, record);
      guard.unlock();
      rt::throw_cancelled();
    }
    if (record.ok) {  // L4; pairs with the store of U3
      (void)state_.load(std::memory_order_acquire);
      return;
    }
    woken = true;
  }
}

void mutex::unlock_slow() noexcept WEFT_NO_THREAD_SAFETY_ANALYSIS {
  std::uint32_t state = state_.load(std::memory_order_relaxed);
  if (state == biased) state = share();
  for (;;) {  // U1
    if ((state & held) == 0) rt::fatal("mutex::unlock: unlock of a mutex that is not held");
    if (!wakes_somebody(state)) {
      if (state_.compare_exchange_weak(state, state & ~held, std::memory_order_release, std::memory_order_relaxed))
        return;
      continue;
    }
    break;
  }
  rt::object_lock& guard = rt::lock_of(this);
  guard.lock();
  state = state_.load(std::memory_order_relaxed);
  auto* first = static_cast<mutex_record*>(rt::pop_claimed(waiters_, rt::how::partner));  // U2
  std::uint32_t const rest = waiters_.head != nullptr ? queued : 0u;
  rt::waiter* next = nullptr;
  // U3: each store is the last access to the mutex (T3) and pairs with the acquire of who takes it next.
  if (first == nullptr) {
    state_.store(shared | (state & called), std::memory_order_release);
  } else if ((state & hand_over) != 0) {
    next = first->who;
    first->ok = true;
    bool const again = rest != 0 && rt::clock_ns() - first->since >= patience_ns;
    state_.store(shared | held | rest | (again ? hand_over : 0u) | (state & called), std::memory_order_release);
  } else {
    next = first->who;
    state_.store(shared | rest | called, std::memory_order_release);
  }
  guard.unlock();
  if (next != nullptr) rt::ready(*next);  // U4
}

}  // namespace weft
