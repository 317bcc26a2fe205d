#include "tests/net/everywhere.hpp"

#include <weft/sim.hpp>

#include <atomic>
#include <stdexcept>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

TEST_CASE("copy moves all of one stream into another and counts it") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto [c, d] = tcp_pair();
    std::string const much(300'000, 'm');
    auto source = where.start([&] {
      (void)a.write_all(much);
      a.close();
    });
    auto sink = where.start([&] { return read_all(d); });
    CHECK(net::copy(b, c).value() == much.size());
    c.close();
    CHECK(sink.get() == much);
    source.get();
  });
}

TEST_CASE("copy_both passes each direction's end on while the other goes on") {
  with_workers([] {
    auto [client, near] = tcp_pair();
    auto [far, server] = tcp_pair();
    auto relay = weft::spawn([&] { return error_of(net::copy_both(near, far)); });
    auto serving = weft::spawn([&] {
      std::string const request = read_all(server);  // up to the end that the relay passed on
      (void)server.write_all("answer to ", request);
      server.close();
    });
    REQUIRE(client.write_all("a question"));
    REQUIRE(client.shutdown_write());
    CHECK(read_all(client) == "answer to a question");
    serving.join();
    CHECK_FALSE(relay.join());
  });
}

TEST_CASE("an error in one direction of copy_both ends the other and is what it returns") {
  with_workers([] {
    auto [client, near] = tcp_pair();
    auto [far, server] = tcp_pair();
    near.set_read_deadline(weft::now() + 10ms);
    CHECK(net::copy_both(near, far).error() == std::errc::timed_out);
    CHECK(near.native_handle() == -1);
    CHECK(read_all(server).empty());
  });
}

TEST_CASE("an exception in one direction of copy_both ends the other and comes out") {
  struct failing {
    net::tcp_stream& stream;
    weft::result<std::size_t> read_some(net::mutable_buffer) { throw std::runtime_error("a stream of the user's"); }
    auto write_all(std::span<std::byte const> from) { return stream.write_all(from); }
    auto shutdown_write() { return stream.shutdown_write(); }
    void close() { stream.close(); }
  };
  with_workers([] {
    auto [client, near] = tcp_pair();
    auto [far, server] = tcp_pair();
    failing at_far{far};
    CHECK_THROWS_WITH(weft::within(10s, [&] { return net::copy_both(near, at_far); }), "a stream of the user's");
    CHECK(near.native_handle() == -1);
    CHECK(read_all(client).empty());
    CHECK(read_all(server).empty());
  });
}

TEST_CASE("serve gives each connection a task, and one that throws harms no other") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    auto server = weft::spawn([&] {
      return error_of(net::serve(listener, [](net::tcp_stream s) {
        char room[1];
        if (s.read_some(room).value_or(0) != 1) return;
        if (room[0] == '!') throw std::runtime_error("an expected failure of a test");
        if (room[0] == '?') throw 42;
        (void)s.write_all(std::string_view(room, 1));
      }));
    });
    for (char c : std::string_view("a!b?c!!d")) {
      auto s = net::tcp_stream::connect(address).value();
      REQUIRE(s.write_all(std::string_view(&c, 1)));
      CHECK(read_all(s) == (c == '!' || c == '?' ? std::string() : std::string(1, c)));
    }
    listener.close();
    CHECK_FALSE(server.join());
  });
}

TEST_CASE("serve holds back what goes beyond max_connections") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    std::atomic<int> now{0}, most{0};
    auto server = weft::spawn([&] {
      return error_of(net::serve(listener,
                                 [&](net::tcp_stream& s) {
                                   int const n = ++now;
                                   for (int m = most; n > m && !most.compare_exchange_weak(m, n);) {
                                   }
                                   char room[1];
                                   (void)s.read_some(room);
                                   --now;
                                 },
                                 {.max_connections = 3}));
    });
    std::vector<net::tcp_stream> clients;
    for (int i = 0; i != 10; ++i) clients.push_back(net::tcp_stream::connect(address).value());
    for (auto& c : clients) {
      REQUIRE(c.write_all("x"));
      CHECK(read_all(c).empty());
    }
    CHECK(most <= 3);
    listener.close();
    CHECK_FALSE(server.join());
  });
}

TEST_CASE("a cancelled serve stops accepting, lets handlers end within the grace, and throws") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    auto server = weft::spawn([&] {
      (void)net::serve(listener, [](net::tcp_stream s) {
        (void)s.write_all("?");
        char room[1];
        if (s.read_some(room).value_or(0) == 1) (void)s.write_all("finished");
      });
    });
    auto client = net::tcp_stream::connect(address).value();
    char room[1];
    REQUIRE(client.read_some(room).value() == 1);  // the handler runs
    server.cancel();
    REQUIRE(client.write_all("x"));
    CHECK(read_all(client) == "finished");
    CHECK_THROWS_AS(server.join(), weft::cancelled);
    CHECK(net::tcp_stream::connect(address).error() == std::errc::connection_refused);
  });
}

