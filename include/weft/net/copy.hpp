// Moving bytes from one stream to another, one way or both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>

#include <weft/error.hpp>
#include <weft/task.hpp>

namespace weft::net {

/// Reads from `from` till its end and writes all of it to `to`; how many bytes. Does not shut `to` down. The first error of
/// either side ends it.
template <class A, class B>
result<std::uint64_t> copy(A& from, B& to) {
  constexpr std::size_t room = 32 * 1024;
  auto const memory = std::make_unique_for_overwrite<std::byte[]>(room);
  for (std::uint64_t total = 0;;) {
    auto const n = from.read_some(std::span(memory.get(), room));
    if (!n) return std::unexpected(n.error());
    if (*n == 0) return total;
    auto const written = to.write_all(std::span<std::byte const>(memory.get(), *n));
    if (!written) return std::unexpected(written.error());
    total += *n;
  }
}

}  // namespace weft::net

namespace weft::detail {

/// One direction of copy_both. A cancellation leaves the streams to their owner; whatever else ends it ends the other direction too.
template <class A, class B>
[[nodiscard]] result<void> pass_on(A& from, B& to) {
  auto const end_both = [&] {
    from.close();
    to.close();
  };
  try {
    auto const n = net::copy(from, to);
    if (n) {
      (void)to.shutdown_write();  // a peer that is gone already has no use for it
      return {};
    }
    end_both();
    return std::unexpected(n.error());
  } catch (cancelled const&) {
    throw;
  } catch (...) {  // no memory, or a stream of the user's: the other direction might wait for ever
    end_both();
    throw;
  }
}

}  // namespace weft::detail

namespace weft::net {

/// Joins two streams: what comes from one goes to the other, both ways, until both have ended. The end of one direction is passed on
/// (shutdown_write) while the other goes on. An error in either direction closes both streams and is returned; so does an exception
/// but weft::cancelled, and comes out. Inside a runtime only: one direction runs in a task of its own.
template <class A, class B>
result<void> copy_both(A& a, B& b) {
  auto back = weft::spawn([&a, &b] { return detail::pass_on(b, a); });
  result<void> const there = detail::pass_on(a, b);
  result<void> const here = back.join();
  // The direction that was closed from within this call is not the cause.
  if (!there && (here || there.error() != errc::closed)) return there;
  return here;
}

}  // namespace weft::net
