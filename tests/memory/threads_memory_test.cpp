// Want of memory for the threads beside a runtime's own: that for signals, those that look up names.

#include <weft/detail/topic.hpp>
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <signal.h>

#include <atomic>
#include <chrono>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tests/memory/failing.hpp"
#include "tests/memory/process.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using namespace std::chrono_literals;
using failing::fail_after;
using failing::fail_on;
using failing::stop_failing;

namespace {

constexpr long most = 200;  // allocations that fail in turn

}  // namespace

TEST_CASE("without memory a subscription to signals throws, and leaves neither a descriptor nor a mask", "[memory]") {
  weft::test::with_worker_count(1, [] {
    int const descriptors = open_descriptors();
    bool failed = true;
    for (long n = 0; n < most && failed; ++n) {
      INFO("allocation " << n);
      bool thrown = false;
      fail_after(n);
      try {
        auto const from = weft::signals({SIGUSR1});
      } catch (std::bad_alloc const&) {
        thrown = true;
      }
      failed = stop_failing();
      CHECK(thrown == failed);
      if (failed) CHECK(open_descriptors() == descriptors);
      REQUIRE_FALSE(blocks(SIGTERM));
    }
    CHECK_FALSE(failed);
  });
}

TEST_CASE("signals are delivered without any memory", "[memory]") {
  weft::test::with_worker_count(2, [] {
    // Several times what is cancelled in one round.
    std::vector<std::pair<weft::context, weft::cancel_fn>> contexts;
    auto const received = weft::signals({SIGUSR1});
    for (int i = 0; i < 300; ++i) contexts.push_back(weft::with_signals(weft::this_task::context(), {SIGUSR1}));
    auto const also_received = weft::signals({SIGUSR1});
    {
      fail_on const deliverer("weft-signals");
      ::raise(SIGUSR1);
      CHECK(received.recv_for(10s).value_or(0) == SIGUSR1);
      CHECK(also_received.recv_for(10s).value_or(0) == SIGUSR1);
      std::size_t woken = 0;
      for (auto const& [c, cancel] : contexts) woken += c.done().recv_for(10s) ? 0 : 1;
      CHECK(woken == contexts.size());
    }
    for (auto const& [c, cancel] : contexts) CHECK(c.cancelled());
    weft::sleep_for(20ms);
    CHECK_FALSE(received.try_recv());  // once each, however many rounds there were
    CHECK_FALSE(also_received.try_recv());
  });
}

TEST_CASE("a name is looked up after whatever want of memory", "[memory]") {
  weft::test::with_worker_count(1, [] {
    std::string const name = std::string(64, 'a') + ":80";  // a label too long: no server is asked
    constexpr int times = 20;                               // more than there are threads for names
    for (int i = 0; i < times; ++i) {
      bool failed = true;
      for (long n = 0; n < most && failed; ++n) {
        INFO("time " << i << ", allocation " << n);
        fail_after(n);
        bool answered = false;
        try {
          auto const found = weft::within(10s, [&] { return weft::net::resolve(name); });
          answered = found || found.error() != std::errc::timed_out;
        } catch (std::bad_alloc const&) {
        }
        failed = stop_failing();
        REQUIRE_FALSE(blocks(SIGTERM));
        if (!failed) REQUIRE(answered);  // not hung
      }
      REQUIRE_FALSE(failed);
    }
  });
}

TEST_CASE("a broadcast is closed on a plain thread without memory for its wait", "[memory]") {
  weft::detail::topic of(weft::detail::ops_of<int>, 1);
  struct sending : weft::detail::topic_hook {
    std::atomic<bool> begun{false}, closing{false};
  } hook;
  hook.run = [](weft::detail::topic_hook& h) noexcept {
    auto& self = static_cast<sending&>(h);
    self.begun = true;
    while (!self.closing) std::this_thread::yield();
    std::this_thread::sleep_for(10ms);  // close() waits for the lock that this send holds
  };
  std::thread sender([&] {
    int value = 1;
    weft::detail::send_to_all(of, value, &hook);
  });
  while (!hook.begun) std::this_thread::yield();
  bool failed = false;
  std::thread([&] {
    fail_after(0, 4);
    hook.closing = true;
    of.close();
    failed = stop_failing();
  }).join();
  sender.join();
  CHECK(failed);
  CHECK_THROWS_AS(weft::detail::send_to_all(of, 2), weft::closed_channel);
}
