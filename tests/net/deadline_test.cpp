#include "tests/net/everywhere.hpp"

#include <atomic>
#include <chrono>
#include <string>

#include <unistd.h>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

TEST_CASE("a read deadline ends a read that waits, and the stream can be used again afterwards") {
  everywhere([](auto) {
    auto [a, b] = tcp_pair();
    char room[1];
    auto const start = weft::now();
    b.set_read_deadline(start + 30ms);
    CHECK(b.read_some(room).error() == std::errc::timed_out);
    CHECK(weft::now() - start >= 30ms);
    CHECK(b.read_some(room).error() == std::errc::timed_out);
    b.set_read_deadline(weft::time_point::max());
    REQUIRE(a.write_all("x"));
    CHECK(b.read_some(room).value() == 1);
  });
}

TEST_CASE("a past deadline beats data that is ready, and loses none of it") {
  everywhere([](auto) {
    auto [a, b] = tcp_pair();
    REQUIRE(a.write_all("x"));
    char room[1];
    REQUIRE(net::wait_readable(b.native_handle()));
    b.set_read_deadline(weft::now() - 1s);
    CHECK(b.read_some(room).error() == std::errc::timed_out);
    b.set_read_deadline(weft::time_point{});
    CHECK(b.read_some(room).error() == std::errc::timed_out);
    b.set_read_deadline(weft::now() + 1h);
    CHECK(b.read_some(room).value() == 1);
  });
}

TEST_CASE("a past write deadline beats room that is there, writes nothing, and leaves reading alone") {
  everywhere([](auto) {
    auto [a, b] = tcp_pair();
    a.set_write_deadline(weft::now() - 1s);
    CHECK(a.write_all("x").error() == std::errc::timed_out);
    CHECK(a.write_all("").error() == std::errc::timed_out);
    a.set_write_deadline(weft::time_point::min());
    CHECK(a.write_all("x", "y").error() == std::errc::timed_out);
    REQUIRE(b.write_all("z"));
    char room[2];
    CHECK(a.read_some(room).value() == 1);
    CHECK(a.shutdown_write());  // does not wait
    CHECK(b.read_some(room).value() == 0);

    auto [c, d] = tcp_pair();
    c.set_write_deadline(weft::now() - 1s);
    CHECK(c.write_all("x").error() == std::errc::timed_out);
    c.set_write_deadline(weft::time_point::max());
    REQUIRE(c.write_all("y"));
    c.close();
    CHECK(read_all(d) == "y");
  });
}

TEST_CASE("moving a write deadline wakes who waits under the old one") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    a.set_write_deadline(weft::now() + 1h);
    std::string const much(64'000'000, 'x');
    auto writer = where.start([&] { return error_of(a.write_all(much)); });
    char room[1];
    REQUIRE(b.read_some(room).value() == 1);  // it has begun
    until_parked(1);
    a.set_write_deadline(weft::now() - 1h);
    CHECK(writer.get() == std::errc::timed_out);
  });
}

TEST_CASE("a deadline that is set through one half of a split stream is its direction's, and wakes who waits there") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto [read, write] = std::move(a).split();
    char room[1];
    write.set_read_deadline(weft::now() - 1s);  // one stream: either half sets it
    CHECK(read.read_some(room).error() == std::errc::timed_out);
    CHECK(write.write_all("x"));
    read.set_read_deadline(weft::time_point::max());
    read.set_write_deadline(weft::now() - 1s);
    CHECK(write.write_all("y").error() == std::errc::timed_out);
    REQUIRE(b.write_all("z"));
    CHECK(read.read_some(room).value() == 1);

    auto reading = where.start([half = read] {
      char some[1];
      net::read_half mine = half;
      return error_of(mine.read_some(some));
    });
    until_parked(1);
    write.set_read_deadline(weft::now());
    CHECK(reading.get() == std::errc::timed_out);
  });
}

