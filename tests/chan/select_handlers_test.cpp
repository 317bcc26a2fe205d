// Handlers of select: what they get by how they are declared, when they run, and what select returns.
#include <weft/weft.hpp>

#include <any>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::on_recv;
using weft::on_send;
using weft::on_timeout;
using weft::otherwise;
using weft::test::with_workers;

weft::chan<std::string> with_value(std::string v) {
  auto c = weft::make_chan<std::string>(1);
  c.send(std::move(v));
  return c;
}
weft::chan<std::string> closed() {
  auto c = weft::make_chan<std::string>();
  c.close();
  return c;
}
void by_pointer(std::string) {}
void optional_by_pointer(std::optional<std::string>) {}

struct overloaded {
  std::string& said;
  void operator()(std::string) const { said = "value"; }
  void operator()(std::optional<std::string>) const { said = "optional"; }
};

/// Can be made of anything, as boost::any can.
struct anything {
  int said = 0;
  anything() = default;
  template <class U>
    requires(!std::is_same_v<std::remove_cvref_t<U>, anything>)
  anything(U&&) : said(-1) {}
};
void takes_anything(anything v) { CHECK(v.said == 7); }

struct with_members {
  int number = 7;
  int get() { return number; }
  int get_const() const noexcept { return number; }
  int get_lvalue() & { return number; }
  std::string name = std::string(99, 'a');
  std::string const& its_name() const { return name; }
  std::string& its_name_lvalue() & { return name; }
};

TEST_CASE(
    "a handler that is declared to take a T which can be made of anything gets the T, not one made of an optional") {
  with_workers([] {
    auto c = weft::make_chan<anything>(16);
    anything v;
    v.said = 7;
    for (int i = 0; i < 9; ++i) c.send(v);
    weft::select(on_recv(c, [](anything got) { CHECK(got.said == 7); }));
    weft::select(on_recv(c, [](anything const& got) noexcept { CHECK(got.said == 7); }));
    weft::select(on_recv(c, [](anything& got) mutable { CHECK(got.said == 7); }));
    weft::select(on_recv(c, [](anything&& got) { CHECK(got.said == 7); }));
    weft::select(on_recv(c, takes_anything));
    weft::select(on_recv(c, std::move_only_function<void(anything) &&>(takes_anything)));
    weft::select(on_recv(c, [](std::optional<anything> got) { CHECK(got.value().said == 7); }));
    weft::select(on_recv(c, [](auto got) { CHECK(got.value().said == 7); }));
    weft::selector s;
    s.recv(c, [](anything got) { CHECK(got.said == 7); });
    s.wait();
  });
}

TEST_CASE("a handler may be a pointer to a member of what is received or joined") {
  with_workers([] {
    auto c = weft::make_chan<with_members>(8);
    for (int i = 0; i < 5; ++i) c.send({});
    CHECK(weft::select(on_recv(c, &with_members::get)) == 7);
    CHECK(weft::select(on_recv(c, &with_members::get_const)) == 7);
    CHECK(weft::select(on_recv(c, &with_members::get_lvalue)) == 7);
    CHECK(weft::select(on_recv(c, &with_members::number)) == 7);
    weft::selector s;
    s.recv(c, &with_members::get);
    s.wait();
    auto p = weft::make_chan<std::unique_ptr<with_members>>(1);
    p.send(std::make_unique<with_members>());
    CHECK(weft::select(on_recv(p, &with_members::get)) == 7);
    auto h = weft::spawn([] { return with_members(); });
    CHECK(weft::select(weft::on_join(h, &with_members::get)) == 7);
    h = weft::spawn([] { return with_members(); });
    CHECK(weft::select(weft::on_join(h, &with_members::number)) == 7);
    p.close();
    CHECK_THROWS_AS(weft::select(on_recv(p, &with_members::get)), weft::closed_channel);
    // What they give by reference is a part of what has gone when select returns.
    for (int i = 0; i < 2; ++i) c.send({});
    CHECK(weft::select(on_recv(c, &with_members::its_name)) == std::string(99, 'a'));
    CHECK(weft::select(on_recv(c, &with_members::its_name_lvalue)) == std::string(99, 'a'));
    h = weft::spawn([] { return with_members(); });
    CHECK(weft::select(weft::on_join(h, &with_members::its_name)) == std::string(99, 'a'));
    h = weft::spawn([] { return with_members(); });
    CHECK(weft::select(weft::on_join(h, &with_members::its_name_lvalue)) == std::string(99, 'a'));
  });
}

