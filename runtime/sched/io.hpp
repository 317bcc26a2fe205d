// Descriptors that tasks wait on: what lies between the poller, which reports edges, and the socket calls, which try first
// and wait only when the kernel says EAGAIN.
//
// Operation   1. cancellation_point(); io_use: refuse a descriptor that is being closed, keep it open during the call
//             2. a past deadline: timed_out, even if data is ready
//             3. seen = edges      4. the system call; anything but EAGAIN: done
//             5. io_wait(seen): returns at once if `edges` has moved on since 3, else waits; then from 2
// Edge        dispatch(), for each event: slot by index; under its lock: another generation: dropped; else edges + 1 in
//             the due directions, all their waiters are claimed
// Close       1. uses |= closing: new operations are refused   2. under the lock: generation + 1, every waiter is claimed
//             with how::close     3. the descriptor number is given back when the last operation has left (io_use), so
//             that no operation in progress can meet the number's next owner
// Deadline    stored under the lock; every waiter of that direction is claimed and goes on from 2 with the new one
//
// Counting edges instead of a ready flag that operations clear: with two readers, one could clear the flag that told the
// other to try again. A count is only ever compared with what the comparer saw itself.
//
// `drained` saves the read that would only return EAGAIN. A stream read that got less than it asked for has emptied the
// socket; if `edges` has not moved since before that read, the next read waits without trying. A hang-up that was reported
// together with the data would never be reported again, so `hangup` is sticky and switches the short cut off. Urgent
// data (MSG_OOB) do so, too: a read ends before them, and what stands behind them, and came with them, would not be reported again.
//
// A descriptor is registered at its first EAGAIN, with the poller of the task's runtime: a connection that is accepted,
// read and closed at once costs no epoll_ctl. A plain thread waits in poll(2), with an eventfd that close and deadlines use
// to break it.
//
// Slots belong to the process, not to a runtime: they are type-stable, so that late events and late closers may look
// at one that has been recycled, and a socket may outlive the runtime that registered it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include "runtime/base/lock.hpp"
#include "runtime/poll/poller.hpp"
#include "runtime/sched/wait.hpp"

namespace weft::rt {

struct io_table;
struct io_thread_wait;

enum class io_direction : std::uint8_t { read, write };

/// What a descriptor is; decides which system calls are right for it.
enum class io_kind : std::uint8_t {
  tcp,     // byte stream: a short read means that the socket is empty
  socket,  // byte stream whose short reads mean nothing (unix)
  listener,
  other,     // datagrams, descriptors that are only waited for
  pipe,      // not a socket, O_NONBLOCK: read and write
  terminal,  // like pipe, through an open file of our own
  blocking,  // not ours to make non-blocking (terminals, standard descriptors): wait first, then read or write
};

/// One direction of a descriptor.
struct io_side {
  std::atomic<std::uint32_t> edges{1};  // written under the lock (release), read by operations (acquire); never 0
  std::atomic<std::uint32_t> drained{
      0};             // `edges` before the read that emptied the socket; 0: not known. Readers alone
  wait_list waiters;  // guarded by the slot's lock
  std::atomic<std::int64_t> deadline{never};  // written under the lock; read without it as a hint at step 2
};

struct alignas(64) io_slot {  // two lines, which are no other connection's
  object_lock lock;
  std::uint32_t index = 0;  // constant
  std::uint32_t generation WEFT_GUARDED_BY(lock) = 0;
  int fd = -1;                            // constant while open or in use
  std::atomic<std::uint32_t> uses{0};     // operations in progress, + 1 while open | closing
  std::atomic<std::uint32_t> handles{0};  // the last one to go closes
  std::atomic<std::uint32_t> refs{0};     // 1 while there are handles, 1 until the descriptor is closed; 1 when free
  io_table* table WEFT_GUARDED_BY(lock) = nullptr;          // whose poller watches fd; null: none yet
  io_thread_wait* threads WEFT_GUARDED_BY(lock) = nullptr;  // plain threads in poll(2)
  io_slot* next_free = nullptr;                             // guarded by the free list's lock
  io_side sides[2];
  std::atomic<bool> hangup{false};   // or urgent data; written before `edges`, see there
  std::atomic<bool> exposed{false};  // the number was told to the user, who may have duplicated it
  io_kind kind = io_kind::other;     // constant while open
  std::atomic<bool> named{false};    // the number was told to the user, who may wait for it by wait_readable
  bool keep_open = false;            // constant while open: never close(2) it (standard descriptors)
  // The errno by which a write found the connection gone, or 0: the kernel tells one caller, and the others that the stream has ended.
  std::atomic<std::uint8_t> gone_by{0};

  static constexpr std::uint32_t closing_bit = 1u << 31;

  [[nodiscard]] io_side& side(io_direction d) noexcept { return sides[static_cast<std::size_t>(d)]; }
  [[nodiscard]] bool closing() const noexcept { return (uses.load(std::memory_order_acquire) & closing_bit) != 0; }
};

static_assert(sizeof(io_slot) == 128);

/// What a runtime knows of descriptors: its poller. Tags are generation << 32 | index.
struct io_table {
  explicit io_table(poller& p) noexcept : poller_(p) {}
  ~io_table() {  // the poller is about to close
    if (!forgotten_) forget_all();
  }
  io_table(io_table const&) = delete;
  io_table& operator=(io_table const&) = delete;

