// Files as responses: what is served, what is not, parts and conditions.
#include "runtime/http/file_request.hpp"
#include "runtime/http/http_date.hpp"

#include "tests/http/harness.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace http_test;
namespace fs = std::filesystem;
namespace rt = weft::rt;

namespace {

/// A folder of this test's own, with a secret beside the root.
struct tree {
  tree() {
    std::string name = (fs::temp_directory_path() / "weft_files_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    base = name;
    fs::create_directories(base / "root/sub/.git");
    write("secret.txt", "secret");
    write("root/hello.txt", "hello world");
    write("root/index.html", "<p>root");
    write("root/empty", "");
    write("root/a b%.txt", "odd name");
    write("root/.hidden", "secret");
    write("root/sub/index.html", "<p>sub");
    write("root/sub/page.HTML", "<p>page");
    write("root/sub/.git/config", "secret");
    write("root/big.bin", std::string(3'000'000, 'b'));
    fs::create_symlink("../secret.txt", base / "root/link.txt");
    fs::create_symlink("hello.txt", base / "root/inner.txt");
    fs::create_directory_symlink("..", base / "root/up");
    REQUIRE(::mkfifo((base / "root/pipe").c_str(), 0600) == 0);
    fs::create_directory_symlink("root", base / "root_link");
  }
  ~tree() { fs::remove_all(base); }
  tree(tree const&) = delete;
  tree& operator=(tree const&) = delete;
  void write(std::string const& name, std::string const& text) const { std::ofstream(base / name) << text; }
  fs::path base;
};

std::string field_of(std::string_view response, std::string const& name) {
  auto const at = response.find("\r\n" + name + ": ");
  if (at == response.npos) return "";
  auto const from = at + name.size() + 4;
  return std::string(response.substr(from, response.find("\r\n", from) - from));
}

}  // namespace

TEST_CASE("files below the root are served, and nothing else") {
  tree const t;
  for (char const* root : {"root", "root_link"}) {
    auto const routes = [&] {
      http::router r;
      r.get("/f/{path...}", http::files((t.base / root).string()));
      return r;
    };
    with_server(routes, {}, [](std::string const& at, auto&) {
      wire w(at);
      std::string const hello = w.send(get("/f/hello.txt")).response();
      CHECK(status_of(hello) == 200);
      CHECK(body_of(hello) == "hello world");
      CHECK(field_of(hello, "Content-Type") == "text/plain; charset=utf-8");
      CHECK(field_of(hello, "Accept-Ranges") == "bytes");
      CHECK(body_of(w.send(get("/f/a%20b%25.txt")).response()) == "odd name");
      CHECK(body_of(w.send(get("/f/empty")).response()) == "");
      CHECK(body_of(w.send(get("/f/")).response()) == "<p>root");
      CHECK(body_of(w.send(get("/f/sub/")).response()) == "<p>sub");
      std::string const page = w.send(get("/f/sub/page.HTML")).response();
      CHECK(field_of(page, "Content-Type") == "text/html; charset=utf-8");
      CHECK(body_of(w.send(get("/f/big.bin")).response()) == std::string(3'000'000, 'b'));
      std::string const head = w.send("HEAD /f/big.bin HTTP/1.1\r\nHost: t\r\n\r\n").response(false);
      CHECK(field_of(head, "Content-Length") == "3000000");
      std::string const folder = w.send(get("/f/sub?x=1")).response();
      CHECK(status_of(folder) == 308);
      CHECK(field_of(folder, "Location") == "/f/sub/?x=1");
      for (char const* none :
           {"/f/none", "/f/.hidden", "/f/sub/.git/config", "/f/link.txt", "/f/inner.txt", "/f/up/", "/f/up/secret.txt",
            "/f/up/root/hello.txt", "/f/pipe", "/f/hello.txt/", "/f//hello.txt", "/f/sub//index.html", "/f/big.bin/x",
            "/f/%2fetc/passwd", "/f//etc/passwd", "/f/...", "/f/sub/.."}) {
        CAPTURE(none);
        std::string const r = w.send(get(none)).response();
        CHECK((status_of(r) == 404 || status_of(r) == 400));
        CHECK_FALSE(has(r, "secret"));
        if (status_of(r) == 400) w = wire(at);  // ".." has closed it
      }
      CHECK(body_of(w.send(get("/f/hello.txt")).response()) == "hello world");
    });
  }
  CHECK_THROWS_AS(http::files((t.base / "none").string()), std::system_error);
}

TEST_CASE("an escaped slash is part of a name, and leads round no route") {
  tree const t;
  t.write("root/sub/a b.txt", "secret");
  auto const routes = [&] {
    http::router r;
    auto const serve = http::files((t.base / "root").string());
    r.get("/f/{path...}", serve);
    r.get("/of/{what}/{path...}", serve);
    r.get("/name/{path}", serve);
    r.group("/f/sub", [](http::handler) -> http::handler {
       return [](http::request&) { return http::response(401); };
     }).get("/{path...}", serve);
    return r;
  };
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(status_of(w.send(get("/f/sub/a%20b.txt")).response()) == 401);
    for (char const* none :
         {"/f/sub%2Fa%20b.txt", "/f/sub%2fa%20b.txt", "/f/sub%2F", "/of/x/sub%2Fa%20b.txt", "/name/sub%2Fa%20b.txt"}) {
      CAPTURE(none);
      std::string const r = w.send(get(none)).response();
      CHECK(status_of(r) == 404);
      CHECK_FALSE(has(r, "secret"));
    }
    CHECK(body_of(w.send(get("/of/x%2Fy/sub/a%20b.txt")).response()) == "secret");  // which is another parameter's
    CHECK(body_of(w.send(get("/f/hello%2Etxt")).response()) == "hello world");
    CHECK(status_of(w.send(get("/f/a%252Fb")).response()) == 404);
  });
}

