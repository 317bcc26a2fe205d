// Requests, responses, JSON and escapes as values.
#include "runtime/http/response_text.hpp"
#include "runtime/http/state.hpp"
#include "runtime/http/workspace.hpp"

#include "weft/http/json.hpp"
#include "weft/http/message.hpp"

#include "tests/support/catch.hpp"

#include <boost/json.hpp>

#include <limits>
#include <string>

namespace http = weft::http;
namespace rt = weft::rt;

TEST_CASE("percent escapes are decoded, and what is none is refused") {
  rt::text_arena arena;
  auto const decoded = [&](std::string_view s, rt::plus_sign plus = rt::plus_sign::itself) {
    return rt::percent_decode(s, arena, plus);
  };
  CHECK(decoded("plain") == "plain");
  CHECK(decoded("%41%6a%6A") == "Ajj");
  CHECK(decoded("a+b") == "a+b");
  CHECK(decoded("a+b%2B", rt::plus_sign::blank) == "a b+");
  CHECK(decoded("%ff") == "\xff");
  for (char const* bad : {"%", "a%4", "%4g", "%%41", "%00"}) CHECK_FALSE(decoded(bad));
}

TEST_CASE("text in an arena stays where it is while more is added") {
  rt::text_arena arena;
  std::vector<std::string_view> all;
  for (int i = 0; i < 5000; ++i) all.push_back(arena.add(std::to_string(i)));
  for (int i = 0; i < 5000; ++i) REQUIRE(all[static_cast<std::size_t>(i)] == std::to_string(i));
  arena.clear();
  CHECK(arena.add("again") == "again");
}

TEST_CASE("query parameters are decoded once, the first of a name counts") {
  http::request q("GET", "http://h/p?a=1&b=%26%3d+x&&c&a=2&=e&bad=%zz&null=%41%00+#frag");
  CHECK(q.path() == "/p");
  CHECK(q.query("a") == "1");
  CHECK(q.query("b") == "&= x");
  CHECK(q.query("c") == "");
  CHECK(q.query("") == "e");
  CHECK(q.query("bad") == "%zz");
  CHECK(q.query("null") == "%41%00+");  // not "A", as C would have it
  CHECK_FALSE(q.query("d"));
}

TEST_CASE("header fields of a request are replaced without regard to case, and views of them stay valid") {
  http::request q("GET", "http://h/");
  q.header("X-One", "1");
  auto const before = q.header("x-one");
  q.header("X-ONE", "2").header("X-Two", std::string(10000, 'y'));
  CHECK(before == "1");
  CHECK(q.header("X-One") == "2");
  http::request const copy = q;
  q.header("X-One", "3");
  CHECK(copy.header("x-one") == "2");
  CHECK(copy.path() == "/");
}

TEST_CASE("what would break out of a header is refused") {
  http::request q("GET", "http://h/");
  CHECK_THROWS_AS(q.header("X", "a\r\nY: b"), std::invalid_argument);
  CHECK_THROWS_AS(q.header("X\n", "a"), std::invalid_argument);
  http::response r(200);
  CHECK_THROWS_AS(r.header("X", "a\nb"), std::invalid_argument);
  CHECK_THROWS_AS(r.header("", "a"), std::invalid_argument);
  CHECK_THROWS_AS(r.header("Content-Length", "1"), std::invalid_argument);
  CHECK_THROWS_AS(r.header("transfer-encoding", "chunked"), std::invalid_argument);
  CHECK_THROWS_AS(http::response(99), std::invalid_argument);
  CHECK_THROWS_AS(http::request("NO METHOD", "http://h/"), std::invalid_argument);
}

TEST_CASE("response fields are set, added, replaced and found without regard to case") {
  http::response r =
      http::response(200, "x").header("X-A", "1").add_header("Set-Cookie", "a=1").add_header("Set-Cookie", "b=2");
  CHECK(r.header("x-a") == "1");
  r.header("X-a", "2").header("Content-Type", "text/html").header("content-type", "text/css");
  CHECK(r.header("X-A") == "2");
  CHECK(r.header("Content-Type") == "text/css");
  CHECK(r.header("set-cookie") == "a=1");
  CHECK_FALSE(r.header("X"));
  std::string out;
  rt::append_header(out, r, {}, "D");
  CHECK(out ==
        "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Length: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-a: "
        "2\r\ncontent-type: text/css\r\n\r\n");
}

TEST_CASE("of Connection a handler may say close and upgrade, and the server the rest") {
  auto const lines = [](std::string_view value, rt::response_frame f) {
    std::string out;
    rt::append_header(out, http::response(426).header("Connection", "x").header("Connection", value), f, "D");
    return out.substr(out.find("Length: 0\r\n") + 11);
  };
  CHECK(lines("Upgrade", {}) == "Connection: Upgrade\r\n\r\n");
  CHECK(lines("close, upgrade", {.keep_alive = false}) == "Connection: close\r\nConnection: Upgrade\r\n\r\n");
  CHECK(lines("close", {.keep_alive = false}) == "Connection: close\r\n\r\n");
  CHECK(lines("X-A, keep-alive", {}) == "\r\n");
}

