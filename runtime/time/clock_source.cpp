// Timers and tickers: a node in a timer heap that sends the time into a channel with room for one value.
//
//   fire    F1 under the source's lock: armed, and this generation? else it was stopped or reset behind the heap's back: nothing
//           F2 a ticker is armed again, for the first multiple of its period that is still to come
//           F3 the value goes into the channel, if there is room: a slow receiver misses ticks
//   stop    P1 under the lock: disarm   P2 take back the value that nobody has received
//   reset   P1, P2, then arm with the next generation
//
// Sending under the lock is what keeps a stale value from being received: a fire that loses to a stop does nothing (F1), and
// one that wins has put its value where P2 finds it, or a receiver has it already. The channel's own lock, and those under which
// waiters are made ready, come below; nothing that runs under them takes a source's lock. The memory goes with the last of: handles
// (or, of after() and tick(), receivers), entries in heaps.
//
// Rejected: a task for each timer (a stack for each, and no way to take back what it has sent); letting the receiver drop stale
// values by their generation (select and ranges would have to know).
//
// A timer may outlive its runtime, and be reset by tasks of several. It is armed in the heaps of whose task resets it, and by a plain thread in
// those where it was armed last, if that runtime takes guests. A node that lies in another runtime's heap cannot be taken along: arming it would
// lock a heap that may be ending, and leave it there. So a source has a node for each runtime in whose heaps it lies, one of them in use:
// the arming runtime's, which does not end meanwhile, or one that lies in no heap. The others are dead (P1), and go out of their heaps with
// these. Disarming needs no runtime: timer_heap.hpp, T9.

#include <weft/detail/guest.hpp>
#include <weft/detail/simulated.hpp>
#include <weft/time.hpp>

#include <atomic>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/chan/channel.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task_timer.hpp"
#include "runtime/sched/worker.hpp"
#include "runtime/timer/timer_heap.hpp"

namespace weft::rt {

struct clock_source : detail::receivers_watcher {
  /// A node, and the runtime in whose heaps it lies, or has lain.
  struct placed {
    placed(timer_ops const& ops, clock_source& of, scheduler* in) noexcept : node(ops, &of), sched(in) {}
    timer_node node;
    scheduler* sched;
    placed* next = nullptr;
  };

  clock_source(timer_ops const& ops, scheduler* in, chan_core* to, bool closes_after) noexcept
      : detail::receivers_watcher{nullptr}, first(ops, *this, in), out(to), closes(closes_after) {}
  ~clock_source() {
    for (placed* n = first.next; n != nullptr;) delete std::exchange(n, n->next);
  }
  clock_source(clock_source const&) = delete;
  clock_source& operator=(clock_source const&) = delete;

