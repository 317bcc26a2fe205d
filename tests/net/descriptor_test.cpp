#include "tests/net/everywhere.hpp"

#include <cstdio>
#include <optional>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

namespace {
struct pipe_ends {
  net::fd_stream read, write;
};
pipe_ends make_pipe() {
  int fds[2];
  REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
  return {net::fd_stream::adopt(fds[0]).value(), net::fd_stream::adopt(fds[1]).value()};
}

/// Writes until the kernel takes no more and goes on saying so; how much.
template <class S>
std::size_t fill(S const& s) {
  std::string const part(4096, 'f');
  std::size_t all = 0;
  do {
    for (ssize_t n; (n = ::send(s.native_handle(), part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;)
      all += static_cast<std::size_t>(n);
    // TCP moves bytes to the peer's side meanwhile, which makes room once more.
  } while (net::wait_writable(s.native_handle(), 20ms));
  return all;
}

template <class S>
void take(S& from, std::size_t n) {
  std::string room(n, '\0');
  REQUIRE(from.read_exact(room));
}
}  // namespace

TEST_CASE("a pipe carries more than it holds, and its end") {
  on_the_machine([](auto where) {
    auto p = make_pipe();
    std::string const much(500'000, 'p');
    auto writing = where.start([&] {
      bool const good = p.write.write_all(much.substr(0, 7), much.substr(7)).has_value();
      return p.write.shutdown_write().has_value() && good;
    });
    CHECK(read_all(p.read) == much);
    CHECK(writing.get());
  });
}

TEST_CASE("writing to a pipe that nobody reads is broken_pipe, not the end of the process") {
  auto p = make_pipe();
  p.read.close();
  CHECK(p.write.write_all("x").error() == std::errc::broken_pipe);
}

TEST_CASE("close and deadlines end the reading of a pipe") {
  on_the_machine([](auto where) {
    auto p = make_pipe();
    char room[1];
    p.read.set_read_deadline(weft::now() + 10ms);
    CHECK(p.read.read_some(room).error() == std::errc::timed_out);
    p.read.set_read_deadline(weft::time_point::max());
    auto reading = where.start([&] {
      char some[1];
      return error_of(p.read.read_some(some));
    });
    p.read.close();
    CHECK(reading.get() == weft::errc::closed);
  });
}

TEST_CASE("a regular file is read to its end and written") {
  on_the_machine([](auto) {
    std::FILE* file = std::tmpfile();
    REQUIRE(file != nullptr);
    auto f = net::fd_stream::adopt(::dup(::fileno(file))).value();
    REQUIRE(f.write_all("in a file"));
    ::lseek(f.native_handle(), 0, SEEK_SET);
    CHECK(read_all(f) == "in a file");
    CHECK(net::wait_readable(f.native_handle()));
    std::fclose(file);
  });
}

TEST_CASE("a socket is adopted, what is no descriptor is not") {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  auto a = net::fd_stream::adopt(fds[0]).value();
  auto b = net::fd_stream::adopt(fds[1]).value();
  REQUIRE(a.write_all("hi"));
  REQUIRE(a.shutdown_write());
  CHECK(read_all(b) == "hi");
  CHECK(net::fd_stream::adopt(-1).error() == std::errc::bad_file_descriptor);
  CHECK(net::fd_stream::adopt(10'000).error() == std::errc::bad_file_descriptor);
  for (auto const patience : {0ms, 1ms, -1ms})
    CHECK(net::wait_readable(-1, patience).error() == std::errc::bad_file_descriptor);
  CHECK(net::wait_readable(10'000).error() == std::errc::bad_file_descriptor);
}

TEST_CASE("waiting for a descriptor ends when it is ready, beside a stream that reads from the same one") {
  everywhere([](auto where) {
    auto [a, b] = tcp_pair();
    auto reading = where.start([&] {
      char room[1];
      return b.read_some(room).value();
    });
    auto waiting = where.start([&] { return net::wait_readable(a.native_handle()).has_value(); });
    CHECK(net::wait_writable(a.native_handle()));
    REQUIRE(a.write_all("x"));
    CHECK(reading.get() == 1);
    REQUIRE(b.write_all("y"));
    CHECK(waiting.get());
    CHECK(net::wait_readable(b.native_handle(), 10ms).error() == std::errc::timed_out);
  });
}

TEST_CASE("waiting to write to a full socket ends when its peer has read, and not before") {
  on_the_machine([](auto where) {
    auto const check = [&](auto pair) {
      auto& [a, b] = pair;
      std::size_t const held = fill(a);
      CHECK(net::wait_writable(a.native_handle(), 0s).error() == std::errc::timed_out);
      CHECK(net::wait_writable(a.native_handle(), 5ms).error() == std::errc::timed_out);
      auto waiting = where.start([fd = a.native_handle()] { return error_of(net::wait_writable(fd)); });
      until_parked(1);
      take(b, held);
      CHECK_FALSE(waiting.get());
      REQUIRE(a.write_all("x"));
      take(b, 1);
    };
    check(unix_pair());
    check(tcp_pair());
  });
}

TEST_CASE("waiting to write to a full socket ends when its peer has gone") {
  on_the_machine([](auto where) {
    auto [a, b] = unix_pair();
    fill(a);
    auto waiting = where.start([fd = a.native_handle()] { return error_of(net::wait_writable(fd)); });
    until_parked(1);
    b.close();
    CHECK_FALSE(waiting.get());
    CHECK(a.write_all("x").error());
  });
}

TEST_CASE("a task that waits to write to a full socket is cancelled, and leaves the socket as it was") {
  with_workers([] {
    auto [a, b] = unix_pair();
    std::size_t const held = fill(a);
    for (auto const patience : {std::chrono::nanoseconds::max(), std::chrono::nanoseconds(1h)}) {
      auto waiting = weft::spawn([&] { (void)net::wait_writable(a.native_handle(), patience); });
      until_parked(1);
      waiting.cancel();
      CHECK_THROWS_AS(waiting.join(), weft::cancelled);
    }
    CHECK(net::wait_writable(a.native_handle(), 0s).error() == std::errc::timed_out);
    auto writing = weft::spawn([&] { return error_of(a.write_all("more")); });
    until_parked(1);
    take(b, held + 4);
    CHECK_FALSE(writing.join());
    a.close();
    CHECK(read_all(b).empty());  // no duplicate has outlived its waiter
  });
}

namespace {

/// body(fds[1]), under weft::run, in a process of its own, whose standard input is the pipe's end fds[0]; then with_parent(fds[1]) here, which has that end
/// alone. The status of that process.
template <class Body, class WithParent>
int status_with_piped_input(Body body, WithParent with_parent) {
  int fds[2];
  REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
  ::pid_t const child = ::fork();
  if (child == 0) {
    ::dup2(fds[0], 0);
    ::close(fds[0]);
    ::_exit(weft::run([&] { return body(fds[1]); }));
  }
  ::close(fds[0]);
  with_parent(fds[1]);
  ::close(fds[1]);
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("standard input is read without making it non-blocking, and is not closed") {
  if (!can_fork) return;
  auto const child = [](int other_end) {
    ::close(other_end);
    bool good = true;
    {
      auto in = net::fd_stream::adopt(0).value();
      good = read_all(in) == "typed";
    }
    int const flags = ::fcntl(0, F_GETFL);
    return good && flags >= 0 && (flags & O_NONBLOCK) == 0 ? 0 : 1;
  };
  CHECK(status_with_piped_input(child, [](int other_end) {
          REQUIRE(::write(other_end, "ty", 2) == 2);
          REQUIRE(::write(other_end, "ped", 3) == 3);
        }) == 0);
}

TEST_CASE("several streams of standard input wait for it at once") {
  if (!can_fork) return;
  auto const child = [](int other_end) {
    auto one = net::fd_stream::adopt(0).value(), other = net::fd_stream::adopt(0).value();
    auto const read = [](net::fd_stream& s) {
      char room[1];
      return s.read_some(room).value_or(0);
    };
    auto first = weft::spawn(read, std::ref(one)), second = weft::spawn(read, std::ref(other));
    until_parked(2);
    bool good = ::write(other_end, "ab", 2) == 2 && first.join() + second.join() == 2;
    one.close();
    other.close();
    auto again = net::fd_stream::adopt(0).value();  // none of them has closed it
    good = good && again.native_handle() == 0 && ::write(other_end, "c", 1) == 1 && read(again) == 1;
    return good ? 0 : 1;
  };
  CHECK(status_with_piped_input(child, [](int) {}) == 0);
}

TEST_CASE("standard input that is a socket ends its writing alone") {
  if (!can_fork) return;
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  ::pid_t const child = ::fork();
  if (child == 0) {
    ::dup2(fds[0], 0);
    ::close(fds[0]);
    ::close(fds[1]);
    ::_exit(weft::run([] {
      auto in = net::fd_stream::adopt(0).value();
      return in.write_all("asked").has_value() && in.shutdown_write().has_value() && read_all(in) == "typed" ? 0 : 1;
    }));
  }
  ::close(fds[0]);
  std::string asked;
  char some[64];
  while (::ssize_t const n = ::read(fds[1], some, sizeof some)) {
    REQUIRE(n > 0);
    asked.append(some, static_cast<std::size_t>(n));
  }
  CHECK(asked == "asked");
  CHECK(::write(fds[1], "typed", 5) == 5);
  ::close(fds[1]);
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("close of a stream, or its end, wakes who waits for its descriptor, and its peer reads the end at once") {
  // Not on plain threads: nobody could tell that they wait for the number before it is given back.
  auto const body = [] {
    auto const check = [](auto pair, bool by_close) {
      std::optional a(std::move(pair.first));
      auto reading = weft::spawn([fd = a->native_handle()] { return error_of(net::wait_readable(fd)); });
      auto another = weft::spawn([fd = a->native_handle()] { return error_of(net::wait_readable(fd, 1h)); });
      until_parked(2);
      if (by_close) a->close();
      else a.reset();
      CHECK(read_all(pair.second).empty());
      CHECK(reading.join() == weft::errc::closed);
      CHECK(another.join() == weft::errc::closed);
    };
    for (bool const by_close : {true, false}) {
      check(tcp_pair(), by_close);
      check(unix_pair(), by_close);
    }
  };
  with_workers(body);
  for (std::uint64_t seed = 0; seed != simulated_seeds; ++seed) {
    INFO("in a simulated run, seed " << seed);
    weft::sim::run(seed, body);
  }
}

namespace {
/// Of a thread's, made before that thread first waits for a descriptor, and so destroyed after what that wait has left with it.
struct farewell {
  std::optional<net::unix_stream> peer;
  std::error_code* outcome = nullptr;
  void (*open)() = nullptr;

  ~farewell() {
    if (!peer) return;
    open();
    char answer[4];
    peer->set_read_deadline(weft::now() + 20ms);
    auto const n = peer->read_some(answer);
    *outcome = n ? std::error_code() : n.error();
  }
};
thread_local farewell last_words;
int opened_at_the_end[2] = {-1, -1};
}  // namespace

TEST_CASE("a wait in a destructor at the end of a thread leaves descriptors alone that were opened meanwhile") {
  auto pair = unix_pair();
  std::error_code before, outcome;
  std::thread([&] {
    last_words.peer.emplace(std::move(pair.first));
    last_words.outcome = &outcome;
    // It gets the number of whatever has been closed at the thread's end.
    last_words.open = [] {
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, opened_at_the_end) == 0)
        (void)!::write(opened_at_the_end[1], "eight...", 8);
    };
    char some[4];
    last_words.peer->set_read_deadline(weft::now() + 20ms);
    auto const n = last_words.peer->read_some(some);
    before = n ? std::error_code() : n.error();
  }).join();
  CHECK(before == std::errc::timed_out);
  CHECK(outcome == std::errc::timed_out);
  REQUIRE(opened_at_the_end[0] >= 0);
  char kept[16];
  CHECK(::recv(opened_at_the_end[0], kept, sizeof kept, MSG_DONTWAIT) == 8);
  for (int const fd : opened_at_the_end) ::close(fd);
}

TEST_CASE(
    "a stream that a runtime has waited for is waited for in another one, once that is shut down, and while it is") {
  auto pair = unix_pair();
  char some[8];
  weft::runtime first, second;
  first.run([&] {
    pair.first.set_read_deadline(weft::now() + 5ms);
    CHECK(error_of(pair.first.read_some(some)) == std::errc::timed_out);  // and so it is registered there
  });
  pair.first.set_read_deadline(weft::time_point::max());
  auto reading = second.spawn([&] { return pair.first.read_exact(std::span(some, 5)).has_value(); });
  while (second.metrics().parked == 0) std::this_thread::yield();
  first.shutdown();
  CHECK(pair.second.write_all("while"));
  CHECK(reading.join());
  pair.first.set_read_deadline(weft::now() + 10s);
  auto later = second.spawn([&] { return pair.first.read_exact(std::span(some, 4)).has_value(); });
  while (second.metrics().parked == 0) std::this_thread::yield();
  CHECK(pair.second.write_all("once"));
  CHECK(later.join());
}
