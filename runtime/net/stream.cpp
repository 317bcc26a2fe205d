// Reading and writing streams. The two loops here are a server's hot path: one system call each when the kernel does not
// say EAGAIN, and none that only fetches an EAGAIN (`drained` of runtime/sched/io.hpp).
#include <weft/net/stream.hpp>

#include <algorithm>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "runtime/net/operation.hpp"
#include "runtime/net/scratch.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::detail {

io_handle::io_handle(io_handle const& other) noexcept : slot_(other.slot_) {
  if (slot_ != nullptr) rt::io_retain(*slot_);
}

void io_handle::release() noexcept { rt::io_release(*slot_); }

}  // namespace weft::detail

namespace weft::net {

using rt::io_direction;
using rt::io_kind;

namespace {

std::ptrdiff_t read_once(rt::io_slot const& slot, void* to, std::size_t n) noexcept {
  switch (slot.kind) {
    case io_kind::pipe:
    case io_kind::terminal: return system::read(slot.fd, to, n);
    case io_kind::blocking: return system::read_if_ready(slot.fd, to, n);
    default: return system::recv(slot.fd, to, n);
  }
}

constexpr std::size_t parts_a_call = 32;  // 512 bytes of stack; the kernel would take 1024

[[gnu::noinline]] std::ptrdiff_t write_otherwise(rt::io_slot const& slot, std::span<const_buffer const> from,
                                                 std::size_t skip) noexcept {
  std::byte const* first = from[0].bytes.data() + skip;
  std::size_t const first_size = from[0].bytes.size() - skip;
  if (slot.kind == io_kind::blocking) return system::write_if_ready(slot.fd, first, first_size);
  iovec parts[parts_a_call];
  std::size_t const n = std::min(from.size(), parts_a_call);
  parts[0] = {const_cast<std::byte*>(first), first_size};
  for (std::size_t i = 1; i != n; ++i) parts[i] = {const_cast<std::byte*>(from[i].bytes.data()), from[i].bytes.size()};
  bool const is_pipe = slot.kind == io_kind::pipe || slot.kind == io_kind::terminal;
  return is_pipe ? system::write_parts(slot.fd, parts, n) : system::send_parts(slot.fd, parts, n);
}

/// Writes what `from` and `skip`, the bytes of its first buffer that are written already, leave; as much as goes.
std::ptrdiff_t write_once(rt::io_slot const& slot, std::span<const_buffer const> from, std::size_t skip) noexcept {
  if (from.size() == 1 && slot.kind < io_kind::pipe)
    return system::send(slot.fd, from[0].bytes.data() + skip, from[0].bytes.size() - skip);
  return write_otherwise(slot, from, skip);
}

/// stream_base::read_some into what room_now() says, which is asked before each attempt: a std::span<std::byte>.
template <class Room>
__attribute__((always_inline)) inline result<std::size_t> read_into(rt::io_slot* slot, Room room_now) {
  rt::waiter& self = rt::cancellation_point();
  rt::io_use const use(slot);
  if (!use) return fail(errc::closed);
  rt::io_side& side = slot->side(io_direction::read);
  // Relaxed: who reads one after the other is ordered by his own means, and a wrong guess is only an attempt more.
  std::uint32_t drained = side.drained.load(std::memory_order_relaxed);
  for (;;) {
    if (rt::io_past_deadline(side)) return fail(std::errc::timed_out);
    std::span<std::byte> const to = room_now();
    if (to.empty()) return 0;
    std::uint32_t const seen = side.edges.load(std::memory_order_acquire);  // pairs with the dispatch of an edge
    if (seen != drained || slot->hangup.load(std::memory_order_relaxed)) {
      std::ptrdiff_t const n = read_once(*slot, to.data(), to.size());
      if (n > 0) {
        bool const emptied = static_cast<std::size_t>(n) < to.size() && slot->kind == io_kind::tcp;
        side.drained.store(emptied ? seen : 0, std::memory_order_relaxed);
        return static_cast<std::size_t>(n);
      }
      if (n != -EAGAIN) {
        if (slot->closing()) return fail(errc::closed);  // it was our close that ended the stream
        if (n != 0) return system_failure(n);
        if (int const error = slot->gone_by.load(std::memory_order_relaxed)) return system_failure(-error);
        return 0;
      }
    }
    drained = 0;
    if (std::error_code e = rt::io_wait(*slot, io_direction::read, self, seen)) return fail(e);
  }
}

}  // namespace

result<std::size_t> stream_base::read_some(mutable_buffer to) {
  return read_into(handle_.slot(), [to] { return to.bytes; });
}

result<void> stream_base::read_exact(mutable_buffer to) {
  if (to.bytes.empty()) (void)rt::cancellation_point();
  for (std::span<std::byte> left = to.bytes; !left.empty();) {
    auto const n = read_some(left);
    if (!n) return fail(n.error());
    if (*n == 0) return fail(errc::eof);
    left = left.subspan(*n);
  }
  return {};
}

result<void> stream_base::write_all(std::span<const_buffer const> from) {
  rt::io_slot* slot = handle_.slot();
  std::size_t skip = 0;  // bytes of from[0] that are written already
  do {
    auto const n = operate(slot, io_direction::write, [&](int) -> std::ptrdiff_t {
      while (!from.empty() && from[0].bytes.empty()) from = from.subspan(1);
      return from.empty() ? 0 : write_once(*slot, from, skip);
    });
    if (!n) return fail(n.error());
    skip += *n;
    while (!from.empty() && skip >= from[0].bytes.size()) {
      skip -= from[0].bytes.size();
      from = from.subspan(1);
    }
  } while (!from.empty());
  detail::preemption_point();
  return {};
}

result<void> stream_base::write_file(int file, std::uint64_t offset, std::uint64_t length) {
  constexpr std::uint64_t at_once = 1024 * 1024;  // so that a fast reader of a large file does not hold the worker
  (void)rt::cancellation_point();                 // also where there is nothing to write
  rt::io_slot* slot = handle_.slot();
  if (slot != nullptr && slot->kind >= io_kind::terminal) return fail(std::errc::invalid_argument);
  survive_broken_pipes();
  while (length != 0) {
    auto const n = operate(slot, io_direction::write, [&](int fd) {
      return system::send_file(fd, file, offset, static_cast<std::size_t>(std::min(length, at_once)));
    });
    if (!n && n.error() == std::errc::invalid_seek) return fail(std::errc::invalid_argument);  // a pipe, a socket
    if (!n) return fail(n.error());
    if (*n == 0) return fail(errc::eof);
    offset += *n;
    length -= *n;
  }
  return {};
}

result<void> stream_base::shutdown_write() {
  detail::preemption_point();
  rt::io_use const use(handle_.slot());
  if (!use) return fail(errc::closed);
  int const e = system::shutdown_write(handle_.slot()->fd);
  if (e == -ENOTSOCK) {
    close();  // a pipe has one direction: its end is its closing
    return {};
  }
  detail::preemption_point();
  if (e < 0) return system_failure(e);
  return {};
}

void stream_base::close() noexcept { close_handle(handle_); }
void stream_base::set_read_deadline(time_point at) noexcept { set_deadline(handle_, io_direction::read, at); }
void stream_base::set_write_deadline(time_point at) noexcept { set_deadline(handle_, io_direction::write, at); }

void stream_base::set_nodelay(bool on) noexcept {
  rt::io_use const use(handle_.slot());
  if (!use || handle_.slot()->kind != io_kind::tcp) return;
  // Fails only on a connection that is gone, which the next read or write says.
  [[maybe_unused]] int const ignored = system::set_option(handle_.slot()->fd, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0);
}

endpoint stream_base::local_endpoint() const noexcept { return socket_name(handle_.slot(), false); }
endpoint stream_base::remote_endpoint() const noexcept { return socket_name(handle_.slot(), true); }
int stream_base::native_handle() const noexcept { return expose(handle_.slot()); }

std::pair<read_half, write_half> tcp_stream::split() && {
  read_half reading(handle_);
  return {std::move(reading), write_half(std::move(handle_))};
}

std::pair<read_half, write_half> unix_stream::split() && {
  read_half reading(handle_);
  return {std::move(reading), write_half(std::move(handle_))};
}

}  // namespace weft::net

namespace weft::rt {

result<std::span<char>> stream_access::read_to_scratch(net::stream_base& s) {
  std::span<std::byte> scratch;
  auto const n = net::read_into(s.handle_.slot(), [&scratch] { return scratch = scratch_here(); });
  if (!n) return net::fail(n.error());
  if (scratch.empty()) return net::fail(std::errc::not_enough_memory);
  return std::span(reinterpret_cast<char*>(scratch.data()), *n);
}

int stream_access::descriptor_of(net::stream_base const& s) noexcept {
  io_use const use(s.handle_.slot());
  return use ? s.handle_.slot()->fd : -1;
}

std::uint64_t stream_access::progress_of(net::stream_base const& s) noexcept {
  io_use const use(s.handle_.slot());
  if (!use) return 0;
  io_slot& slot = *s.handle_.slot();
  if (slot.kind == io_kind::tcp || is_simulated(slot.fd)) return net::system::bytes_acked(slot.fd);
  // What is left of what was sent shrinks until there is room for more, which is an edge.
  std::uint64_t const refills = slot.side(io_direction::write).edges.load(std::memory_order_relaxed);
  return refills << 32 | net::system::unacknowledged(slot.fd, 0);
}

}  // namespace weft::rt
