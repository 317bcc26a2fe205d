#include "runtime/base/check.hpp"

#include "runtime/base/message.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <sstream>
#include <string>
#include <thread>

using namespace weft::rt;

TEST_CASE("a fatal misuse writes one line that names it and aborts") {
  auto const end = run_child([]() -> int { fatal("mutex::unlock: task %d does not hold it", 17); });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors == "weft: fatal: mutex::unlock: task 17 does not hold it\n");
}

TEST_CASE("a failed check names the place, the condition and the reason") {
  auto const end = run_child([]() -> int {
    WEFT_CHECK(1 + 1 == 3, "arithmetic");
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.errors.starts_with("weft: internal error: "));
  CHECK(end.errors.find("check_test.cpp:") != end.errors.npos);
  CHECK(end.errors.find("1 + 1 == 3: arithmetic\n") != end.errors.npos);
}

TEST_CASE("a check that holds evaluates its condition once and does nothing") {
  int evaluated = 0;
  WEFT_CHECK(++evaluated == 1, "");
  CHECK(evaluated == 1);
}

TEST_CASE("a line that nobody reads does not end the program, and leaves no signal behind") {
  auto const end = run_child([] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    ::signal(SIGPIPE, SIG_DFL);
    warn("nobody reads this");
    sigset_t now;
    bool const pending = ::sigpending(&now) != 0 || ::sigismember(&now, SIGPIPE) == 1;
    bool const blocked = ::pthread_sigmask(SIG_SETMASK, nullptr, &now) != 0 || ::sigismember(&now, SIGPIPE) == 1;
    return pending || blocked ? 2 : 0;
  });
  CHECK(end.signal == 0);
  CHECK(end.exit_code == 0);
}

namespace {

/// A long text of numbered lines through a pipe that is read slowly, while another thread writes lines of its own, and signals come.
child_end write_much(bool blocking) {
  return run_child([=] {
    sigset_t alarm, before;
    ::sigemptyset(&alarm);
    ::sigaddset(&alarm, SIGALRM);
    ::pthread_sigmask(SIG_BLOCK, &alarm, &before);  // for the threads
    ::signal(SIGALRM, [](int) {});
    int ends[2];
    if (::pipe2(ends, blocking ? 0 : O_NONBLOCK) != 0) return 1;
    int const parent = ::dup(STDERR_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
    std::thread reader([&] {
      char part[1000];
      for (;;) {
        pollfd readable{.fd = ends[0], .events = POLLIN, .revents = 0};
        ::poll(&readable, 1, -1);
        ssize_t const got = ::read(ends[0], part, sizeof part);
        if (got <= 0 || ::write(parent, part, static_cast<std::size_t>(got)) != got) return;
      }
    });
    std::atomic<bool> written{false};
    std::thread other([&] {
      while (!written) warn("a line of another thread");
    });
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i) + " of a long text\n";
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    itimerval const each_millisecond{{0, 1000}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &each_millisecond, nullptr);
    write_error(text);
    ::pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
    written = true;
    other.join();
    ::dup2(parent, STDERR_FILENO);  // the pipe's last writer goes
    reader.join();
    return 0;
  });
}

}  // namespace

TEST_CASE("a long text is written to its end, in whole lines beside those of other threads") {
  for (bool const blocking : {true, false}) {
    CAPTURE(blocking);
    auto const end = write_much(blocking);
    CHECK(end.exit_code == 0);
    std::istringstream lines(end.errors);
    int next = 0, broken = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line == "line " + std::to_string(next) + " of a long text") ++next;
      else if (line != "weft: a line of another thread") ++broken;
    }
    CHECK(next == 20'000);
    CHECK(broken == 0);
  }
}

TEST_CASE("who has stopped to read is not waited for, although signals come") {
  auto const end = run_child([] {
    int ends[2];
    if (::pipe2(ends, O_NONBLOCK) != 0) return 1;
    ::dup2(ends[1], STDERR_FILENO);
    ::signal(SIGALRM, [](int) {});
    itimerval const each_ten_milliseconds{{0, 10'000}, {0, 10'000}};
    ::setitimer(ITIMER_REAL, &each_ten_milliseconds, nullptr);
    write_error(std::string(1'000'000, 'x'));
    return 0;
  });
  CHECK(end.exit_code == 0);
}

TEST_CASE("a message puts together texts and numbers") {
  message text;
  text << "task " << std::uint64_t{0} << " of " << std::uint64_t{18446744073709551615ULL} << " at ";
  text.hex(0xdeadbeef);
  CHECK(text.text() == "task 0 of 18446744073709551615 at 0xdeadbeef");
}

TEST_CASE("a message that is too long is cut off and still ends its line") {
  auto const end = run_child([] {
    std::string const endless(5000, 'x');
    warn("%s", endless.c_str());
    message text;
    text << std::string_view(endless) << "y";
    text.write_line();
    return 0;
  });
  CHECK(end.errors.size() < 2300);
  CHECK(end.errors.size() > 2000);
  CHECK(end.errors.back() == '\n');
  CHECK(end.errors.find('y') == end.errors.npos);
}
