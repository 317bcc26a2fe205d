// The store of slots, and steps Edge, Close and Deadline of io.hpp. Waiting stands in io_wait.cpp.
//
// The store: chunk k holds 64 << k slots, so that a slot never moves, an index finds its slot without a lock, and the
// table of chunks is short. Chunks are never freed.
#include "runtime/sched/io.hpp"

#include <bit>
#include <new>

#include <sys/socket.h>
#include <unistd.h>

#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/io_thread_wait.hpp"
#include "runtime/sched/simulated_network.hpp"
#include "runtime/sched/task.hpp"

namespace weft::rt {

namespace {

constexpr unsigned first_chunk_bits = 6;
constexpr unsigned chunk_count = 26;  // 2^32 slots less 64, so that reserved_tag's index is never used

class slot_store {
 public:
  constexpr slot_store() noexcept = default;

  io_slot* take() noexcept {
    guard<ranked_lock> hold(lock_);
    if (free_ == nullptr && !grow()) return nullptr;
    io_slot* s = free_;
    free_ = s->next_free;
    return s;
  }

  void put(io_slot& s) noexcept {
    guard<ranked_lock> hold(lock_);
    s.next_free = free_;
    free_ = &s;
  }

  /// The slot with that index; it has been handed out before.
  io_slot& at(std::uint32_t index) noexcept {
    std::uint32_t const biased = index + (1u << first_chunk_bits);
    unsigned const top = static_cast<unsigned>(std::bit_width(biased)) - 1;
    // acquire: pairs with grow()
    return chunks_[top - first_chunk_bits].load(std::memory_order_acquire)[biased - (1u << top)];
  }

  template <class F>
  void for_each(F visit) noexcept {
    for (unsigned k = 0; k != chunk_count; ++k) {
      io_slot* slots = chunks_[k].load(std::memory_order_acquire);
      if (slots == nullptr) return;
      for (std::size_t i = 0; i != (std::size_t{1} << (first_chunk_bits + k)); ++i) visit(slots[i]);
    }
  }

 private:
  bool grow() noexcept WEFT_REQUIRES(lock_) {
    if (used_chunks_ == chunk_count) return false;
    std::uint32_t const n = 1u << (first_chunk_bits + used_chunks_);
    auto* slots = new (std::nothrow) io_slot[n];
    if (slots == nullptr) return false;
    for (std::uint32_t i = n; i-- > 0;) {
      slots[i].index = n - (1u << first_chunk_bits) + i;
      slots[i].next_free = free_;
      free_ = &slots[i];
    }
    chunks_[used_chunks_++].store(slots, std::memory_order_release);  // pairs with at() and for_each()
    return true;
  }

