// A cache that speaks the Redis protocol: redis-cli, redis-benchmark and client libraries work with it as they are.
//
//   cache_server --listen 127.0.0.1:6379 --max-bytes 1G --policy lru --snapshot /var/tmp/cache.snapshot --save-every 5m
//   redis-cli set greeting hello ex 60
//
// A task a connection, a lock a shard, a task that removes what has expired. SIGINT, SIGTERM and SIGHUP, as SHUTDOWN, save and end
// it. Exit status: 0; 1: cannot listen, a snapshot that is damaged or cannot be written; 2: bad usage.
#include "connection.hpp"
#include "server.hpp"
#include "support/command_line.hpp"
#include "upkeep.hpp"

#include <weft/signal.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <csignal>
#include <iostream>
#include <string>

namespace {

struct settings {
  std::string listen = "127.0.0.1:6379", policy = "lru", snapshot;
  std::size_t max_bytes = 0;
  double save_every = 0;
  unsigned workers = 0;
};

int run(settings const& set) {
  cache::store keys(set.max_bytes, cache::policy_named(set.policy));
  cache::snapshot_file snapshots(set.snapshot);
  cache::server_state server(keys, snapshots, set.policy);
  cache::load_snapshot(server);
  auto listener = weft::net::tcp_listener::bind(set.listen);
  if (!listener) {
    std::cerr << "cache_server: cannot listen on " << set.listen << ": " << listener.error().message() << '\n';
    return listener.error() == std::errc::invalid_argument ? 2 : 1;
  }
  server.port = listener->local_endpoint().port();
  weft::task_group background;
  server.background = &background;
  cache::start_upkeep(server, set.save_every);
  int const hangup = examples::hangup_signal();
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM, hangup});
  // A further SIGTERM or SIGHUP must not end the process before all is saved, to its last destructor; a further Ctrl-C may, as in Redis. Behind
  // the line above: what came between them the other way round would be taken here, and end nothing.
  static weft::receiver<int> const terminations = weft::signals({SIGTERM, hangup});
  server.stop = stop;
  std::cout << "listening on " << listener->local_endpoint().to_string() << std::endl;
  try {
    weft::scoped_context const in(until);
    // Nobody would notice the end of an idle connection; those at work get a moment.
    auto const ended = weft::net::serve(*listener, [&](weft::net::tcp_stream& stream) { serve_client(server, stream); },
                                        {.grace = std::chrono::milliseconds(100)});
    if (!ended) std::cerr << "cache_server: " << ended.error().message() << '\n';
  } catch (weft::cancelled const&) {
  }
  background.cancel();
  cache::save_at_end(server);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  settings set;
  examples::command_line line("cache_server", "A cache that speaks the Redis protocol.");
  line.text("--listen", set.listen, "address and port; port 0: any free one")
      .bytes("--max-bytes", set.max_bytes, "evict beyond it: 500M, 4G; 0: no limit")
      .one_of("--policy", set.policy, "which key goes", {"lru", "lfu", "fifo", "random", "ttl", "none"})
      .text("--snapshot", set.snapshot, "file loaded at the start and saved at the end; JSON if it ends in .json")
      .duration("--save-every", set.save_every, "also saved so often, if anything has changed: 30s, 5m; 0: not")
      .number("--workers", set.workers, "threads that run tasks; 0: one for each CPU", 0, 1024);
  if (auto const status = line.parse(argc, argv)) return *status;
  if (set.save_every > 0 && set.snapshot.empty()) return line.refuse("--save-every", "needs a file: see --snapshot");
  if (set.save_every > 0 && set.save_every < 0.001) return line.refuse("--save-every", "must be at least 1ms");
  examples::allow_all_descriptors();
  std::signal(SIGPIPE, SIG_IGN);  // who reads what it says may have gone
  std::signal(SIGXFSZ, SIG_IGN);  // a snapshot beyond RLIMIT_FSIZE is a save that failed
  return examples::or_say_why("cache_server", [&] { return weft::run({.workers = set.workers}, run, set); });
}
