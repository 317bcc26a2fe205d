// Unix streams: what stream_test.cpp, deadline_test.cpp and relay_test.cpp ask of TCP, where the kernel behaves otherwise.
#include "tests/net/everywhere.hpp"

#include <weft/sync.hpp>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

namespace {

template <class S>
std::error_code error_of_reading(S& s) {
  char room[1];
  return error_of(s.read_some(room));
}

}  // namespace

TEST_CASE("over the halves of a split unix stream one task reads while another writes") {
  everywhere([](auto where) {
    auto [a, b] = unix_pair();
    std::string const much(1'000'000, 'u');
    auto echo = where.start([&] {
      std::uint64_t const n = net::copy(b, b).value();
      return b.shutdown_write().has_value() ? n : 0;
    });
    auto [read, write] = std::move(a).split();
    auto writing = where.start(
        [&, half = write]() mutable { return half.write_all(much).has_value() && half.shutdown_write().has_value(); });
    CHECK(read_all(read) == much);
    CHECK(writing.get());
    CHECK(echo.get() == much.size());
  });
}

TEST_CASE("close through one half of a split unix stream wakes who waits in the other, and the peer reads the end") {
  everywhere([](auto where) {
    for (bool by_reader : {false, true}) {
      auto [a, b] = unix_pair();
      auto [read, write] = std::move(a).split();
      auto reading = where.start([half = read]() mutable { return error_of_reading(half); });
      auto writing =
          where.start([half = write]() mutable { return error_of(half.write_all(std::string(10'000'000, 'x'))); });
      REQUIRE_FALSE(error_of_reading(b));  // the writer has begun
      until_parked(2);
      if (by_reader) read.close();
      else write.close();
      (void)read_all(b);  // comes back: the end, although the halves still exist
      CHECK(reading.get() == weft::errc::closed);
      CHECK(writing.get() == weft::errc::closed);
      CHECK(read.native_handle() == -1);
      CHECK(write.native_handle() == -1);
    }
  });
}

TEST_CASE("a read deadline ends a read of a unix stream that waits, and loses nothing that comes later") {
  everywhere([](auto where) {
    auto [a, b] = unix_pair();
    auto const start = weft::now();
    b.set_read_deadline(start + 10ms);
    CHECK(error_of_reading(b) == std::errc::timed_out);
    CHECK(weft::now() - start >= 10ms);
    b.set_read_deadline(weft::now() + 1h);
    auto reading = where.start([&] { return error_of_reading(b); });
    until_parked(1);
    b.set_read_deadline(weft::now() - 1s);
    CHECK(reading.get() == std::errc::timed_out);
    REQUIRE(a.write_all("x"));
    CHECK(error_of_reading(b) == std::errc::timed_out);  // a past deadline beats data that is ready
    REQUIRE(b.write_all("y"));                           // and leaves writing alone
    CHECK_FALSE(error_of_reading(a));
    b.set_read_deadline(weft::time_point::max());
    CHECK_FALSE(error_of_reading(b));
  });
}

TEST_CASE("after shutdown_write the peer of a unix stream reads what was sent, then the end, and can still answer") {
  everywhere([](auto where) {
    auto [a, b] = unix_pair();
    auto peer = where.start([&] {
      std::string const got = read_all(b);
      (void)b.write_all("got ", got);
      b.close();
    });
    until_parked(1);
    REQUIRE(a.write_all("all"));
    REQUIRE(a.shutdown_write());
    CHECK(a.write_all("x").error() == std::errc::broken_pipe);
    CHECK(read_all(a) == "got all");
    peer.get();
  });
}

TEST_CASE("writing to a unix stream whose peer has closed is a broken pipe at once, and a reset is for who reads") {
  everywhere([](auto) {
    {
      auto [a, b] = unix_pair();
      b.close();
      CHECK(a.write_all("x").error() == std::errc::broken_pipe);
      CHECK(a.shutdown_write());
      CHECK_FALSE(error_of_reading(a));
    }
    for (bool const after_its_end : {false, true}) {
      auto [a, b] = unix_pair();
      REQUIRE(a.write_all("unread"));
      if (after_its_end) REQUIRE(b.shutdown_write());
      b.close();
      CHECK(a.write_all("x").error() == std::errc::broken_pipe);
      CHECK(a.shutdown_write());
      CHECK(error_of_reading(a) == std::errc::connection_reset);
      CHECK_FALSE(error_of_reading(a));
      CHECK(read_all(a).empty());
    }
  });
}