TEST_CASE("close through one half of a split stream wakes who waits in the other, and in copies of it") {
  everywhere([](auto where) {
    for (bool by_reader : {false, true}) {
      auto [a, b] = tcp_pair();
      auto [read, write] = std::move(a).split();
      auto reading = where.start([half = read] {
        char room[1];
        net::read_half mine = half;
        return error_of(mine.read_some(room));
      });
      auto writing = where.start([half = write] {
        net::write_half mine = half;
        return error_of(mine.write_all(std::string(64'000'000, 'x')));
      });
      char room[1];
      REQUIRE(b.read_some(room).value() == 1);  // the writer has begun
      until_parked(2);
      if (by_reader) read.close();
      else write.close();
      CHECK(reading.get() == weft::errc::closed);
      CHECK(writing.get() == weft::errc::closed);
      CHECK(read.native_handle() == -1);
      CHECK(write.native_handle() == -1);
      CHECK_FALSE(write.local_endpoint());
    }
  });
}

TEST_CASE("close wakes who accepts from a unix listener, and frees its path at once") {
  everywhere([](auto where) {
    std::string const path = "/tmp/weft-net-close-" + std::to_string(::getpid()) + ".sock";
    for (std::string const& name : {path, "@" + path}) {
      auto listener = net::unix_listener::bind(name).value();
      auto accepting = where.start([&] { return error_of(listener.accept()); });
      auto another = where.start([&] { return error_of(listener.accept()); });
      until_parked(2);
      listener.close();
      CHECK(accepting.get() == weft::errc::closed);
      CHECK(another.get() == weft::errc::closed);
      CHECK(listener.accept().error() == weft::errc::closed);
      CHECK(listener.native_handle() == -1);
      CHECK_FALSE(listener.local_endpoint());
      listener.close();
      CHECK(net::unix_listener::bind(name));
    }
  });
}

TEST_CASE("each of many deadlines that are moved into the past ends the read that waits under it, or comes to") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    for (int i = 0; i != 50; ++i) {
      b.set_read_deadline(weft::time_point::max());
      auto reader = where.start([&] {
        char room[1];
        return error_of(b.read_some(room));
      });
      b.set_read_deadline(weft::now() + 1h);
      if (i % 2 == 0) until_parked(1);
      b.set_read_deadline(weft::now() - 1s);
      REQUIRE(reader.get() == std::errc::timed_out);
    }
  });
}

TEST_CASE("moving a deadline wakes who waits under the old one") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    b.set_read_deadline(weft::now() + 1h);
    auto reader = where.start([&] {
      char room[1];
      return error_of(b.read_some(room));
    });
    b.set_read_deadline(weft::now());
    CHECK(reader.get() == std::errc::timed_out);
  });
}

TEST_CASE("a deadline moved into the future, again and again, does not end the read") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    b.set_read_deadline(weft::now() + 1h);
    auto reader = where.start([&] {
      char room[1];
      return b.read_some(room).value_or(99);
    });
    for (int i = 0; i != 100; ++i) b.set_read_deadline(weft::now() + 1h + i * 1s);
    REQUIRE(a.write_all("x"));
    CHECK(reader.get() == 1);
  });
}

TEST_CASE("a write deadline ends a write that the peer does not read, and leaves reading alone") {
  everywhere([](auto) {
    auto [a, b] = tcp_pair();
    a.set_write_deadline(weft::now() + 30ms);
    std::string const much(64'000'000, 'x');
    CHECK(a.write_all(much).error() == std::errc::timed_out);
    CHECK(a.write_all("x").error() == std::errc::timed_out);
    REQUIRE(b.write_all("y"));
    char room[1];
    CHECK(a.read_some(room).value() == 1);
  });
}

TEST_CASE("close wakes who reads, who writes and who accepts, with errc::closed") {
  everywhere([](auto where) {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto [a, b] = tcp_pair();
    auto accepting = where.start([&] { return error_of(listener.accept()); });
    auto reading = where.start([&] {
      char room[1];
      return error_of(a.read_some(room));
    });
    auto writing = where.start([&] { return error_of(a.write_all(std::string(64'000'000, 'x'))); });
    listener.close();
    a.close();
    CHECK(accepting.get() == weft::errc::closed);
    CHECK(reading.get() == weft::errc::closed);
    CHECK(writing.get() == weft::errc::closed);
    CHECK(listener.accept().error() == weft::errc::closed);
    CHECK(a.write_all("x").error() == weft::errc::closed);
    CHECK(error_of(a.shutdown_write()) == weft::errc::closed);
  });
}

