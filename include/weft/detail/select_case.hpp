// One case of a select as the compiled half sees it. The templates fill a table of them, select_run() picks one.
#pragma once

#include <cstddef>
#include <cstdint>

#include <weft/detail/chan_core.hpp>

namespace weft::rt {
struct completion;
}

namespace weft::detail {

enum class select_kind : std::uint8_t { off, recv, done, send, join, timeout, deadline, otherwise };

/// `off` is never ready. Which fields mean something depends on the kind.
struct select_case {
  select_kind kind = select_kind::off;
  bool ready_slot = true;  // send: `slot` is valid, prepare() is not due
  bool locks;              // select_run's own, as drawn, lock and record: the first in the locking order with its lock
  union {
    chan_core* core = nullptr;  // recv, done, send; null: the nil channel
    rt::completion* ended;      // join
    std::int64_t when;          // timeout: nanoseconds to wait; deadline: on weft's clock
  };
  void* slot = nullptr;  // recv: where the value goes; send: where it is
  // send: brings the value into the form that the core moves, on the caller's stack with no lock held, when the case is
  // about to happen or select is about to wait; returns the slot. May throw.
  void* (*prepare)(void* self) = nullptr;
  void* self = nullptr;
  select_case* drawn;  // entry i of the order in which cases are tried or linked (the array's, not this case's)
  select_case* lock;   // entry i of the order in which locks are taken
  alignas(void*) std::byte record[48];  // the wait record
};

struct select_outcome {
  std::size_t index;
  bool ok;  // recv: a value is in the slot; send: it was sent; false: closed
};

/// Waits until one of the cases can happen and makes it happen; among several the choice is uniformly random, or the
/// first in the table if `biased`. With an `otherwise` it does not wait. Without one it blocks and is a cancellation
/// point; throws weft::cancelled unless a `done` case of the own context, or of one above, is ready by then. What prepare() throws comes out too; then, and
/// in all cases but the one that is returned, nothing has happened.
[[nodiscard]] select_outcome select_run(select_case* cases, std::size_t count, bool biased);

}  // namespace weft::detail
