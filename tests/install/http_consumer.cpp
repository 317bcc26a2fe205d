// A router and a JSON answer: needs weft::http and what it is linked with.
#include <weft/http.hpp>

#include <cstdio>
#include <string>
#include <utility>

int main() {
  weft::http::router routes;
  routes.get("/hello", [](weft::http::request&) { return weft::http::json({{"message", "hello"}}); });
  weft::http::server server(std::move(routes));
  std::string const body = weft::http::json({{"message", "hello"}}).body();
  std::printf("%s\n", body.c_str());
  return body == R"({"message":"hello"})" ? 0 : 1;
}