TEST_CASE("the peer of a stream that is closed during a read sees the end at once") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto reading = where.start([&] {
      char room[1];
      return error_of(a.read_some(room));
    });
    a.close();
    CHECK(read_all(b).empty());
    CHECK(reading.get() == weft::errc::closed);
  });
}

TEST_CASE("connecting gives up when its patience has run out") {
  everywhere([](auto) {
    // A listener whose queue is full answers no further connection: the kernel drops the SYN.
    auto listener = net::tcp_listener::bind("127.0.0.1:0", {.backlog = 0}).value();
    std::string const address = listener.local_endpoint().to_string();
    std::vector<net::tcp_stream> queued;
    std::error_code error;
    for (int i = 0; i != 10 && !error; ++i) {
      auto stream = net::tcp_stream::connect(address, 30ms);
      if (stream) queued.push_back(std::move(*stream));
      else error = stream.error();
    }
    CHECK(error == std::errc::timed_out);
  });
}

TEST_CASE("a unix listener with a full queue makes connecting wait, not fail") {
  everywhere([](auto where) {
    std::string const name = unix_name("backlog");
    auto listener = net::unix_listener::bind(name, {.backlog = 0}).value();
    auto first = net::unix_stream::connect(name).value();
    CHECK(net::unix_stream::connect(name, 5ms).error() == std::errc::timed_out);
    auto second = where.start([&] { return error_of(net::unix_stream::connect(name)); });
    (void)listener.accept().value();
    (void)listener.accept().value();
    CHECK_FALSE(second.get());
  });
}

TEST_CASE("a negative patience means now and the longest one never overflows") {
  everywhere([](auto) {
    auto [a, b] = tcp_pair();
    CHECK(net::wait_readable(b.native_handle(), -1s).error() == std::errc::timed_out);
    CHECK(net::wait_writable(b.native_handle(), -1s));
    REQUIRE(a.write_all("x"));
    CHECK(net::wait_readable(b.native_handle(), std::chrono::nanoseconds::max()));
    CHECK(net::wait_readable(b.native_handle(), std::chrono::nanoseconds::max() - 1ns));
  });
}

TEST_CASE("a cancelled task's socket calls throw, waiting or not, and leave the data where it is") {
  with_workers([] {
    auto [a, b] = tcp_pair();
    auto reader = weft::spawn([&] {
      char room[1];
      (void)b.read_some(room);
    });
    reader.cancel();
    CHECK_THROWS_AS(reader.join(), weft::cancelled);
    REQUIRE(a.write_all("x"));
    std::atomic<bool> is_cancelled{false};
    auto late = weft::spawn([&] {
      while (!is_cancelled) weft::yield();
      char room[1];
      (void)b.read_some(room);
    });
    late.cancel();
    is_cancelled = true;
    CHECK_THROWS_AS(late.join(), weft::cancelled);
    char room[1];
    CHECK(b.read_some(room).value() == 1);
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto accepting = weft::spawn([&] { (void)listener.accept(); });
    accepting.stop();
    auto naming = weft::spawn([] { (void)net::resolve("a.name.that.does.not.exist.invalid:1"); });
    naming.stop();
    auto writing = weft::spawn([&] { (void)a.write_all(std::string(64'000'000, 'x')); });
    writing.cancel();
    CHECK_THROWS_AS(writing.join(), weft::cancelled);
  });
}

TEST_CASE("a patience is a duration of any type, of which max() means never and a negative one now") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto const late = [&](auto d) { return error_of(net::wait_readable(b.native_handle(), d)); };
    CHECK(late(std::chrono::hours::min()) == std::errc::timed_out);
    CHECK(late(-1h) == std::errc::timed_out);
    CHECK(late(std::chrono::duration<double>(0.0005)) == std::errc::timed_out);
    auto readable =
        where.start([&] { return error_of(net::wait_readable(b.native_handle(), std::chrono::hours::max())); });
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto connecting = where.start([&] {
      return error_of(net::tcp_stream::connect(listener.local_endpoint().to_string(), std::chrono::hours::max()));
    });
    CHECK(listener.accept());
    CHECK_FALSE(connecting.get());
    CHECK(net::wait_writable(b.native_handle(), std::chrono::years::max()));
    REQUIRE(a.write_all("x"));
    CHECK_FALSE(readable.get());
  });
}
