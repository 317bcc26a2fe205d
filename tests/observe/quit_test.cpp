#include <weft/weft.hpp>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include <unistd.h>

#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

using namespace std::chrono_literals;

namespace {

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

weft::options with(unsigned workers, weft::quit what) {
  weft::options o;
  o.workers = workers;
  o.on_quit = what;
  return o;
}

std::size_t count_of(std::string const& text, std::string const& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

bool handled_by_default() {
  struct sigaction now{};
  return ::sigaction(SIGQUIT, nullptr, &now) == 0 && now.sa_handler == SIG_DFL;
}

std::atomic<int> own_calls{0};
void own_handler(int) { own_calls = own_calls + 1; }

}  // namespace

TEST_CASE("SIGQUIT lists the tasks and ends the process with status 131", "[observe][quit]") {
  for (unsigned const workers : {1u, 2u, 4u}) {
    INFO("with " << workers << " workers");
    child_end const end = run_child([&] {
      weft::run(with(workers, weft::quit::exit), [] {
        auto gate = weft::make_chan<int>();
        auto waiting = weft::spawn(weft::task_options{.name = "at the gate"}, [=] { gate.recv(); });
        while (weft::current_metrics().parked < 1) weft::yield();
        ::kill(::getpid(), SIGQUIT);
        for (;;) weft::sleep_for(1h);
      });
      return 0;
    });
    CHECK(end.exit_code == 131);
    CHECK(contains(end.errors, "\"at the gate\", spawned at "));
  }
}

TEST_CASE("SIGQUIT is answered while every worker is stuck in a loop", "[observe][quit]") {
  child_end const end = run_child([] {
    weft::run(with(1, weft::quit::exit), [] {
      ::kill(::getpid(), SIGQUIT);
      for (bool volatile stop = false; !stop;) {
      }
    });
    return 0;
  });
  CHECK(end.exit_code == 131);
  CHECK(contains(end.errors, "1 running"));
}

TEST_CASE("SIGQUIT in the first moment of a run that ends at once is answered", "[observe][quit]") {
  for (auto const what : {weft::quit::exit, weft::quit::go_on}) {
    child_end const end = run_child([&] {
      for (int i = 0; i < 3; ++i) weft::run(with(1, what), [] { ::raise(SIGQUIT); });
      return handled_by_default() ? 5 : 6;
    });
    CHECK(end.exit_code == (what == weft::quit::exit ? 131 : 5));
    CHECK(count_of(end.errors, "weft: ") == (what == weft::quit::exit ? 1 : 3));
  }
}

TEST_CASE("with quit::go_on a program that was sent SIGQUIT lists its tasks and goes on", "[observe][quit]") {
  child_end const end = run_child([] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    int const before = ::dup(STDERR_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    std::string seen;
    int const result = weft::run(with(2, weft::quit::go_on), [&] {
      for (int turn = 1; turn <= 2; ++turn) {
        ::kill(::getpid(), SIGQUIT);
        char part[512];
        while (count_of(seen, "weft: 1 task") < static_cast<std::size_t>(turn)) {
          ssize_t const got = ::read(ends[0], part, sizeof part);
          if (got <= 0) return 2;
          seen.append(part, static_cast<std::size_t>(got));
        }
      }
      return 5;
    });
    ::dup2(before, STDERR_FILENO);
    return handled_by_default() ? result : 3;
  });
  CHECK(end.exit_code == 5);
}

TEST_CASE("a program's own handler for SIGQUIT stays", "[observe][quit]") {
  SECTION("one from before") {
    child_end const end = run_child([] {
      ::signal(SIGQUIT, own_handler);
      weft::run([] { ::raise(SIGQUIT); });
      struct sigaction now{};
      ::sigaction(SIGQUIT, nullptr, &now);
      return own_calls == 1 && now.sa_handler == own_handler ? 4 : 5;
    });
    CHECK(end.exit_code == 4);
    CHECK(end.errors.empty());
  }
  SECTION("one that comes later") {
    child_end const end = run_child([] {
      weft::run([] {
        ::signal(SIGQUIT, own_handler);
        ::raise(SIGQUIT);
      });
      struct sigaction now{};
      ::sigaction(SIGQUIT, nullptr, &now);
      return own_calls == 1 && now.sa_handler == own_handler ? 4 : 5;
    });
    CHECK(end.exit_code == 4);
  }
  SECTION("being ignored") {
    child_end const end = run_child([] {
      ::signal(SIGQUIT, SIG_IGN);
      weft::run([] { ::raise(SIGQUIT); });
      return 4;
    });
    CHECK(end.exit_code == 4);
    CHECK(end.errors.empty());
  }
}

TEST_CASE("a subscription to SIGQUIT comes before the list, and outlives the runtime without harm", "[observe][quit]") {
  child_end const end = run_child([] {
    weft::receiver<int> quits;
    weft::run([&] {
      quits = weft::signals({SIGQUIT});
      ::kill(::getpid(), SIGQUIT);
      if (quits.recv() != SIGQUIT) ::_exit(1);
    });
    quits = {};  // puts back the handler of a runtime that is no more
    ::raise(SIGQUIT);
    return 2;
  });
  CHECK(end.signal == SIGQUIT);
}

TEST_CASE("the default action of SIGQUIT is back when the last runtime has ended", "[observe][quit]") {
  child_end const end = run_child([] {
    ::signal(SIGQUIT, SIG_DFL);
    {
      weft::runtime first;
      {
        weft::runtime second;
        if (handled_by_default()) return 1;
      }
      if (handled_by_default()) return 2;
    }
    return handled_by_default() ? 0 : 3;
  });
  CHECK(end.exit_code == 0);
}