TEST_CASE("a pipe below the root is not opened: who waits to write to it would find a reader, and lose it") {
  tree const t;
  auto const routes = [&] {
    http::router r;
    r.get("/f/{path...}", http::files((t.base / "root").string()));
    return r;
  };
  with_server_on_the_machine(routes, {}, [&](std::string const& at, auto&) {
    // An open by the server would be an event of this.
    int const watch = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    REQUIRE(::inotify_add_watch(watch, (t.base / "root").c_str(), IN_OPEN | IN_CLOSE) >= 0);
    CHECK(status_of(wire(at).send(get("/f/pipe")).response()) == 404);
    char events[1024];
    CHECK(::read(watch, events, sizeof events) < 0);
    ::close(watch);
  });
}

TEST_CASE("a part of a file, and a file only if it has changed") {
  tree const t;
  fs::last_write_time(t.base / "root/hello.txt", fs::file_time_type::clock::now() - 1h);  // long settled
  auto const routes = [&] {
    http::router r;
    r.get("/{path...}", http::files((t.base / "root").string(), {.cache_control = "max-age=60"}));
    return r;
  };
  with_server(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    auto const ask = [&](std::string const& fields) { return w.send(get("/hello.txt", fields)).response(); };
    std::string const whole = ask("");
    std::string const tag = field_of(whole, "ETag"), date = field_of(whole, "Last-Modified");
    REQUIRE(rt::read_http_date(date));
    CHECK(field_of(whole, "Cache-Control") == "max-age=60");
    struct part {
      char const *range, *body, *content_range;
      int status;
    };
    for (auto const& [range, body, content_range, status] :
         std::vector<part>{{"bytes=0-4", "hello", "bytes 0-4/11", 206},
                           {"bytes=6-", "world", "bytes 6-10/11", 206},
                           {"bytes=6-99", "world", "bytes 6-10/11", 206},
                           {"bytes=-5", "world", "bytes 6-10/11", 206},
                           {"bytes=-99", "hello world", "bytes 0-10/11", 206},
                           {"bytes=11-", "", "bytes */11", 416},
                           {"bytes=-0", "", "bytes */11", 416},
                           {"bytes=4-3", "hello world", "", 200},
                           {"bytes=0-1,3-4", "hello world", "", 200},
                           {"bytes=x-", "hello world", "", 200},
                           {"bytes=-", "hello world", "", 200},
                           {"bytes=18446744073709551616-", "hello world", "", 200},
                           {"lines=0-1", "hello world", "", 200}}) {
      CAPTURE(range);
      std::string const r = ask("Range: " + std::string(range) + "\r\n");
      CHECK(status_of(r) == status);
      CHECK(body_of(r) == body);
      CHECK(field_of(r, "Content-Range") == content_range);
    }
    CHECK(status_of(ask("Range: bytes=0-4\r\nIf-Range: " + tag + "\r\n")) == 206);
    CHECK(status_of(ask("Range: bytes=0-4\r\nIf-Range: " + date + "\r\n")) == 206);
    CHECK(status_of(ask("Range: bytes=0-4\r\nIf-Range: \"other\"\r\n")) == 200);
    CHECK(status_of(ask("Range: bytes=0-4\r\nIf-Range: W/" + tag + "\r\n")) == 200);
    std::string const same = w.send(get("/hello.txt", "If-None-Match: \"x\", W/" + tag + "\r\n")).response(false);
    CHECK(status_of(same) == 304);
    CHECK(field_of(same, "ETag") == tag);
    CHECK(status_of(ask("If-None-Match: *\r\n")) == 304);
    CHECK(status_of(ask("If-Modified-Since: " + date + "\r\n")) == 304);
    CHECK(status_of(ask("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")) == 200);
    CHECK(status_of(ask("If-Modified-Since: yesterday\r\n")) == 200);
    CHECK(status_of(ask("If-None-Match: \"x\"\r\nIf-Modified-Since: " + date + "\r\n")) == 200);
    std::string const old = "Sun, 06 Nov 1994 08:49:37 GMT\r\n";  // two dates are none
    CHECK(status_of(ask("If-Modified-Since: " + date + "\r\nIf-Modified-Since: " + old)) == 200);
    CHECK(status_of(ask("If-Unmodified-Since: " + old + "If-Unmodified-Since: " + date + "\r\n")) == 200);
    CHECK(status_of(ask("If-None-Match: \"x,*,y\"\r\n")) == 200);  // one tag
    CHECK(status_of(ask("If-Match: \"x,*,y\"\r\n")) == 412);
    CHECK(status_of(ask("If-Match: \"x\", " + tag + "\r\n")) == 200);
    CHECK(status_of(ask("If-Match: *\r\n")) == 200);
    CHECK(status_of(ask("If-Match: \"x\"\r\n")) == 412);
    CHECK(status_of(ask("If-Match: W/" + tag + "\r\n")) == 412);  // compared strongly
    CHECK(status_of(ask("If-Unmodified-Since: " + date + "\r\n")) == 200);
    CHECK(status_of(ask("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")) == 412);
    CHECK(status_of(ask("If-Unmodified-Since: yesterday\r\n")) == 200);
    CHECK(status_of(ask("If-Match: " + tag + "\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")) == 200);
    CHECK(status_of(ask("If-Match: " + tag + "\r\nIf-None-Match: " + tag + "\r\n")) == 304);
    CHECK(status_of(ask("If-Match: \"x\"\r\nRange: bytes=0-4\r\n")) == 412);
  });
}

