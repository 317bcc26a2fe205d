// The memory that model checks run on: what the modelled std::atomic, fences, locks and futexes call.
//
// It is a machine of views, after "A promising semantics for relaxed-memory concurrency" (POPL 2017) without its promises. Each atomic
// keeps all values that were stored to it, in order; each thread knows, place by place, the oldest of them that it may still read. A load
// chooses among the values from there on: each choice is a run of its own. A release store carries its thread's view along, an acquire load
// takes it over; a seq_cst fence joins its thread's view with one that all such fences share. So:
//
//   is modelled      store buffers, loads out of order, stores out of order, stale reads for as long as the code allows them,
//                    release and acquire (by fences too), release sequences, seq_cst accesses and fences, membarrier (a fence in each
//                    thread, one after the other, at whatever place it has come to); and that a compiler may move a store past the load
//                    that follows it unless a light fence stands between them
//   is not modelled  a load that is satisfied by a store which comes later in program order (load buffering: C++ and Arm allow it, x86
//                    does not), plain stores of two threads to one word that take effect against the order in which they ran (2+2W),
//                    compare_exchange_weak that fails without a reason
//
// Plain data (model::plain) is checked for races by vector clocks, which travel with the views.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <source_location>

namespace model {

inline constexpr unsigned most_places = 64, most_threads = 4;

/// An object's entry in the memory of the current execution. Part of each modelled object.
struct handle {
  std::uint32_t execution = 0;  // in which `place` is meant
  std::uint16_t place = 0;
};

using order = std::memory_order;
using where = std::source_location;

std::uint64_t load(handle&, std::uint64_t initial, order, where);
void store(handle&, std::uint64_t initial, std::uint64_t value, order, where);
/// Any read-modify-write; returns the old value.
using change_value = std::uint64_t (*)(std::uint64_t old, std::uint64_t operand);
std::uint64_t update(handle&, std::uint64_t initial, change_value, std::uint64_t operand, order, where);
bool compare_exchange(handle&, std::uint64_t initial, std::uint64_t& expected, std::uint64_t desired, order success,
                      order failure, where);

void full_fence(where = where::current());
void acquire_release_fence(order, where = where::current());
void light_fence(where = where::current());
void heavy_fence(where = where::current());

void lock(handle&, where);
void unlock(handle&, where);

/// A semaphore of one, for programs: how a thread is told to go on. post: false: it was told already. What the teller knows comes along.
bool post(handle&, where);
void receive(handle&, where);

/// As the system calls. The value that wait compares is the newest.
void futex_wait(handle&, std::uint64_t initial, std::uint64_t expected, where);
void futex_wake(handle&, std::uint64_t initial, int count, where);

void read_plain(handle&, where);
void write_plain(handle&, where);

/// A modelled object begins or ends its life. One that ended must not be used again.
void born(handle&) noexcept;
void died(handle&) noexcept;

/// Plain data that the protocol is to keep from being used by two threads at once.
class plain {
 public:
  plain() noexcept { born(handle_); }
  plain(plain const&) = delete;
  plain& operator=(plain const&) = delete;
  ~plain() { died(handle_); }
  void read(where at = where::current()) { read_plain(handle_, at); }
  void write(where at = where::current()) { write_plain(handle_, at); }

 private:
  handle handle_;
};

/// See post and receive.
class bell {
 public:
  bell() noexcept { born(handle_); }
  bell(bell const&) = delete;
  bell& operator=(bell const&) = delete;
  ~bell() { died(handle_); }
  bool ring(where at = where::current()) { return post(handle_, at); }
  void wait(where at = where::current()) { receive(handle_, at); }

 private:
  handle handle_;
};

}  // namespace model