TEST_CASE("handlers that outstay the grace are cancelled and waited for") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    bool unwound = false;
    auto server = weft::spawn([&] {
      (void)net::serve(listener,
                       [&](net::tcp_stream s) {
                         struct at_end {
                           bool& flag;
                           ~at_end() { flag = true; }
                         } mark{unwound};
                         (void)s.write_all("?");
                         char room[1];
                         (void)s.read_some(room);
                       },
                       {.grace = 10ms});
    });
    auto client = net::tcp_stream::connect(address).value();
    char room[1];
    REQUIRE(client.read_some(room).value() == 1);
    server.cancel();
    CHECK_THROWS_AS(server.join(), weft::cancelled);
    CHECK(unwound);
    CHECK(read_all(client).empty());
  });
}

TEST_CASE("serve notices the close of its listener while no more connections may come") {
  auto const closed_when_full = [](auto listener, auto connect) {
    bool saw_cancelled = false;
    auto server = weft::spawn([&] {
      return error_of(net::serve(listener,
                                 [&](auto& s) {
                                   try {
                                     (void)s.write_all("?");
                                     char room[1];
                                     (void)s.read_some(room);
                                   } catch (weft::cancelled const&) {
                                     saw_cancelled = true;
                                     throw;
                                   }
                                 },
                                 {.max_connections = 1, .grace = 10ms}));
    });
    auto const one = [&] {
      auto client = connect(listener);
      char room[1];
      REQUIRE(client.read_some(room).value() == 1);
      return client;
    };
    one().close();  // its end makes room
    auto second = one();
    auto waits = connect(listener);
    until_parked(2);
    listener.close();
    CHECK_FALSE(server.join());
    CHECK(saw_cancelled);
    CHECK(read_all(second).empty());
  };
  auto const of_both = [&] {
    closed_when_full(net::tcp_listener::bind("127.0.0.1:0").value(), [](net::tcp_listener const& l) {
      return net::tcp_stream::connect(l.local_endpoint().to_string()).value();
    });
    closed_when_full(net::unix_listener::bind(unix_name("full")).value(), [](net::unix_listener const& l) {
      return net::unix_stream::connect(l.local_endpoint().to_string()).value();
    });
  };
  with_workers(of_both);
  for (std::uint64_t seed = 0; seed != simulated_seeds; ++seed) {
    INFO("in a simulated run, seed " << seed);
    weft::sim::run(seed, of_both);
  }
}

TEST_CASE("a serve that is cancelled while no more connections may come cancels its handlers and throws") {
  everywhere([](auto) {
    if (weft::this_task::id() == 0) return;  // serve is for tasks
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto server = weft::spawn([&] {
      auto const idle = [](net::tcp_stream& s) { (void)read_all(s); };
      (void)net::serve(listener, idle, {.max_connections = 1, .grace = 10ms});
    });
    auto client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    until_parked(2);
    server.cancel();
    CHECK_THROWS_AS(server.join(), weft::cancelled);
    CHECK(read_all(client).empty());
  });
}

TEST_CASE("a grace of any duration type is waited for, and max() never ends") {
  // In a simulation an hour passes as soon as nothing else can happen; serve takes anything that accepts.
  struct line {
    weft::chan<int> calls = weft::make_chan<int>();
    weft::result<int> accept() const {
      auto const call = calls.recv();
      if (!call) return std::unexpected(make_error_code(weft::errc::closed));
      return *call;
    }
    void close() const { calls.close(); }
  };
  auto const serve_for = [](net::serve_options options) {
    weft::sim::run(7, [options] {
      line listener;
      auto const leave = weft::make_chan<int>();
      std::string end = "none";
      auto server = weft::spawn([&] {
        (void)net::serve(
            listener,
            [&](int) {
              try {
                (void)leave.recv();
                end = "left";
              } catch (weft::cancelled const&) {
                end = "cancelled";
              }
            },
            options);
      });
      listener.calls.send(1);
      server.cancel();
      weft::sleep_for(1h);
      leave.close();
      CHECK_THROWS_AS(server.join(), weft::cancelled);
      CHECK(end == "left");
    });
  };
  serve_for({.grace = std::chrono::hours::max()});
  serve_for({.grace = std::chrono::nanoseconds::max() - 1ns});
  serve_for({.grace = std::chrono::duration<float, std::ratio<3600>>(1.5F)});
}

TEST_CASE("serve works with unix listeners") {
  with_workers([] {
    std::string const name = unix_name("serve");
    auto listener = net::unix_listener::bind(name).value();
    auto server = weft::spawn(
        [&] { return error_of(net::serve(listener, [](net::unix_stream s) { (void)s.write_all("hello"); })); });
    auto client = net::unix_stream::connect(name).value();
    CHECK(read_all(client) == "hello");
    listener.close();
    CHECK_FALSE(server.join());
  });
}
