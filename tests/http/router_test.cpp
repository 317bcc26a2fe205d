// Patterns, precedence, methods, groups and middleware, without a server.
#include "runtime/http/route_table.hpp"
#include "runtime/http/state.hpp"

#include "weft/detail/sanitizer.hpp"
#include "weft/http/json.hpp"
#include "weft/http/router.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace http = weft::http;
namespace rt = weft::rt;

namespace {

struct answer {
  int status;
  std::string body;
  std::string allow;
};

answer ask(http::router const& r, std::string_view method, std::string_view target) {
  auto const& table = rt::http_access::table(r);
  table->freeze();
  http::request q(method, "http://h" + std::string(target));
  http::response const a = table->find(rt::http_access::state(q)).handler(q);
  return {a.status(), a.body(), std::string(a.header("Allow").value_or(""))};
}

auto says(std::string text) {
  return [text] { return text; };
}
auto says_param(std::string name) {
  return [name](http::request& q) { return std::string(q.param(name)); };
}

}  // namespace

TEST_CASE("a literal segment wins over a parameter, and that over the rest") {
  http::router r;
  r.get("/", says("root"));
  r.get("/a/{x}", says_param("x"));
  r.get("/a/b", says("b"));
  r.get("/a/{rest...}", says_param("rest"));
  r.get("/{x}/{y...}", [](http::request& q) { return std::string(q.param("x")) + "+" + std::string(q.param("y")); });
  CHECK(ask(r, "GET", "/").body == "root");
  CHECK(ask(r, "GET", "").body == "root");
  CHECK(ask(r, "GET", "/a/b").body == "b");
  CHECK(ask(r, "GET", "/a/c").body == "c");
  CHECK(ask(r, "GET", "/a/c/d").body == "c/d");
  CHECK(ask(r, "GET", "/a/").body == "");
  CHECK(ask(r, "GET", "/a/b/").body == "b/");
  CHECK(ask(r, "GET", "/a/y/z").body == "y/z");
  CHECK(ask(r, "GET", "/q/y/z").body == "q+y/z");
  CHECK(ask(r, "GET", "/q/").body == "q+");
  CHECK(ask(r, "GET", "/a").status == 404);
  CHECK(ask(r, "GET", "//z").status == 404);  // a parameter is not empty
  CHECK(ask(r, "GET", "//").status == 404);
  http::router ends_in_text;
  ends_in_text.get("/{x}/{y}/z",
                   [](http::request& q) { return std::string(q.param("x")) + "+" + std::string(q.param("y")); });
  CHECK(ask(ends_in_text, "GET", "/q/y/z").body == "q+y");
  CHECK(ask(ends_in_text, "GET", "/q//z").status == 404);
}

TEST_CASE("parameters are decoded, and an escaped slash does not separate segments") {
  http::router r;
  r.get("/hello/{name}", says_param("name"));
  r.get("/caf\xc3\xa9/x", says("text"));
  r.get("/f/{path...}", says_param("path"));
  CHECK(ask(r, "GET", "/hello/a%20b%2Fc").body == "a b/c");
  CHECK(ask(r, "GET", "/hello/%C3%A9+").body == "\xc3\xa9+");
  CHECK(ask(r, "GET", "/he%6Clo/x").body == "x");
  CHECK(ask(r, "GET", "/caf%c3%a9/x").body == "text");
  CHECK(ask(r, "GET", "/f/a%20b/c").body == "a b/c");
  CHECK(ask(r, "GET", "/hello/a?b=c").body == "a");
}

TEST_CASE("a path under another method gives 405 with Allow, an unknown one 404") {
  http::router r;
  r.get("/x", says("get"));
  r.post("/x", says("post"));
  r.handle("DELETE", "/{any}", says("delete"));
  r.handle("*", "/any", says("any"));
  CHECK(ask(r, "POST", "/x").body == "post");
  CHECK(ask(r, "HEAD", "/x").body == "get");
  CHECK(ask(r, "DELETE", "/x").body == "delete");
  CHECK(ask(r, "BREW", "/any").body == "any");
  answer const a = ask(r, "PUT", "/x");
  CHECK(a.status == 405);
  CHECK(a.allow == "GET, HEAD, POST, DELETE, OPTIONS");
  CHECK(ask(r, "GET", "/y").status == 405);
  CHECK(ask(r, "GET", "/y/z").status == 404);
}