  ranked_lock lock_{lock_rank::io_table};
  io_slot* free_ WEFT_GUARDED_BY(lock_) = nullptr;
  unsigned used_chunks_ WEFT_GUARDED_BY(lock_) = 0;
  std::atomic<io_slot*> chunks_[chunk_count] = {};
};

constinit slot_store store;

std::atomic<bool> standard_claimed[3] = {};  // acquire and release: whose slot is gone has left the poller

/// One of `count` less. True: it was the last. Who has the last one is alone, and need not count it down: that would be a locked
/// instruction, of which a short connection has few others. acquire: pairs with the release of those before.
bool drop_last(std::atomic<std::uint32_t>& count) noexcept {
  return count.load(std::memory_order_acquire) == 1 || count.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

void unref(io_slot& s) noexcept {
  if (drop_last(s.refs)) store.put(s);
}

void claim_all(wait_list& waiters, how h, ready_list& out) noexcept {
  while (wait_record* r = pop_claimed(waiters, h)) {
    out.push(*r->who);
    if (!r->who->is_thread) prefetch_task(static_cast<task const*>(r->who));  // the claim has fetched its first line
  }
}

/// Under the slot's lock.
void edge(io_side& side, ready_list& out) noexcept {
  std::uint32_t next = side.edges.load(std::memory_order_relaxed) + 1;
  if (next == 0) next = 1;                            // 0 means "not known" in drained
  side.edges.store(next, std::memory_order_release);  // pairs with step 3: who sees the edge sees `hangup`
  claim_all(side.waiters, how::partner, out);
}

void report_locked(io_slot& s, poll_event const& e, ready_list& out) noexcept WEFT_REQUIRES(s.lock) {
  if (e.hangup || e.error || e.urgent) s.hangup.store(true, std::memory_order_relaxed);
  if (e.readable || e.hangup || e.error) edge(s.side(io_direction::read), out);
  if (e.writable || e.hangup || e.error) edge(s.side(io_direction::write), out);
}

void shut_down(int fd) noexcept {
  if (is_simulated(fd)) {
    (void)network_of_run().shutdown(fd, SHUT_RDWR);
  } else {
    ::shutdown(fd, SHUT_RDWR);
  }
}

void close_descriptor(int fd) noexcept {
  if (is_simulated(fd)) return network_of_run().close(fd);
  ::close(fd);
}

}  // namespace

struct io_watch::list {
  object_lock lock;
  io_watch* first WEFT_GUARDED_BY(lock) = nullptr;
};

io_watch::list& io_watch::list_of(int fd) noexcept {
  static constinit list lists[64] = {};  // by the number's last bits
  return lists[static_cast<unsigned>(fd) % 64];
}

io_watch::io_watch(int fd) noexcept : fd_(fd) {
  list& all = list_of(fd);
  guard<object_lock> hold(all.lock);
  next_ = all.first;
  if (next_ != nullptr) next_->previous_ = this;
  all.first = this;
}

io_watch::~io_watch() {
  list& all = list_of(fd_);
  guard<object_lock> hold(all.lock);
  if (next_ != nullptr) next_->previous_ = previous_;
  (previous_ != nullptr ? previous_->next_ : all.first) = next_;
}

bool io_watch::through(io_slot& duplicate) noexcept {
  guard<object_lock> hold(list_of(fd_).lock);
  duplicate_ = &duplicate;
  return !closed_;
}

bool io_watch::close_all(int fd) noexcept {
  list& all = list_of(fd);
  for (bool any = false;; any = true) {
    io_slot* found = nullptr;
    {
      guard<object_lock> hold(all.lock);
      for (io_watch* w = all.first; w != nullptr && found == nullptr; w = w->next_) {
        if (w->fd_ != fd || w->closed_) continue;
        w->closed_ = true;
        any = true;
        if ((found = w->duplicate_) != nullptr) io_retain(*found);  // its task may be done with it by now
      }
    }
    if (found == nullptr) return any;
    io_close(*found);
    io_release(*found);
  }
}

io_slot* io_open(int fd, io_kind kind) noexcept {
  io_slot* s = store.take();
  if (s == nullptr) return nullptr;
  if (is_simulated(fd)) network_of_run().opened(fd, *s);
  guard<object_lock> hold(s->lock);  // a late event may be looking at the generation
  s->fd = fd;
  s->kind = kind;
  s->keep_open = false;
  s->hangup.store(false, std::memory_order_relaxed);
  s->gone_by.store(0, std::memory_order_relaxed);
  s->exposed.store(false, std::memory_order_relaxed);
  s->named.store(false, std::memory_order_relaxed);
  for (io_side& side : s->sides) {
    side.edges.store(1, std::memory_order_relaxed);
    side.drained.store(0, std::memory_order_relaxed);
    side.deadline.store(never, std::memory_order_relaxed);
  }
  s->handles.store(1, std::memory_order_relaxed);
  s->refs.store(2, std::memory_order_relaxed);
  s->uses.store(1, std::memory_order_release);
  return s;
}

void io_release(io_slot& s) noexcept {
  if (!drop_last(s.handles)) return;
  if (!s.closing()) io_close(s);
  unref(s);
}

bool io_close(io_slot& s) noexcept {
  std::uint32_t const before = s.uses.fetch_or(io_slot::closing_bit, std::memory_order_acq_rel);
  if ((before & io_slot::closing_bit) != 0) return false;
  ready_list woken;
  s.lock.lock();
  ++s.generation;
  // Sockets of our own need no removal: close(2) does it, and should the open file live on for a moment in a forked child
  // its events are dropped by their generation. A duplicate that the user made may live for ever.
  bool const ours = s.kind <= io_kind::other && !s.exposed.load(std::memory_order_relaxed);
  if (s.table != nullptr && !ours) s.table->poll().remove(s.fd);
  s.table = nullptr;
  for (io_side& side : s.sides) claim_all(side.waiters, how::close, woken);
  wake_threads_locked(s);
  s.lock.unlock();
  // Operations in progress, and who waits through a duplicate, keep the socket, but the peer should not have to wait for them to be
  // scheduled, nor who wants to listen at the address next. Where the number was told there may be duplicates that others go on with, in
  // another process maybe; a simulated socket has none but those.
  bool const watched = s.named.load(std::memory_order_relaxed) && io_watch::close_all(s.fd);
  if ((watched || (s.uses.load(std::memory_order_relaxed) & ~io_slot::closing_bit) > 1) &&
      s.kind <= io_kind::listener && (ours || is_simulated(s.fd))) {
    shut_down(s.fd);
  }
  ready_all(woken);
  io_leave(s);
  return true;
}

bool io_claim_standard(int fd) noexcept { return !standard_claimed[fd].exchange(true, std::memory_order_acq_rel); }
void io_unclaim_standard(int fd) noexcept { standard_claimed[fd].store(false, std::memory_order_release); }

void io_leave(io_slot& s) noexcept {
  // acq_rel: the last one to leave closes after all others' system calls
  if (s.uses.fetch_sub(1, std::memory_order_acq_rel) != (io_slot::closing_bit | 1)) return;
  if (s.keep_open) io_unclaim_standard(s.fd);
  else close_descriptor(s.fd);
  unref(s);
}

void io_set_deadline(io_slot& s, io_direction d, std::int64_t at) noexcept {
  ready_list woken;
  s.lock.lock();
  io_side& side = s.side(d);
  side.deadline.store(at, std::memory_order_relaxed);
  claim_all(side.waiters, how::partner, woken);
  wake_threads_locked(s);
  s.lock.unlock();
  ready_all(woken);
}

void io_report(io_slot& s, poll_event const& e, ready_list& out) noexcept {
  guard<object_lock> hold(s.lock);
  report_locked(s, e, out);
}

void io_table::dispatch(poll_event const* events, std::size_t n, ready_list& out) noexcept {
  for (poll_event const* e = events; e != events + n; ++e) {
    io_slot& s = store.at(static_cast<std::uint32_t>(e->tag));
    guard<object_lock> hold(s.lock);
    if (s.generation != static_cast<std::uint32_t>(e->tag >> 32)) continue;
    report_locked(s, *e, out);
  }
}

// Sockets may outlive the runtime, and tasks of another runtime may be waiting for them.
void io_table::forget_all() noexcept {
  forgotten_ = true;
  store.for_each([this](io_slot& s) {
    ready_list woken;
    s.lock.lock();
    if (s.table == this) {
      s.table = nullptr;
      ++s.generation;
      for (io_side& side : s.sides) edge(side, woken);
    }
    s.lock.unlock();
    ready_all(woken);
  });
}

}  // namespace weft::rt
