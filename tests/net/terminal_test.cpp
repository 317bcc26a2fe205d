// Terminals: other programs share whether they block, so weft has an open file of its own.
#include "tests/net/everywhere.hpp"

#include <cstdlib>

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

using namespace weft::test;
using namespace std::chrono_literals;
namespace net = weft::net;

namespace {

struct terminal {
  net::fd_stream keyboard;  // the side of who types
  net::fd_stream screen;    // the side of the program that runs in it
};

/// `duplicate`: where to put another descriptor of the screen, as other programs have one; the caller closes it.
terminal open_terminal(int* duplicate = nullptr) {
  int const outer = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(outer >= 0);
  REQUIRE(::grantpt(outer) == 0);
  REQUIRE(::unlockpt(outer) == 0);
  char name[64];
  REQUIRE(::ptsname_r(outer, name, sizeof name) == 0);
  int const inner = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(inner >= 0);
  termios raw{};  // bytes as they come, without lines and echo
  REQUIRE(::tcgetattr(inner, &raw) == 0);
  ::cfmakeraw(&raw);
  REQUIRE(::tcsetattr(inner, TCSANOW, &raw) == 0);
  if (duplicate != nullptr) *duplicate = ::fcntl(inner, F_DUPFD_CLOEXEC, 0);
  return {net::fd_stream::adopt(outer).value(), net::fd_stream::adopt(inner).value()};
}

std::error_code error_of_reading(net::fd_stream& s) {
  char room[1];
  return error_of(s.read_some(room));
}

}  // namespace

TEST_CASE("a terminal is read when something was typed, is written, and stays blocking for others") {
  on_the_machine([](auto where) {
    int of_another = -1;
    auto [keyboard, screen] = open_terminal(&of_another);
    CHECK((::fcntl(of_another, F_GETFL) & O_NONBLOCK) == 0);
    char room[8];
    auto reading = where.start([&] { return screen.read_some(room).value(); });
    until_parked(1);
    REQUIRE(keyboard.write_all("typed"));
    std::size_t n = reading.get();  // a terminal may hand over less than was typed
    for (; n < 5; n += screen.read_some(std::span(room).subspan(n)).value()) {
    }
    CHECK(std::string_view(room, n) == "typed");
    std::string const much(100'000, 's');
    auto showing = where.start([&] { return error_of(screen.write_all(much)); });
    std::string seen(much.size(), '\0');
    REQUIRE(keyboard.read_exact(seen));
    CHECK(seen == much);
    CHECK_FALSE(showing.get());
    CHECK((::fcntl(of_another, F_GETFL) & O_NONBLOCK) == 0);
    ::close(of_another);
  });
}

TEST_CASE("close ends the reading of a terminal, and the other side sees it") {
  on_the_machine([](auto where) {
    auto [keyboard, screen] = open_terminal();
    auto reading = where.start([&] { return error_of_reading(screen); });
    until_parked(1);
    screen.close();
    CHECK(reading.get() == weft::errc::closed);
    CHECK(error_of_reading(screen) == weft::errc::closed);
    CHECK(screen.native_handle() == -1);
    CHECK(error_of_reading(keyboard) == std::errc::io_error);  // nobody has the terminal open any more
  });
}

TEST_CASE("a deadline, passed or moved into the past, ends the reading of a terminal and loses nothing") {
  on_the_machine([](auto where) {
    auto [keyboard, screen] = open_terminal();
    screen.set_read_deadline(weft::now() + 10ms);
    CHECK(error_of_reading(screen) == std::errc::timed_out);
    screen.set_read_deadline(weft::now() + 1h);
    auto reading = where.start([&] { return error_of_reading(screen); });
    until_parked(1);
    screen.set_read_deadline(weft::now());
    CHECK(reading.get() == std::errc::timed_out);
    REQUIRE(keyboard.write_all("x"));
    REQUIRE(net::wait_readable(screen.native_handle()));
    CHECK(error_of_reading(screen) == std::errc::timed_out);
    screen.set_read_deadline(weft::time_point::max());
    char room[2];
    CHECK(screen.read_some(room).value() == 1);
  });
}

TEST_CASE("a task parked on a terminal is woken by cancellation, and the terminal can be used afterwards") {
  with_workers([] {
    auto [keyboard, screen] = open_terminal();
    auto reading = weft::spawn([&] { (void)error_of_reading(screen); });
    until_parked(1);
    reading.cancel();
    CHECK_THROWS_AS(reading.join(), weft::cancelled);
    auto again = weft::spawn([&] { return error_of_reading(screen); });
    until_parked(1);
    REQUIRE(keyboard.write_all("x"));
    CHECK_FALSE(again.join());
  });
}

TEST_CASE("a deadline ends the writing to a terminal that shows no more") {
  on_the_machine([](auto where) {
    auto [keyboard, screen] = open_terminal();
    screen.set_write_deadline(weft::now() + 1h);
    auto showing = where.start([&] { return error_of(screen.write_all(std::string(1'000'000, 's'))); });
    char room[1];
    REQUIRE(keyboard.read_some(room).value() == 1);  // it has begun
    until_parked(1);
    screen.set_write_deadline(weft::now());
    CHECK(showing.get() == std::errc::timed_out);
  });
}

TEST_CASE("a task that writes to a terminal that shows no more is cancelled") {
  with_workers([] {
    auto [keyboard, screen] = open_terminal();
    auto showing = weft::spawn([&] { (void)screen.write_all(std::string(1'000'000, 's')); });
    char room[1];
    REQUIRE(keyboard.read_some(room).value() == 1);
    until_parked(1);
    showing.cancel();
    CHECK_THROWS_AS(showing.join(), weft::cancelled);
  });
}

TEST_CASE("close ends the writing to a terminal that shows no more") {
  on_the_machine([](auto where) {
    auto [keyboard, screen] = open_terminal();
    for (net::fd_stream* each : {&screen, &keyboard}) {
      auto writing = where.start([&] { return error_of(each->write_all(std::string(1'000'000, 's'))); });
      until_parked(1);
      each->close();
      CHECK(writing.get() == weft::errc::closed);
    }
  });
}
