// Bodies that a handler, or the callback of its response, will not or cannot take: what the client is told.
#include "tests/http/given_back.hpp"
#include "tests/http/harness.hpp"

#include <utility>

using namespace http_test;

namespace {

http::router routes() {
  http::router r;
  r.post("/some", [](http::request&, http::body_reader& body) { return body.read_all(5).value(); });
  r.post("/whole", [](http::request& q) { return q.reader().read_all(5).value(); });
  r.post("/thrown", [](http::request&, http::body_reader& body) {
    auto const all = body.read_all(5);
    if (!all) throw std::system_error(all.error());
    return *all;
  });
  r.post("/later", [](http::request&, http::body_reader& body) {
    return http::response(200, "text/plain",
                          [body](http::body_writer& w) mutable { w.write(body.read_all(5).value()); });
  });
  r.post("/back", given_back);
  return r;
}

std::string post(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + std::string(body);
}
std::string chunks(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body);
}

}  // namespace

TEST_CASE("a handler that throws since a body is larger than it takes answers with 413, and the connection goes on") {
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    for (char const* path : {"/some", "/whole", "/thrown", "/later"}) {
      CAPTURE(path);
      CHECK(status_of(w.send(post(path, "123456")).response()) == 413);
      CHECK(status_of(w.send(chunks(path, "6\r\nabcdef\r\n0\r\n\r\n")).response()) == 413);
    }
    CHECK(body_of(w.send(post("/some", "12345")).response()) == "12345");
  });
}

TEST_CASE("where the callback of a streamed response cannot read the request the answer is that of a handler") {
  http::server_options o;
  o.max_streamed_bytes = 5;
  with_server(routes, o, [](std::string const& at, auto&) {
    for (auto const& [body, status] : {std::pair("6\r\nabcdef\r\n0\r\n\r\n", 413), {"zz\r\n", 400}}) {
      std::string const r = wire(at).send(chunks("/back", body)).rest();
      CHECK(status_of(r) == status);
      CHECK(has(r, "Connection: close\r\n"));
    }
    std::string const cut = wire(at).send(chunks("/back", "2\r\nab\r\nzz\r\n")).rest();
    CHECK(status_of(cut) == 200);  // it had begun
    CHECK_FALSE(has(cut, "0\r\n\r\n"));
  });
}
