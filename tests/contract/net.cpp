// The contract of net, as a program.

#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

using namespace std::chrono_literals;
namespace net = weft::net;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

void echo(net::tcp_stream s) {
  net::reader in(s);
  for (;;) {
    auto line = in.read_line();
    if (!line || !*line) return;
    if (!s.write_all(**line, "\n")) return;
  }
}

void tcp() {
  weft::result<net::tcp_listener> listening =
      net::tcp_listener::bind("127.0.0.1:0", {.backlog = 16, .reuse_port = true});
  require(listening.has_value(), "bind");
  net::tcp_listener l = std::move(*listening);
  net::endpoint const at = l.local_endpoint();
  require(at.port() != 0 && at == l.local_endpoint(), "local_endpoint");
  auto server = weft::spawn([&] {
    for (;;) {
      weft::result<net::tcp_stream> s = l.accept();
      if (!s) {
        require(s.error() == weft::errc::closed, "closed");
        return;
      }
      weft::go(echo, std::move(*s));
    }
  });

  weft::result<net::tcp_stream> s = net::tcp_stream::connect(at.to_string());
  require(s.has_value(), "connect");
  net::tcp_stream c = net::tcp_stream::connect(at.to_string(), 5s).value();
  c.set_nodelay(true);
  require(c.native_handle() >= 0 && c.remote_endpoint() == at && c.local_endpoint().port() != 0, "endpoints");
  std::string const text = "one\n";
  char const array[] = "two\n";
  std::vector<std::byte> const bytes(1, std::byte{'x'});
  std::array<char, 2> const end{'y', '\n'};
  std::byte const raw[] = {std::byte{'z'}};
  require(c.write_all(text, "1", std::string_view(array), bytes, std::span(bytes), end, raw).has_value(), "write_all");
  require(c.write_all("\n").has_value(), "write_all");
  char got[4];
  require(c.read_exact(got).has_value() && std::string_view(got, 4) == "one\n", "read_exact into an array");
  std::string more(64, ' ');
  c.set_read_deadline(weft::now() + 5s);
  c.set_write_deadline(weft::time_point::max());
  weft::result<std::size_t> const n = c.read_some(more);
  require(n && *n != 0, "read_some");
  std::vector<std::byte> room(16);
  c.set_read_deadline(weft::now() - 1s);
  auto const late = c.read_some(std::span(room).subspan(2));
  require(!late && late.error() == std::errc::timed_out, "deadline");
  c.shutdown_write();
  c.close();

  auto [in, out] = std::move(*s).split();
  auto reads = weft::spawn([r = std::move(in)]() mutable {
    net::reader<net::read_half> lines(r, 64);
    auto const five = lines.read_exact(5);
    require(five && *five == "hello", "reader::read_exact");
    require(lines.buffered() <= 64, "buffered");
  });
  require(out.write_all("hello\n").has_value(), "write_half");
  reads.join();
  out.close();
  l.close();
  server.join();
}

void others() {
  std::string const path = "/tmp/weft-contract-" + std::to_string(::getpid());
  ::unlink(path.c_str());
  net::unix_listener l = net::unix_listener::bind(path).value();
  auto server = weft::spawn([&] {
    net::unix_stream s = l.accept().value();
    net::unix_stream t = l.accept().value();
    weft::result<void> const done = net::copy_both(s, t);
    require(done.has_value(), "copy_both");
  });
  net::unix_stream a = net::unix_stream::connect(path).value();
  net::unix_stream b = net::unix_stream::connect(path, 1s).value();
  require(a.write_all("ping").has_value() && a.shutdown_write().has_value(), "write");
  char got[4];
  require(b.read_exact(got).has_value() && b.shutdown_write().has_value(), "read");
  server.join();
  l.close();
  ::unlink(path.c_str());

  net::udp_socket u = net::udp_socket::bind("127.0.0.1:0").value();
  net::udp_socket v = net::udp_socket::bind("127.0.0.1:0").value();
  require(u.send_to("datagram", v.local_endpoint()).value() == 8, "send_to");
  std::array<char, 16> datagram{};
  weft::result<std::pair<std::size_t, net::endpoint>> const from = v.recv_from(datagram);
  require(from && from->first == 8 && from->second == u.local_endpoint(), "recv_from");
  v.set_read_deadline(weft::now());
  require(!v.recv_from(datagram), "deadline");
  u.close();

  int ends[2];
  require(::pipe(ends) == 0, "pipe");
  require(net::wait_writable(ends[1], 1s).has_value() && net::wait_writable(ends[1]).has_value(), "wait_writable");
  require(net::wait_readable(ends[0], 1ms).error() == std::errc::timed_out, "wait_readable");
  net::fd_stream to = net::fd_stream::adopt(ends[1]).value();
  net::fd_stream in = net::fd_stream::adopt(ends[0]).value();
  require(to.write_all("through a pipe").has_value(), "fd_stream");
  to.close();
  int second[2];
  require(::pipe(second) == 0, "pipe");
  net::fd_stream out = net::fd_stream::adopt(second[1]).value();
  weft::result<std::uint64_t> const copied = net::copy(in, out);
  require(copied == 14u, "copy");
  ::close(second[0]);

  weft::result<std::vector<net::endpoint>> const found = net::resolve("127.0.0.1:80");
  require(found && found->front().port() == 80, "resolve");
  require(!net::tcp_listener::bind("nonsense"), "a malformed address");
}

void serving() {
  net::tcp_listener l = net::tcp_listener::bind("127.0.0.1:0").value();
  net::serve_options const options{.max_connections = 10, .grace = 1s};
  auto server = weft::spawn([&] { require(net::serve(l, echo, options).has_value(), "serve"); });
  auto c = net::tcp_stream::connect(l.local_endpoint().to_string()).value();
  require(c.write_all("x\n").has_value(), "write");
  char got[2];
  require(c.read_exact(got).has_value(), "read");
  c.close();
  server.cancel();
  try {
    server.join();
    require(false, "cancelled");
  } catch (weft::cancelled const&) {
  }
  net::tcp_listener second = net::tcp_listener::bind("127.0.0.1:0").value();
  weft::result<void> const other = weft::within(1ms, [&] { return net::serve(second, [](net::tcp_stream&&) {}); });
  require(!other, "ended");
}

}  // namespace

int main() {
  weft::run([] {
    tcp();
    others();
    serving();
  });
  return 0;
}
