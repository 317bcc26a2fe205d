// Want of memory for the threads beside a runtime's own: that for signals, those that look up names.

#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <signal.h>

#include <chrono>
#include <new>
#include <string>
#include <system_error>
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
