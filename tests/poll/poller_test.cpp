#include "runtime/poll/poller.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <thread>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

using weft::rt::poll_event;
using weft::rt::poller;

namespace {

constexpr std::int64_t for_ever = -1;

struct pair {
  pair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    mine = fds[0];
    theirs = fds[1];
  }
  ~pair() {
    if (mine >= 0) ::close(mine);
    if (theirs >= 0) ::close(theirs);
  }
  void say(char const* text, std::size_t n) const { REQUIRE(::write(theirs, text, n) == static_cast<ssize_t>(n)); }
  int mine = -1;
  int theirs = -1;
};

struct open_poller : poller {
  open_poller() { REQUIRE_FALSE(open()); }
};

// What is reported without waiting; none if nothing, and at most one event may be there.
std::optional<poll_event> look(poller& p) {
  std::array<poll_event, 8> out{};
  std::size_t const n = p.wait(0, out.data(), out.size());
  REQUIRE(n <= 1);
  if (n == 0) return std::nullopt;
  return out[0];
}

}  // namespace

TEST_CASE("what is ready when a descriptor is added is reported once, with its tag", "[poll]") {
  open_poller p;
  pair s;
  REQUIRE_FALSE(p.add(s.mine, 0x1234'5678'9abc'def0));
  auto const e = look(p);
  REQUIRE(e);
  REQUIRE(e->tag == 0x1234'5678'9abc'def0);
  REQUIRE(e->writable);
  REQUIRE_FALSE(e->readable);
  REQUIRE_FALSE(e->hangup);
  REQUIRE_FALSE(e->error);
  REQUIRE_FALSE(look(p));
}

TEST_CASE("readiness is reported as an edge: again for new data, not for what was left unread", "[poll]") {
  open_poller p;
  pair s;
  REQUIRE_FALSE(p.add(s.mine, 7));
  look(p);
  s.say("abc", 3);
  auto e = look(p);
  REQUIRE(e);
  REQUIRE(e->readable);
  REQUIRE_FALSE(look(p));
  s.say("d", 1);
  e = look(p);
  REQUIRE(e);
  REQUIRE(e->readable);
}

TEST_CASE("a FIN that comes with the data is reported as readable and hung up", "[poll]") {
  open_poller p;
  pair s;
  REQUIRE_FALSE(p.add(s.mine, 7));
  look(p);
  s.say("bye", 3);
  REQUIRE(::shutdown(s.theirs, SHUT_WR) == 0);
  auto e = look(p);
  REQUIRE(e);
  REQUIRE(e->readable);
  REQUIRE(e->hangup);
  REQUIRE_FALSE(e->error);
  char text[8];
  REQUIRE(::read(s.mine, text, sizeof text) == 3);
  REQUIRE_FALSE(look(p));  // hence the upper layer keeps hangup
  REQUIRE(::read(s.mine, text, sizeof text) == 0);
}

TEST_CASE("a removed descriptor reports nothing, and its number comes back with a new tag", "[poll]") {
  open_poller p;
  pair s;
  REQUIRE_FALSE(p.add(s.mine, 1));
  look(p);
  s.say("x", 1);
  p.remove(s.mine);
  REQUIRE_FALSE(look(p));
  REQUIRE_FALSE(p.add(s.mine, 2));
  auto const e = look(p);
  REQUIRE(e);
  REQUIRE(e->tag == 2);
  REQUIRE(e->readable);
  p.remove(s.mine);
  p.remove(s.mine);  // harmless
}

TEST_CASE("adding what cannot be polled is an error", "[poll]") {
  open_poller p;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  REQUIRE(p.add(::fileno(file), 1) == std::errc::operation_not_permitted);
  std::fclose(file);
  REQUIRE(p.add(-1, 1) == std::errc::bad_file_descriptor);
}

TEST_CASE("no more events than asked for are returned, and the others come next", "[poll]") {
  open_poller p;
  std::array<pair, 5> s;
  for (std::size_t i = 0; i < s.size(); ++i) REQUIRE_FALSE(p.add(s[i].mine, i));
  std::array<poll_event, 2> out{};
  unsigned seen = 0;
  for (std::size_t const expected : {2U, 2U, 1U, 0U}) {
    REQUIRE(p.wait(0, out.data(), out.size()) == expected);
    for (std::size_t i = 0; i < expected; ++i) seen |= 1U << out[i].tag;
  }
  REQUIRE(seen == 0b11111);
  REQUIRE(p.wait(0, out.data(), 0) == 0);
}

TEST_CASE("wake breaks a wait on another thread and shows no event", "[poll]") {
  open_poller p;
  std::atomic<int> stage{0};
  std::size_t got = 99;
  std::thread sleeper([&] {
    poll_event out[4];
    stage.store(1);
    got = p.wait(for_ever, out, 4);
  });
  while (stage.load() == 0) std::this_thread::yield();
  p.wake();
  sleeper.join();
  REQUIRE(got == 0);
}

TEST_CASE("wakes before a wait collapse into one, which breaks that wait alone", "[poll]") {
  open_poller p;
  poll_event out[4];
  for (int i = 0; i < 1000; ++i) p.wake();
  REQUIRE(p.wait(for_ever, out, 4) == 0);  // returns at once
  auto const before = std::chrono::steady_clock::now();
  REQUIRE(p.wait(2'000'000, out, 4) == 0);  // is not broken a second time
  REQUIRE(std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(2));
  p.wake();
  REQUIRE(p.wait(for_ever, out, 4) == 0);
}

TEST_CASE("a poll that does not wait leaves a wake to the sleeper", "[poll]") {
  open_poller p;
  poll_event out[4];
  p.wake();
  REQUIRE(p.wait(0, out, 4) == 0);
  REQUIRE(p.wait(0, out, 4) == 0);
  REQUIRE(p.wait(for_ever, out, 4) == 0);
}

TEST_CASE("a wake and an event together return the event", "[poll]") {
  open_poller p;
  pair s;
  poll_event out[4];
  REQUIRE_FALSE(p.add(s.mine, 3));
  p.wake();
  REQUIRE(p.wait(for_ever, out, 4) == 1);
  REQUIRE(out[0].tag == 3);
}

TEST_CASE("what happened before a collapsed wake is visible after the wait that it broke", "[poll][stress]") {
  open_poller p;
  constexpr int rounds = 20'000;
  std::array<int, 2> plain{};  // published by wake alone through these counters
  std::atomic<int> posted[2] = {0, 0};
  std::thread sender[2];
  for (int w = 0; w < 2; ++w)
    sender[w] = std::thread([&, w] {
      for (int i = 1; i <= rounds; ++i) {
        posted[w].store(i, std::memory_order_relaxed);
        p.wake();
      }
    });
  poll_event out[4];
  // A lost wake-up leaves this waiting for ever.
  while (plain[0] < rounds || plain[1] < rounds) {
    p.wait(for_ever, out, 4);
    for (std::size_t w = 0; w < 2; ++w) plain[w] = posted[w].load(std::memory_order_relaxed);
  }
  for (std::thread& t : sender) t.join();
  REQUIRE(plain[0] == rounds);
  REQUIRE(plain[1] == rounds);
}

TEST_CASE("a time-out is never early", "[poll]") {
  open_poller p;
  poll_event out[1];
  for (std::int64_t const ns : {1L, 1'000L, 700'000L, 1'000'000L, 3'500'000L}) {
    auto const before = std::chrono::steady_clock::now();
    REQUIRE(p.wait(ns, out, 1) == 0);
    REQUIRE((std::chrono::steady_clock::now() - before).count() >= ns);
  }
}

TEST_CASE("a program that was started without standard descriptors may open these behind a poller", "[poll]") {
  std::array<int, 3> kept{};
  for (int fd = 0; fd < 3; ++fd) {
    kept.at(static_cast<std::size_t>(fd)) = ::fcntl(fd, F_DUPFD_CLOEXEC, 100);
    ::close(fd);
  }
  poller p;
  bool const opened = !p.open();
  for (int fd = 0; fd < 3; ++fd) {
    int const before = kept.at(static_cast<std::size_t>(fd));
    ::close(fd);
    if (before < 0) continue;
    ::dup2(before, fd);
    ::close(before);
  }
  REQUIRE(opened);
  pair s;
  REQUIRE_FALSE(p.add(s.mine, 7));
  auto const e = look(p);
  REQUIRE(e);
  CHECK(e->tag == 7);
}

TEST_CASE("a poller can be closed and opened again", "[poll]") {
  open_poller p;
  p.wake();
  p.close();
  p.close();
  REQUIRE_FALSE(p.is_open());
  REQUIRE_FALSE(p.open());
  pair s;
  REQUIRE_FALSE(p.add(s.mine, 5));
  REQUIRE(look(p));
}

TEST_CASE("a descriptor of the poller's that somebody has closed is named, at the wait and at the wake-up", "[poll]") {
  for (bool const waits : {true, false}) {
    INFO((waits ? "wait" : "wake"));
    child_end const end = run_child([&] {
      poller p;
      if (p.open()) return 1;
      for (int fd = 3; fd < 64; ++fd) ::close(fd);
      std::array<poll_event, 1> events;
      if (waits) (void)p.wait(0, events.data(), events.size());
      else p.wake();
      return 0;
    });
    CHECK(end.signal == SIGABRT);
    CHECK(end.errors.find("the program has closed a descriptor of weft's (") != std::string::npos);
  }
}