  std::atomic<std::uint32_t> refs{1};     // all handles, or receivers, together; each entry in a heap
  std::atomic<std::uint32_t> handles{1};  // timer and ticker only
  object_lock lock;
  placed first;                                        // the nodes; guarded by lock, under which they are armed
  placed* at WEFT_GUARDED_BY(lock) = &first;           // in use
  chan_core* out WEFT_GUARDED_BY(lock);                // with the ends that are ours; null: retired
  std::uint64_t generation WEFT_GUARDED_BY(lock) = 0;  // of the last arming
  std::int64_t when WEFT_GUARDED_BY(lock) = never;
  std::int64_t period WEFT_GUARDED_BY(lock) = 0;  // 0: once
  bool armed WEFT_GUARDED_BY(lock) = false;
  bool const closes;  // once its value is sent the channel closes
};

namespace {

void drop_source(clock_source& s) noexcept {
  if (s.refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete &s;
}

/// A place in a heap, to be used by one arm.
struct place {
  scheduler* sched;
  timer_heap* heap;  // null: no memory
};

/// Of the calling worker's processor; on other threads, of processor 0 of `otherwise`.
place reserve_place(scheduler* otherwise) noexcept {
  worker* const w = current_worker();
  place at{w != nullptr ? w->sched : otherwise, nullptr};
  at.heap = &at.sched->proc(0).timers;
  bool room = false;
  if (w != nullptr) {
    section const inside(w);
    if (inside.proc() != nullptr) at.heap = &inside.proc()->timers;
    room = at.heap->reserve_one();
  } else {
    room = at.heap->reserve_one();
  }
  if (!room) at.heap = nullptr;
  at.sched->want_monitor();
  return at;
}

__attribute__((noinline)) clock_source::placed* other_node_for(clock_source& s, scheduler* sched) noexcept
    WEFT_REQUIRES(s.lock) {
  // That one lies in no heap is final to who arms it. One that lies in a heap lies in a runtime that has not ended: `sched` is that one's address
  // and not another's that has followed it there.
  clock_source::placed* n = &s.first;
  while (n != nullptr && n->node.in_heap() && n->sched != sched) n = n->next;
  if (n == nullptr) {
    n = new (std::nothrow) clock_source::placed(*s.first.node.ops, s, sched);
    if (n == nullptr) return nullptr;
    n->next = std::exchange(s.first.next, n);
  }
  n->sched = sched;
  return n;
}

/// The node to be armed next, in one of `sched`'s heaps. Null: no memory for one.
clock_source::placed* node_for(clock_source& s, scheduler* sched) noexcept WEFT_REQUIRES(s.lock) {
  return s.at->sched == sched ? s.at : other_node_for(s, sched);
}

/// True: whoever sleeps until the next timer must be told. `at` is in the runtime of the node in use.
bool arm_locked(clock_source& s, place at, std::int64_t when) noexcept WEFT_REQUIRES(s.lock) {
  s.when = when;
  s.armed = true;
  return at.heap->arm(s.at->node, when, ++s.generation);
}

/// P1, P2. True: it was pending, or its value not received.
bool stop_locked(clock_source& s) noexcept WEFT_REQUIRES(s.lock) {
  bool const pending = std::exchange(s.armed, false);
  if (pending) timer_heap::disarm(s.at->node, s.generation);
  time_point unseen;
  return (s.out != nullptr && detail::chan_try_recv(s.out, &unseen) == chan_status::ok) || pending;
}

/// F3. A channel that is to be closed after the unlock, by dropping its one sender, or null.
chan_core* send_locked(clock_source& s, std::int64_t now) noexcept WEFT_REQUIRES(s.lock) {
  time_point value{std::chrono::nanoseconds(now)};
  (void)detail::chan_try_send(s.out, &value);
  return s.closes ? std::exchange(s.out, nullptr) : nullptr;
}

void close_finished(chan_core* c) noexcept {
  if (c != nullptr) detail::drop_ends(*c, chan_core::one_sender);
}

/// The first time after `now` that is a multiple of the period away from `when`; never, if it does not fit.
std::int64_t next_tick(std::int64_t when, std::int64_t period, std::int64_t now) noexcept {
  if (now > when) when += (now - when) / period * period;
  return __builtin_add_overflow(when, period, &when) ? never : when;
}

void fire(timer_node&, void* owner, std::uint64_t generation) noexcept {
  clock_source& s = *static_cast<clock_source*>(owner);
  chan_core* finished = nullptr;
  scheduler* tell = nullptr;
  std::int64_t next = never;
  {
    guard const hold(s.lock);
    if (!s.armed || s.generation != generation) return;  // F1
    s.armed = false;
    std::int64_t const now = clock_ns();
    if (s.period != 0) next = next_tick(s.when, s.period, now);
    if (next != never) {                            // F2
      place const at = reserve_place(s.at->sched);  // the same: a node fires where it lies
      if (at.heap == nullptr) fatal("out of memory for a timer");
      if (arm_locked(s, at, next)) tell = at.sched;
    }
    finished = send_locked(s, now);  // F3
  }
  close_finished(finished);
  if (tell != nullptr) tell->timer_changed(next);
}

/// Its runtime has ended, or it is retired. What has no handle cannot be started again: nobody who waits for it need go on.
void abandon(clock_source& s) noexcept {
  chan_core* finished = nullptr;
  if (s.gone != nullptr) {
    guard const hold(s.lock);
    s.armed = false;
    finished = std::exchange(s.out, nullptr);
  }
  close_finished(finished);
  drop_source(s);
}

/// A tick that has not been received is there, so the next ones are dropped.
bool idles(clock_source& s) noexcept {
  guard const hold(s.lock);
  return s.period != 0 && s.out != nullptr && channel_of(*s.out).count.load(std::memory_order_relaxed) != 0;
}

constexpr timer_ops source_ops{
    .retain =
        [](void* owner) noexcept { static_cast<clock_source*>(owner)->refs.fetch_add(1, std::memory_order_relaxed); },
    .fire = [](timer_node& n, void* owner, std::uint64_t generation) { fire(n, owner, generation); },
    .release = [](void* owner) { drop_source(*static_cast<clock_source*>(owner)); },
    .abandon = [](void* owner) { abandon(*static_cast<clock_source*>(owner)); },
    .idles = [](void* owner) { return idles(*static_cast<clock_source*>(owner)); },
};

/// Stop and start. Nothing has changed if it throws.
bool start_source(clock_source& s, std::int64_t first_ns, std::int64_t period_ns) {
  std::int64_t const when = first_ns == 0 ? 0 : detail::deadline_after(std::chrono::nanoseconds(first_ns));
  bool const timed = when != 0 && when != never;
  scheduler* otherwise = nullptr;
  {
    guard const hold(s.lock);
    otherwise = s.at->sched;
  }
  place at{};
  std::optional<detail::guest> in;
  if (timed) {
    at = reserve_place(in.emplace(otherwise).scheduler());
    if (at.heap == nullptr) throw std::bad_alloc();
  }
  chan_core* finished = nullptr;
  bool was = false;
  bool tell = false;
  {
    guard const hold(s.lock);
    clock_source::placed* const node = timed ? node_for(s, at.sched) : s.at;
    if (node == nullptr) {
      at.heap->unreserve_one();
      throw std::bad_alloc();
    }
    was = stop_locked(s);
    s.at = node;
    s.period = period_ns;
    if (timed) tell = arm_locked(s, at, when);
    if (when == never) {  // pending in no heap; a fire that has lost to the stop above finds another generation
      s.armed = true;
      s.generation += 1;
    }
    if (when == 0) finished = send_locked(s, clock_ns());
  }
  close_finished(finished);
  if (tell) at.sched->timer_changed(when);
  if (timed) relieve(*at.sched, *at.heap);
  return was;
}

/// Nobody can receive any more, or should.
void retire(clock_source& s, std::uint64_t ends) noexcept {
  chan_core* c = nullptr;
  {
    guard const hold(s.lock);
    (void)stop_locked(s);
    c = std::exchange(s.out, nullptr);
  }
  if (c != nullptr) detail::drop_ends(*c, ends);
  drop_source(s);
}

}  // namespace
}  // namespace weft::rt

namespace weft::detail {

std::int64_t checked_period(std::int64_t ns) {
  if (ns <= 0) throw std::invalid_argument("weft: the period of a ticker must be positive");
  return ns;
}

namespace {
rt::scheduler& required_scheduler() {
  rt::worker* const w = rt::current_worker();
  if (w == nullptr) throw no_runtime();
  return *w->sched;
}
}  // namespace

clock_handle::clock_handle(std::int64_t first_ns, std::int64_t period_ns) {
  rt::scheduler& sched = required_scheduler();
  chan<time_point> const out(1);
  auto s = std::make_unique<rt::clock_source>(rt::source_ops, &sched, core_of(out), false);
  rt::start_source(*s, first_ns, period_ns);
  add_ends(*core_of(out), both_ends);
  source_ = s.release();
}

clock_handle::clock_handle(clock_handle const& other) noexcept : source_(other.source_) {
  source_->handles.fetch_add(1, std::memory_order_relaxed);
}

clock_handle::~clock_handle() {
  if (source_->handles.fetch_sub(1, std::memory_order_acq_rel) == 1) rt::retire(*source_, both_ends);
}

bool clock_handle::reset(std::int64_t first_ns, std::int64_t period_ns) const {
  preemption_point();
  return rt::start_source(*source_, first_ns, period_ns);
}

bool clock_handle::stop() const noexcept {
  preemption_point();
  rt::guard const hold(source_->lock);
  return rt::stop_locked(*source_);
}

receiver<time_point> clock_handle::channel() const noexcept {
  rt::guard const hold(source_->lock);
  add_ends(*source_->out, chan_core::one_receiver);
  return receiver<time_point>(source_->out);
}

receiver<time_point> clock_channel(std::int64_t first_ns, std::int64_t period_ns) {
  rt::scheduler& sched = required_scheduler();
  auto [tx, rx] = make_ends<time_point>(1);
  auto s = std::make_unique<rt::clock_source>(rt::source_ops, &sched, core_of(tx), period_ns == 0);
  s->gone = [](receivers_watcher& w) noexcept { rt::retire(static_cast<rt::clock_source&>(w), chan_core::one_sender); };
  add_ends(*core_of(tx), chan_core::one_sender);
  watch_receivers(*core_of(tx), *s);
  rt::start_source(*s.release(), first_ns, period_ns);  // if it throws, rx takes the source along
  return rx;
}

}  // namespace weft::detail
