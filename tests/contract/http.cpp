// The contract of http, as a program.

#include <weft/http.hpp>
#include <weft/weft.hpp>

#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;
namespace http = weft::http;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

http::response hello(http::request& q) { return http::response(200, "hello " + std::string(q.param("name"))); }

http::handler tag(http::handler next) {
  return [next](http::request& q) {
    http::response r = next(q);
    r.header("X-Tag", "yes");
    return r;
  };
}

http::router routes() {
  http::router r;
  r.use(tag);
  r.use([](http::handler next) -> http::handler { return next; });
  r.get("/hello/{name}", hello);
  r.get("/plain", [] { return "plain"; });
  r.get("/const", [](http::request const& q) { return http::response(200, std::string(q.path())); });
  r.post("/echo", [](http::request& q) { return http::response(201, q.body()).header("X-Method", q.method()); });
  r.handle("*", "/any/{rest...}", [](http::request& q) {
    return http::json(
        {{"rest", q.param("rest")}, {"q", std::string(q.query("q").value_or("-"))}, {"n", 3}, {"d", 0.5}, {"b", true}});
  });
  r.handle("PUT", "/status",
           [](http::request&) { return http::json(202, {{"text", "literal"}, {"view", std::string_view("v")}}); });
  r.get("/error", [](http::request&) -> http::response { throw http::error(418, "teapot"); });
  http::router& api = r.group("/api", tag);
  api.get("/header",
          [](http::request& q) { return http::response(200, std::string(q.header("X-In").value_or("none"))); });
  http::router& open = r.group("/open");
  open.get("/x", [](http::request&) { return http::response(204); });
  return r;
}

}  // namespace

int main() {
  weft::run([] {
    http::server_options options{.header_timeout = 1s,
                                 .idle_timeout = 5s,
                                 .request_timeout = 5s,
                                 .max_header_bytes = 16 * 1024,
                                 .max_body_bytes = 1024,
                                 .max_connections = 100};
    http::server s(routes(), options);
    weft::result<weft::net::endpoint> const at = s.listen("127.0.0.1:0");
    require(at.has_value(), "listen");
    auto serving = weft::spawn([&] { s.serve(); });
    std::string const base = "http://" + at->to_string();

    weft::result<http::response> const got = http::get(base + "/hello/world");
    require(got && got->status() == 200 && got->body() == "hello world", "get");
    require(got->header("x-tag") == "yes", "middleware");
    http::client c;
    auto const echoed = c.post(base + "/echo", "body");
    require(echoed && echoed->status() == 201 && echoed->body() == "body" && echoed->header("X-Method") == "POST",
            "post");
    http::request q("GET", base + "/api/header");
    q.header("X-In", "value").header("X-Other", "2");
    require(q.method() == "GET" && q.header("X-In") == "value", "request");
    auto const sent = c.send(q);
    require(sent && sent->body() == "value", "send");
    require(c.send(http::request("PUT", base + "/status", "b"))->status() == 202, "send");
    require(c.get(base + "/any/a/b?q=1")->body().find("a/b") != std::string::npos, "pattern");
    require(c.get(base + "/error")->status() == 418, "error");
    require(c.get(base + "/plain")->body() == "plain", "plain");
    require(c.get(base + "/const")->body() == "/const", "const request");
    require(c.get(base + "/nowhere")->status() == 404 && c.get(base + "/echo")->status() == 405, "not found");
    s.shutdown(1s);
    s.shutdown(std::chrono::milliseconds(1));
    serving.join();

    http::server other{http::router()};
    require(other.listen("127.0.0.1:0").has_value(), "listen");
    auto [ctx, cancel] = weft::with_timeout(10ms);
    other.serve(ctx);
  });
  return 0;
}