  /// Claims whoever waits for what has happened, and appends them to `out` for the caller to make ready. Neither allocates nor
  /// throws. Any thread, several at once.
  void dispatch(poll_event const* events, std::size_t n, ready_list& out) noexcept;

  /// Nobody looks at the poller any more: who waits by it, a task of another runtime, registers anew with its own.
  void forget_all() noexcept;

  [[nodiscard]] poller& poll() noexcept { return poller_; }

 private:
  poller& poller_;
  bool forgotten_ = false;  // by its runtime's shutdown
};

/// The table of the runtime that the calling task belongs to; null on a plain thread. Defined by the scheduler.
[[nodiscard]] io_table* current_io_table() noexcept;

// ---- slots ----------------------------------------------------------------------------------------------------------

/// What happened to an open slot's descriptor: the Edge step, for one whose tag needs no check. Any thread.
void io_report(io_slot& s, poll_event const& e, ready_list& out) noexcept;

/// A slot for `fd`, with one handle, or null for want of memory: then fd is still the caller's.
[[nodiscard]] io_slot* io_open(int fd, io_kind kind) noexcept;

inline void io_retain(io_slot& s) noexcept { s.handles.fetch_add(1, std::memory_order_relaxed); }
/// One handle less; closes with the last one.
void io_release(io_slot& s) noexcept;

/// Closes; true if this call was the first to. Wakes every waiter with errc::closed. Never blocks.
bool io_close(io_slot& s) noexcept;

/// A standard descriptor's number (0, 1, 2) for one slot with keep_open, until that is closed: a poller takes a number once. False: another has it.
[[nodiscard]] bool io_claim_standard(int fd) noexcept;
void io_unclaim_standard(int fd) noexcept;  // for who has found no memory for the slot

/// The last operation has left a slot that is closed, or the other way round. For io_use and io_close.
void io_leave(io_slot& s) noexcept;

/// Keeps the descriptor open during an operation.
class io_use {
 public:
  explicit io_use(io_slot* s) noexcept : slot_(s) {
    if (s == nullptr) return;
    std::uint32_t uses = s->uses.load(std::memory_order_relaxed);
    do {
      if ((uses & io_slot::closing_bit) != 0) {
        slot_ = nullptr;
        return;
      }
      // acquire: pairs with the release of the close before this slot's reopening; the handle orders the rest
    } while (!s->uses.compare_exchange_weak(uses, uses + 1, std::memory_order_acquire, std::memory_order_relaxed));
  }
  ~io_use() {
    if (slot_ != nullptr) io_leave(*slot_);
  }
  io_use(io_use const&) = delete;
  io_use& operator=(io_use const&) = delete;

  /// False: closed by this side, or there never was a descriptor.
  [[nodiscard]] explicit operator bool() const noexcept { return slot_ != nullptr; }

 private:
  io_slot* slot_;
};

/// A wait for a descriptor through a duplicate of it: io_close of the slot with the original number ends it with errc::closed.
/// Linked before the duplicate is made, so that a close in between is not missed.
class io_watch {
 public:
  explicit io_watch(int fd) noexcept;
  ~io_watch();
  io_watch(io_watch const&) = delete;
  io_watch& operator=(io_watch const&) = delete;

  /// False: the original has been closed by now.
  [[nodiscard]] bool through(io_slot& duplicate) noexcept;

  /// Closes the duplicates of all who watch that number; whether there were any.
  static bool close_all(int fd) noexcept;

 private:
  struct list;
  [[nodiscard]] static list& list_of(int fd) noexcept;

  int const fd_;  // the rest is guarded by the lock of list_of(fd_)
  io_slot* duplicate_ = nullptr;
  bool closed_ = false;
  io_watch *next_ = nullptr, *previous_ = nullptr;
};

// ---- waiting --------------------------------------------------------------------------------------------------------

/// Step 2: whether the direction's deadline has passed.
[[nodiscard]] inline bool io_past_deadline(io_side const& side) noexcept {
  std::int64_t const at = side.deadline.load(std::memory_order_relaxed);
  return at != never && at <= clock_ns();
}

/// Step 5. No error: try again. errc::closed; std::errc::timed_out, when the direction's deadline or `until` has come; or
/// what the poller said against registering. Throws weft::cancelled. The caller holds an io_use.
[[nodiscard]] std::error_code io_wait(io_slot& s, io_direction d, waiter& self, std::uint32_t seen,
                                      std::int64_t until = never);

/// Waits until `until`, close, or (a task) the next edge; readiness of the descriptor does not end it.
/// No error: go on; errc::closed. Throws weft::cancelled. The caller holds an io_use.
[[nodiscard]] std::error_code io_pause(io_slot& s, io_direction d, waiter& self, std::int64_t until);

/// Moves a deadline, on weft's clock. Does nothing to a closed descriptor.
void io_set_deadline(io_slot& s, io_direction d, std::int64_t at) noexcept;

}  // namespace weft::rt
