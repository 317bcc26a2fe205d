// Cancellation of the calls of <weft/net.hpp>, one by one: always the exception, never a result.
#include "tests/net/everywhere.hpp"

#include <cerrno>
#include <filesystem>
#include <functional>
#include <system_error>
#include <vector>

#include "runtime/platform/fault.hpp"

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

/// Of this process. Other descriptors come and go by themselves, as the monitor reads files.
std::size_t open_sockets() {
  std::size_t n = 0;
  for (auto const& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed_meanwhile;
    if (std::filesystem::read_symlink(each, closed_meanwhile).string().starts_with("socket:")) ++n;
  }
  return n;
}

/// Calls f in a task, cancels it once it waits, and says whether that ended it.
template <class F>
bool ends_when_cancelled(F f) {
  std::size_t const parked = weft::current_metrics().parked;
  auto waits = weft::spawn([&] { return throws_cancelled(f); });
  while (weft::current_metrics().parked == parked) weft::yield();
  waits.cancel();
  return waits.join();
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
  net::reader<net::tcp_stream> buffered{quiet.first};  // with lines that it has read ahead
  sockets() {
    REQUIRE(quiet.second.write_all("one\ntwo\nthree"));
    REQUIRE(buffered.read_line().value() == "one");
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
        {"read_exact of nothing", [this] { (void)full.second.read_exact(std::span<char>()); }},
        {"write_all", [this] { (void)quiet.first.write_all("x"); }},
        {"write_file of nothing", [this] { (void)quiet.first.write_file(-1, 0, 0); }},
        {"accept", [this] { (void)listener.accept(); }},
        {"connect", [this] { (void)net::tcp_stream::connect(address); }},
        {"connect to what is no address", [] { (void)net::tcp_stream::connect("nowhere"); }},
        {"connect to what is no path", [] { (void)net::unix_stream::connect(""); }},
        {"connect to a unix socket", [] { (void)net::unix_stream::connect("@weft-nobody-listens"); }},
        {"recv_from", [this] { (void)two.recv_from(room); }},
        {"send_to", [this] { (void)one.send_to("x", two.local_endpoint()); }},
        {"resolve", [] { (void)net::resolve("127.0.0.1:1"); }},
        {"wait_readable", [this] { (void)net::wait_readable(full.second.native_handle()); }},
        {"wait_writable", [this] { (void)net::wait_writable(full.second.native_handle()); }},
        {"read_line", [this] { (void)net::reader(full.second).read_line(); }},
        {"read_line of what is buffered", [this] { (void)buffered.read_line(); }},
        {"read_exact of what is buffered", [this] { (void)buffered.read_exact(2); }},
        {"read_some of what is buffered", [this] { (void)buffered.read_some(room); }},
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
      CHECK(ends_when_cancelled(each.f));
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

TEST_CASE("a task that waits for a TCP connection is cancelled, and its socket is closed") {
  with_workers([] {
    // A listener whose queue is full answers no further connection: the kernel drops the SYN.
    auto listener = net::tcp_listener::bind("127.0.0.1:0", {.backlog = 0}).value();
    std::string const address = listener.local_endpoint().to_string();
    auto first = net::tcp_stream::connect(address).value();
    REQUIRE(net::wait_readable(listener.native_handle()));  // it is in the queue
    std::size_t const open = open_sockets();
    CHECK(ends_when_cancelled([&] { (void)net::tcp_stream::connect(address); }));
    CHECK(ends_when_cancelled([&] { (void)net::tcp_stream::connect(address, 1h); }));
    CHECK(open_sockets() == open);
    auto accepted = listener.accept().value();
    CHECK(accepted.remote_endpoint() == first.local_endpoint());
    CHECK(net::wait_readable(listener.native_handle(), 0s).error() ==
          std::errc::timed_out);  // they left nothing behind
    auto second = net::tcp_stream::connect(address).value();
    CHECK(listener.accept()->remote_endpoint() == second.local_endpoint());
  });
}

TEST_CASE("a task that waits for room in a unix listener's queue is cancelled, and its socket is closed") {
  with_workers([] {
    std::string const name = unix_name("cancel-connect");
    auto listener = net::unix_listener::bind(name, {.backlog = 0}).value();
    auto first = net::unix_stream::connect(name).value();
    std::size_t const open = open_sockets();
    CHECK(ends_when_cancelled([&] { (void)net::unix_stream::connect(name); }));
    CHECK(ends_when_cancelled([&] { (void)net::unix_stream::connect(name, 1h); }));
    CHECK(open_sockets() == open);
    CHECK(listener.accept());
    CHECK(net::wait_readable(listener.native_handle(), 0s).error() == std::errc::timed_out);
    CHECK(net::unix_stream::connect(name));
  });
}

TEST_CASE("a task that accepts from a unix listener is cancelled, and the listener goes on") {
  with_workers([] {
    std::string const name = unix_name("cancel-accept");
    auto listener = net::unix_listener::bind(name).value();
    CHECK(ends_when_cancelled([&] { (void)listener.accept(); }));
    auto accepting = weft::spawn([&] { return error_of(listener.accept()); });
    until_parked(1);
    auto client = net::unix_stream::connect(name).value();
    CHECK_FALSE(accepting.join());
  });
}

TEST_CASE("an accept that waits for descriptors to be free again is cancelled, and loses no connection") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    for (int const shortage : {EMFILE, ENFILE, ENOMEM}) {
      weft::rt::arm_fault({weft::rt::fault_kind::accept, 1, UINT32_MAX, shortage});
      bool const ended = ends_when_cancelled([&] { (void)listener.accept(); });
      CHECK(weft::rt::disarm_fault() != 0);
      CHECK(ended);
    }
    CHECK(listener.accept()->remote_endpoint() == client.local_endpoint());
  });
}

TEST_CASE("a serve that waits for room is cancelled, and refuses who is in the queue while its handlers end") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    auto server = weft::spawn([&] {
      (void)net::serve(listener,
                       [](net::tcp_stream s) {
                         (void)s.write_all("?");
                         char room[1];
                         if (s.read_some(room).value_or(0) == 1) (void)s.write_all("finished");
                       },
                       {.max_connections = 1, .grace = 1h});
    });
    auto served = net::tcp_stream::connect(address).value();
    char room[1];
    REQUIRE(served.read_some(room).value() == 1);  // its handler runs: there is no more room
    auto queued = net::tcp_stream::connect(address).value();
    until_parked(2);  // the handler, and serve: not in accept, which would not wait
    server.cancel();
    CHECK(queued.read_some(room).value_or(0) == 0);  // the listener is closed, with all that it had not accepted
    CHECK(net::tcp_stream::connect(address).error() == std::errc::connection_refused);
    CHECK(listener.accept().error() == weft::errc::closed);
    REQUIRE(served.write_all("x"));
    CHECK(read_all(served) == "finished");
    CHECK_THROWS_AS(server.join(), weft::cancelled);
  });
}