TEST_CASE("a handler gets T, T& or an optional by its declaration") {
  with_workers([] {
    std::string got;
    weft::select(on_recv(with_value("a"), [&](std::string v) { got = v; }));
    CHECK(got == "a");
    weft::select(on_recv(with_value("b"), [&](std::string& v) { got = std::move(v); }));
    CHECK(got == "b");
    weft::select(on_recv(with_value("c"), [&](std::string const& v) noexcept { got = v; }));
    CHECK(got == "c");
    weft::select(on_recv(with_value("d"), [&](std::string&& v) mutable { got = std::move(v); }));
    CHECK(got == "d");
    weft::select(on_recv(with_value("e"), [&](std::optional<std::string> v) { got = *v; }));
    CHECK(got == "e");
    weft::select(on_recv(with_value("f"), [&](std::optional<std::string> const& v) { got = *v; }));
    CHECK(got == "f");
    weft::select(on_recv(with_value("ff"), [&](std::optional<std::string>& v) { got = *std::move(v); }));
    CHECK(got == "ff");
    CHECK(weft::select(on_recv(closed(), [](std::optional<std::string>& v) { return v.has_value() ? 1 : 2; })) == 2);
    weft::select(on_recv(with_value("g"), [&](auto v) {
      static_assert(std::is_same_v<decltype(v), std::optional<std::string>>);
      got = *v;
    }));
    CHECK(got == "g");
    weft::select(on_recv(with_value("h"), [&](std::any v) { got = std::any_cast<std::string>(v); }));
    CHECK(got == "h");
    weft::select(on_recv(with_value("i"), overloaded{got}));
    CHECK(got == "optional");
    std::function<void(std::string)> f = [&](std::string v) { got = v; };
    weft::select(on_recv(with_value("j"), f));
    CHECK(got == "j");
    CHECK(weft::select(on_recv(with_value("k"), by_pointer), otherwise()) == 0);
    CHECK(weft::select(on_recv(with_value("l"), &optional_by_pointer), otherwise()) == 0);
    CHECK(weft::select(on_recv(with_value("m"))) == 0);
  });
}

TEST_CASE("on a closed channel an optional is empty, no parameter runs, and a value that is needed is an exception") {
  with_workers([] {
    bool ran = false;
    weft::select(on_recv(closed(), [&](std::optional<std::string> v) { ran = !v; }));
    CHECK(std::exchange(ran, false));
    weft::select(on_recv(closed(), [&](auto v) { ran = !v; }));
    CHECK(std::exchange(ran, false));
    weft::select(on_recv(closed(), [&] { ran = true; }));
    CHECK(std::exchange(ran, false));
    CHECK(weft::select(on_recv(closed())) == 0);
    CHECK(weft::select(on_recv(closed(), optional_by_pointer)) == 0);
    CHECK_THROWS_AS(weft::select(on_recv(closed(), [&](std::string) { ran = true; })), weft::closed_channel);
    CHECK_THROWS_AS(weft::select(on_recv(closed(), [&](std::string&) { ran = true; }), on_timeout(1h)),
                    weft::closed_channel);
    CHECK_THROWS_AS(weft::select(on_recv(closed(), by_pointer), otherwise()), weft::closed_channel);
    CHECK_FALSE(ran);
  });
}