TEST_CASE("OPTIONS is answered with what a path has, unless it has a handler of its own") {
  http::router r;
  r.get("/x", says("get"));
  r.post("/x", says("post"));
  r.handle("OPTIONS", "/own", says("own"));
  r.handle("*", "/any", says("any"));
  answer const a = ask(r, "OPTIONS", "/x");
  CHECK(a.status == 204);
  CHECK(a.allow == "GET, HEAD, POST, OPTIONS");
  CHECK(ask(r, "OPTIONS", "/own").body == "own");
  CHECK(ask(r, "PUT", "/own").allow == "OPTIONS");
  CHECK(ask(r, "OPTIONS", "/any").body == "any");
  CHECK(ask(r, "OPTIONS", "/none").status == 404);
}

TEST_CASE("HEAD has its own route if one is given") {
  http::router r;
  r.get("/x", says("get"));
  r.handle("HEAD", "/x", [] { return http::response(204); });
  CHECK(ask(r, "HEAD", "/x").status == 204);
}

TEST_CASE("HEAD is answered as GET is, and not by what answers every other method, in either order") {
  http::router r;
  r.handle("*", "/any_first", says("any"));
  r.get("/any_first", says("get"));
  r.get("/get_first", says("get"));
  r.handle("*", "/get_first", says("any"));
  for (char const* path : {"/any_first", "/get_first"}) {
    CAPTURE(path);
    CHECK(ask(r, "GET", path).body == "get");
    CHECK(ask(r, "HEAD", path).body == "get");
    CHECK(ask(r, "POST", path).body == "any");
  }
}

TEST_CASE("two routes for the same requests are refused when the second is registered") {
  http::router r;
  r.get("/a/{x}", says(""));
  r.post("/a/{y}", says(""));
  r.get("/a/{x}/b", says(""));
  CHECK_THROWS_AS(r.get("/a/{y}", says("")), std::invalid_argument);
  CHECK_THROWS_WITH(r.get("/a/{y}", says("")),
                    "weft::http::router: GET /a/{y} answers the same requests as GET /a/{x}");
  CHECK_THROWS_AS(r.group("/a").get("/{z}", says("")), std::invalid_argument);
}

TEST_CASE("two patterns with paths in common of which neither is more specific are refused") {
  struct pair {
    char const *method, *pattern, *other_method, *other;
    bool refused;
  };
  for (auto const& [method, pattern, other_method, other, refused] :
       std::vector<pair>{{"GET", "/a/{x}", "GET", "/{y}/b", true},
                         {"GET", "/{x}/{y}/z", "GET", "/a/{rest...}", true},
                         {"GET", "/a/{x...}", "GET", "/{y}/b", true},
                         {"*", "/a/{x}", "GET", "/{y}/b", true},
                         {"HEAD", "/a/{x}", "GET", "/{y}/b", true},
                         {"GET", "/a/{x}", "POST", "/{y}/b", false},
                         {"GET", "/a/{x}", "GET", "/{y}/b/c", false},
                         {"GET", "/a/{x}", "GET", "/{y}/", false},  // a parameter is not empty
                         {"GET", "/a/{x}", "GET", "/{y}/{z}", false},
                         {"GET", "/a/b", "GET", "/{y}/{z...}", false},
                         {"GET", "/{x...}", "GET", "/{y}", false},
                         {"GET", "/a", "GET", "/a/{x...}", false},
                         {"*", "/a/b", "GET", "/a/{x}", false}}) {
    CAPTURE(pattern, other);
    for (bool const swapped : {false, true}) {
      http::router r;
      r.handle(swapped ? other_method : method, swapped ? other : pattern, says(""));
      auto const second = [&] { r.handle(swapped ? method : other_method, swapped ? pattern : other, says("")); };
      if (refused) CHECK_THROWS_AS(second(), std::invalid_argument);
      else CHECK_NOTHROW(second());
    }
  }
  http::router r;
  r.get("/users/{id}/posts", says(""));
  CHECK_THROWS_WITH(r.group("/users").get("/me/{what}", says("")),
                    "weft::http::router: GET /users/me/{what} and GET /users/{id}/posts match some of the same paths, "
                    "and neither is more specific");
}

