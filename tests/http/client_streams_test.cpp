// A client's request that is still being sent while its response is read.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"
#include "weft/latch.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace http_test;

namespace {

http::router routes() {
  http::router r;
  r.post("/back", [](http::request&, http::body_reader& body) {
    return http::response(200, "text/plain", [body](http::body_writer& w) mutable {
      std::vector<char> some(64 * 1024);
      while (std::size_t const n = body.read_some(some).value()) {
        w.write({some.data(), n});
        w.flush();
      }
    });
  });
  return r;
}

/// Answers whoever connects, and reads nothing; what keeps the connection open comes back.
net::tcp_stream answer_unread(net::tcp_listener& listener, std::string const& answer) {
  net::tcp_stream s = std::move(*listener.accept());
  s.write_all(answer).value();  // no REQUIRE: another task checks
  return s;
}

/// A body without end, and whether what wrote it was cancelled.
struct endless {
  std::atomic<bool> cancelled{false};
  weft::latch begun{1};
  http::request to(std::string const& url) {
    return {"POST", url, [this](http::body_writer& w) {
              begun.count_down();
              try {
                for (std::string const some(10'000, 'x');;) w.write(some);
              } catch (weft::cancelled const&) {
                cancelled = true;
                throw;
              }
            }};
  }
};

}  // namespace

TEST_CASE("a body larger than the kernels hold comes back from a server that reads no further until it is read") {
  with_server_on_the_machine(routes, {}, [](std::string const& at, auto&) {
    constexpr std::size_t size = 32 << 20;
    http::client_options o;
    o.request_timeout = 20s;
    http::client c(o);
    std::size_t back = 0;
    auto const count = [&](std::string_view piece) { back += piece.size(); };
    REQUIRE(c.send(http::request("POST", "http://" + at + "/back", std::string(size, 'x')), count));
    CHECK(back == size);
    back = 0;
    http::request const in_pieces("POST", "http://" + at + "/back", [](http::body_writer& w) {
      std::string const some(8192, 'y');
      for (std::size_t i = 0; i < size; i += some.size()) w.write(some);
    });
    REQUIRE(c.send(in_pieces, count));
    CHECK(back == size);
  });
}

TEST_CASE("a body may depend on the response") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    auto answers = weft::make_chan<std::string>();
    std::string all;
    http::request const q("POST", "http://" + at + "/back", [answers](http::body_writer& w) {
      for (int i = 0; i < 5; ++i) {
        w.write(std::to_string(i));
        w.flush();
        if (answers.recv() != std::to_string(i)) throw std::runtime_error("another answer");
      }
    });
    auto const r = http::client().send(q, [&](std::string_view piece) {
      all += piece;
      answers.send(std::string(piece));
    });
    REQUIRE(r);
    CHECK(all == "01234");
  });
}

TEST_CASE("an answer that comes early, from a server that reads nothing, ends the request") {
  for (unsigned workers : {1u, 2u}) {
    weft::options o;
    o.workers = workers;
    weft::run(o, [] {
      net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
      std::string const url = "http://" + listener.local_endpoint().to_string();
      for (std::string const end : {"Connection: close\r\n\r\nno", "\r\nno"}) {
        auto server = weft::spawn(
            [&] { return answer_unread(listener, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n" + end); });
        endless body;
        auto const r = http::client().send(body.to(url));
        REQUIRE(r);
        CHECK(r->status() == 403);
        CHECK(r->body() == "no");
        CHECK(body.cancelled);
        server.join();
      }
    });
  }
}

TEST_CASE("a reset while the body goes out is the call's error") {
  weft::run([] {
    net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
    std::string const url = "http://" + listener.local_endpoint().to_string();
    auto server = weft::spawn([&] {
      net::tcp_stream s = std::move(*listener.accept());
      char some[1];
      (void)s.read_some(some).value();
    });  // closed with much unread
    endless body;
    std::error_code const e = error_of(http::client().send(body.to(url)));
    CAPTURE(e.message());
    CHECK((e == std::errc::connection_reset || e == std::errc::broken_pipe));
    server.join();
  });
}

TEST_CASE("a connection is kept behind a body that was sent beside its response") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    http::client c;
    for (int i = 0; i < 3; ++i) {
      auto const r = c.post("http://" + at + "/back", std::string(100'000, 'x'));
      REQUIRE(r);
      CHECK(r->body().size() == 100'000);
    }
  });
  weft::run([] {
    net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
    auto server = weft::spawn([&] {
      net::tcp_stream s = std::move(*listener.accept());
      net::reader in(s);
      for (int i = 0; i < 3; ++i) {  // on the one connection
        while (!in.read_line().value()->empty()) {
        }
        (void)in.read_exact(100'000).value();
        s.write_all(std::string_view("HTTP/1.1 204 No Content\r\n\r\n")).value();
      }
    });
    http::client c;
    std::string const url = "http://" + listener.local_endpoint().to_string();
    for (int i = 0; i < 3; ++i) CHECK(c.post(url, std::string(100'000, 'x'))->status() == 204);
    server.join();
  });
}

TEST_CASE("what a body's callback throws comes out of the call at once, though no answer comes") {
  weft::run([] {
    net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
    http::request const q("POST", "http://" + listener.local_endpoint().to_string(), [](http::body_writer& w) {
      w.write(std::string(100'000, 'x'));
      weft::sleep_for(10ms);  // the caller waits for an answer by now, mostly
      throw std::runtime_error("mine");
    });
    CHECK_THROWS_WITH((void)http::client().send(q), "mine");
  });
}

TEST_CASE("a cancellation that is not the call's own comes out of a body's callback as any exception") {
  weft::run([] {
    net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
    http::request const q("POST", "http://" + listener.local_endpoint().to_string(), [](http::body_writer& w) {
      w.write("x");
      auto part = weft::spawn([] { weft::sleep_for(1h); });
      part.cancel();
      part.join();
    });
    auto const r = weft::within(10s, [&] { CHECK_THROWS_AS((void)http::client().send(q), weft::cancelled); });
    CHECK(r);
  });
}

TEST_CASE("a caller's cancellation ends what writes the body too") {
  weft::run([] {
    net::tcp_listener listener = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
    endless body;
    auto const q = body.to("http://" + listener.local_endpoint().to_string());
    auto caller = weft::spawn([&] { return http::client().send(q); });
    body.begun.wait();
    caller.cancel();
    CHECK_THROWS_AS(caller.join(), weft::cancelled);
    CHECK(body.cancelled);
  });
}

TEST_CASE("a plain thread sends a large body before it reads") {
  weft::run([] {
    auto beside = [](std::string const& at, auto&) {
      std::size_t n = 0;
      weft::blocking([&] {
        std::thread([&] {
          n = http::client().post("http://" + at + "/back", std::string(100'000, 'x'))->body().size();
        }).join();
      });
      CHECK(n == 100'000);
    };
    beside_server(routes, {}, beside);
  });
}
