// netpoller: what the scheduler expects of the thing that it sleeps in.
//
// There is one in a program, chosen when the runtime is compiled, so it is a concept and not a base class: the real one
// is poller.hpp; a simulated one (a clock and a list of scripted events) only has to satisfy this to stand in for it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace weft::rt {

// What happened on one descriptor since the last report (edges, not levels). hangup and error are for both directions
// and stay true of the descriptor for ever: the upper layer keeps them, since the edge that carries the FIN may be the one
// that carries the last data.
struct poll_event {
  std::uint64_t tag;  // as given to add
  bool readable;
  bool writable;
  bool hangup;  // the peer has finished sending, or all is closed
  bool error;
  bool urgent = false;  // urgent data of TCP stands in the stream: a read ends before it, whatever comes behind
};

template <class P>
concept netpoller =
    requires(P p, int fd, std::uint64_t tag, std::int64_t timeout_ns, poll_event* out, std::size_t max) {
      { p.open() } noexcept -> std::same_as<std::error_code>;
      { p.close() } noexcept;
      { p.add(fd, tag) } noexcept -> std::same_as<std::error_code>;
      { p.remove(fd) } noexcept;
      { p.wait(timeout_ns, out, max) } noexcept -> std::same_as<std::size_t>;
      { p.wake() } noexcept;
    };

}  // namespace weft::rt
