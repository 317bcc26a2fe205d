// A server and a client over unix sockets: what differs from TCP in the kernel must not differ for them.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"
#include "weft/time.hpp"

#include <unistd.h>

#include <stdexcept>

using namespace http_test;

namespace {

std::string fresh_name() {
  static std::atomic<int> last{0};
  return "@weft-http-" + std::to_string(::getpid()) + "-" + std::to_string(++last);
}

http::client client_of(std::string path) { return http::client({.unix_socket = std::move(path)}); }

/// f(path, server) beside a server there.
template <class F>
void beside_server_at(std::string const& path, http::router routes, http::server_options const& options, F f) {
  http::server server(std::move(routes), options);
  auto listener = net::unix_listener::bind(path);
  REQUIRE(listener);
  REQUIRE(server.listen(std::move(*listener)));
  auto serving = weft::spawn([&] { server.serve(); });
  f(server);
  server.shutdown(5s);
  serving.join();
}

/// Sends a request and gives the stream, whose reads end after 20 s.
net::unix_stream asked(std::string const& path, std::string_view request) {
  auto stream = net::unix_stream::connect(path).value();
  stream.set_read_deadline(weft::now() + 20s);
  stream.write_all(request).value();
  return stream;
}

std::size_t read_to_the_end(net::unix_stream& from) {
  std::string buffer(64 * 1024, '\0');
  for (std::size_t all = 0;;) {
    auto const n = from.read_some(std::span(buffer));
    if (n.value_or(0) == 0) return all;
    all += *n;
  }
}

}  // namespace

TEST_CASE("requests over a unix socket are answered on one connection, bodies of any length both ways") {
  everywhere([] {
    std::string const path = fresh_name(), large(300'000, 'x');
    http::router r;
    r.get("/host", [](http::request& q) { return std::string(q.header("Host").value_or("none")); });
    r.post("/echo", [](http::request& q) { return http::response(200, std::string(q.body())); });
    r.get("/stream", [&large](http::request&) {
      return http::response(200, "text/plain", [&large](http::body_writer& w) { w.write(large); });
    });
    beside_server_at(path, r, {}, [&](http::server&) {
      http::client client = client_of(path);
      CHECK(client.get("http://some.name/host").value().body() == "some.name");
      CHECK(client.post("http://some.name/echo", large).value().body() == large);
      CHECK(client.get("http://some.name/stream").value().body() == large);
      CHECK(client.get("http://other.name:81/host").value().body() == "other.name:81");
      CHECK(client_of(fresh_name()).get("http://some.name/").error() == std::errc::connection_refused);
    });
    CHECK(client_of(path).get("http://some.name/host").error() == std::errc::connection_refused);
  });
}

TEST_CASE("a client of a unix socket that is gone cancels its handler, one that has ended its side is answered") {
  everywhere([] {
    std::string const path = fresh_name();
    auto entered = weft::make_chan<weft::unit>(4), go_on = weft::make_chan<weft::unit>();
    auto ended = weft::make_chan<std::string>(4);
    http::router r;
    r.get("/wait", [&] {
      try {
        entered.send(weft::unit{});
        go_on.recv();
        return http::response(200, "done");
      } catch (weft::cancelled const&) {
        weft::uncancellable const stay;
        ended.send("cancelled");
        throw;
      }
    });
    beside_server_at(path, r, {}, [&](http::server&) {
      {
        net::unix_stream const lost = asked(path, get("/wait"));
        entered.recv();
      }
      CHECK(ended.recv() == "cancelled");
      wire half(net::unix_stream::connect(path).value());
      half.send(get("/wait"));
      CHECK(half.stream().shutdown_write());
      entered.recv();
      weft::sleep_for(1500ms);  // the server looks at the socket more than once, and probes
      go_on.send(weft::unit{});
      std::string const answer = half.response();
      CHECK(status_of(answer) == 200);
      CHECK(body_of(answer) == "done");
    });
  });
}

TEST_CASE("who reads a large response slowly over a unix socket gets all of it, who reads none of it is cut") {
  constexpr std::size_t size = 16 * 1024 * 1024;
  on_the_machine([size] {
    std::string const path = fresh_name(), large(size, 'x');
    http::router r;
    r.get("/large", [&large] { return large; });
    beside_server_at(path, r, {.idle_timeout = 1s}, [&](http::server&) {
      net::unix_stream slow = asked(path, get("/large", "Connection: close\r\n"));
      net::unix_stream none = asked(path, get("/large", "Connection: close\r\n"));
      std::string buffer(8 * 1024, '\0');
      std::size_t all = 0;
      for (int i = 0; i != 30; ++i) {  // three times idle_timeout, in which little more than the kernel holds is read
        weft::sleep_for(100ms);
        all += slow.read_some(std::span(buffer)).value();
      }
      CHECK(all + read_to_the_end(slow) > size);
      CHECK(read_to_the_end(none) < size);
    });
  });
}

TEST_CASE("a body of HTTP/1.0 that is cut over a unix socket ends without a reset, also in a simulated run") {
  everywhere([] {
    std::string const path = fresh_name();
    http::router r;
    r.get("/cut", [] {
      return http::response(200, "text/plain", [](http::body_writer& w) {
        w.write("half");
        w.flush();
        throw std::runtime_error("cut");
      });
    });
    beside_server_at(path, r, {}, [&](http::server&) {
      net::unix_stream client = asked(path, "GET /cut HTTP/1.0\r\n\r\n");
      std::string all;
      char buffer[1000];
      for (;;) {
        auto const n = client.read_some(buffer);
        REQUIRE(n);
        if (*n == 0) break;
        all.append(buffer, *n);
      }
      CHECK(body_of(all) == "half");
    });
  });
}

TEST_CASE("a refusal over a unix socket can be read by who is still sending") {
  everywhere([] {
    std::string const path = fresh_name();
    http::router r;
    r.post("/small", [] { return "read"; });
    beside_server_at(path, r, {.max_body_bytes = 1000}, [&](http::server&) {
      auto const answer = client_of(path).post("http://t/small", std::string(400'000, 'x'));
      REQUIRE(answer);
      CHECK(answer->status() == 413);
    });
  });
}

TEST_CASE("one server listens on TCP and on a path, and a shutdown answers what has connected, and removes the path") {
  std::string const path = "/tmp/weft-http-" + std::to_string(::getpid()) + ".sock";
  weft::options o;
  o.workers = 1;
  weft::run(o, [&] {
    http::router r;
    r.get("/x", [] { return std::string("late"); });
    http::server server(r);
    auto const tcp = server.listen("127.0.0.1:0").value().to_string();
    CHECK(server.listen(net::unix_listener::bind(path).value()).value().to_string() == path);
    auto serving = weft::spawn([&] { server.serve(); });
    CHECK(http::get("http://" + tcp + "/x").value().body() == "late");
    CHECK(client_of(path).get("http://t/x").value().body() == "late");
    std::vector<net::unix_stream> waiting;
    for (int i = 0; i != 20; ++i) waiting.push_back(asked(path, get("/x")));
    server.shutdown(10s);
    serving.join();
    for (auto& w : waiting) {
      std::string answer(1000, '\0');
      answer.resize(w.read_some(std::span(answer)).value());
      CHECK(body_of(answer) == "late");
    }
    CHECK(::access(path.c_str(), F_OK) != 0);
  });
}
