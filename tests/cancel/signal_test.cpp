// Signals as values: who gets them, and when the old disposition is back.

#include <weft/weft.hpp>

#include <atomic>
#include <csignal>
#include <system_error>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace weft::test;
using namespace std::chrono_literals;

void send_to_self(int signal) { ::kill(::getpid(), signal); }

std::atomic<int> counted{0};
extern "C" void count_signal(int) { counted.fetch_add(1); }

void (*found)(int) = nullptr;  // the handler that count_and_pass_on replaced
extern "C" void count_and_pass_on(int signal) {
  counted.fetch_add(1);
  found(signal);
}

/// A handler of the test's own for the length of a block.
class own_handler {
 public:
  explicit own_handler(int signal) : signal_(signal) {
    struct sigaction count{};
    count.sa_handler = count_signal;
    ::sigaction(signal, &count, &before_);
    counted = 0;
  }
  ~own_handler() { ::sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction before_{};
};

bool handled_by_test(int signal) {
  struct sigaction now{};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler == count_signal;
}

/// How a fresh copy of this program ends that runs the hidden test with this tag. Not a mere fork: the thread that delivers
/// signals would be missing.
int status_of(char const* tag) {
  pid_t const child = ::fork();
  if (child == 0) {
    ::execl("/proc/self/exe", "child", tag, static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("each subscription to a signal gets it, and the handler that stood before does not") {
  own_handler const own(SIGUSR1);
  with_workers([] {
    auto const one = weft::signals({SIGUSR1});
    auto const other = weft::signals({SIGUSR1, SIGUSR2});
    send_to_self(SIGUSR1);
    CHECK(one.recv() == SIGUSR1);
    CHECK(other.recv() == SIGUSR1);
    CHECK(counted == 0);
  });
}

TEST_CASE("when the last subscription to a signal has gone the handler that stood before is back") {
  own_handler const own(SIGUSR1);
  {
    auto one = weft::signals({SIGUSR1});
    CHECK_FALSE(handled_by_test(SIGUSR1));
    {
      auto other = weft::signals({SIGUSR1});
      one = {};
      CHECK_FALSE(handled_by_test(SIGUSR1));
    }
    CHECK(handled_by_test(SIGUSR1));
  }
  std::raise(SIGUSR1);  // to this very thread, before it returns
  CHECK(counted == 1);
}

TEST_CASE("a handler that replaced weft's is left alone when the subscription goes") {
  auto sub = weft::signals({SIGUSR2});
  own_handler const own(SIGUSR2);
  sub = {};
  CHECK(handled_by_test(SIGUSR2));
}

TEST_CASE("a handler that replaced weft's and calls it gets each signal once, also when the subscription has gone") {
  own_handler const own(SIGUSR1);
  auto sub = weft::signals({SIGUSR1});
  found = std::signal(SIGUSR1, count_and_pass_on);
  sub = {};
  send_to_self(SIGUSR1);
  auto const later = weft::signals({SIGUSR2});
  send_to_self(SIGUSR2);
  CHECK(later.recv() == SIGUSR2);  // the other signal has been dealt with: it came first
  CHECK(counted == 1);
}

TEST_CASE("a signal that came before its last subscription went does not come after it") {
  for (int round = 0; round < 2'000; ++round) {
    own_handler const own(SIGUSR1);  // after it the signal would end this program
    auto sub = weft::signals({SIGUSR1});
    send_to_self(SIGUSR1);
    if (round % 2 != 0) std::this_thread::yield();
    sub = {};
  }
}

TEST_CASE("wait_signal returns the number of the signal that came") {
  own_handler const own(SIGUSR2);
  with_workers([] {
    auto const guard = weft::signals({SIGUSR2});  // so that a signal before the wait does no harm
    auto waits = weft::spawn([] { return weft::wait_signal({SIGUSR1, SIGUSR2}); });
    while (!waits.wait_for(1ms)) send_to_self(SIGUSR2);
    CHECK(waits.join() == SIGUSR2);
  });
}

TEST_CASE("wait_signal ends when its task is cancelled") {
  own_handler const own(SIGUSR2);
  with_workers([] {
    auto waits = weft::spawn([] { (void)weft::wait_signal({SIGUSR2}); });
    waits.cancel();
    CHECK_THROWS_AS(waits.join(), weft::cancelled);
    CHECK(handled_by_test(SIGUSR2));
  });
}

TEST_CASE("wait_signal works on a plain thread without a runtime") {
  own_handler const own(SIGUSR2);  // what is still on its way when the last subscription goes is raised again
  auto const guard = weft::signals({SIGUSR2});
  std::atomic<bool> over{false};
  std::thread other([&] {
    CHECK(weft::wait_signal({SIGUSR2}) == SIGUSR2);
    over = true;
  });
  while (!over) {
    send_to_self(SIGUSR2);
    (void)guard.recv_for(1ms);
  }
  other.join();
}

TEST_CASE("the first of its signals cancels the context, and the disposition is back by then") {
  own_handler const own(SIGUSR1);
  with_workers([] {
    auto [ctx, cancel] = weft::with_signals(weft::this_task::context(), {SIGUSR1, SIGUSR2});
    CHECK_FALSE(ctx.cancelled());
    send_to_self(SIGUSR1);
    (void)ctx.done().recv();
    CHECK(ctx.err() == std::errc::operation_canceled);
    CHECK_FALSE(weft::this_task::context().cancelled());
    while (!handled_by_test(SIGUSR1)) weft::yield();  // the listener comes after the done channel
  });
}

TEST_CASE("a context of signals that is cancelled otherwise, or let go, gives its signals back") {
  own_handler const own(SIGUSR1);
  with_workers([] {
    {
      auto [ctx, cancel] = weft::with_signals(weft::context::background(), {SIGUSR1});
      CHECK_FALSE(handled_by_test(SIGUSR1));
      cancel();
      CHECK(handled_by_test(SIGUSR1));
    }
    {
      auto [ctx, cancel] = weft::with_signals(weft::context::background(), {SIGUSR1});
    }
    CHECK(handled_by_test(SIGUSR1));
    auto [gone, cancel] = weft::with_cancel();
    cancel();
    auto [born_cancelled, unused] = weft::with_signals(gone, {SIGUSR1});
    CHECK(born_cancelled.cancelled());
    CHECK(handled_by_test(SIGUSR1));
  });
}

TEST_CASE("a second signal kills as usual when nobody listens any more") {
  int const status = status_of("[signal-child]");
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGUSR1);
}

TEST_CASE("the child of the test before", "[.][signal-child]") {
  weft::run([] {
    auto [ctx, cancel] = weft::with_signals(weft::this_task::context(), {SIGUSR1});
    send_to_self(SIGUSR1);
    (void)ctx.done().recv();
    struct sigaction now{};
    do {
      weft::yield();
      ::sigaction(SIGUSR1, nullptr, &now);
    } while (now.sa_handler != SIG_DFL);
    send_to_self(SIGUSR1);
    weft::sleep_for(1h);
  });
}

TEST_CASE("what cannot be caught is refused") {
  CHECK_THROWS_AS(weft::signals({SIGKILL}), std::system_error);
  CHECK_THROWS_AS(weft::signals({SIGUSR1, SIGSEGV}), std::system_error);
  CHECK_THROWS_AS(weft::wait_signal({0}), std::system_error);
  CHECK_THROWS_AS(weft::with_signals(weft::context::background(), {1000}), std::system_error);
}

TEST_CASE("a signal that comes while wait_signal is cancelled is returned, or raised again for who was there before") {
  own_handler const before(SIGUSR2);
  with_worker_count(2, [] {
    for (int i = 0; i < 200; ++i) {  // one in a hundred met it
      int const handled = counted;
      std::atomic<bool> begun{false};
      auto waits = weft::spawn([&] {
        begun = true;
        return weft::wait_signal({SIGUSR2});
      });
      while (!begun) weft::yield();
      std::thread sends([] { send_to_self(SIGUSR2); });
      auto const until = weft::now() + std::chrono::microseconds(i % 37);
      while (weft::now() < until) continue;
      waits.cancel();
      bool returned = false;
      try {
        returned = waits.join() == SIGUSR2;
      } catch (weft::cancelled const&) {
      }
      sends.join();
      auto const give_up = weft::now() + 20s;
      while (!returned && counted == handled && weft::now() < give_up) weft::sleep_for(100us);
      REQUIRE((returned || counted != handled));
    }
  });
}
