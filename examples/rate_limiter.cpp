// rate_limiter: clients share an upstream that allows so many requests a second, and a few at once after a pause.
//
// Each client is a task that waits its turn: first come, first served. A probe that is not worth waiting for asks
// try_take(). Ctrl-C cancels the clients' context: those that wait are woken, and the program says how far it came.
#include <weft/weft.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "support/command_line.hpp"

namespace {

struct settings {
  int clients = 3;
  int requests = 4;  // of each client
  double rate = 50;
  double burst = 3;
};

int run_clients(settings const& set) {
  auto const start = weft::now();
  auto const elapsed = [start] { return std::chrono::duration<double, std::milli>(weft::now() - start).count(); };
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM});
  weft::rate_limiter limit(set.rate, set.burst);
  weft::guarded<int> done;

  weft::task_group group(until);
  for (int id = 1; id <= set.clients; ++id) {
    group.spawn([&, id] {
      for (int n = 1; n <= set.requests; ++n) {
        limit.wait();
        std::printf("%7.1f ms  client %d, request %d\n", elapsed(), id, n);
        ++*done.lock();
      }
    });
  }
  group.wait();  // a cancellation of its context is no error

  int const sent = *done.lock();
  double const least = set.burst < sent ? (sent - set.burst) / set.rate * 1000 : 0;
  std::printf("%d requests; the limit asks for %.1f ms at least: %s\n", sent, least,
              elapsed() >= least ? "kept" : "broken");
  if (until.cancelled()) return std::printf("interrupted\n"), 130;
  std::printf("a probe is %s\n", limit.try_take() ? "sent" : "dropped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  settings set;
  examples::command_line line("rate_limiter", "Clients that share a rate limit.");
  line.number("--clients", set.clients, "tasks that make requests", 1, 100'000)
      .number("--requests", set.requests, "requests of each", 1, 1'000'000)
      .number("--rate", set.rate, "requests a second in all", 1e-3, 1e9)
      .number("--burst", set.burst, "requests at once after a pause", 1, 1e9);
  if (auto const status = line.parse(argc, argv)) return *status;
  return weft::run(run_clients, set);
}