TEST_CASE("a channel of optionals hands over its element where that is asked for") {
  with_workers([] {
    auto c = weft::make_chan<std::optional<int>>(2);
    c.send(std::nullopt);
    c.send(4);
    int got = 0;
    weft::select(on_recv(c, [&](std::optional<int> v) { got = v ? *v : -1; }));
    CHECK(got == -1);
    weft::select(on_recv(c, [&](auto v) {
      static_assert(std::is_same_v<decltype(v), std::optional<std::optional<int>>>);
      got = **v;
    }));
    CHECK(got == 4);
  });
}

TEST_CASE("all handlers void: the index, none void: the common type, mixed: an optional") {
  with_workers([] {
    auto c = weft::make_chan<int>(1);
    auto index = weft::select(on_recv(c, [](int) {}), on_send(c, 1), on_timeout(1h, [] {}));
    static_assert(std::is_same_v<decltype(index), std::size_t>);
    CHECK(index == 1);

    auto common = weft::select(on_recv(c, [](int v) { return v; }), on_timeout(1h, [] { return 2.5; }));
    static_assert(std::is_same_v<decltype(common), double>);
    CHECK(common == 1.0);

    auto mixed = weft::select(on_recv(c, [](int v) { return v; }), otherwise());
    static_assert(std::is_same_v<decltype(mixed), std::optional<int>>);
    CHECK(mixed == std::nullopt);
    c.send(8);
    mixed = weft::select(on_recv(c, [](int v) { return v; }), otherwise());
    CHECK(mixed == 8);

    auto flat = weft::select(on_recv(c, [](int v) { return std::optional(v); }), on_timeout(0s));
    static_assert(std::is_same_v<decltype(flat), std::optional<int>>);
    CHECK(flat == std::nullopt);
    auto null =
        weft::select(on_recv(c, [](int v) { return std::optional(v); }), on_timeout(0s, [] { return std::nullopt; }));
    static_assert(std::is_same_v<decltype(null), std::optional<int>>);
    CHECK(null == std::nullopt);
    auto owned = weft::select(on_timeout(0s, [] { return std::make_unique<int>(6); }), on_recv(c, [](int) {}));
    CHECK(**owned == 6);
  });
}

TEST_CASE("handlers run after select has let go: they may use the same channels, and what they throw comes out") {
  with_workers([] {
    auto c = weft::make_chan<int>(1);
    c.send(1);
    int inner = 0;
    weft::select(on_recv(c, [&](int v) {
      c.send(v + 1);
      weft::select(on_recv(c, [&](int w) { inner = w; }));
      c.close();
    }));
    CHECK(inner == 2);
    auto d = weft::make_chan<int>(1);
    CHECK_THROWS_AS(weft::select(on_send(d, 1, [] { throw std::runtime_error("handler"); })), std::runtime_error);
    CHECK(d.size() == 1);  // the send had happened
  });
}

TEST_CASE("a handler that is an lvalue is used, not copied") {
  with_workers([] {
    struct counter {
      int calls = 0;
      counter() = default;
      counter(counter const&) = delete;
      void operator()() { ++calls; }
    } calls;
    for (int i = 0; i < 3; ++i) weft::select(on_timeout(0s, calls));
    CHECK(calls.calls == 3);
  });
}

struct source {
  using value_type = int;
  weft::chan<int> c = weft::make_chan<int>(1);
  weft::receiver<int> channel() { return c; }
};

TEST_CASE("anything with channel() can be received from") {
  with_workers([] {
    source s;
    s.c.send(3);
    CHECK(weft::select(on_recv(s, [](int v) { return v; }), otherwise([] { return 0; })) == 3);
    CHECK(weft::select(on_recv(source(), [](int v) { return v; }), otherwise([] { return 0; })) == 0);
  });
}

