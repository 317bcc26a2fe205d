// What becomes of a handler whose client goes away, and who ends serve().
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"
#include "weft/defer.hpp"
#include "weft/task_group.hpp"
#include "weft/time.hpp"

#include <deque>

#include <sys/socket.h>

using namespace http_test;

namespace {

/// /wait says that it runs, and then waits until it is cancelled or told to go on.
struct waiting_routes {
  weft::chan<weft::unit> entered = weft::make_chan<weft::unit>(16), go_on = weft::make_chan<weft::unit>(16);
  weft::chan<std::string> ended = weft::make_chan<std::string>(16);

  http::router operator()() const {
    http::router r;
    r.get("/wait", [*this]() -> http::response {
      try {
        entered.send(weft::unit{});
        go_on.recv();
        ended.send("answered");
        return http::response(200, "done");
      } catch (weft::cancelled const&) {
        weft::uncancellable const stay;
        ended.send("cancelled");
        throw;
      }
    });
    r.post("/read", [*this](http::request&, http::body_reader& body) -> http::response {
      (void)body.read_all(100).value();
      try {
        entered.send(weft::unit{});
        go_on.recv();
        ended.send("answered");
        return http::response(200, "read");
      } catch (weft::cancelled const&) {
        weft::uncancellable const stay;
        ended.send("cancelled");
        throw;
      }
    });
    r.get("/quick", [] { return "quick"; });
    r.get("/children", [*this]() -> http::response {
      weft::task_group children;
      children.spawn([*this] {
        try {
          entered.send(weft::unit{});
          weft::chan<int>().recv();
        } catch (weft::cancelled const&) {
          weft::uncancellable const stay;
          ended.send("child cancelled");
          throw;
        }
      });
      children.wait();
      return 200;
    });
    r.get("/stream", [*this] {
      return http::response(200, "text/plain", [*this](http::body_writer& w) {
        w.write("begun");
        w.flush();
        entered.send(weft::unit{});
        try {
          go_on.recv();
        } catch (weft::cancelled const&) {
          weft::uncancellable const stay;
          ended.send("cancelled");
          throw;
        }
      });
    });
    return r;
  }
};

/// Closes with a reset instead of an end.
void reset(wire& w) {
  linger const at_once{1, 0};
  REQUIRE(::setsockopt(w.stream().native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  w.stream().close();
}

std::string next(weft::chan<std::string> const& ended) { return ended.recv_for(20s).value_or("nothing happened"); }

}  // namespace

TEST_CASE("a handler whose client resets the connection or closes it is cancelled, with what it has started") {
  waiting_routes const routes;
  with_server_on_the_machine(routes, {}, [&](std::string const& at, auto&) {
    for (char const* path : {"/wait", "/children", "/stream"}) {
      CAPTURE(path);
      for (bool hard : {true, false}) {
        if (!hard && std::string_view(path) == "/stream") continue;  // the next write tells
        CAPTURE(hard);
        wire w(at);
        w.send(get(path));
        routes.entered.recv();
        hard ? reset(w) : w.stream().close();
        CHECK(has(next(routes.ended), "cancelled"));
      }
    }
    wire w(at);  // the server lives on
    w.send(get("/wait"));
    routes.go_on.send(weft::unit{});
    CHECK(body_of(w.response()) == "done");
    CHECK(next(routes.ended) == "answered");
    routes.entered.recv();
  });
}

TEST_CASE("handlers that do not end although their clients have gone keep no other from being cancelled") {
  constexpr int many = 300;  // more than the server cancels at once
  waiting_routes const routes;
  auto const entered = weft::make_chan<weft::unit>(many);
  auto const go_on = weft::make_chan<weft::unit>();
  auto const with_stubborn = [=] {
    http::router r = routes();
    r.get("/stubborn", [=] {
      weft::uncancellable const stay;
      entered.send({});
      go_on.recv();
      return 200;
    });
    return r;
  };
  with_server_on_the_machine(with_stubborn, {}, [&](std::string const& at, auto&) {
    weft::defer const at_end([&] { go_on.close(); });
    std::deque<wire> clients;  // the eldest is looked at last
    clients.emplace_back(at).send(get("/wait"));
    routes.entered.recv();
    for (int i = 0; i != many; ++i) clients.emplace_back(at).send(get("/stubborn"));
    for (int i = 0; i != many; ++i) entered.recv();
    while (!clients.empty()) {
      reset(clients.back());
      clients.pop_back();
    }
    CHECK(next(routes.ended) == "cancelled");
  });
}

TEST_CASE("a handler that has given up a read is cancelled when its client resets the connection") {
  auto const entered = weft::make_chan<weft::unit>();
  auto const ended = weft::make_chan<std::string>(1);
  auto const routes = [=] {
    http::router r;
    r.post("/", [=](http::request&, http::body_reader& body) {
      char some[10];
      auto const n = weft::within(1ms, [&] { return body.read_some(std::span(some)); });
      CHECK(n.error() == std::errc::timed_out);
      entered.send({});
      try {
        weft::sleep_for(20s);
        ended.send("slept");
      } catch (weft::cancelled const&) {
        weft::uncancellable const stay;
        ended.send("cancelled");
        throw;
      }
    });
    return r;
  };
  with_server_on_the_machine(routes, {}, [&](std::string const& at, auto&) {
    wire w(at);
    w.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n");
    entered.recv();
    reset(w);
    CHECK(next(ended) == "cancelled");
  });
}

TEST_CASE("a client that has only ended its side gets its answer, of which the first bytes may come early") {
  waiting_routes const routes;
  with_server(routes, {}, [&](std::string const& at, auto&) {
    wire w(at), old(at);
    w.send(get("/wait"));
    old.send("GET /wait HTTP/1.0\r\n\r\n");
    REQUIRE(w.stream().shutdown_write());
    REQUIRE(old.stream().shutdown_write());
    CHECK(w.until("HT") == "HT");  // after half a second, and a second
    CHECK(old.until("H") == "H");
    routes.go_on.send(weft::unit{});
    routes.go_on.send(weft::unit{});
    for (std::string const& whole : {"HT" + w.rest(), "H" + old.rest()}) {
      CHECK(status_of(whole) == 200);
      CHECK(body_of(whole) == "done");
      CHECK(whole.find("HTTP", 1) == whole.npos);
    }
    for (int i = 0; i < 2; ++i) {
      CHECK(next(routes.ended) == "answered");
      routes.entered.recv();
    }
  });
}

TEST_CASE("a client that has ended its side gets the answers to all that it has sent before") {
  auto const routes = [] {
    http::router r;
    r.get("/{n}", [](http::request& q) { return std::string(q.param("n")); });
    return r;
  };
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    w.send(get("/1") + get("/2") + get("/3"));
    REQUIRE(w.stream().shutdown_write());
    for (char const* body : {"1", "2", "3"}) CHECK(body_of(w.response()) == body);
    CHECK(w.rest().empty());
  });
}

