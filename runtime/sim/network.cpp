#include "runtime/sim/network.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "runtime/base/sanitizer.hpp"
#include "runtime/sim/addresses.hpp"

namespace weft::sim {

namespace {

constexpr std::size_t longest_datagram = 65507;
constexpr std::size_t datagram_capacity = 212992;  // net.core.rmem_default
constexpr std::uint16_t first_port = 49152;

void put(net::endpoint const& e, sockaddr_storage& address, socklen_t& length) noexcept {
  std::memcpy(&address, e.data(), e.size());
  length = e.size();
}

/// What Linux has against sending a datagram there: 0 or -errno. IPv6 sockets send to both families, but for those that have an IPv6 address.
int objection(int own_family, net::endpoint const& own, net::endpoint const& to) noexcept {
  int const family = family_of(to);
  if (own_family == AF_INET && to.size() < sizeof(sockaddr_in)) return -EINVAL;
  if (own_family == AF_INET && family != AF_INET) return -EAFNOSUPPORT;
  if (family_of(own) == AF_INET6 && !is_any(own) && family_of(without_mapping(to)) == AF_INET) return -ENETUNREACH;
  return to.port() == 0 ? -EINVAL : 0;  // what has no ports says 0
}

}  // namespace

// ---- sockets and addresses ------------------------------------------------------------------------------------------

network::open_socket* network::find(int fd) noexcept {
  auto const at = open_.find(fd);
  return at != open_.end() ? &at->second : nullptr;
}

int network::socket(int family, int type) noexcept {
  rt::tsan_ignore const run_data;
  open_socket& s = open_[next_fd_];
  s.family = family;
  s.datagrams = type == SOCK_DGRAM;
  return next_fd_++;
}

void network::opened(int fd, rt::io_slot& slot) noexcept {
  rt::tsan_ignore const run_data;
  open_socket& s = *find(fd);
  s.slot = &slot;
  if (s.stream) s.stream->attach(s.side, &slot);
}

bool network::is_taken(net::endpoint const& place, open_socket const& by) noexcept {
  return any_bound(place, [&](open_socket const& other) {
    return &other != &by && other.datagrams == by.datagrams && clash(other.bound, place) &&
           !(other.shares_port && by.shares_port);
  });
}

/// Addresses of two keys have nothing in common. So a call looks at few sockets, however many are open.
std::size_t network::key_of(net::endpoint const& place) noexcept {
  if (family_of(place) != AF_UNIX) return place.port();
  return 65536 + std::hash<net::endpoint>()(place) / 2;
}

void network::bound_to(int fd, open_socket& s, net::endpoint const& place) noexcept {
  unbind(fd, s);
  s.bound = place;
  if (place) bound_[{key_of(place), fd}] = &s;
}

void network::unbind(int fd, open_socket& s) noexcept {
  if (s.bound) bound_.erase({key_of(s.bound), fd});
  s.bound = {};
}

/// As long as one of its two sides is open.
bool network::is_name_of_client(net::endpoint const& place) noexcept {
  bool is = false;
  auto [at, end] = clients_.equal_range(place.port());
  while (at != end) {
    auto const one = at->second.lock();
    is |= one != nullptr && one->names[0] == place;
    at = one == nullptr ? clients_.erase(at) : std::next(at);
  }
  return is;
}

bool network::give_port(net::endpoint& place, open_socket const& to) noexcept {
  for (int tries = 65536 - first_port; tries != 0; --tries) {
    place = with_port(place, next_port_);
    next_port_ = next_port_ == 65535 ? first_port : static_cast<std::uint16_t>(next_port_ + 1);
    if (!is_taken(place, to) && !is_name_of_client(place)) return true;
  }
  return false;
}

int network::bind(int fd, void const* address, socklen_t length) noexcept {
  rt::tsan_ignore const run_data;
  open_socket& s = *find(fd);
  net::endpoint place = without_mapping(net::endpoint::from_sockaddr(address, length));
  if (s.family != AF_UNIX && place.port() == 0 && !give_port(place, s)) return -EADDRINUSE;
  if (is_taken(place, s)) return -EADDRINUSE;
  bound_to(fd, s, place);
  return 0;
}

int network::listen(int fd, int backlog) noexcept {
  rt::tsan_ignore const run_data;
  open_socket& s = *find(fd);
  s.listening = true;
  s.backlog = static_cast<std::size_t>(std::max(backlog, 0)) + 1;  // as Linux counts
  return 0;
}

int network::set_option(int fd, int level, int option, int value) noexcept {
  rt::tsan_ignore const run_data;
  if (level == SOL_SOCKET && option == SO_REUSEPORT) find(fd)->shares_port = value != 0;
  return 0;
}

/// Who is bound to the very address comes before who is bound to all; among several that share a port, one is drawn.
network::open_socket* network::receiver(net::endpoint const& of, bool datagrams) noexcept {
  std::vector<open_socket*> exact, any;
  (void)any_bound(of, [&](open_socket& s) {
    if (s.datagrams == datagrams && (datagrams || s.listening) && covers(s.bound, of))
      (s.bound == of ? exact : any).push_back(&s);
    return false;
  });
  auto const& from = exact.empty() ? any : exact;
  return from.empty() ? nullptr : from[from.size() == 1 ? 0 : rt::random_below(from.size())];
}

int network::name(int fd, bool remote, sockaddr_storage& address, socklen_t& length) noexcept {
  rt::tsan_ignore const run_data;
  open_socket const& s = *find(fd);
  net::endpoint e = s.bound;
  if (s.stream) {
    if (remote && s.stream->is_over(s.side)) return -ENOTCONN;
    e = s.stream->names[static_cast<std::size_t>(s.side) ^ (remote ? 1u : 0u)];
  } else if (remote) {
    return -ENOTCONN;
  }
  put(e, address, length);
  return 0;
}

in_addr network::address_of(std::string_view host) noexcept {
  rt::tsan_ignore const run_data;
  auto at = hosts_.find(host);
  if (at == hosts_.end()) at = hosts_.emplace(host, static_cast<std::uint32_t>(hosts_.size()) + 1).first;
  return {htonl((10u << 24) + at->second)};
}

void network::close(int fd) noexcept {
  rt::tsan_ignore const run_data;
  auto const at = open_.find(fd);
  unbind(fd, at->second);
  open_socket s = std::move(at->second);
  open_.erase(at);
  if (s.stream) s.stream->close(s.side, s.resets);
  stop_listening(s);
}

/// Its address is free already.
void network::stop_listening(open_socket& s) noexcept {
  if (!std::exchange(s.listening, false)) return;
  for (auto const& c : std::exchange(s.accepted, {})) c->close(connection::side::server, true);
  for (auto& c : std::exchange(s.beyond, {}))
    if (!c->is_given_up()) arrived(std::move(c));  // at another that shares the address, or at nobody
}

rt::io_slot* network::slot_of(int fd) noexcept {
  rt::tsan_ignore const run_data;
  open_socket const* const s = find(fd);
  return s != nullptr ? s->slot : nullptr;
}

void network::end() noexcept {
  std::vector<rt::io_slot*> left;
  for (auto const& [fd, s] : open_)
    if (s.slot != nullptr) left.push_back(s.slot);
  for (rt::io_slot* const slot : left) rt::io_close(*slot);
}

// ---- streams --------------------------------------------------------------------------------------------------------

int network::connect(int fd, void const* address, socklen_t length) noexcept {
  rt::tsan_ignore const run_data;
  rt::tsan_release(this);
  open_socket& s = *find(fd);
  bool const local = s.family == AF_UNIX;
  net::endpoint const target = local_instead_of_any(without_mapping(net::endpoint::from_sockaddr(address, length)));
  net::endpoint const own = sender_name(s, target);
  if (!own) return -EADDRNOTAVAIL;
  destination& here = *this;
  auto const c = std::make_shared<connection>(weather_, here, local);
  c->names = {own, target};
  c->attach(connection::side::client, s.slot);
  s.stream = c;
  s.side = connection::side::client;
  (void)is_name_of_client(own);  // forgets those that have ended
  clients_.emplace(own.port(), c);
  int const e = c->open();
  if (e != 0 && e != -EINPROGRESS) s.stream = nullptr;
  return e;
}

void network::arrived(std::shared_ptr<connection> who) noexcept {
  net::endpoint const& target = who->names[1];
  open_socket* const to = receiver(target, false);
  if (to == nullptr) {
    bool const no_file =
        family_of(target) == AF_UNIX && static_cast<sockaddr_un const*>(target.data())->sun_path[0] != '\0';
    return who->refuse(no_file ? ENOENT : ECONNREFUSED);
  }
  if (to->accepted.size() >= to->backlog) {
    if (to->family != AF_UNIX) who->unanswered();
    to->beyond.push_back(std::move(who));
    return;
  }
  to->accepted.push_back(who);
  who->establish();
  report(to->slot, {.tag = 0, .readable = true, .writable = false, .hangup = false, .error = false});
}

int network::accept(int fd) noexcept {
  rt::tsan_ignore const run_data;
  rt::tsan_acquire(this);
  open_socket& s = *find(fd);
  if (s.accepted.empty()) return -EAGAIN;
  auto const c = std::move(s.accepted.front());
  s.accepted.pop_front();
  while (!s.beyond.empty() && s.accepted.size() < s.backlog) {
    auto const next = std::move(s.beyond.front());
    s.beyond.pop_front();
    if (next->is_given_up()) continue;
    s.accepted.push_back(next);
    next->establish();
    report(s.slot, {.tag = 0, .readable = true, .writable = false, .hangup = false, .error = false});
  }
  open_socket& fresh = open_[next_fd_];
  fresh.family = s.family;
  fresh.stream = c;
  fresh.side = connection::side::server;
  return next_fd_++;
}

int network::pending_error(int fd) noexcept {
  rt::tsan_ignore const run_data;
  open_socket const& s = *find(fd);
  return s.stream ? s.stream->take_error(s.side) : 0;
}

std::ptrdiff_t network::recv(int fd, void* to, std::size_t n) noexcept {
  rt::tsan_ignore const run_data;
  open_socket const& s = *find(fd);
  std::ptrdiff_t const got = s.stream ? s.stream->recv(s.side, to, n) : -ENOTCONN;
  if (got >= 0) rt::tsan_acquire(this);
  return got;
}

std::ptrdiff_t network::send(int fd, iovec const* parts, std::size_t n) noexcept {
  rt::tsan_ignore const run_data;
  rt::tsan_release(this);
  open_socket const& s = *find(fd);
  return s.stream ? s.stream->send(s.side, parts, n) : -EPIPE;
}

int network::shutdown(int fd, int how) noexcept {
  rt::tsan_ignore const run_data;
  rt::tsan_release(this);
  open_socket& s = *find(fd);
  if (s.listening) {
    unbind(fd, s);
    stop_listening(s);
    return 0;
  }
  if (!s.stream) return -ENOTCONN;
  if (how == SHUT_RDWR) s.stream->shut_read(s.side);
  return s.stream->shut_write(s.side);
}

short network::poll(int fd, short events) noexcept {
  rt::tsan_ignore const run_data;
  open_socket const& s = *find(fd);
  if (s.stream) return static_cast<short>(s.stream->events(s.side) & (events | POLLHUP | POLLERR));
  int const now = (s.datagrams ? POLLOUT : 0) | (s.accepted.empty() && s.received.empty() ? 0 : POLLIN);
  return static_cast<short>(now & events);
}

std::uint64_t network::bytes_acked(int fd) noexcept {
  rt::tsan_ignore const run_data;
  open_socket const* const s = find(fd);
  return s && s->stream ? s->stream->delivered(s->side) : 0;
}

void network::reset_on_close(int fd) noexcept { find(fd)->resets = true; }

// ---- datagrams ------------------------------------------------------------------------------------------------------

/// Each by itself: one may overtake another.
class network::flying final : public later, public std::enable_shared_from_this<flying> {
 public:
  flying(network& n, net::endpoint const& to, datagram what) : network_(n), to_(to), what_(std::move(what)) {}
  void arrive_in(std::int64_t ns) noexcept { at(rt::clock_ns() + ns); }

