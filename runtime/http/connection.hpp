// One connection of a server, from the byte that ends its idleness to the byte that ends its last response.
//
//   1. The connection's task waits for bytes in a shallow frame, without a buffer: they are read into the thread's scratch. An idle
//      connection costs the one page of its stack and nothing of this layer's heap.
//   2. Bytes have come: serve_requests takes a workspace, and with it parses, calls handlers, and collects responses until the
//      input is empty between two requests. Responses to pipelined requests go out in one write.
//   3. The workspace goes back, the task is at 1 again.
//   4. After a second of idleness the sweep wakes it once, to give back the pages of its stack below the frame of 1: a parser and
//      a handler touch at least one more.
//
// Time-outs without timers: `activity` changes whenever the connection gets on. The server's sweep (server.cpp) remembers
// what it saw when; a connection that stands still for too long gets that value in `expired` and a deadline in the
// past, which ends its read or write. The connection's task compares: if `expired` is not what it is doing now, the sweep came too
// late, and it takes the deadline back and goes on. Nobody but the connection's own task ever ends it, but for the
// end of a shutdown's grace.
// Rejected: a deadline a read (a clock read and a timer for every request).
//
// A client that goes away while a handler runs: nobody reads meanwhile, so the sweep looks at the sockets of those whose handler takes
// long, and cancels the connection's task. A socket that is broken is plain to see. A client that has ended its side only may still
// wait for its answer, and looks like one that is gone altogether: only data makes a difference, since the kernel of the latter
// answers it with a reset. (A keep-alive probe does not: it is acknowledged as long as that kernel remembers the connection.)
// Whatever the response will be, it begins with `response_start`: so such a client is sent one byte of that ahead, and another
// after twice the time, and so on. The response then goes out without them, and nobody can tell. Responses to pipelined
// requests that wait for one more, whose handler takes long, are sent by the sweep before that.
//   I1  the sweep: `probing` is set   I2  heavy fence   I3  `activity` is what it was, of phase handling or owing: what is
//   owed, or a byte, is sent and counted in `ahead`   I4  `probing` is cleared
//   O1  the connection's task, before it writes or touches what is owed: enters another phase   O2  light fence
//   O3  waits while `probing` is set   O4  when it writes: leaves out `ahead` bytes
// Of I3 and O3 at least one sees what the other side has stored, so that nothing is sent into a response. `ahead` is written at I3, and
// at O4, which comes either behind that I4 or with an I3 that sends nothing.
// Rejected: 102 Processing (RFC 2518), which HTTP/1.1 clients must pass over and hand-made ones do not, and which HTTP/1.0 has not.
#pragma once

#include "runtime/sched/worker.hpp"

#include <weft/net/stream.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weft::rt {

struct http_server;

enum class connection_phase : std::uint32_t {
  idle,
  header,
  body,
  handling,  // a handler runs, and nothing waits to be written: the next byte is the first of a response
  owing,     // a handler runs, and earlier responses wait to be written: `owed`
  working,   // a handler or the callback of a streamed body runs, and nobody else may write
  writing
};

/// What each response begins with.
inline constexpr std::string_view response_start = "HTTP/1.1 ";

struct http_connection {
  explicit http_connection(net::stream_base&& s) noexcept : stream(std::move(s)) {}

  net::stream_base stream;  // of a tcp_stream or a unix_stream

  // A count of changes above three bits of phase. Written by the connection's task; the sweep's reads may be late. It must
  // not read a value from before a poke's answer: relaxed suffices, since a wrong `expired` is only a spurious wake-up.
  std::atomic<std::uint32_t> activity{0};
  // Written by the sweep before it moves the deadline (release), read after a time-out (acquire).
  std::atomic<std::uint32_t> expired{~0u};
  std::atomic<bool> probing{false};     // I1 to I4
  std::atomic<std::uint32_t> ahead{0};  // bytes that have been sent of what is owed and of response_start behind it
  // What is owed while a handler runs: written before its phase is entered, read at I3; the size before that as a hint.
  char const* owed = nullptr;
  std::atomic<std::uint32_t> owed_size{0};
  std::uint64_t written = 0;  // bytes in all, or about to be; its own task's
  task* const self = current_task();

  // Of the sweep, guarded by the shard's lock.
  std::uint32_t seen = ~0u;
  std::int64_t seen_at = 0;
  std::uint32_t rested = 0;  // the idleness for which the stack was given back
  std::uint64_t acked = 0;   // bytes that the client had acknowledged then
  bool lost = false;         // its client has been found gone: its task is cancelled once
  http_connection* next = nullptr;
  http_connection* prev = nullptr;

  void enter(connection_phase p) noexcept {
    std::uint32_t const count = (activity.load(std::memory_order_relaxed) >> 3) + 1;
    activity.store(count << 3 | static_cast<std::uint32_t>(p), std::memory_order_release);  // owed: pairs with I3
  }
  [[nodiscard]] connection_phase phase() const noexcept { return phase_of(activity.load(std::memory_order_relaxed)); }
  /// A handler runs, and `out` waits to be written, if anything does; until the next enter(), or settle() where out is
  /// not empty.
  void enter_handler(std::string_view out) noexcept {
    owed = out.data();
    // release: an I3 that began in the phase before, which ended without settle() since nothing was owed, may read this already.
    owed_size.store(static_cast<std::uint32_t>(out.size()), std::memory_order_release);
    enter(out.empty() ? connection_phase::handling : connection_phase::owing);
  }
  /// O1 to O3.
  void settle(connection_phase p) noexcept;
  static connection_phase phase_of(std::uint32_t activity) noexcept {
    return static_cast<connection_phase>(activity & 7);
  }
  /// After a time-out: whether it was meant for what the connection is doing now.
  [[nodiscard]] bool is_expired() const noexcept {
    return expired.load(std::memory_order_acquire) == activity.load(std::memory_order_relaxed);
  }
};

/// Step 2. `scratch` has been read, and is the thread's: good until the task may switch. True: the connection is idle again and all is answered. May
/// throw weft::cancelled, at the end of a shutdown's grace.
[[nodiscard]] bool serve_requests(http_server& server, http_connection& c, std::span<char> scratch);

}  // namespace weft::rt
