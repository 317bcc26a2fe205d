// Go's net/http example in C++: JSON answers, path parameters, a query, and a line for each request, with the time that it took.
//
//   GET /hello                   {"message":"hello world"}
//   GET /users/{user}/posts/{n}  {"user":"ann","post":7}; 400 if n is not a number
//   GET /search?q=text           {"query":"text"}; 400 without q
//
// Try: hello_json --log & curl 'http://127.0.0.1:8080/users/ann/posts/7'
#include <weft/http.hpp>
#include <weft/run.hpp>
#include <weft/signal.hpp>

#include <charconv>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>

#include "support/command_line.hpp"

namespace http = weft::http;

static int number(std::string_view text) {
  int n = 0;
  auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failed != std::errc() || end != text.data() + text.size()) throw http::error(400, "not a number\n");
  return n;
}

static http::router routes(bool log) {
  http::router r;
  if (log) r.use(http::log_requests());
  r.get("/hello", [] { return http::json({{"message", "hello world"}}); });
  r.get("/users/{user}/posts/{n}",
        [](http::request& q) { return http::json({{"user", q.param("user")}, {"post", number(q.param("n"))}}); });
  r.get("/search", [](http::request& q) {
    auto const text = q.query("q");
    return text ? http::json({{"query", *text}}) : http::json(400, {{"error", "what is to be searched for? ?q=..."}});
  });
  return r;
}

static int serve(std::string const& address, bool log) {
  http::server server(routes(log));
  auto const at = server.listen(address);
  if (!at) {
    std::cerr << "hello_json: " << address << ": " << at.error().message() << '\n';
    return at.error() == std::errc::invalid_argument ? 2 : 1;
  }
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM});
  std::cout << "listening on " << at->to_string() << std::endl;
  server.serve(until);
  return 0;
}

int main(int argc, char** argv) {
  std::string address = "127.0.0.1:8080";
  bool log = false;
  examples::command_line line("hello_json", "Answers with JSON.");
  line.text("--listen", address, "host:port; port 0 takes a free one")
      .flag("--log", log, "a line on stderr for each request");
  if (auto const status = line.parse(argc, argv)) return *status;
  examples::allow_all_descriptors();
  return examples::or_say_why("hello_json", [&] { return weft::run(serve, address, log); });
}
