// Sockets in memory: what is theirs alone. That they behave like the kernel's is shown by tests/net, whose bodies run in simulations too.
#include <weft/detail/sanitizer.hpp>
#include <weft/net.hpp>
#include <weft/sim.hpp>

#include <cstdint>
#include <ctime>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/sim/bugs/planted.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
namespace net = weft::net;
namespace sim = weft::sim;

namespace {

struct pair {
  net::tcp_listener listener = net::tcp_listener::bind("127.0.0.1:0").value();
  net::tcp_stream client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
  net::tcp_stream server = listener.accept().value();
};

/// How long one way took, in all runs of 64 seeds.
template <class F>
std::set<std::int64_t> durations(F f) {
  std::set<std::int64_t> all;
  for (std::uint64_t seed = 0; seed != 64; ++seed)
    sim::run(seed, [&] {
      auto const begin = weft::now();
      f();
      all.insert((weft::now() - begin).count());
    });
  return all;
}

/// Echoes what five clients say, three times each.
void conversation() {
  auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
  std::string const address = listener.local_endpoint().to_string();
  auto serving = weft::spawn([&] {
    return net::serve(listener, [](net::tcp_stream& s) {
      char room[100];
      for (;;) {
        auto const n = s.read_some(room);
        if (!n || *n == 0 || !s.write_all(std::span(room, *n))) return;
      }
    });
  });
  weft::scope([&](weft::task_group& g) {
    for (int i = 0; i < 5; ++i) {
      g.spawn([&, i] {
        auto c = net::tcp_stream::connect(address).value();
        std::string const said = "hello " + std::to_string(i);
        for (int k = 0; k < 3; ++k) {
          std::string heard(said.size(), '\0');
          c.write_all(said).value();
          c.read_exact(heard).value();
          must(heard == said, "another echo");
        }
      });
    }
  });
  listener.close();
  must(serving.join().has_value(), "serve failed");
}

}  // namespace

TEST_CASE("a program of sockets runs the same for the same seed and otherwise for another") {
  auto const trace_of = [](std::uint64_t seed) {
    std::string trace;
    sim::run(sim::options{.seed = seed, .trace = &trace}, conversation);
    return trace;
  };
  std::set<std::string> all;
  for (std::uint64_t seed = 0; seed != 20; ++seed) {
    std::string const trace = trace_of(seed);
    CHECK(trace == trace_of(seed));
    all.insert(trace);
  }
  CHECK(all.size() == 20);
  for (auto const pick : {sim::policy::random, sim::policy::pct, sim::policy::round_robin})
    CHECK(sim::explore(100, conversation, {.pick = pick}).what == "");
}

TEST_CASE("what is sent takes no time, or one of three times of the virtual clock") {
  CHECK(durations([] { pair(); }) == std::set<std::int64_t>{0, 10'000, 100'000, 1'000'000});
}

TEST_CASE("no two connections that live have one name, however many there were between them") {
  sim::run(1, [] {
    pair first, left;
    REQUIRE(left.client.write_all("unread"));
    left.client.close();  // the server has it still
    std::string const nobody = "127.0.0.1:1", address = first.listener.local_endpoint().to_string();
    for (int i = 0; i < 65536 - 49152 - 6; ++i) REQUIRE_FALSE(net::tcp_stream::connect(nobody));
    std::set<std::string> names{first.client.local_endpoint().to_string(), left.server.remote_endpoint().to_string()};
    std::vector<net::tcp_stream> others;
    for (int i = 0; i < 8; ++i) {
      others.push_back(net::tcp_stream::connect(address).value());
      names.insert(others.back().local_endpoint().to_string());
    }
    CHECK(names.size() == 10);
  });
}

TEST_CASE("nothing overtakes on a connection, and nothing is lost or doubled") {
  sim::result const r = sim::explore(300, [] {
    pair p;
    constexpr int most = 2000;
    auto writing = weft::spawn([&] {
      std::string some;
      for (int i = 0; i < most; ++i) {
        some += static_cast<char>(i % 251);
        if (i % 7 == 0 || i + 1 == most) p.client.write_all(std::exchange(some, {})).value();
      }
      p.client.shutdown_write().value();
    });
    unsigned char room[64];
    int next = 0;
    while (std::size_t const n = p.server.read_some(room).value())
      for (std::size_t i = 0; i != n; ++i, ++next) must(room[i] == next % 251, "bytes out of order");
    must(next == most, "bytes are lost");
    writing.join();
  });
  INFO(r.choices);
  CHECK(r.what == "");
}

