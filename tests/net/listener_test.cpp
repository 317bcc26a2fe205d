#include "tests/net/everywhere.hpp"

#include "runtime/platform/fault.hpp"
#include "weft/context.hpp"

#include <atomic>
#include <cerrno>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

TEST_CASE("a port is taken once, unless both ask to share it") {
  auto first = net::tcp_listener::bind("127.0.0.1:0").value();
  std::string const address = first.local_endpoint().to_string();
  CHECK(first.local_endpoint().port() != 0);
  CHECK(net::tcp_listener::bind(address).error() == std::errc::address_in_use);
  first.close();
  auto shared = net::tcp_listener::bind(address, {.reuse_port = true});
  REQUIRE(shared);
  CHECK(net::tcp_listener::bind(address, {.reuse_port = true}));
}

TEST_CASE("a listener on all addresses takes IPv4 connections") {
  everywhere([](auto where) {
    auto listener = net::tcp_listener::bind(":0").value();
    auto server = where.start([&] { return listener.accept().has_value(); });
    CHECK(net::tcp_stream::connect("127.0.0.1:" + std::to_string(listener.local_endpoint().port())));
    CHECK(server.get());
  });
}

TEST_CASE("accepted streams are non-blocking, close-on-exec and send at once") {
  auto [a, b] = tcp_pair();
  CHECK((::fcntl(b.native_handle(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(b.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE(
    "who accepts a connection, starts a task for it and then computes keeps that task waiting for a moment only") {
  with_worker_count(2, [] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    for (int i = 0; i != 50; ++i) {
      auto client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
      auto accepted = listener.accept().value();
      std::atomic<bool> handled = false;
      auto handler = weft::spawn([&] { handled = true; });
      while (!handled) {
      }
      handler.join();
    }
  });
}

TEST_CASE("many connections are accepted by several tasks, each once") {
  everywhere([](auto where) {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = listener.local_endpoint().to_string();
    auto const accepting = [&] {
      int count = 0;
      while (auto s = listener.accept()) {
        char room[1];
        if (s->read_some(room).value_or(0) == 1) ++count;
      }
      return count;
    };
    auto one = where.start(accepting), two = where.start(accepting), three = where.start(accepting);
    for (int i = 0; i != 300; ++i) {
      auto c = net::tcp_stream::connect(address).value();
      REQUIRE(c.write_all("x"));
      char room[1];
      REQUIRE(c.read_some(room).value() == 0);
    }
    listener.close();
    CHECK(one.get() + two.get() + three.get() == 300);
  });
}

TEST_CASE("a descriptor number that is used again never gets another's bytes") {
  everywhere([](auto where) {
    // Each round closes one stream while a task reads from it, and opens another, which the kernel gives the same number.
    for (int i = 0; i != 200; ++i) {
      auto [a, b] = tcp_pair();
      auto reading = where.start([&] {
        char room[16];
        return b.read_some(room).value_or(1000);
      });
      b.close();
      auto [c, d] = tcp_pair();
      REQUIRE(c.write_all("not for b"));
      CHECK(reading.get() == 1000);
      std::string got(9, 0);
      REQUIRE(d.read_exact(got));
      CHECK(got == "not for b");
    }
  });
}

namespace {

/// In a process of its own: accept runs out of descriptors, waits, and goes on when there are some.
template <class Where>
int accept_without_descriptors(Where where) {
  auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
  std::string const address = listener.local_endpoint().to_string();
  auto client = net::tcp_stream::connect(address).value();
  std::vector<int> taken;
  for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
  if (errno != EMFILE) return 2;
  auto accepting = where.start([&] { return listener.accept().has_value(); });
  weft::sleep_for(20ms);  // long enough for several attempts; none may end the accept
  for (int fd : taken) ::close(fd);
  return accepting.get() ? 0 : 3;
}

}  // namespace

TEST_CASE("accept without descriptors waits and goes on") {
  if (!can_fork) return;
  auto const in_child = [](int workers) {
    ::pid_t const child = ::fork();
    if (child == 0) {
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = 64;
      ::setrlimit(RLIMIT_NOFILE, &limit);
      int status = 1;
      if (workers == 0) {
        status = accept_without_descriptors(on_threads());
      } else {
        weft::options options;
        options.workers = static_cast<unsigned>(workers);
        status = weft::run(options, [] { return accept_without_descriptors(on_tasks()); });
      }
      ::_exit(status);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
  };
  CHECK(in_child(0) == 0);
  CHECK(in_child(1) == 0);
  CHECK(in_child(2) == 0);
}

TEST_CASE("a socket outlives the runtime that it was used in") {
  std::unique_ptr<net::tcp_stream> a, b;
  weft::run([&] {
    auto [x, y] = tcp_pair();
    auto reading = weft::spawn([&] {
      char room[1];
      return y.read_some(room).value();
    });
    REQUIRE(x.write_all("1"));
    CHECK(reading.join() == 1);
    a = std::make_unique<net::tcp_stream>(std::move(x));
    b = std::make_unique<net::tcp_stream>(std::move(y));
  });
  REQUIRE(a->write_all("2"));
  char room[1];
  CHECK(b->read_some(room).value() == 1);
  weft::run([&] {
    auto reading = weft::spawn([&] {
      char some[1];
      return b->read_some(some).value();
    });
    REQUIRE(a->write_all("3"));
    CHECK(reading.join() == 1);
  });
}

TEST_CASE("accept makes pauses while it is forbidden") {
  with_worker_count(1, [] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    weft::rt::arm_fault({weft::rt::fault_kind::accept, 1, 100'000, EPERM});
    auto const got = weft::within(50ms, [&] { return listener.accept(); });
    CHECK(weft::rt::disarm_fault() < 100);
    CHECK_FALSE(got);
  });
}

TEST_CASE("an address can be listened at again as soon as close has come back, whoever waits to accept there") {
  auto const body = [] {
    for (int i = 0; i < 50; ++i) {
      auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
      auto const place = listener.local_endpoint().to_string();
      auto accepting = weft::spawn([&] {
        int n = 0;
        while (listener.accept()) ++n;
        return n;
      });
      REQUIRE(net::tcp_stream::connect(place));
      listener.close();
      auto const next = net::tcp_listener::bind(place);
      CHECK(next);
      CHECK(accepting.join() <= 1);
    }
  };
  with_workers(body);
  for (std::uint64_t seed = 0; seed != simulated_seeds; ++seed) {
    INFO("in a simulated run, seed " << seed);
    weft::sim::run(seed, body);
  }
}

TEST_CASE("a listener that is adopted accepts what waits, and goes on when the one it came from closes") {
  with_worker_count(2, [] {
    auto first = net::tcp_listener::bind("127.0.0.1:0").value();
    std::string const address = first.local_endpoint().to_string();
    int const fd = ::dup(first.native_handle());  // as in another process, with the descriptor inherited
    auto waits = net::tcp_stream::connect(address).value();
    auto adopted = net::tcp_listener::adopt(fd).value();
    CHECK(adopted.native_handle() == fd);
    CHECK(adopted.local_endpoint().to_string() == address);
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(adopted.accept().value().remote_endpoint() == waits.local_endpoint());
    auto server = weft::spawn([&] { return adopted.accept().has_value(); });
    first.close();
    auto later = net::tcp_stream::connect(address);
    CHECK(later);
    CHECK(server.join());
    adopted.close();
    CHECK(adopted.accept().error() == weft::errc::closed);
    CHECK(net::tcp_stream::connect(address).error() == std::errc::connection_refused);
  });
}

TEST_CASE("what is no listening socket of the kind is not adopted, and stays the caller's") {
  int fds[2];
  REQUIRE(::pipe(fds) == 0);
  CHECK(net::tcp_listener::adopt(fds[0]).error() == std::errc::not_a_socket);
  int const connected = ::socket(AF_INET, SOCK_STREAM, 0), datagrams = ::socket(AF_INET, SOCK_DGRAM, 0);
  auto const local = net::unix_listener::bind(unix_name("adopt")).value();
  auto const tcp = net::tcp_listener::bind("127.0.0.1:0").value();
  for (int const fd : {connected, datagrams, local.native_handle()}) {
    CAPTURE(fd);
    CHECK(net::tcp_listener::adopt(fd).error() == std::errc::invalid_argument);
    CHECK(::fcntl(fd, F_GETFD) >= 0);
  }
  CHECK(net::unix_listener::adopt(tcp.native_handle()).error() == std::errc::invalid_argument);
  CHECK(net::tcp_listener::adopt(-1).error() == std::errc::bad_file_descriptor);
  for (int const fd : {fds[0], fds[1], connected, datagrams}) CHECK(::close(fd) == 0);
}

TEST_CASE("a unix listener that is adopted leaves the path to who bound it") {
  std::string const path = "/tmp/weft-adopt-" + std::to_string(::getpid());
  auto first = net::unix_listener::bind(path).value();
  {
    auto adopted = net::unix_listener::adopt(::dup(first.native_handle())).value();
    auto client = net::unix_stream::connect(path).value();
    CHECK(adopted.accept());
  }
  CHECK(::access(path.c_str(), F_OK) == 0);
  CHECK(net::unix_stream::connect(path));
  first.close();
  CHECK(::access(path.c_str(), F_OK) != 0);
}