TEST_CASE("close wakes who reads from a unix stream, and its peer reads the end at once") {
  everywhere([](auto where) {
    auto [a, b] = unix_pair();
    auto reading = where.start([&] { return error_of_reading(a); });
    until_parked(1);
    a.close();
    CHECK(read_all(b).empty());
    CHECK(reading.get() == weft::errc::closed);
    CHECK(error_of_reading(a) == weft::errc::closed);
  });
}

TEST_CASE("a task parked on a unix stream is woken by cancellation, and the stream can be used afterwards") {
  with_workers([] {
    auto [a, b] = unix_pair();
    auto reading = weft::spawn([&] { (void)error_of_reading(b); });
    until_parked(1);
    reading.cancel();
    CHECK_THROWS_AS(reading.join(), weft::cancelled);
    REQUIRE(a.write_all("x"));
    CHECK_FALSE(error_of_reading(b));

    auto writing = weft::spawn([&] { (void)a.write_all(std::string(10'000'000, 'w')); });
    REQUIRE_FALSE(error_of_reading(b));  // it has begun
    until_parked(1);
    writing.cancel();
    CHECK_THROWS_AS(writing.join(), weft::cancelled);
    auto rest = weft::spawn([&] { return read_all(b); });  // what had been sent is there
    REQUIRE(a.write_all("the last"));
    a.close();
    std::string const got = rest.join();
    CHECK(got.ends_with("wthe last"));
    CHECK(got.size() < 10'000'000);
  });
}

TEST_CASE("copy_both joins two unix connections and passes each direction's end on while the other goes on") {
  with_workers([] {
    auto [client, near] = unix_pair();
    auto [far, server] = unix_pair();
    auto relay = weft::spawn([&] { return error_of(net::copy_both(near, far)); });
    std::string const question(500'000, 'q'), answer(700'000, 'a');
    REQUIRE(server.write_all("first"));  // before the client has said anything
    char room[5];
    REQUIRE(client.read_exact(room));
    CHECK(std::string_view(room, 5) == "first");
    auto asking = weft::spawn([&] { return client.write_all(question) && client.shutdown_write(); });
    CHECK(read_all(server) == question);  // up to the end that the relay passed on
    CHECK(asking.join());
    auto answering = weft::spawn([&] { return server.write_all(answer) && server.shutdown_write(); });
    CHECK(read_all(client) == answer);
    CHECK(answering.join());
    CHECK_FALSE(relay.join());
  });
}

TEST_CASE("a cancelled copy_both of unix connections throws, and leaves both to their owner") {
  with_workers([] {
    auto [client, near] = unix_pair();
    auto [far, server] = unix_pair();
    auto relay = weft::spawn([&] { (void)net::copy_both(near, far); });
    until_parked(2);  // one direction each
    relay.cancel();
    CHECK_THROWS_AS(relay.join(), weft::cancelled);
    REQUIRE(client.write_all("x"));
    CHECK_FALSE(error_of_reading(near));
    REQUIRE(server.write_all("y"));
    CHECK_FALSE(error_of_reading(far));
  });
}

TEST_CASE("a unix listener leaves a path alone that is another's by now") {
  on_the_machine([](auto) {
    std::string const path = "/tmp/weft-net-again-" + std::to_string(::getpid()) + ".sock";
    auto const reaches = [&](net::unix_listener& listener) {
      auto client = net::unix_stream::connect(path);
      if (!client || !client->write_all("here")) return false;
      client->close();
      auto server = listener.accept().value();
      return read_all(server) == "here";
    };
    auto first = net::unix_listener::bind(path).value();
    REQUIRE(::unlink(path.c_str()) == 0);
    auto second = net::unix_listener::bind(path).value();
    first.close();
    CHECK(reaches(second));

    REQUIRE(::unlink(path.c_str()) == 0);
    second = net::unix_listener::bind(path).value();  // lets go of the old one last
    CHECK(reaches(second));
    second.close();
    CHECK(::access(path.c_str(), F_OK) != 0);
  });
}
