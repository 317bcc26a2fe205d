// Sockets used by tasks whose worker has lost its processor.

#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <string>
#include <vector>

#include "tests/sched/adrift.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace net = weft::net;
using weft::test::lose_processor;
using namespace std::chrono_literals;

TEST_CASE("sockets work for tasks that lose their processor before each call") {
  weft::test::with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto server = weft::spawn([&] {
      lose_processor();
      auto s = listener.accept().value();
      std::string got(5, ' ');
      lose_processor();
      if (!s.read_exact(got)) return std::string("nothing read");
      lose_processor();
      if (!s.write_all(got + " back")) return std::string("nothing written");
      return got;
    });
    lose_processor();
    auto c = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    lose_processor();
    REQUIRE(c.write_all("hello"));
    std::string answer(10, ' ');
    lose_processor();
    REQUIRE(c.read_exact(answer));
    CHECK(answer == "hello back");
    CHECK(server.join() == "hello");
    c.set_read_deadline(weft::now() + 2ms);
    lose_processor();
    CHECK(c.read_some(answer).value_or(0) == 0);  // the end of the stream, or the deadline
  });
}

TEST_CASE("connections are served while every worker has a task that computes") {
  weft::test::with_workers([] {
    std::atomic<bool> stop = false;
    weft::wait_group spinning;
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto server = weft::spawn([&] {
      for (int i = 0; i < 5; ++i) {
        auto s = listener.accept().value();
        std::string got(1, ' ');
        (void)s.read_exact(got);
        (void)s.write_all(got);
      }
    });
    for (unsigned i = 0; i < weft::current_metrics().workers; ++i)
      spinning.go([&] {
        while (!stop) {
        }
      });
    weft::yield();
    std::string all;
    for (int i = 0; i < 5; ++i) {
      auto c = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
      (void)c.write_all("x");
      std::string back(1, ' ');
      if (c.read_exact(back)) all += back;
    }
    stop = true;
    server.join();
    spinning.wait();
    CHECK(all == "xxxxx");
  });
}