TEST_CASE(
    "a client that is gone is noticed behind the end of a body that its handler has read, and behind pipelined "
    "requests") {
  waiting_routes const routes;
  std::string const counted = "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n",
                    chunks = "POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  with_server(routes, {}, [&](std::string const& at, auto&) {
    for (std::string const& sent : {counted + "abc", chunks + "3\r\nabc\r\n0\r\n\r\n", get("/quick") + get("/wait"),
                                    get("/quick") + counted + "abc"}) {
      CAPTURE(sent);
      wire w(at);
      w.send(sent);
      routes.entered.recv();
      if (has(sent, "quick")) {
        CHECK(body_of(w.response()) == "quick");  // does not wait for what comes behind it
      }
      w.stream().close();
      CHECK(next(routes.ended) == "cancelled");
    }
  });
}

TEST_CASE("what the sweep has sent of the answers to pipelined requests is not sent again") {
  waiting_routes const routes;
  with_server(routes, {}, [&](std::string const& at, auto&) {
    for (bool reads : {false, true}) {
      wire w(at);
      std::string const last = reads ? "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc" : get("/wait");
      w.send(get("/quick") + get("/quick") + last);
      REQUIRE(w.stream().shutdown_write());
      routes.entered.recv();
      for (int i = 0; i < 2; ++i) CHECK(body_of(w.response()) == "quick");
      CHECK(w.until("HT") == "HT");
      routes.go_on.send(weft::unit{});
      std::string const whole = "HT" + w.rest();
      CHECK(status_of(whole) == 200);
      CHECK(body_of(whole) == (reads ? "read" : "done"));
      CHECK(whole.find("HTTP", 1) == whole.npos);
      CHECK(next(routes.ended) == "answered");
    }
  });
}

