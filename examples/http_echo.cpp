// An HTTP echo server: one task a connection.
//
//   POST /echo          the body back, with its content type
//   GET  /hello         {"message":"hello world"}
//   GET  /hello/{name}  {"message":"hello NAME"}
//   GET  /stats         what the runtime is doing
//
// Try: http_echo & sleep 1; curl -d hi http://127.0.0.1:8080/echo
// SIGINT or SIGTERM ends it once the requests in progress are answered.
#include <weft/http.hpp>
#include <weft/run.hpp>
#include <weft/signal.hpp>

#include <malloc.h>

#include <csignal>
#include <iostream>
#include <string>

#include "support/command_line.hpp"

namespace http = weft::http;

static http::router routes() {
  http::router r;
  r.post("/echo", [](http::request& q) {
    std::string const type(q.header("Content-Type").value_or("application/octet-stream"));
    return http::response(200, std::move(q).body()).header("Content-Type", type);
  });
  r.get("/hello", [] { return http::json({{"message", "hello world"}}); });
  r.get("/hello/{name}",
        [](http::request& q) { return http::json({{"message", "hello " + std::string(q.param("name"))}}); });
  r.get("/stats", [] {
    weft::runtime_metrics const m = weft::current_metrics();
    struct mallinfo2 const heap = ::mallinfo2();
    return http::json({{"workers", m.workers},
                       {"tasks", m.live},
                       {"parked", m.parked},
                       {"runnable", m.runnable},
                       {"stacks", m.stacks},
                       {"stack_bytes", m.bytes},
                       {"heap_bytes", heap.uordblks + heap.hblkhd}});  // in use, of all arenas
  });
  return r;
}

static int serve(std::string const& address) {
  http::server server(routes());
  auto const at = server.listen(address);
  if (!at) {
    bool const malformed = at.error() == std::errc::invalid_argument;
    std::cerr << "http_echo: cannot listen on '" << address
              << "': " << (malformed ? "not of the form host:port" : at.error().message()) << '\n';
    return malformed ? 2 : 1;
  }
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM});
  std::cout << "listening on " << at->to_string() << std::endl;
  server.serve(until);
  return 0;
}

int main(int argc, char** argv) {
  std::string address = "127.0.0.1:8080";
  weft::options options;
  examples::command_line line("http_echo", "An HTTP echo server on weft.");
  line.text("--listen", address, "host:port to listen on; port 0 takes a free one")
      .number("--workers", options.workers, "threads that run tasks; 0: one for each CPU", 0, 1024);
  if (auto const status = line.parse(argc, argv)) return *status;
  examples::allow_all_descriptors();
  return examples::or_say_why("http_echo", [&] { return weft::run(options, serve, address); });
}
