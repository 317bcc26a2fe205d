// A JSON API in front of a cache: validation, time limits, retries, a rate limit, logs of JSON lines.
//
//   POST   /items/{id}[?ttl=SECONDS]  201 or 200 with the item; 400 if the body is no JSON, 422 if it is no item
//   GET    /items/{id}                200, 404
//   DELETE /items/{id}                204, 404
//   GET    /health                    200 if the cache answers
//   and 429 over the rate limit, 502 and 504 without an answer of the cache, 507 if it is full
//
//   fastjson_api --with-cache &                    the cache in the same process
//   cache_server & fastjson_api --cache 127.0.0.1:6379
//   curl -d '{"name":"lamp","price":19.5}' http://127.0.0.1:8080/items/1
//
// SIGINT, SIGTERM and SIGHUP end it once the requests in progress are answered and the log is written; a second one changes nothing. Exit status: 0;
// 1: cannot listen; 2: bad usage.
#include "gateway.hpp"

#include "connection.hpp"
#include "support/command_line.hpp"

#include <weft/signal.hpp>
#include <weft/weft.hpp>

#include <csignal>
#include <iostream>
#include <limits>
#include <optional>
#include <string>

namespace {

struct settings {
  std::string listen = "127.0.0.1:8080", cache = "127.0.0.1:6379";
  bool with_cache = false, quiet = false;
  std::size_t connections = 64, cache_bytes = 0;
  double rate = 0, burst = 0, try_seconds = 0.2, seconds = 1;
  unsigned workers = 0;
};

/// cache_server's parts, as a task of this process.
class own_cache {
 public:
  explicit own_cache(std::size_t max_bytes) : keys_(max_bytes, cache::make_lru) {}
  ~own_cache() { serving_.stop(); }
  own_cache(own_cache const&) = delete;
  own_cache& operator=(own_cache const&) = delete;

  weft::result<std::string> start() {
    auto listener = weft::net::tcp_listener::bind("127.0.0.1:0");
    if (!listener) return std::unexpected(listener.error());
    std::string const at = listener->local_endpoint().to_string();
    serving_ = weft::spawn([this, l = std::move(*listener)]() mutable {
      weft::task_group sweeper;
      sweeper.spawn([this] {
        weft::ticker tick(std::chrono::milliseconds(100));
        for ([[maybe_unused]] auto _ : tick.channel()) keys_.sweep();
      });
      (void)weft::net::serve(l, [this](weft::net::tcp_stream& s) { cache::serve_client(state_, s); },
                             {.grace = std::chrono::nanoseconds(0)});
    });
    return at;
  }

 private:
  cache::store keys_;
  cache::snapshot_file none_{""};
  cache::server_state state_{keys_, none_, "lru"};
  weft::join_handle<void> serving_;
};

int run(settings set) {
  if (auto const there = weft::net::resolve(set.cache); !there && there.error() == std::errc::invalid_argument)
    return std::cerr << "fastjson_api: --cache " << set.cache << " is no host:port\n", 2;
  std::optional<own_cache> mine;
  if (set.with_cache) {
    auto const at = mine.emplace(set.cache_bytes).start();
    if (!at) return std::cerr << "fastjson_api: the cache cannot listen: " << at.error().message() << '\n', 1;
    set.cache = *at;
  }
  auto const milliseconds = [](double s) { return std::chrono::milliseconds(static_cast<std::int64_t>(s * 1000)); };
  double const unlimited = std::numeric_limits<double>::infinity();
  weft::rate_limiter limit(set.rate > 0 ? set.rate : unlimited,
                           set.rate > 0 ? std::max(1.0, set.burst > 0 ? set.burst : set.rate) : 1);
  api::json_log log;
  api::cache_pool pool(set.cache, set.connections);
  api::gateway g{.cache = pool,
                 .log = log,
                 .limit = limit,
                 .retries = {.each = milliseconds(set.try_seconds), .all = milliseconds(set.seconds)},
                 .log_requests = !set.quiet};
  weft::http::server server(routes(g), {.max_body_bytes = 64 * 1024});
  auto const at = server.listen(set.listen);
  if (!at) {
    std::cerr << "fastjson_api: cannot listen on " << set.listen << ": " << at.error().message() << '\n';
    return at.error() == std::errc::invalid_argument ? 2 : 1;
  }
  int const hangup = examples::hangup_signal();
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM, hangup});
  // Never destroyed, so that a second one cuts no answer and no line of the log, and kills nobody who is about to
  // return 0.
  [[maybe_unused]] static auto const* const to_the_end =
      new weft::receiver<int>(weft::signals({SIGINT, SIGTERM, hangup}));
  std::cout << "listening on " << at->to_string() << ", cache on " << set.cache << std::endl;
  log.write("info", "start",
            {{"listen", at->to_string()}, {"cache", set.cache}, {"workers", weft::current_metrics().workers}});
  server.serve(until);
  log.finish("info", "end", {{"requests", g.requests.load()}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  settings set;
  examples::command_line line("fastjson_api", "A JSON API in front of a cache that speaks the Redis protocol.");
  line.text("--listen", set.listen, "host:port; port 0 takes a free one")
      .text("--cache", set.cache, "host:port of the cache")
      .flag("--with-cache", set.with_cache, "run the cache too, in this process")
      .excludes("--with-cache", "--cache")
      .bytes("--cache-bytes", set.cache_bytes, "limit of that cache: 500M; 0: none")
      .number("--connections", set.connections, "to the cache, at most", 1, 10'000)
      .number("--rate", set.rate, "requests a second for /items; 0: no limit", 0, 1e9)
      .number("--burst", set.burst, "so many at once after a pause; 0: a second's", 0, 1e9)
      .duration("--try-timeout", set.try_seconds, "for one try to ask the cache")
      .duration("--timeout", set.seconds, "for all tries")
      .flag("--quiet", set.quiet, "no line for each request")
      .number("--workers", set.workers, "threads that run tasks; 0: one for each CPU", 0, 1024);
  if (auto const status = line.parse(argc, argv)) return *status;
  if (set.try_seconds < 0.001) return line.refuse("--try-timeout", "must be at least 1ms");
  if (set.seconds < 0.001) return line.refuse("--timeout", "must be at least 1ms");
  if (set.cache_bytes != 0 && !set.with_cache) return line.refuse("--cache-bytes", "is for the cache of --with-cache");
  examples::allow_all_descriptors();
  std::signal(SIGPIPE, SIG_IGN);  // who reads what it says may have gone
  return examples::or_say_why("fastjson_api", [&] { return weft::run({.workers = set.workers}, run, set); });
}