TEST_CASE("a writer waits while its peer has read nothing of 64 KiB") {
  sim::run(4, [] {
    pair p;
    std::string const much(200'000, 'm');
    auto writing = weft::spawn([&] { return p.client.write_all(much); });
    sim::wait_idle();
    weft::sleep_for(1s);
    CHECK_FALSE(writing.done());
    std::string all(much.size(), '\0');
    p.server.read_exact(all).value();
    CHECK(writing.join());
    CHECK(all == much);
  });
}

TEST_CASE("a read that is taken for a whole message is found, and replayed without options") {
  auto const takes_a_read_for_a_message = [] {
    pair p;
    p.client.write_all("message").value();
    char room[20];
    must(p.server.read_some(room).value() == 7, "half a message");
  };
  is_found(takes_a_read_for_a_message);
}

TEST_CASE("a lost connection is a reset for both sides, or a silence that only a time-out ends") {
  auto const exchange = [] {
    pair p;
    std::error_code const e =
        p.client.write_all("x") ? std::error_code() : std::make_error_code(std::errc::connection_reset);
    must(!e, "reset");
    char room[1];
    auto const n = p.server.read_some(room);
    if (!n) throw std::system_error(n.error());
  };
  int resets = 0, silences = 0;
  for (std::uint64_t seed = 0; seed != 200; ++seed) {
    sim::result const r = sim::explore(1, exchange, {.seed = seed, .loss_one_in = 8});
    if (!r.failed) continue;
    bool const silent = r.what.find("deadlock") != std::string::npos;
    ++(silent ? silences : resets);
    INFO(seed << ": " << r.what);
    if (silent) CHECK_THROWS_AS(sim::replay(r.choices, exchange), weft::deadlock);
    else CHECK_THROWS(sim::replay(r.choices, exchange));
  }
  CHECK(resets > 10);
  CHECK(silences > 5);

  auto const with_time_outs = [] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto client = net::tcp_stream::connect(listener.local_endpoint().to_string(), 1s);
    if (!client) return;
    auto server = listener.accept().value();
    (void)client->write_all("x");
    server.set_read_deadline(weft::now() + 1s);
    char room[1];
    (void)server.read_some(room);
  };
  CHECK(sim::explore(500, with_time_outs, {.loss_one_in = 4}).what == "");
}

