// A server and its clients in one simulated run: sockets in memory, virtual time, and what a network does to both of them.
#include <weft/http.hpp>
#include <weft/sim.hpp>

#include <stdexcept>
#include <string>

#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
namespace http = weft::http;
namespace sim = weft::sim;

namespace {

void must(bool holds, char const* what) {
  if (!holds) throw std::runtime_error(what);
}

/// Runs f(url) beside a server that answers /hello/{name} after a second, and doubles what is posted to /twice.
template <class F>
void beside_a_server(F f) {
  http::router r;
  r.get("/hello/{name}", [](http::request& q) {
    weft::sleep_for(1s);
    return http::response(200, "hello " + std::string(q.param("name")));
  });
  r.post("/twice", [](http::request& q) { return http::response(200, q.body() + q.body()); });
  http::server s(std::move(r));
  auto const at = s.listen("server.example:80").value();
  must(at.to_string() == "10.0.0.1:80", "another address");
  auto serving = weft::spawn([&s] { s.serve(); });
  f("http://server.example");
  s.shutdown(2s);
  serving.join();
}

}  // namespace

TEST_CASE("an HTTP server and its clients run in a simulation, in the same order for the same seed") {
  auto const conversation = [](std::string const& url) {
    auto const begin = weft::now();
    weft::scope([&](weft::task_group& g) {
      for (int i = 0; i < 4; ++i) {
        g.spawn([&, i] {
          auto const got = http::get(url + "/hello/" + std::to_string(i));
          must(got && got->body() == "hello " + std::to_string(i), "another greeting");
        });
      }
      g.spawn([&] {
        std::string const text(50'000, 'x');
        auto const got = http::client().post(url + "/twice", text);
        must(got && got->body() == text + text, "not twice");
      });
    });
    must(weft::now() - begin < 2s, "the handlers have waited for one another");
  };
  sim::result const r = sim::explore(50, [&] { beside_a_server(conversation); });
  INFO(r.choices);
  CHECK(r.what == "");
  std::string traces[2];
  for (std::string& t : traces) sim::run(sim::options{.seed = 7, .trace = &t}, [&] { beside_a_server(conversation); });
  CHECK(traces[0] == traces[1]);
}

TEST_CASE("a client with a time-out outlives every loss of its connection") {
  int answered = 0, failed = 0;
  sim::result const r = sim::explore(200,
                                     [&] {
                                       beside_a_server([&](std::string const& url) {
                                         http::client c({.request_timeout = 5s});
                                         for (int i = 0; i < 5; ++i) {
                                           auto const got = c.get(url + "/hello/you");
                                           must(!got || got->body() == "hello you", "half an answer");
                                           ++(got ? answered : failed);
                                         }
                                       });
                                     },
                                     {.loss_one_in = 30});
  INFO(r.choices);
  CHECK(r.what == "");
  CHECK(answered > failed);
  CHECK(failed > 50);
}

TEST_CASE("the date of a response in a simulation is the virtual clock's, and the same for the same seed") {
  std::string date;
  auto const ask = [&] {
    beside_a_server([&](std::string const& url) {
      weft::sleep_for(24h);
      auto const got = http::get(url + "/hello/you");
      must(got.has_value(), "no response");
      date = got->header("Date").value_or("none");
    });
  };
  sim::run(1, ask);
  CHECK(date == "Fri, 02 Jan 1970 00:16:41 GMT");
}
