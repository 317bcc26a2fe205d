// The cancellation points of bodies that are read and written in pieces.
#include "tests/http/harness.hpp"

#include "weft/chan.hpp"
#include "weft/context.hpp"

#include <span>
#include <string>

using namespace http_test;

TEST_CASE("reading and writing bodies throws in a cancelled context even if it could go ahead") {
  auto const seen = weft::make_chan<std::string>(16);
  auto const try_cancelled = [=](char const* name, auto const& f) {
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    weft::scoped_context const in(ctx);
    try {
      f();
      seen.send(name);
    } catch (weft::cancelled const&) {
    }
  };
  auto const read = [=](http::body_reader& body) {
    char some[2];
    try_cancelled("read_some", [&] { (void)body.read_some(std::span(some)); });
    try_cancelled("read_all", [&] { (void)body.read_all(10); });
    return body.read_all(10).value();
  };
  auto const make = [=] {
    http::router r;
    r.post("/comes", [=](http::request&, http::body_reader& body) { return read(body); });
    r.post("/whole", [=](http::request& q) {
      auto body = q.reader();
      return http::response(200, "text/plain", [=, text = read(body)](http::body_writer& w) {
        try_cancelled("write", [&] { w.write("lost"); });
        try_cancelled("flush", [&] { w.flush(); });
        w.write(text);
      });
    });
    return r;
  };
  with_server(make, {}, [&](std::string const& at, auto&) {
    http::client client;
    for (char const* path : {"/comes", "/whole"}) {
      auto const answer = client.post("http://" + at + path, "abc");
      CHECK((answer.has_value() ? answer->body() : answer.error().message()) == "abc");
    }
    CHECK(seen.try_recv().value_or("none") == "none");
  });
}