TEST_CASE("who sends into silence is told after a quarter of an hour, who connects after two minutes") {
  std::set<std::int64_t> seconds;
  for (std::uint64_t seed = 0; seed != 300; ++seed)
    sim::run(sim::options{.seed = seed, .loss_one_in = 4}, [&] {
      auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
      auto const begin = weft::now();
      auto client = net::tcp_stream::connect(listener.local_endpoint().to_string());
      std::error_code e = client ? std::error_code() : client.error();
      std::string const much(100'000, 'x');
      if (client) {
        auto reading = weft::spawn([&] {
          auto server = listener.accept().value();
          char room[1000];
          server.set_read_deadline(weft::now() + 1h);
          while (server.read_some(room).value_or(0) != 0) {
          }
        });
        if (auto const sent = client->write_all(much); !sent) e = sent.error();
        client->close();
        reading.join();
      }
      if (e == std::errc::timed_out) seconds.insert((weft::now() - begin) / 1s);
    });
  CHECK(seconds.count(127) == 1);
  CHECK(seconds.count(3600) == 1);  // the reader's own deadline, which begins with the sender's
}

TEST_CASE("names have addresses of their own, in the order in which they are first looked up") {
  sim::run(1, [] {
    CHECK(net::resolve("b.example:80").value().at(0).to_string() == "10.0.0.1:80");
    CHECK(net::resolve("a.example:81").value().at(0).to_string() == "10.0.0.2:81");
    for (auto const* const same : {"b.example:82", "B.Example:82", "b.example.:82"})
      CHECK(net::resolve(same).value().at(0).to_string() == "10.0.0.1:82");
    auto listener = net::tcp_listener::bind("a.example:7").value();
    CHECK(net::tcp_stream::connect("b.example:7").error() == std::errc::connection_refused);
    auto client = net::tcp_stream::connect("a.example:7").value();
    CHECK(client.remote_endpoint() == listener.local_endpoint());
    CHECK(listener.accept().value().remote_endpoint() == client.local_endpoint());
  });
}

TEST_CASE("a port is taken by who has it, or by all addresses, unless both share it") {
  sim::run(1, [] {
    auto one = net::tcp_listener::bind("127.0.0.1:80").value();
    CHECK(net::tcp_listener::bind("127.0.0.1:80").error() == std::errc::address_in_use);
    CHECK(net::tcp_listener::bind(":80").error() == std::errc::address_in_use);
    CHECK(net::tcp_listener::bind("127.0.0.2:80"));
    CHECK(net::udp_socket::bind("127.0.0.1:80"));
    one.close();
    auto all = net::tcp_listener::bind(":80", {.reuse_port = true}).value();
    auto again = net::tcp_listener::bind(":80", {.reuse_port = true}).value();
    CHECK(net::tcp_listener::bind(":80").error() == std::errc::address_in_use);
    CHECK(net::tcp_stream::connect("10.1.2.3:80"));
    CHECK(net::tcp_stream::connect("[::1]:80"));
  });
}

TEST_CASE("connections beyond the backlog wait, and are refused when the listener closes") {
  sim::run(3, [] {
    auto listener = net::tcp_listener::bind("127.0.0.1:80", {.backlog = 0}).value();
    auto first = net::tcp_stream::connect("127.0.0.1:80").value();
    CHECK(net::tcp_stream::connect("127.0.0.1:80", 1s).error() == std::errc::timed_out);
    auto second = weft::spawn([] { return net::tcp_stream::connect("127.0.0.1:80"); });
    auto third = weft::spawn([] { return net::tcp_stream::connect("127.0.0.1:80"); });
    weft::sleep_for(1s);
    CHECK_FALSE(second.done());
    auto accepted = listener.accept().value();
    weft::sleep_for(1s);
    CHECK(second.done() != third.done());
    listener.close();
    CHECK(second.join().has_value() != third.join().has_value());
    char room[1];
    CHECK(first.write_all("x"));
    CHECK(accepted.read_some(room).value() == 1);
  });
}

TEST_CASE("who is beyond the backlog for two minutes gives up, and is not accepted later") {
  sim::run(3, [] {
    auto listener = net::tcp_listener::bind("127.0.0.1:80", {.backlog = 0}).value();
    auto first = net::tcp_stream::connect("127.0.0.1:80").value();
    auto const begin = weft::now();
    CHECK(net::tcp_stream::connect("127.0.0.1:80").error() == std::errc::timed_out);
    CHECK((weft::now() - begin) / 1s == 127);
    auto late = weft::spawn([] { return net::tcp_stream::connect("127.0.0.1:80"); });
    weft::sleep_for(126s);
    CHECK(listener.accept());  // the first, whose place is for the late one
    auto client = late.join().value();
    auto server = listener.accept().value();
    CHECK(server.remote_endpoint() == client.local_endpoint());
    weft::sleep_for(1h);  // nothing is left of its patience
    CHECK(client.write_all("x"));
    char room[1];
    CHECK(server.read_some(room).value() == 1);
  });
}

TEST_CASE("datagrams overtake one another, and with losses some never come and some come twice") {
  auto const arrivals = [](std::uint64_t seed, unsigned loss) {
    return sim::run(sim::options{.seed = seed, .loss_one_in = loss}, [] {
      auto to = net::udp_socket::bind("127.0.0.1:0").value();
      auto from = net::udp_socket::bind("127.0.0.1:0").value();
      for (char c : std::string("abcd")) CHECK(from.send_to(std::span(&c, 1), to.local_endpoint()));
      to.set_read_deadline(weft::now() + 1s);
      std::string all;
      char room[10];
      while (auto got = to.recv_from(room)) {
        CHECK(got->second == from.local_endpoint());
        all.append(room, got->first);
      }
      return all;
    });
  };
  std::set<std::string> orders, lossy;
  for (std::uint64_t seed = 0; seed != 100; ++seed) {
    orders.insert(arrivals(seed, 0));
    lossy.insert(arrivals(seed, 4));
  }
  CHECK(orders.size() > 5);
  for (std::string const& o : orders) CHECK(std::set<char>(o.begin(), o.end()).size() == 4);
  for (std::string const& o : orders) CHECK(o.size() == 4);
  std::set<std::size_t> lengths;
  for (std::string const& o : lossy) lengths.insert(o.size());
  CHECK(*lengths.begin() < 4);
  CHECK(*lengths.rbegin() > 4);
}

TEST_CASE(
    "who connects to a unix socket whose backlog is full waits for room, and finds no file when the listener closes") {
  for (std::uint64_t seed = 0; seed != 16; ++seed) {
    sim::run(seed, [] {
      auto listener = net::unix_listener::bind("/a/path", {.backlog = 0}).value();
      auto first = net::unix_stream::connect("/a/path").value();
      CHECK(net::unix_stream::connect("/a/path", 1s).error() == std::errc::timed_out);
      auto const connect = [] {
        auto const made = net::unix_stream::connect("/a/path");
        return made ? std::error_code() : made.error();
      };
      auto second = weft::spawn(connect);
      sim::wait_idle();
      REQUIRE(listener.accept());
      CHECK_FALSE(second.join());
      auto third = weft::spawn(connect);
      sim::wait_idle();
      listener.close();
      CHECK(third.join() == std::errc::no_such_file_or_directory);
    });
  }
}

TEST_CASE("a path is a name without a file") {
  std::string const path = "/no/such/folder/at-all.sock";
  sim::run(1, [&] {
    CHECK(net::unix_stream::connect(path).error() == std::errc::no_such_file_or_directory);
    auto listener = net::unix_listener::bind(path).value();
    CHECK(net::unix_listener::bind(path).error() == std::errc::address_in_use);
    auto client = net::unix_stream::connect(path).value();
    auto server = listener.accept().value();
    CHECK(client.write_all("x"));
    char room[1];
    CHECK(server.read_some(room).value() == 1);
    CHECK(client.remote_endpoint().to_string() == path);
    CHECK(server.remote_endpoint().to_string() == "unnamed");
  });
}

TEST_CASE("what a call takes does not grow with the number of other sockets") {
  std::clock_t const begin = std::clock();
  sim::run(1, [] {
    std::vector<net::udp_socket> others;
    for (int i = 0; i != 10'000; ++i) others.push_back(net::udp_socket::bind("127.0.0.1:0").value());
    std::set<std::uint16_t> ports;
    for (auto const& one : others) ports.insert(one.local_endpoint().port());
    CHECK(ports.size() == others.size());
    std::string const taken = others.front().local_endpoint().to_string();
    CHECK(net::udp_socket::bind(taken).error() == std::errc::address_in_use);
    others.front().close();
    CHECK(net::udp_socket::bind(taken));
    std::vector<pair> pairs(2'000);
    for (auto& p : pairs) CHECK(p.client.remote_endpoint() == p.listener.local_endpoint());
  });
  if (!WEFT_ASAN && !WEFT_TSAN) CHECK(std::clock() - begin < 3 * CLOCKS_PER_SEC);  // it was more than ten seconds
}

TEST_CASE("a socket that outlives its run is closed") {
  std::vector<net::tcp_stream> kept;
  sim::run(1, [&] {
    pair p;
    kept.push_back(std::move(p.client));
  });
  char room[1];
  CHECK(kept.at(0).read_some(room).error() == weft::errc::closed);
  CHECK(kept.at(0).native_handle() == -1);
  sim::run(2, [&] {
    pair p;
    CHECK(kept.at(0).write_all("x").error() == weft::errc::closed);
  });
}

TEST_CASE("all tasks that wait for sockets of one another are a deadlock") {
  CHECK_THROWS_AS(sim::run(1,
                           [] {
                             pair p;
                             auto h = weft::spawn([&] {
                               char room[1];
                               return p.client.read_some(room).has_value();
                             });
                             char room[1];
                             (void)p.server.read_some(room);
                           }),
                  weft::deadlock);
  CHECK_THROWS_AS(sim::run(1,
                           [] {
                             auto listener = net::unix_listener::bind("@full", {.backlog = 0}).value();
                             auto first = net::unix_stream::connect("@full").value();
                             (void)net::unix_stream::connect("@full");  // nobody will make room
                           }),
                  weft::deadlock);
}

TEST_CASE("two runs at once have networks of their own") {
  std::vector<std::thread> threads;
  std::vector<std::string> traces(2);
  for (std::string& t : traces)
    threads.emplace_back([&t] { sim::run(sim::options{.seed = 5, .trace = &t}, conversation); });
  for (std::thread& t : threads) t.join();
  CHECK(traces[0] == traces[1]);
}