TEST_CASE("patterns are refused as two by two, however many there are") {
  // Of three segments, the last of which may be the rest: by the definition, over all paths of these texts.
  std::vector<std::string> const texts{"a", "b", "c"}, segments{"a", "b", "{x}"};
  std::vector<std::string> patterns;
  for (auto const& first : segments) {
    patterns.push_back("/" + first);
    patterns.push_back("/" + first + "/{r...}");
    for (auto const& second : {"a", "b", "{y}"}) {
      patterns.push_back("/" + first + "/" + second);
      patterns.push_back("/" + first + "/" + second + "/{r...}");
    }
  }
  patterns.emplace_back("/{r...}");
  std::vector<std::string> paths;
  for (auto const& one : texts) {
    paths.push_back("/" + one);
    for (auto const& two : texts) {
      paths.push_back("/" + one + "/" + two);
      for (auto const& three : texts) paths.push_back("/" + one + "/" + two + "/" + three);
    }
  }
  std::map<std::string, std::set<std::string>> matched;
  for (auto const& pattern : patterns) {
    http::router r;
    r.get(pattern, says(""));
    for (auto const& path : paths)
      if (ask(r, "GET", path).status == 200) matched[pattern].insert(path);
  }
  for (auto const& first : patterns) {
    for (auto const& second : patterns) {
      CAPTURE(first, second);
      auto const &of_first = matched[first], &of_second = matched[second];
      std::vector<std::string> both;
      std::ranges::set_intersection(of_first, of_second, std::back_inserter(both));
      bool const refused =
          first == second || (!both.empty() && both.size() != of_first.size() && both.size() != of_second.size());
      http::router r;
      r.get("/a/a/other", says(""));
      r.get(first, says(""));
      if (refused) CHECK_THROWS_AS(r.get(second, says("")), std::invalid_argument);
      else CHECK_NOTHROW(r.get(second, says("")));
    }
  }
}

TEST_CASE("a router of ten thousand routes is made at once") {
  std::clock_t const begin = std::clock();
  http::router r;
  for (int i = 0; i != 10'000; ++i) r.get("/things" + std::to_string(i) + "/{id}/parts", says(""));
  if (!WEFT_ASAN && !WEFT_TSAN) CHECK(std::clock() - begin < 2 * CLOCKS_PER_SEC);  // it was four seconds
  CHECK_THROWS_AS(r.get("/{any}/1/parts", says("")), std::invalid_argument);
}

TEST_CASE("a malformed pattern is refused") {
  http::router r;
  for (char const* p : {"", "a", "/{", "/}", "/{}", "/a{b}", "/{a}b", "/{a...}/b", "/{...}", "/{a}/{a}", "/{a.b}"}) {
    CAPTURE(p);
    CHECK_THROWS_AS(r.get(p, says("")), std::invalid_argument);
  }
  CHECK_THROWS_AS(r.handle("NOT A METHOD", "/", says("")), std::invalid_argument);
}

TEST_CASE("middleware wraps from the outside in, whenever it was registered") {
  http::router r;
  auto const mark = [](std::string name) {
    return [name](http::handler next) -> http::handler {
      return [name, next](http::request& q) {
        http::response const inner = next(q);
        return http::response(inner.status(), name + "(" + inner.body() + ")");
      };
    };
  };
  r.get("/x", says("x"));
  r.use(mark("1"));
  http::router& api = r.group("/api", mark("3"));
  api.use(mark("4"));
  api.get("/y", says("y"));
  api.group("/v2/").get("/z", says("z"));
  r.use(mark("2"));
  CHECK(ask(r, "GET", "/x").body == "1(2(x))");
  CHECK(ask(r, "GET", "/api/y").body == "1(2(3(4(y))))");
  CHECK(ask(r, "GET", "/api/v2/z").body == "1(2(3(4(z))))");
  CHECK(ask(r, "GET", "/none").body == "1(2(Not Found\n))");
  CHECK_THROWS_AS(r.get("/late", says("")), std::logic_error);
}

TEST_CASE("a handler may return a response, text, a status or nothing, and may be move-only") {
  http::router r;
  r.get("/text", [] { return "text"; });
  r.get("/nothing", [](http::request&) {});
  r.get("/status", [](http::request&) { return 202; });
  r.get("/response", [](http::request const&) { return http::response(201); });
  r.get("/moved", [p = std::make_unique<int>(7)](http::request&) { return http::json({{"n", *p}}); });
  CHECK(ask(r, "GET", "/text").body == "text");
  CHECK(ask(r, "GET", "/nothing").status == 204);
  CHECK(ask(r, "GET", "/status").status == 202);
  CHECK(ask(r, "GET", "/response").status == 201);
  CHECK(ask(r, "GET", "/moved").body == "{\"n\":7}");
}