TEST_CASE("handlers run in the calling task") {
  with_workers([] {
    auto const here = weft::this_task::id();
    auto const c = weft::make_chan<int>();
    auto other = weft::spawn([c] { return weft::select(on_recv(c, [](int) { return weft::this_task::id(); })); });
    CHECK(weft::select(on_send(c, 1, [] { return weft::this_task::id(); })) == here);
    weft::task_id const there = other.join();
    CHECK(there != here);
    CHECK(there != 0);
  });
}

TEST_CASE("the index counts every case: when, otherwise and timeouts too, also where select is biased") {
  with_workers([] {
    auto const c = weft::make_chan<int>();
    auto const nothing = [] {};
    CHECK(weft::select(weft::when(false, on_recv(c)), on_timeout(1h, nothing), on_recv(c, [](int) {}),
                       otherwise(nothing)) == 3);
    CHECK(weft::select(weft::biased, on_recv(c, nothing), on_timeout(0s, nothing)) == 1);
    CHECK(weft::select(weft::biased, on_timeout(0s, [] { return 'a'; }), otherwise([] { return 2.0; })) == 'a');
    static_assert(std::is_same_v<decltype(weft::select(weft::biased, on_recv(c), otherwise())), std::size_t>);
    static_assert(
        std::is_same_v<decltype(weft::select(on_timeout(0s, [] { return 1; }), on_recv(c))), std::optional<int>>);
  });
}

TEST_CASE("a handler may be one that can be called as an rvalue only, and a case constant") {
  struct none {
    int operator()() && { return 1; }
  };
  struct one {
    int operator()(int v) && noexcept { return v; }
  };
  with_workers([] {
    auto const c = weft::make_chan<int>(1);
    CHECK(weft::select(on_recv(c, one()), on_timeout(0s, none())) == 1);
    CHECK(weft::select(weft::on_send(c, 7, none()), otherwise(none())) == 1);
    CHECK(weft::select(on_recv(c, one()), otherwise(none())) == 7);
    auto ended = weft::spawn([] { return 9; });
    CHECK(weft::select(weft::on_join(ended, one())) == 9);
    c.send(3);
    auto const again = on_recv(c, [](int v) { return v; });
    CHECK(weft::select(again, on_timeout(1h)) == 3);
    c.send(4);
    CHECK(weft::select(weft::biased, again, on_timeout(1h)) == 4);
    CHECK(weft::race(none()) == 1);
  });
}

TEST_CASE("what handlers return may be move-only, or common only by conversion") {
  with_workers([] {
    auto const c = weft::make_chan<std::unique_ptr<int>>(1);
    c.send(std::make_unique<int>(3));
    auto p = weft::select(on_recv(c, [](std::unique_ptr<int> v) { return v; }),
                          on_timeout(1h, [] { return std::unique_ptr<int>(); }));
    CHECK(*p == 3);
    auto s = weft::select(on_timeout(0s, [] { return "literal"; }), on_recv(c, [] { return std::string(); }));
    static_assert(std::is_same_v<decltype(s), std::string>);
    CHECK(s == "literal");
  });
}

TEST_CASE("a handler of a timeout, a deadline, a context or otherwise that throws makes select throw it") {
  with_workers([] {
    auto const fails = [] { throw std::logic_error("handler"); };
    auto [ctx, cancel] = weft::with_cancel();
    cancel();
    auto ended = weft::spawn([] {});
    CHECK_THROWS_AS(weft::select(on_timeout(0s, fails)), std::logic_error);
    CHECK_THROWS_AS(weft::select(weft::on_deadline(weft::now(), fails)), std::logic_error);
    CHECK_THROWS_AS(weft::select(weft::on_done(ctx, fails)), std::logic_error);
    CHECK_THROWS_AS(weft::select(otherwise(fails)), std::logic_error);
    CHECK_THROWS_AS(weft::select(weft::on_join(ended, fails)), std::logic_error);
    CHECK_FALSE(ended.joinable());
  });
}

}  // namespace
