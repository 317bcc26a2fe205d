// Logging and recovery, around handlers that answer and that throw.
#include "tests/http/harness.hpp"

#include "weft/mutex.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

using namespace http_test;

namespace {

struct log_book {
  weft::mutex lock;
  std::vector<std::string> lines;
  std::vector<std::string> take() {
    std::lock_guard const held(lock);
    return std::exchange(lines, {});
  }
};

/// Without the time at its end.
std::string without_time(std::string_view line) { return std::string(line.substr(0, line.rfind(' '))); }

void add_routes(http::router& r) {
  r.get("/hello", [] { return "hello"; });
  r.get("/teapot", []() -> http::response { throw http::error(418, "short and stout"); });
  r.get("/throw", []() -> http::response { throw std::runtime_error("secret"); });
  r.get("/seven", []() -> http::response { throw 7; });
  r.get("/late", [] {
    weft::sleep_for(std::chrono::hours(1));
    return "late";
  });
  r.get("/take", [](http::request& q) {
    http::request const mine = std::move(q);
    throw std::runtime_error(std::string(mine.path()));
  });
  r.post("/read", [](http::request&, http::body_reader& body) { return body.read_all(100).value(); });
  r.post("/whole", [](http::request& q) { return q.reader().read_all(1).value(); });
}

}  // namespace

TEST_CASE("log_requests says one line a request, with the status that the client gets") {
  for (bool const recovered : {false, true}) {
    CAPTURE(recovered);
    auto const book = std::make_shared<log_book>();
    auto const routes = [&] {
      http::router r;
      r.use(http::log_requests([book](std::string_view line) {
        std::lock_guard const held(book->lock);
        book->lines.emplace_back(line);
      }));
      if (recovered) r.use(http::recover());
      add_routes(r);
      return r;
    };
    with_server(routes, {}, [&](std::string const& at, auto&) {
      wire w(at);
      CHECK(status_of(w.send(get("/hello?a=b")).response()) == 200);
      CHECK(status_of(w.send(get("/none")).response()) == 404);
      std::string const teapot = w.send(get("/teapot")).response();
      CHECK(status_of(teapot) == 418);
      CHECK(body_of(teapot) == "short and stout");
      std::string const thrown = w.send(get("/throw")).response();
      CHECK(status_of(thrown) == 500);
      CHECK_FALSE(has(thrown, "secret"));
      CHECK(status_of(w.send(get("/take")).response()) == 500);
      CHECK(status_of(w.send("POST /whole HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab").response()) == 413);
      std::vector<std::string> const lines = book->take();
      std::vector<std::string> const expected{"GET /hello?a=b 200", "GET /none 404", "GET /teapot 418",
                                              "GET /throw 500",     "GET /take 500", "POST /whole 413"};
      REQUIRE(lines.size() == expected.size());
      for (std::size_t i = 0; i < lines.size(); ++i) {
        CHECK(without_time(lines[i]) == expected[i]);
        CHECK(lines[i].ends_with("ms"));
      }
    });
  }
}

TEST_CASE("log_requests says the status of what is no std::exception, and of a request that took too long") {
  auto const log = weft::make_chan<std::string>(10);
  for (bool const recovered : {false, true}) {
    CAPTURE(recovered);
    auto const routes = [&] {
      http::router r;
      r.use(http::log_requests([log](std::string_view line) { log.send(std::string(line)); }));
      if (recovered) r.use(http::recover());
      add_routes(r);
      return r;
    };
    with_server(routes, {.request_timeout = std::chrono::milliseconds(50)}, [&](std::string const& at, auto&) {
      wire w(at);
      CHECK(status_of(w.send(get("/seven")).response()) == 500);
      CHECK(status_of(w.send(get("/late")).response()) == 503);
      REQUIRE(log.size() == 2);
      CHECK(without_time(log.recv().value()) == "GET /seven 500");
      CHECK(without_time(log.recv().value()) == "GET /late 503");
    });
  }
}

TEST_CASE("log_requests says that a client has gone before its answer") {
  auto const log = weft::make_chan<std::string>(10);
  auto const routes = [&] {
    http::router r;
    r.use(http::log_requests([log](std::string_view line) { log.send(std::string(line)); }));
    add_routes(r);
    return r;
  };
  with_server(routes, {}, [&](std::string const& at, auto&) {
    {
      wire w(at);
      w.send(get("/late"));
      weft::sleep_for(std::chrono::milliseconds(50));
    }
    CHECK(without_time(log.recv().value()) == "GET /late -");
  });
}

TEST_CASE("recover makes a response of what is no std::exception") {
  auto const seen = std::make_shared<std::atomic<int>>(0);
  auto const routes = [&] {
    http::router r;
    r.use([seen](http::handler next) -> http::handler {
      return [seen, next](http::request& q) {
        http::response a = next(q);
        *seen = a.status();
        return a;
      };
    });
    r.use(http::recover());
    add_routes(r);
    return r;
  };
  with_server(routes, {}, [&](std::string const& at, auto&) {
    CHECK(status_of(wire(at).send(get("/seven")).response()) == 500);
    CHECK(*seen == 500);
  });
}

TEST_CASE("recover leaves a body that could not be read the client's fault") {
  auto const routes = [] {
    http::router r;
    r.use(http::recover());
    add_routes(r);
    return r;
  };
  with_server(routes, {}, [](std::string const& at, auto&) {
    std::string const bad =
        wire(at).send("POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n").rest();
    CHECK(status_of(bad) == 400);
  });
}