TEST_CASE("a client that goes away in the middle of a file harms nobody") {
  tree const t;
  auto const routes = [&] {
    http::router r;
    r.get("/{path...}", http::files((t.base / "root").string()));
    return r;
  };
  with_server(routes, {}, [&](std::string const& at, auto&) {
    for (int i = 0; i < 20; ++i) {
      wire w(at);
      w.send(get("/big.bin") + get("/big.bin") + get("/big.bin"));
      char some[100];
      REQUIRE(w.stream().read_some(some));
      w.stream().close();
    }
    CHECK(body_of(wire(at).send(get("/hello.txt")).response()) == "hello world");
  });
}

TEST_CASE("a file that shrinks while it is sent cuts the connection") {
  tree const t;
  auto const routes = [&] {
    http::router r;
    r.get("/{path...}", http::files((t.base / "root").string()));
    return r;
  };
  with_server(routes, {}, [&](std::string const& at, auto&) {
    std::uintmax_t const size = 64 << 20;  // more than the kernel buffers
    fs::resize_file(t.base / "root/big.bin", size);
    wire w(at);
    std::string const head = w.send(get("/big.bin")).until("\r\n\r\n");
    CHECK(field_of(head, "Content-Length") == std::to_string(size));
    fs::resize_file(t.base / "root/big.bin", 0);
    CHECK(w.rest().size() < size);
  });
}

