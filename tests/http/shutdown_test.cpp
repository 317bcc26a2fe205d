// How a server ends, and how connections end that stand still.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"
#include "weft/context.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

using namespace http_test;

TEST_CASE("shutdown under load cuts no request") {
  for (unsigned workers : {1u, 2u}) {
    weft::options o;
    o.workers = workers;
    weft::run(o, [] {
      http::router r;
      r.get("/x", [] { return std::string(20'000, 'x'); });
      http::server server(r);
      std::string const at = server.listen("127.0.0.1:0")->to_string();
      auto serving = weft::spawn([&] { server.serve(); });
      std::atomic<int> answered{0}, cut{0}, told{0};
      weft::latch connected(50);
      auto enough = weft::make_chan<weft::unit>(1);
      std::vector<weft::join_handle<void>> clients;
      for (int i = 0; i < 50; ++i) {
        clients.push_back(weft::spawn([&] {
          wire w(at);
          connected.count_down();
          for (;;) {
            if (!w.stream().write_all(get("/x"))) return;
            std::string const answer = w.response();
            if (!has(answer, "HTTP")) return;  // closed between requests
            if (body_of(answer) != std::string(20'000, 'x')) ++cut;
            if (++answered == 1000) (void)enough.try_send(weft::unit{});
            if (has(answer, "Connection: close")) return void(++told);
          }
        }));
      }
      connected.wait();
      enough.recv();
      server.shutdown(10s);
      serving.join();
      for (auto& c : clients) c.join();
      CHECK(cut == 0);
      CHECK(told > 0);
      CHECK_FALSE(net::tcp_stream::connect(at));
    });
  }
}

TEST_CASE("a server that hands its listening socket to the next one refuses no connection") {
  for (unsigned workers : {1u, 2u}) {
    weft::options o;
    o.workers = workers;
    weft::run(o, [] {
      auto const routes_of = [](char const* who) {
        http::router r;
        r.get("/who", [who] { return std::string(who); });
        return r;
      };
      auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
      int const inherited = ::dup(listener.native_handle());
      http::server old(routes_of("old")), next(routes_of("next"));
      std::string const at = old.listen(std::move(listener)).value().to_string();
      auto serving = weft::spawn([&] { old.serve(); });
      std::atomic<int> answers{0};
      std::atomic<bool> enough{false};
      auto client = weft::spawn([&] {
        for (std::string said; !enough || said != "next";) {
          wire w(at);
          std::string const answer = w.send(get("/who", "Connection: close\r\n")).response();
          if (status_of(answer) != 200)
            throw std::runtime_error(answer);  // comes out of join(): two tasks assert nothing at once
          said = body_of(answer);
          ++answers;
        }
      });
      while (answers < 100 && !client.done()) weft::yield();
      CHECK(next.listen(net::tcp_listener::adopt(inherited).value()).value().to_string() == at);
      auto going_on = weft::spawn([&] { next.serve(); });
      old.shutdown(10s);
      serving.join();
      enough = true;
      client.join();
      next.shutdown(10s);
      going_on.join();
      CHECK_FALSE(net::tcp_stream::connect(at));
    });
  }
}

TEST_CASE("a request of a connection that has not been accepted yet is answered") {
  weft::options o;
  o.workers = 1;
  weft::run(o, [] {
    http::router r;
    r.get("/x", [] { return std::string("late"); });
    http::server server(r);
    net::endpoint const at = *server.listen("127.0.0.1:0");
    auto serving = weft::spawn([&] { server.serve(); });
    weft::sleep_for(1ms);  // it waits for connections
    std::vector<int> clients;
    for (int i = 0; i != 20; ++i) {  // without a wait in which the server could accept them
      int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      REQUIRE(::connect(fd, static_cast<sockaddr const*>(at.data()), at.size()) == 0);
      std::string const request = get("/x");
      REQUIRE(::send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
      clients.push_back(fd);
    }
    server.shutdown(10s);
    serving.join();
    for (int const fd : clients) {
      char answer[1024];
      timeval const patience{10, 0};
      REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
      ssize_t const n = ::recv(fd, answer, sizeof answer, 0);
      CHECK(body_of({answer, static_cast<std::size_t>(std::max<ssize_t>(n, 0))}) == "late");
      ::close(fd);
    }
  });
}

TEST_CASE("a shutdown from a plain thread, or another runtime, starts no connection there") {
  for (bool by_thread : {true, false}) {
    CAPTURE(by_thread);
    weft::options o;
    o.workers = 1;
    o.hog_after = o.blocked_after = std::chrono::hours(1);  // so that it stays on its thread
    weft::run(o, [&] {
      std::thread::id const here = std::this_thread::get_id();
      std::atomic<int> elsewhere{0};
      http::router r;
      r.get("/x", [&] {
        if (std::this_thread::get_id() != here) ++elsewhere;
        return std::string("x");
      });
      http::server server(r);
      net::endpoint const at = *server.listen("127.0.0.1:0");
      auto serving = weft::spawn([&] { server.serve(); });
      weft::sleep_for(1ms);  // it waits for connections
      std::vector<int> clients;
      for (int i = 0; i != 20; ++i) {
        int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::connect(fd, static_cast<sockaddr const*>(at.data()), at.size()) == 0);
        std::string const request = get("/x");
        REQUIRE(::send(fd, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
        clients.push_back(fd);
      }
      std::thread other([&] {
        if (by_thread) server.shutdown(10s);
        else weft::run(o, [&] { server.shutdown(10s); });
      });
      for (bool listens = true; listens;) {  // the server's own tasks do not run meanwhile
        int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        listens = ::connect(fd, static_cast<sockaddr const*>(at.data()), at.size()) == 0;
        ::close(fd);
        (void)::poll(nullptr, 0, 1);
      }
      serving.join();
      other.join();
      for (int const fd : clients) ::close(fd);
      CHECK(elsewhere == 0);
    });
  }
}

TEST_CASE("a request in progress is finished within the grace, and told that it was the last") {
  weft::run([] {
    auto entered = weft::make_chan<weft::unit>(), leave = weft::make_chan<weft::unit>();
    http::router r;
    r.get("/slow", [=] {
      entered.send(weft::unit{});
      leave.recv();
      return "done";
    });
    http::server server(r);
    std::string const at = server.listen("127.0.0.1:0")->to_string();
    auto serving = weft::spawn([&] { server.serve(); });
    wire idle(at), busy(at);
    busy.send(get("/slow"));
    entered.recv();
    auto ending = weft::spawn([&] { server.shutdown(20s); });
    auto again = weft::spawn([&] { server.shutdown(20s); });
    CHECK(idle.rest().empty());  // closed
    CHECK_FALSE(serving.done());
    leave.send(weft::unit{});
    std::string const answer = busy.rest();
    CHECK(body_of(answer) == "done");
    CHECK(has(answer, "Connection: close\r\n"));
    ending.join();
    again.join();
    serving.join();
  });
}

TEST_CASE("a grace and time-outs of any duration type are kept, and max() never ends") {
  weft::run([] {
    auto const entered = weft::make_chan<weft::unit>(), leave = weft::make_chan<weft::unit>();
    http::router r;
    r.get("/slow", [=] {
      entered.send(weft::unit{});
      leave.recv();
      return "done";
    });
    http::server_options o{.header_timeout = std::chrono::hours::max(),
                           .idle_timeout = std::chrono::hours::max(),
                           .request_timeout = std::chrono::hours::max(),
                           .shutdown_grace = std::chrono::hours::max()};
    CHECK(o.request_timeout == std::chrono::nanoseconds::max());
    for (bool by_options : {false, true}) {
      CAPTURE(by_options);
      http::server server(r, o);
      std::string const at = server.listen("127.0.0.1:0")->to_string();
      auto [until, stop] = weft::with_cancel();
      auto serving = weft::spawn([&, c = until] { server.serve(c); });
      wire idle(at), busy(at);
      busy.send(get("/slow"));
      entered.recv();
      weft::join_handle<void> ending;
      if (by_options) stop();
      else ending = weft::spawn([&] { server.shutdown(std::chrono::hours::max()); });
      CHECK(idle.rest().empty());  // the shutdown has begun, and what is in progress would be closed by the next step
      CHECK_FALSE(serving.wait_for(20ms));
      leave.send(weft::unit{});
      CHECK(body_of(busy.rest()) == "done");
      serving.join();
    }
  });
}

TEST_CASE("what is not done within the grace is cancelled and closed") {
  weft::run([] {
    auto entered = weft::make_chan<weft::unit>();
    std::atomic<bool> unwound{false};
    http::router r;
    r.get("/never", [&]() -> http::response {
      struct note {
        std::atomic<bool>& at_end;
        ~note() { at_end = true; }
      } const n{unwound};
      entered.send(weft::unit{});
      weft::chan<int>().recv();
      return 200;
    });
    http::server server(r);
    std::string const at = server.listen("127.0.0.1:0")->to_string();
    auto serving = weft::spawn([&] { server.serve(); });
    wire w(at);
    w.send(get("/never"));
    entered.recv();
    server.shutdown(10ms);
    CHECK(unwound);
    CHECK_FALSE(has(w.rest(), "HTTP"));
    serving.join();
  });
}

TEST_CASE("serve returns when its context is cancelled, and throws when its task is") {
  weft::run([] {
    http::router r;
    r.get("/", [] { return "x"; });
    {
      http::server server(r);
      std::string const at = server.listen("127.0.0.1:0")->to_string();
      auto [ctx, cancel] = weft::with_cancel();
      auto serving = weft::spawn([&, until = ctx] { server.serve(until); });
      wire w(at);
      CHECK(status_of(w.send(get("/")).response()) == 200);
      cancel();
      serving.join();
      CHECK(w.rest().empty());
    }
    {
      http::server server(r);
      std::string const at = server.listen("127.0.0.1:0")->to_string();
      bool thrown = false;
      auto serving = weft::spawn([&] {
        try {
          server.serve();
        } catch (weft::cancelled const&) {
          thrown = true;
        }
      });
      wire w(at);
      CHECK(status_of(w.send(get("/")).response()) == 200);
      serving.cancel();
      serving.join();
      CHECK(thrown);
    }
  });
}

TEST_CASE("misuse and bad addresses are reported") {
  weft::run([] {
    http::server server((http::router()));
    CHECK_THROWS_AS(server.serve(), std::logic_error);
    CHECK_FALSE(server.listen("nonsense"));
    auto const at = server.listen("127.0.0.1:0");
    REQUIRE(at);
    http::server other((http::router()));
    auto const taken = other.listen(at->to_string());
    REQUIRE_FALSE(taken);
    CHECK(taken.error() == std::errc::address_in_use);
    server.shutdown(0s);
    server.serve();  // over before it began
  });
}

TEST_CASE("a connection that stands still is closed: idle in silence, within a request with 408") {
  http::server_options o;
  o.header_timeout = 60ms;
  o.idle_timeout = 120ms;
  auto const routes = [] {
    http::router r;
    r.get("/", [] { return "x"; });
    r.post("/", [](http::request& q) { return q.body(); });
    r.get("/slow", [] {
      weft::sleep_for(300ms);  // a handler may take longer than both
      return "slow";
    });
    return r;
  };
  with_server(routes, o, [](std::string const& at, auto&) {
    // Each has sent what it sends long before it would be idle for too long.
    wire half(at);
    half.send("GET / HT");
    wire body(at);
    body.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab");
    wire slow(at);
    slow.send(get("/slow"));
    wire used(at);
    CHECK(status_of(used.send(get("/")).response()) == 200);
    wire silent(at);
    CHECK(silent.rest().empty());
    CHECK(used.rest().empty());
    CHECK(status_of(half.rest()) == 408);
    CHECK(status_of(body.rest()) == 408);
    CHECK(body_of(slow.response()) == "slow");
  });
}

TEST_CASE(
    "a request that came in time is answered although the machine then stood still for longer than the time-out") {
  weft::options o;
  o.workers = 1;
  o.hog_after = o.blocked_after = std::chrono::hours(1);
  weft::run(o, [] {
    http::router r;
    r.get("/x", [] { return std::string("in time"); });
    http::server server(r, {.idle_timeout = 3s});
    std::string const at = server.listen("127.0.0.1:0")->to_string();
    auto serving = weft::spawn([&] { server.serve(); });
    wire w(at);
    CHECK(body_of(w.send(get("/x")).response()) == "in time");
    weft::sleep_for(800ms);  // two sweeps, so that the connection has been seen idle
    std::string const request = get("/x");
    REQUIRE(::send(w.stream().native_handle(), request.data(), request.size(), 0) >
            0);  // without a look at the network
    (void)::poll(nullptr, 0, 3500);
    weft::sleep_for(600ms);  // longer than until the next sweep
    CHECK(body_of(w.response()) == "in time");
    server.shutdown(1s);
    serving.join();
  });
}

TEST_CASE("a client that reads slowly gets its response as long as it gets on, and one that reads nothing is let go") {
  http::server_options o;
  o.idle_timeout = 3s;
  std::string const body(200'000, 'b');
  auto const routes = [&] {
    http::router r;
    r.get("/", [&] { return body; });
    return r;
  };
  with_server_on_the_machine(routes, o, [&](std::string const& at, auto&) {
    int const small = 64 * 1024;
    wire slow(at), still(at);
    std::string requests;
    for (int i = 0; i < 30; ++i) requests += get("/");
    for (wire* w : {&slow, &still}) {
      REQUIRE(::setsockopt(w->stream().native_handle(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
      w->send(requests);
    }
    std::size_t got = 0;
    std::vector<char> some(48 * 1024);
    for (int i = 0; i < 8;
         ++i, got += some.size()) {  // the server writes 256 KB at a time: each takes longer than the time-out
      REQUIRE(slow.stream().read_exact(some));
      weft::sleep_for(660ms);
    }
    for (;;) {
      auto const n = got > 30 * body.size() ? 0 : slow.stream().read_some(some);
      if (n.value_or(0) == 0) break;
      got += *n;
    }
    CHECK(got > 30 * body.size());  // and the headers
    CHECK(still.rest().size() < 30 * body.size());
  });
}

TEST_CASE("a request that takes too long is cancelled and answered with 503") {
  http::server_options o;
  o.request_timeout = 20ms;
  auto const routes = [] {
    http::router r;
    r.get("/never", []() -> http::response {
      weft::chan<int>().recv();
      return 200;
    });
    r.get("/quick", [] { return "quick"; });
    return r;
  };
  with_server(routes, o, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(status_of(w.send(get("/never")).response()) == 503);
    CHECK(body_of(w.send(get("/quick")).response()) == "quick");
  });
}

TEST_CASE("a connection that has been idle for a while, and has given back its stack, serves on") {
  http::server_options o;
  o.idle_timeout = 2s;
  auto const routes = [] {
    http::router r;
    r.get("/", [] { return "x"; });
    return r;
  };
  with_server(routes, o, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(status_of(w.send(get("/")).response()) == 200);
    weft::sleep_for(1s);  // the stack is given back after half a second, at one of the sweeps that come every quarter
    CHECK(status_of(w.send(get("/")).response()) == 200);
  });
}