TEST_CASE("a response field can be added from a view of another") {
  http::response r(200);
  r.header("Link", std::string(50, 'a'));
  for (int i = 0; i != 20; ++i) r.add_header("X-" + std::to_string(i), *r.header("Link"));
  for (int i = 0; i != 20; ++i) CHECK(r.header("X-" + std::to_string(i)) == std::string(50, 'a'));
}

TEST_CASE("the header says how the body goes out and whether the connection stays") {
  auto const text = [](http::response const& r, rt::response_frame f) {
    std::string out;
    rt::append_header(out, r, f, "D");
    return out;
  };
  CHECK(text(http::response(204), {}) == "HTTP/1.1 204 No Content\r\nDate: D\r\n\r\n");
  CHECK(text(http::response(205, "never sent"), {}) ==
        "HTTP/1.1 205 Reset Content\r\nDate: D\r\nContent-Length: 0\r\n\r\n");
  CHECK(text(http::response(299, ""), {.keep_alive = false}) ==
        "HTTP/1.1 299 \r\nDate: D\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  CHECK(text(http::response(200, "ab"), {.http11 = false}) ==
        "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\nConnection: "
        "keep-alive\r\n\r\n");
  http::response const streamed(200, "text/csv", [](http::body_writer&) {});
  CHECK(text(streamed, {}) ==
        "HTTP/1.1 200 OK\r\nDate: D\r\nTransfer-Encoding: chunked\r\nContent-Type: text/csv\r\n\r\n");
  CHECK(text(streamed, {.http11 = false}) ==
        "HTTP/1.1 200 OK\r\nDate: D\r\nConnection: close\r\nContent-Type: text/csv\r\n\r\n");
}

TEST_CASE("json writes each kind of value and escapes what must be") {
  CHECK(http::json({}).body() == "{}");
  http::response const r = http::json(201, {{"s", "a\"b\\\n\t\x01/"},
                                            {"i", -17},
                                            {"u", std::numeric_limits<std::uint64_t>::max()},
                                            {"d", 0.5},
                                            {"inf", std::numeric_limits<double>::infinity()},
                                            {"b", true},
                                            {"n", nullptr},
                                            {"\xc3\xa9", std::string("\xe2\x82\xac \xf0\x9f\x99\x82")}});
  CHECK(r.status() == 201);
  CHECK(r.header("Content-Type") == "application/json");
  CHECK(r.body() ==
        "{\"s\":\"a\\\"b\\\\\\n\\t\\u0001/"
        "\",\"i\":-17,\"u\":18446744073709551615,\"d\":0.5,\"inf\":null,\"b\":true,\"n\":null,"
        "\"\xc3\xa9\":\"\xe2\x82\xac \xf0\x9f\x99\x82\"}");
}

TEST_CASE("json finds what must be escaped wherever it stands, and nothing else") {
  for (int byte = 1; byte < 0x80; ++byte) {
    for (std::size_t length : {1u, 7u, 8u, 9u, 16u, 19u}) {
      for (std::size_t at = 0; at < length; ++at) {
        std::string text(length, 'x'), written = "{\"t\":";
        text[at] = static_cast<char>(byte);
        http::append_json_string(written, text);
        REQUIRE(http::json({{"t", text}}).body() == written + "}");
      }
    }
  }
}

TEST_CASE("json takes documents of a JSON library as they are") {
  boost::json::value const list{1, "two", nullptr};
  boost::json::object const object{{"x", 0.5}};
  CHECK(http::json({{"list", list}, {"object", object}, {"text", boost::json::string("a\"b")}}).body() ==
        R"({"list":[1,"two",null],"object":{"x":5E-1},"text":"a\"b"})");
}

TEST_CASE("json replaces what is not UTF-8") {
  for (char const* bad : {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xe2\x82", "\xf4\x90\x80\x80"}) {
    std::string out;
    http::append_json_string(out, std::string(bad) + "x");
    CAPTURE(out);
    CHECK(out.find("\xef\xbf\xbd") == 1);
    CHECK(out.ends_with("x\""));
  }
}

TEST_CASE("the date is an IMF-fixdate") {
  rt::http_workspace w;
  std::string const date(w.date());
  REQUIRE(date.size() == 29);
  CHECK(date.substr(3, 2) == ", ");
  CHECK(date.substr(16, 1) == " ");
  CHECK(date.ends_with(" GMT"));
  CHECK(w.date() == date.substr(0, 29));
}

TEST_CASE("a workspace that is given back keeps nothing large of its request") {
  rt::http_workspace w;
  rt::request_state& q = rt::http_access::state(w.request);
  q.body.assign(1'000'000, 'x');
  q.trailers.resize(10'000);
  w.out.assign(1'000'000, 'x');
  w.reset();
  CHECK(w.out.capacity() <= 128 * 1024);
  CHECK(q.body.capacity() <= 64 * 1024);
  CHECK(q.trailers.capacity() <= 1000);
}
