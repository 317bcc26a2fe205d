// F1 to F4, L1 and L2 of connection.hpp.

#include "runtime/sim/connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <poll.h>

namespace weft::sim {

namespace {
constexpr std::size_t capacity = 64 * 1024;  // of a direction, as the kernel's buffers of both sides taken together
constexpr std::int64_t patience_ns = 924'600'000'000;
constexpr std::int64_t opening_patience_ns = 127'000'000'000;
constexpr std::int64_t delays_ns[] = {0, 10'000, 100'000, 1'000'000};
}  // namespace

void report(rt::io_slot* slot, rt::poll_event const& what) noexcept {
  if (slot == nullptr) return;
  rt::ready_list woken;
  rt::io_report(*slot, what, woken);
  rt::ready_all(woken);
}

std::int64_t weather::delay() noexcept { return delays_ns[by_.choose_rarely(rt::choice::delay, std::size(delays_ns))]; }

std::size_t weather::part_of(std::size_t n) noexcept {
  if (n < 2) return n;
  switch (by_.choose_rarely(rt::choice::part, n < 4 ? 2 : 4)) {
    case 0: return n;
    case 1: return 1;
    case 2: return n / 2;
    default: return n - 1;
  }
}

connection::connection(weather& w, destination& to, bool local) noexcept
    : weather_(w), to_(to), local_(local), client_(*this, side::client), server_(*this, side::server) {}

// ---- what is under way ----------------------------------------------------------------------------------------------

void connection::flow::post(message what, std::string bytes) noexcept {
  bytes_ += bytes.size();
  if (of_.silent_) return give_up_later(what);
  std::int64_t const now = rt::clock_ns();
  std::int64_t const arrives = std::max(now + (of_.local_ ? 0 : of_.weather_.delay()), last_arrives_);  // F2
  last_arrives_ = arrives;
  if (arrives <= now && segments_.empty()) {
    bytes_ -= bytes.size();
    return of_.deliver(from_, what, bytes);
  }
  segments_.push_back({arrives, what, std::move(bytes)});
  if (segments_.size() == 1) at(arrives);
}

// A stale call, of a timer that was set anew in the same instant, finds nothing that is due. F3
void connection::flow::happens() noexcept {
  std::int64_t const now = rt::clock_ns();
  if (std::exchange(gives_up_, false)) return of_.break_off(from_, ETIMEDOUT);
  while (!segments_.empty() && segments_.front().arrives <= now) {
    segment const first = std::move(segments_.front());
    segments_.pop_front();
    bytes_ -= first.bytes.size();
    of_.deliver(from_, first.what, first.bytes);
  }
  if (!segments_.empty()) at(segments_.front().arrives);
}

void connection::flow::give_up_later(message what) noexcept {
  if (gives_up_ || what == message::reset) return;
  gives_up_ = true;
  at(rt::clock_ns() + (what == message::opening ? opening_patience_ns : patience_ns));
}

void connection::flow::fall_silent() noexcept {
  if (segments_.empty()) return;
  message const first = segments_.front().what;
  segments_.clear();
  give_up_later(first);
}

void connection::flow::drop() noexcept {
  segments_.clear();
  bytes_ = 0;
  gives_up_ = false;
  never_mind();
}

// ---- arrival --------------------------------------------------------------------------------------------------------

void connection::deliver(side from, message what, std::string const& bytes) noexcept {
  half& sender = of(from);
  half& to = of(other(from));
  switch (what) {
    case message::opening:
      if (!sender.closed) to_.arrived(shared_from_this());
      return;
    case message::data:
      if (to.broken) return;
      if (to.closed) return to.out.post(message::reset, {});  // F4
      if (to.ended) return;                                   // it has shut its reading side
      if (to.read == to.received.size() || to.read >= capacity) to.received.erase(0, std::exchange(to.read, 0));
      to.received += bytes;
      sender.delivered += bytes.size();
      return report(to.slot, {.tag = 0, .readable = true, .writable = false, .hangup = false, .error = false});
    case message::end:
      to.ended = to.end_came = true;
      return report(to.slot, {.tag = 0, .readable = true, .writable = false, .hangup = true, .error = false});
    case message::reset: return break_off(other(from), to.ended && !local_ ? EPIPE : ECONNRESET);
  }
}

void connection::break_off(side s, int error) noexcept {
  half& h = of(s);
  if (h.broken) return;
  h.broken = true;
  h.error = error;
  h.out.drop();
  report(h.slot, {.tag = 0, .readable = true, .writable = true, .hangup = true, .error = true});
}

bool connection::is_lost(side s) noexcept {
  if (local_ || silent_) return false;
  switch (weather_.loss()) {
    case 1:  // L1
      break_off(s, 0);
      break_off(other(s), ECONNRESET);
      return true;
    case 2:  // L2
      silent_ = true;
      client_.out.fall_silent();
      server_.out.fall_silent();
      return false;
    default: return false;
  }
}

// ---- opening --------------------------------------------------------------------------------------------------------

int connection::open() noexcept {
  if (is_lost(side::client)) return -ECONNREFUSED;
  client_.out.post(message::opening, {});
  if (open_) return 0;
  return client_.error != 0 ? -std::exchange(client_.error, 0) : -EINPROGRESS;
}

void connection::establish() noexcept {
  open_ = true;
  client_.out.drop();  // its patience
  report(client_.slot, {.tag = 0, .readable = false, .writable = true, .hangup = false, .error = false});
}

void connection::refuse(int error) noexcept { break_off(side::client, error); }

// ---- calls ----------------------------------------------------------------------------------------------------------

std::size_t connection::room(side s) const noexcept {
  std::size_t const taken = of(s).out.under_way() + of(other(s)).unread();
  return taken < capacity ? capacity - taken : 0;
}

std::ptrdiff_t connection::send(side s, iovec const* parts, std::size_t n) noexcept {
  half& me = of(s);
  half const& peer = of(other(s));
  if (local_ && (peer.closed || peer.ended)) return -EPIPE;  // a reset is for who reads
  if (me.error != 0) return -std::exchange(me.error, 0);
  if (me.shut || me.broken) return -EPIPE;
  if (!open_) return -ENOTCONN;
  std::size_t all = 0;
  for (std::size_t i = 0; i != n; ++i) all += parts[i].iov_len;
  if (all == 0) return 0;
  if (is_lost(s)) return -ECONNRESET;
  std::size_t left = std::min(all, room(s));
  if (left == 0) {
    me.full = true;
    return -EAGAIN;
  }
  left = weather_.part_of(left);
  std::string bytes;
  bytes.reserve(left);
  for (std::size_t i = 0; bytes.size() != left; ++i)
    bytes.append(static_cast<char const*>(parts[i].iov_base), std::min(parts[i].iov_len, left - bytes.size()));
  me.out.post(message::data, std::move(bytes));  // F1
  return static_cast<std::ptrdiff_t>(left);
}

std::ptrdiff_t connection::recv(side s, void* to, std::size_t n) noexcept {
  half& me = of(s);
  half& peer = of(other(s));
  if (me.unread() == 0) {
    if (me.ended && (!local_ || me.error == 0)) return 0;
    if (me.error != 0) return -std::exchange(me.error, 0);
    if (me.broken) return 0;
    return open_ ? -EAGAIN : -ENOTCONN;
  }
  if (!me.broken && is_lost(s)) return -ECONNRESET;
  std::size_t const some = weather_.part_of(std::min(n, me.unread()));
  std::memcpy(to, me.received.data() + me.read, some);
  me.read += some;
  if (std::exchange(peer.full, false))
    report(peer.slot, {.tag = 0, .readable = false, .writable = true, .hangup = false, .error = false});
  return static_cast<std::ptrdiff_t>(some);
}

int connection::shut_write(side s) noexcept {
  half& me = of(s);
  if (!open_ || is_over(s)) return -ENOTCONN;
  if (!std::exchange(me.shut, true)) me.out.post(message::end, {});
  return 0;
}

void connection::shut_read(side s) noexcept { of(s).ended = true; }

void connection::close(side s, bool by_reset) noexcept {
  half& me = of(s);
  me.slot = nullptr;
  me.closed = true;
  if (!open_ || me.broken) return me.out.drop();
  by_reset = by_reset && !local_;  // to Linux that is a matter of TCP
  if (by_reset) me.out.drop();
  if (by_reset || me.unread() != 0) {
    me.out.post(message::reset, {});  // F4
  } else if (!std::exchange(me.shut, true)) {
    me.out.post(message::end, {});
  }
}

int connection::take_error(side s) noexcept { return -std::exchange(of(s).error, 0); }

short connection::events(side s) const noexcept {
  half const& h = of(s);
  int now = 0;
  if (h.unread() != 0 || h.ended || h.broken) now |= POLLIN;
  if (h.broken || (open_ && room(s) != 0)) now |= POLLOUT;
  if (h.ended || h.broken) now |= POLLRDHUP;
  bool const no_way_left = local_ && of(other(s)).closed;  // Linux says so of a unix socket, whose kernel is the peer's
  if ((h.ended && h.shut) || h.broken || no_way_left) now |= POLLHUP;
  if (h.error != 0) now |= POLLERR;
  return static_cast<short>(now);
}

}  // namespace weft::sim