 private:
  void happens() noexcept override { network_.arrived(to_, std::move(what_)); }
  std::shared_ptr<void> owner() noexcept override { return shared_from_this(); }

  network& network_;
  net::endpoint to_;
  datagram what_;
};

/// The address that the other side sees; a port is given to a socket that has none. None: all are taken.
net::endpoint network::sender_name(open_socket& from, net::endpoint const& to) noexcept {
  if (family_of(to) == AF_UNIX)
    return from.bound ? from.bound : net::endpoint::from_sockaddr(to.data(), sizeof(sa_family_t));
  if (from.bound && !is_any(from.bound)) return from.bound;
  net::endpoint own = with_port(to, from.bound.port());
  if (!from.bound && !give_port(own, from)) return {};
  return own;
}

std::ptrdiff_t network::send_to(int fd, void const* from, std::size_t n, void const* address,
                                socklen_t length) noexcept {
  rt::tsan_ignore const run_data;
  rt::tsan_release(this);
  if (n > longest_datagram) return -EMSGSIZE;
  net::endpoint const named = net::endpoint::from_sockaddr(address, length);
  open_socket& s = *find(fd);
  if (int const e = objection(s.family, s.bound, named); e != 0) return e;
  net::endpoint const to = local_instead_of_any(without_mapping(named));
  datagram const what{sender_name(s, to), std::string(static_cast<char const*>(from), n)};
  if (!what.from) return -EADDRNOTAVAIL;
  std::uint32_t const fate = weather_.loss();
  for (std::uint32_t copies = fate == 0 ? 1 : (fate - 1) * 2; copies != 0; --copies) {
    std::int64_t const delay = weather_.delay();
    if (delay == 0) arrived(to, what);
    else std::make_shared<flying>(*this, to, what)->arrive_in(delay);
  }
  return static_cast<std::ptrdiff_t>(n);
}

void network::arrived(net::endpoint const& to, datagram what) noexcept {
  open_socket* const s = receiver(to, true);
  if (s == nullptr || s->received_bytes + what.bytes.size() > datagram_capacity) return;  // lost, as such are
  s->received_bytes += what.bytes.size();
  s->received.push_back(std::move(what));
  report(s->slot, {.tag = 0, .readable = true, .writable = false, .hangup = false, .error = false});
}

std::ptrdiff_t network::recv_from(int fd, void* to, std::size_t n, sockaddr_storage& address,
                                  socklen_t& length) noexcept {
  rt::tsan_ignore const run_data;
  rt::tsan_acquire(this);
  open_socket& s = *find(fd);
  if (s.received.empty()) return -EAGAIN;
  datagram const first = std::move(s.received.front());
  s.received.pop_front();
  s.received_bytes -= first.bytes.size();
  put(first.from, address, length);
  std::size_t const some = std::min(n, first.bytes.size());
  if (some != 0) std::memcpy(to, first.bytes.data(), some);
  return static_cast<std::ptrdiff_t>(some);
}

}  // namespace weft::sim
