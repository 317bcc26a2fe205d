// Cancellation of the calls of <weft/net.hpp>, one by one: always the exception, never a result.
#include "tests/net/everywhere.hpp"

#include <functional>
#include <vector>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

namespace {

struct call {
  char const* name;
  std::function<void()> f;
};

bool throws_cancelled(std::function<void()> const& f) {
  try {
    f();
  } catch (weft::cancelled const& c) {
    return c.code() == std::errc::operation_canceled;
  }
  return false;
}

/// What the calls below work on: of each pair one end has data to read.
struct sockets {
  net::tcp_listener listener = net::tcp_listener::bind("127.0.0.1:0").value();
  std::string address = listener.local_endpoint().to_string();
  std::pair<net::tcp_stream, net::tcp_stream> full = tcp_pair(), quiet = tcp_pair(), other = tcp_pair();
  net::udp_socket one = net::udp_socket::bind("127.0.0.1:0").value(),
                  two = net::udp_socket::bind("127.0.0.1:0").value();
  std::string much = std::string(64'000'000, 'x');
  char room[8]{};
  sockets() {
    REQUIRE(full.first.write_all("a line\nand more"));
    REQUIRE(one.send_to("x", two.local_endpoint()));
    REQUIRE(net::wait_readable(full.second.native_handle()));
    REQUIRE(net::wait_readable(two.native_handle()));
  }

  std::vector<call> that_could_go_ahead() {
    return {
        {"read_some", [this] { (void)full.second.read_some(room); }},
        {"read_some into nothing", [this] { (void)full.second.read_some(std::span<char>()); }},
        {"read_exact", [this] { (void)full.second.read_exact(room); }},
        {"write_all", [this] { (void)quiet.first.write_all("x"); }},
        {"accept", [this] { (void)listener.accept(); }},
        {"connect", [this] { (void)net::tcp_stream::connect(address); }},
        {"connect to a unix socket", [] { (void)net::unix_stream::connect("@weft-nobody-listens"); }},
        {"recv_from", [this] { (void)two.recv_from(room); }},
        {"send_to", [this] { (void)one.send_to("x", two.local_endpoint()); }},
        {"resolve", [] { (void)net::resolve("127.0.0.1:1"); }},
        {"wait_readable", [this] { (void)net::wait_readable(full.second.native_handle()); }},
        {"wait_writable", [this] { (void)net::wait_writable(full.second.native_handle()); }},
        {"read_line", [this] { (void)net::reader(full.second).read_line(); }},
        {"copy", [this] { (void)net::copy(full.second, quiet.first); }},
        {"serve",
         [] {
           auto gone = net::tcp_listener::bind("127.0.0.1:0").value();
           (void)net::serve(gone, [](net::tcp_stream const&) {});
         }},
    };
  }
  std::vector<call> that_wait() {
    return {
        {"read_some", [this] { (void)quiet.second.read_some(room); }},
        {"read_exact", [this] { (void)quiet.second.read_exact(room); }},
        {"write_all", [this] { (void)other.first.write_all(much); }},
        {"accept", [this] { (void)listener.accept(); }},
        {"recv_from", [this] { (void)one.recv_from(room); }},
        {"wait_readable", [this] { (void)net::wait_readable(quiet.second.native_handle()); }},
        {"wait_readable for a while", [this] { (void)net::wait_readable(one.native_handle(), 1h); }},
        {"read_line", [this] { (void)net::reader(quiet.second).read_line(); }},
        {"copy", [this] { (void)net::copy(quiet.second, quiet.first); }},
        {"copy_both",
         [] {
           auto [a, b] = tcp_pair();
           auto [c, d] = tcp_pair();
           (void)net::copy_both(b, c);
         }},
    };
  }
};

}  // namespace

TEST_CASE("every call on a socket that can wait throws in a cancelled context even if it could go ahead") {
  with_workers([] {
    sockets s;
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    for (call const& each : s.that_could_go_ahead()) {
      INFO(each.name);
      weft::scoped_context const in(ctx);
      CHECK(throws_cancelled(each.f));
    }
    char room[100];
    CHECK(s.full.second.read_some(room).value() == 15);  // nothing was lost
    CHECK(s.two.recv_from(room)->first == 1);
  });
}

TEST_CASE("a task parked on a socket is woken at once by cancellation, and the socket can be used afterwards") {
  with_workers([] {
    sockets s;
    for (call const& each : s.that_wait()) {
      INFO(each.name);
      std::size_t const parked = weft::current_metrics().parked;
      auto waits = weft::spawn([f = each.f] { return throws_cancelled(f); });
      while (weft::current_metrics().parked == parked) weft::yield();
      waits.cancel();
      CHECK(waits.join());
    }
    char room[4];
    REQUIRE(s.quiet.first.write_all("abc"));
    CHECK(s.quiet.second.read_some(room).value() == 3);
    REQUIRE(s.two.send_to("y", s.one.local_endpoint()));
    CHECK(s.one.recv_from(room)->first == 1);
    auto connecting = weft::spawn([&] { return net::tcp_stream::connect(s.address).has_value(); });
    CHECK(s.listener.accept());
    CHECK(connecting.join());
  });
}

TEST_CASE("a deadline of the context ends a socket call as a cancellation, not as timed_out of the stream") {
  with_workers([] {
    auto [a, b] = tcp_pair();
    b.set_read_deadline(weft::now() + 1h);
    char room[1];
    bool returned = false;
    auto const r = weft::within(2ms, [&] {
      (void)b.read_some(room);
      returned = true;
    });
    CHECK(r.error() == std::errc::timed_out);
    CHECK_FALSE(returned);
    REQUIRE(a.write_all("x"));
    CHECK(b.read_some(room).value() == 1);
  });
}
