// rate_limiter: clients share an upstream that allows so many requests a second, and a few at once after a pause.
//
// Each client is a task that waits its turn: first come, first served. A probe that is not worth waiting for asks
// try_take(). Ctrl-C cancels the clients' context: those that wait are woken, and the program says how far it came.
#include <weft/weft.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>

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
  if (until.cancelled()) std::printf("interrupted\n");
  else std::printf("a probe is %s\n", limit.try_take() ? "sent" : "dropped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  settings set;
  CLI::App app("Clients that share a rate limit.", "rate_limiter");
  app.option_defaults()->always_capture_default();
  app.add_option("--clients", set.clients, "tasks that make requests")->check(CLI::Range(1, 100'000));
  app.add_option("--requests", set.requests, "requests of each")->check(CLI::Range(1, 1'000'000));
  app.add_option("--rate", set.rate, "requests a second in all")->check(CLI::PositiveNumber);
  app.add_option("--burst", set.burst, "requests at once after a pause")->check(CLI::Range(1.0, 1e9));
  CLI11_PARSE(app, argc, argv);
  return weft::run(run_clients, set);
}