TEST_CASE("the callback of a streamed response has the rest of the request's time") {
  auto const routes = [] {
    http::router r;
    r.get("/silent",
          [] { return http::response(200, "text/plain", [](http::body_writer&) { weft::chan<int>().recv(); }); });
    // Writes for the first time when its time is up already: nothing of it has gone out.
    r.get("/late", [] {
      return http::response(200, "text/plain", [](http::body_writer& w) {
        while (!weft::this_task::context().cancelled()) weft::yield();
        w.write(std::string(20'000, 'x'));
      });
    });
    r.get("/begun", [] {
      return http::response(200, "text/plain", [](http::body_writer& w) {
        w.write("begun");
        w.flush();
        weft::chan<int>().recv();
      });
    });
    return r;
  };
  http::server_options o;
  o.request_timeout = 30ms;
  with_server(routes, o, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(status_of(w.send(get("/silent")).response()) == 503);
    CHECK(status_of(w.send(get("/late")).response()) == 503);
  });
  o.request_timeout = 500ms;  // time enough to begin
  with_server(routes, o, [](std::string const& at, auto&) {
    std::string const cut = wire(at).send(get("/begun")).rest();
    CHECK(has(cut, "begun"));
    CHECK_FALSE(has(cut, "0\r\n\r\n"));
  });
}

TEST_CASE("a client that reads nothing of a streamed body is let go without delay") {
  auto const ended = weft::make_chan<weft::time_point>(1);
  auto const routes = [=] {
    http::router r;
    r.get("/", [] { return "next"; });
    r.get("/endless", [=] {
      return http::response(200, "text/plain", [=](http::body_writer& w) {
        weft::defer const tell([&] { ended.send(weft::now()); });
        for (std::string const some(100'000, 'x');;) w.write(some);
      });
    });
    return r;
  };
  http::server_options o;
  o.idle_timeout = 300ms;
  o.max_connections = 1;
  with_server(routes, o, [&](std::string const& at, auto&) {
    wire still(at);
    still.send(get("/endless"));
    weft::time_point const at_end = *ended.recv();
    CHECK(status_of(wire(at).send(get("/")).response()) == 200);
    CHECK(weft::now() - at_end < 900ms);  // a second is what a client that may be reading has
  });
}

TEST_CASE("a write of a streamed body that is given up ends the body, and nothing is sent twice") {
  auto const begun = weft::make_chan<weft::unit>(1), given_up = weft::make_chan<weft::unit>(1);
  auto const routes = [=] {
    http::router r;
    r.get("/big", [=] {
      return http::response(200, "text/plain", [=](http::body_writer& w) {
        std::string const big(16 << 20, 'x');  // more than a socket takes
        auto const [mine, cancel] = weft::with_cancel();
        auto const canceller = weft::spawn([=, &cancel] {
          begun.recv();
          cancel();
        });
        {
          weft::scoped_context const in(mine);
          CHECK_THROWS_AS(w.write(big), weft::cancelled);
        }
        given_up.send({});
        w.write("behind");
      });
    });
    return r;
  };
  with_server(routes, {}, [&](std::string const& at, auto&) {
    wire w(at);
    w.send(get("/big"));
    std::string all = w.until("HTTP/1.1 200");
    begun.send({});
    given_up.recv();
    all += w.rest();
    CHECK(status_of(all) == 200);
    CHECK(all.find("HTTP/1.1", 1) == all.npos);
    CHECK_FALSE(has(all, "behind"));
    CHECK_FALSE(all.ends_with("\r\n0\r\n\r\n"));
  });
}

TEST_CASE("serve under a context that is not the caller's ends by the caller's cancellation too") {
  weft::run([] {
    http::router r;
    http::server server(r);
    std::string const at = server.listen("127.0.0.1:0")->to_string();
    weft::context const never = weft::without_cancel(weft::this_task::context());
    auto serving = weft::spawn([&] { server.serve(never); });
    CHECK(status_of(wire(at).send(get("/")).response()) == 404);
    serving.cancel();
    CHECK_THROWS_AS(serving.join(), weft::cancelled);
    CHECK_FALSE(net::tcp_stream::connect(at));
  });
}

TEST_CASE("serve under a context that is cancelled already answers nobody and returns") {
  weft::run([] {
    http::server server((http::router()));
    REQUIRE(server.listen("127.0.0.1:0"));
    auto [until, cancel] = weft::with_cancel();
    cancel();
    server.serve(until);
    server.shutdown(0s);
  });
}
