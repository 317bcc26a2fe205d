// Runs a test's body on plain threads, which wait in poll(2), as tasks of 1, 2 and 4 workers, which park, and in simulated runs, whose
// sockets are in memory and have to behave like the kernel's.
#pragma once

#include <weft/net.hpp>
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <cstddef>
#include <future>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/support/simulated_seeds.hpp"

namespace weft::test {

/// Begins f elsewhere; get() of what it returns waits for the result or rethrows.
struct on_threads {
  template <class F>
  auto start(F f) const {
    return std::async(std::launch::async, std::move(f));
  }
};

struct on_tasks {
  template <class F>
  auto start(F f) const {
    struct running {
      decltype(weft::spawn(std::declval<F>())) handle;
      auto get() { return handle.join(); }
    };
    return running{weft::spawn(std::move(f))};
  }
};

/// Calls body(on_threads) or body(on_tasks), with the kernel's sockets.
template <class F>
void on_the_machine(F body) {
  {
    INFO("on plain threads");
    body(on_threads());
  }
  with_workers([&body] { body(on_tasks()); });
}

/// And in simulated runs. For bodies that ask for nothing but weft's own sockets and clock.
template <class F>
void everywhere(F body) {
  on_the_machine(body);
  for (std::uint64_t seed = 0; seed != simulated_seeds; ++seed) {
    INFO("in a simulated run, seed " << seed);
    sim::run(seed, [&body] { body(on_tasks()); });
  }
}

/// Returns when that many tasks wait; at once where threads do, whose waiting nobody counts.
inline void until_parked(std::size_t tasks) {
  while (this_task::id() != 0 && current_metrics().parked < tasks) yield();
}

/// A connected pair over loopback.
inline std::pair<net::tcp_stream, net::tcp_stream> tcp_pair() {
  auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
  auto client = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
  auto server = listener.accept().value();
  return {std::move(client), std::move(server)};
}

/// An abstract name that no other test process has.
inline std::string unix_name(std::string_view what) {
  return "@weft-net-" + std::string(what) + "-" + std::to_string(::getpid());
}

/// A connected pair over an abstract name.
inline std::pair<net::unix_stream, net::unix_stream> unix_pair() {
  std::string const name = unix_name("pair");
  auto listener = net::unix_listener::bind(name).value();
  auto client = net::unix_stream::connect(name).value();
  auto server = listener.accept().value();
  return {std::move(client), std::move(server)};
}

/// All that a stream still has.
template <class S>
std::string read_all(S& from) {
  std::string all;
  char room[1000];
  for (;;) {
    auto n = from.read_some(room);
    if (!n || *n == 0) return all;
    all.append(room, *n);
  }
}

/// ThreadSanitizer refuses to run threads in a forked child: tests that need a process of their own leave it out there.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool can_fork = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool can_fork = false;
#else
inline constexpr bool can_fork = true;
#endif
#else
inline constexpr bool can_fork = true;
#endif

template <class T>
std::error_code error_of(result<T> const& r) {
  return r ? std::error_code() : r.error();
}

}  // namespace weft::test
