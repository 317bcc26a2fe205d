// Everything at once on one connection: reading, writing, moving deadlines, cancelling, closing.
#include "tests/net/everywhere.hpp"

#include <atomic>
#include <chrono>
#include <vector>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

namespace {

char at(std::size_t position) { return static_cast<char>(position % 251); }

/// Reads until the stream ends or is closed, through time-outs; how many bytes, or -1 if one was wrong.
long read_sequence(net::tcp_stream& from, std::size_t room) {
  std::vector<char> buffer(room);
  for (std::size_t total = 0;;) {
    auto const n = from.read_some(buffer);
    if (!n && n.error() == std::errc::timed_out) {
      from.set_read_deadline(weft::time_point::max());
      continue;
    }
    if (!n || *n == 0) return static_cast<long>(total);
    for (std::size_t i = 0; i != *n; ++i) {
      if (buffer[i] != at(total + i)) return -1;
    }
    total += *n;
  }
}

long write_sequence(net::tcp_stream& to, std::size_t piece, std::size_t most) {
  std::vector<char> buffer(piece);
  for (std::size_t total = 0; total < most;) {
    for (std::size_t i = 0; i != piece; ++i) buffer[i] = at(total + i);
    if (!to.write_all(buffer)) return static_cast<long>(total);
    total += piece;
  }
  (void)to.shutdown_write();
  return static_cast<long>(most);
}

}  // namespace

TEST_CASE("bytes stay in order and none is lost while deadlines move") {
  everywhere([](auto where) {
    for (int round = 0; round != 10; ++round) {
      auto [a, b] = tcp_pair();
      std::atomic<bool> over{false};
      auto reading = where.start([&] {
        long const n = read_sequence(b, 777);
        over = true;
        return n;
      });
      auto moving = where.start([&] {
        while (!over) {
          b.set_read_deadline(weft::now() + 20us);
          b.set_read_deadline(weft::now() - 1s);
          weft::sleep_for(50us);
        }
      });
      CHECK(write_sequence(a, 1000, 300'000) == 300'000);
      CHECK(reading.get() == 300'000);
      moving.get();
    }
  });
}

constexpr std::size_t endless = 1'000'000'000'000;

TEST_CASE("close at any moment ends all that goes on, and what was read until then is right") {
  everywhere([](auto where) {
    for (int round = 0; round != 20; ++round) {
      auto [a, b] = tcp_pair();
      auto reading = where.start([&] { return read_sequence(b, 100 + static_cast<std::size_t>(round)); });
      auto writing = where.start([&] { return write_sequence(a, 1000, endless); });
      auto back = where.start([&] { return read_sequence(a, 64); });
      weft::sleep_for(std::chrono::microseconds(25 * round));
      (round % 2 ? a : b).close();
      CHECK(reading.get() >= 0);
      CHECK(writing.get() < static_cast<long>(endless));
      CHECK(back.get() == 0);
    }
  });
}

TEST_CASE("a reader cancelled at any moment loses no byte for the next one") {
  with_workers([] {
    auto [a, b] = tcp_pair();
    auto writing = weft::spawn([&] { return write_sequence(a, 100, 200'000); });
    std::size_t total = 0;
    bool good = true, ended = false;
    auto const take = [&] {
      char room[64];
      for (;;) {
        auto const n = b.read_some(room);
        if (!n || *n == 0) {
          ended = true;
          return;
        }
        for (std::size_t i = 0; i != *n; ++i) good = good && room[i] == at(total + i);
        total += *n;
      }
    };
    for (int i = 0;; ++i) {
      auto reader = weft::spawn(take);
      if (i < 1000) weft::yield();
      else reader.wait();
      reader.stop();
      if (ended) break;
    }
    CHECK(good);
    CHECK(total == 200'000);
    CHECK(writing.join() == 200'000);
  });
}

TEST_CASE("many connections at once echo all they get") {
  with_workers([] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    auto server =
        weft::spawn([&] { return error_of(net::serve(listener, [](net::tcp_stream s) { (void)net::copy(s, s); })); });
    std::vector<weft::join_handle<bool>> clients;
    for (int c = 0; c != 100; ++c) {
      clients.push_back(weft::spawn([&address, c] {
        auto s = net::tcp_stream::connect(address).value();
        std::string back(50, 0);
        for (int i = 0; i != 30; ++i) {
          std::string const message(50, static_cast<char>('a' + (c + i) % 26));
          if (!s.write_all(message) || !s.read_exact(back) || back != message) return false;
        }
        return s.shutdown_write().has_value() && s.read_some(back).value_or(9) == 0;
      }));
    }
    int good = 0;
    for (auto& c : clients) good += c.join() ? 1 : 0;
    CHECK(good == 100);
    listener.close();
    CHECK_FALSE(server.join());
  });
}