TEST_CASE("dates are written as HTTP has them, and nothing else is read") {
  for (std::int64_t second : {0LL, 784111777LL, 951827696LL, 4102444799LL}) {
    char text[rt::http_date_size];
    rt::write_http_date(text, second);
    CHECK(rt::read_http_date({text, sizeof text}) == second);
  }
  CHECK(rt::read_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);
  CHECK(rt::read_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == 784111777);
  CHECK(rt::read_http_date("Sun Nov  6 08:49:37 1994") == 784111777);
  CHECK(rt::read_http_date("Sun Nov 13 08:49:37 1994") == 784111777 + 7 * 86400);
  CHECK(rt::read_http_date("Thursday, 01-Jan-26 00:00:00 GMT") == 1767225600);
  for (char const* bad :
       {"", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06-Nov-94 08:49:37 GMT",
        "Monday, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 UTC",
        "Sun Nov 06 08:49:37 1994", "Mon Nov  6 08:49:37 1994", "Sun Nov  6 08-49-37 1994",
        "Sundays, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08-49-37 GMT", "Sun, 06 ovD 1994 08:49:37 GMT"}) {
    CAPTURE(bad);
    CHECK_FALSE(rt::read_http_date(bad));
  }
}

TEST_CASE("a file that cannot be opened for want of descriptors is not said to be absent") {
  tree const t;
  auto const routes = [&] {
    http::router r;
    r.get("/{path...}", http::files((t.base / "root").string()));
    return r;
  };
  with_server_on_the_machine(routes, {}, [](std::string const& at, auto&) {
    wire w(at);
    CHECK(status_of(w.send(get("/hello.txt")).response()) == 200);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit few = before;
    // Below it none is free, and none comes back: what the server and the reports still close stands above.
    few.rlim_cur = STDERR_FILENO + 1;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    std::vector<int> taken;
    for (int fd = ::open("/dev/null", O_RDONLY); fd >= 0; fd = ::dup(fd)) taken.push_back(fd);
    std::string const file = w.send(get("/hello.txt")).response(), deeper = w.send(get("/sub/page.HTML")).response();
    for (int const fd : taken) ::close(fd);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(status_of(file) == 503);
    CHECK(status_of(deeper) == 503);
    CHECK(status_of(w.send(get("/hello.txt")).response()) == 200);
  });
}

TEST_CASE("times of files that no date can say, and conditions in several lines") {
  tree const t;
  auto const set_time = [&](std::int64_t seconds) {
    timespec const both[2] = {{0, UTIME_OMIT}, {seconds, 0}};
    return ::utimensat(AT_FDCWD, (t.base / "root/hello.txt").c_str(), both, 0) == 0;
  };
  auto const routes = [&] {
    http::router r;
    r.get("/{path...}", http::files((t.base / "root").string()));
    return r;
  };
  with_server_on_the_machine(routes, {}, [&](std::string const& at, auto&) {
    wire w(at);
    REQUIRE(set_time(4'000'000'000));  // in 2096
    std::string const future = w.send(get("/hello.txt")).response();
    CHECK(*rt::read_http_date(field_of(future, "Last-Modified")) <= *rt::read_http_date(field_of(future, "Date")));
    REQUIRE(set_time(784'111'777));
    std::string const tag = field_of(w.send(get("/hello.txt")).response(), "ETag");
    auto const status = [&](std::string const& fields) {
      return status_of(w.send(get("/hello.txt", fields)).response());
    };
    CHECK(status("If-Match: \"a\"\r\nIf-Match: " + tag + "\r\n") == 200);
    CHECK(status("If-None-Match: \"a\", \"b\"\r\nIf-None-Match: \"c\", " + tag + "\r\n") == 304);
    CHECK(status("If-Match: \"a\"\r\nIf-Match: \"b\"\r\n") == 412);
    std::string const part = "Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    CHECK(status(part) == 206);
    std::string const empty = w.send(get("/empty", "Range: bytes=-5\r\n")).response();
    CHECK(status_of(empty) == 200);
    CHECK(field_of(empty, "Content-Length") == "0");
  });
}

TEST_CASE("a date in If-Range does not hold before its second is over") {
  rt::request_state q;
  q.fields = {{"Range", "bytes=0-1"}, {"If-Range", "Sun, 06 Nov 1994 08:49:37 GMT"}};
  using answer = std::variant<rt::byte_range, rt::no_range>;
  CHECK(rt::range_of(q, {"\"t\"", 784'111'777, true}, 10) == answer(rt::byte_range{0, 2}));
  CHECK(rt::range_of(q, {"\"t\"", 784'111'777, false}, 10) == answer(rt::no_range::whole));
}
