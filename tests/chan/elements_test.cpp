// What may be sent: move-only, over-aligned, empty, without default constructor, throwing; and that none of the user's
// code runs under a channel's lock.
#include <weft/weft.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_workers;

template <class T, class Make, class Check>
void passes_through(Make make, Check check) {
  with_workers([&] {
    for (std::size_t capacity : {0u, 1u, 3u}) {
      auto c = weft::make_chan<T>(capacity);
      auto h = weft::spawn([&] {
        for (int i = 0; i < 20; ++i) c.send(make(i));
      });
      int wrong = 0;
      for (int i = 0; i < 20; ++i) wrong += !check(*c.recv(), i);
      CHECK(wrong == 0);
      h.join();
    }
  });
}

struct alignas(128) wide {
  explicit wide(int n) : v(n) {}
  int v;
};
struct alignas(64) wide_and_owning {
  std::unique_ptr<int> p;
};
struct no_default {
  no_default() = delete;
  explicit no_default(int n) : text(std::to_string(n)) {}
  std::string text;
};
struct fixed {  // neither assignable nor default-constructible
  explicit fixed(int n) : v(n) {}
  int const v;
};

TEST_CASE("move-only, over-aligned, const and default-less values pass through") {
  passes_through<std::unique_ptr<int>>([](int i) { return std::make_unique<int>(i); },
                                       [](auto v, int i) { return *v == i; });
  passes_through<wide>(
      [](int i) { return wide(i); },
      [](wide const& v, int i) { return v.v == i && reinterpret_cast<std::uintptr_t>(&v) % 128 == 0; });
  passes_through<wide_and_owning>([](int i) { return wide_and_owning{std::make_unique<int>(i)}; },
                                  [](wide_and_owning v, int i) { return *v.p == i; });
  passes_through<no_default>([](int i) { return no_default(i); },
                             [](no_default v, int i) { return v.text == std::to_string(i); });
  passes_through<fixed>([](int i) { return fixed(i); }, [](fixed v, int i) { return v.v == i; });
  passes_through<bool>([](int i) { return i % 2 == 0; }, [](bool v, int i) { return v == (i % 2 == 0); });
}

TEST_CASE("empty values take no storage") {
  static_assert(weft::detail::ops_of<weft::unit>.size == 0);
  with_workers([] {
    auto c = weft::make_chan<weft::unit>(SIZE_MAX / 2);
    for (int i = 0; i < 1000; ++i) c.send({});
    CHECK(c.size() == 1000);
    std::vector<weft::unit> out;
    CHECK(c.recv_many(out, 600) == 600);
    CHECK(c.recv() == weft::unit());
    CHECK(c.size() == 399);
  });
}

/// Throws from its move when told so, and then leaves the source intact.
struct touchy {
  explicit touchy(int n) : v(n) {}
  touchy(touchy&& other) : v(other.v) {
    if (v > 0 && throws > 0 && --throws == 0) throw std::runtime_error("touchy");
    other.v = 0;
  }
  touchy& operator=(touchy&& other) {
    v = std::exchange(other.v, 0);
    return *this;
  }
  int v;
  static inline int throws = 0;  // the n-th move of a full one from now on throws
};
static_assert(weft::detail::is_boxed<touchy>);

TEST_CASE("a move that throws on the way in comes out of the send, and the channel goes on") {
  with_workers([] {
    for (std::size_t capacity : {0u, 2u}) {
      auto c = weft::make_chan<touchy>(capacity);
      auto h = weft::spawn([c] { return c.recv()->v; });
      await_receivers(c);
      touchy t(5);
      touchy::throws = 1;
      CHECK_THROWS_AS(c.send(std::move(t)), std::runtime_error);
      CHECK(t.v == 5);
      touchy::throws = 1;
      CHECK_THROWS_AS((void)c.try_send(std::move(t)), std::runtime_error);
      CHECK(t.v == 5);
      c.send(std::move(t));
      CHECK(t.v == 0);
      CHECK(h.join() == 5);
    }
  });
}

TEST_CASE("a move that throws on the way out comes out of the receive, and the value is received next") {
  with_workers([] {
    for (std::size_t capacity : {0u, 3u}) {
      auto c = weft::make_chan<touchy>(capacity);
      std::vector<weft::join_handle<void>> senders;
      for (int i = 1; i <= 6; ++i) {  // all values are on their way before any move is to throw
        senders.push_back(weft::spawn([c, i] { c.send(touchy(i)); }));
        while (c.size() + weft::test::waiting(c, true) < senders.size()) weft::yield();
      }
      touchy::throws = 1;
      CHECK_THROWS_AS(c.recv(), std::runtime_error);
      CHECK(c.size() <= c.capacity());
      CHECK(c.recv()->v == 1);
      touchy::throws = 1;
      CHECK_THROWS_AS((void)c.recv_for(1h), std::runtime_error);
      touchy::throws = 1;
      CHECK_THROWS_AS((void)c.try_recv(), std::runtime_error);
      CHECK(c.try_recv()->v == 2);
      touchy::throws = 1;
      CHECK_THROWS_AS(weft::select(weft::on_recv(c, [](touchy) {})), std::runtime_error);
      touchy::throws = 1;
      CHECK_THROWS_AS(weft::select(weft::on_recv(c, [](auto v) { (void)v; })), std::runtime_error);
      CHECK(weft::select(weft::on_recv(c, [](touchy v) { return v.v; })) == 3);
      std::vector<touchy> out;
      touchy::throws = 1;
      CHECK_THROWS_AS(c.recv_many(out, 9), std::runtime_error);
      int sum = 0;
      for (auto& v : out) sum += v.v;
      while (sum < 4 + 5 + 6) sum += c.recv()->v;
      CHECK(sum == 4 + 5 + 6);
      for (auto& h : senders) h.join();
    }
  });
}

TEST_CASE("a move that throws in a recv_many of many loses none of them") {
  with_workers([] {
    for (int n = 1; n <= 80; ++n) {
      auto c = weft::make_chan<touchy>(40);
      for (int i = 1; i <= 40; ++i) c.send(touchy(i));
      std::vector<touchy> out;
      touchy::throws = n;
      try {
        std::size_t const n_got = c.recv_many(out, 1000);
        CHECK(n_got == 40);
      } catch (std::runtime_error const&) {
      }
      touchy::throws = 0;
      while (c.size() != 0) (void)c.recv_many(out, 1000);
      int expected = 0, wrong = 0;
      for (touchy const& t : out) wrong += t.v != ++expected;
      CHECK(expected == 40);
      CHECK(wrong == 0);
    }
  });
}

TEST_CASE("a value that goes back is handed to a receiver that waits") {
  with_workers([] {
    auto c = weft::make_chan<touchy>(1);
    touchy::throws = 0;
    auto waits = weft::spawn([c] { return c.recv()->v; });
    await_receivers(c);
    auto* box = new weft::detail::box<touchy>(touchy(9));
    weft::detail::chan_put_back(*weft::detail::core_of(c), box);
    CHECK(waits.join() == 9);
  });
}

TEST_CASE("what goes back counts in size(), which stays within the capacity") {
  with_workers([] {
    touchy::throws = 0;
    auto c = weft::make_chan<touchy>(2);
    c.send(touchy(1));
    c.send(touchy(2));
    touchy::throws = 1;
    CHECK_THROWS_AS(c.recv(), std::runtime_error);
    CHECK(c.size() == 2);
    c.send(touchy(3));  // there is room in the ring
    CHECK(c.size() == 2);
    int sum = 0;
    for (; c.size() != 0; sum = sum * 10 + c.recv()->v) {
    }
    CHECK(sum == 123);
  });
}

TEST_CASE("what goes back survives close and is destroyed with the channel") {
  touchy::throws = 0;
  with_workers([] {
    auto c = weft::make_chan<touchy>(1);
    c.send(touchy(1));
    touchy::throws = 1;
    CHECK_THROWS_AS(c.recv(), std::runtime_error);
    CHECK(c.close());
    touchy::throws = 1;
    CHECK_THROWS_AS(c.recv(), std::runtime_error);  // left in the channel: a sanitizer would report a leak
  });
}

TEST_CASE("a boxed value whose send did not happen is given back") {
  with_workers([] {
    touchy::throws = 0;
    auto c = weft::make_chan<touchy>(1);
    c.send(touchy(1));
    touchy t(2);
    CHECK(c.try_send(std::move(t)) == chan_status::full);
    CHECK(t.v == 2);
    CHECK(c.send_for(std::move(t), 1ms) == chan_status::timeout);
    CHECK(t.v == 2);
    weft::select(weft::on_send(c, std::move(t)), weft::on_timeout(1ms));
    CHECK(t.v == 2);
    weft::select(weft::on_send(c, std::move(t)), weft::otherwise());
    CHECK(t.v == 2);
    auto h = weft::spawn([&] {
      try {
        c.send(std::move(t));
      } catch (weft::closed_channel const&) {
      }
    });
    await_senders(c);
    c.close();
    h.join();
    CHECK(t.v == 2);
    auto [ctx, cancel] = weft::with_cancel();
    auto d = weft::make_chan<touchy>();
    auto cancelled = weft::spawn([&, under = ctx] {
      weft::scoped_context in(under);
      try {
        d.send(std::move(t));
      } catch (weft::cancelled const&) {
        return true;
      }
      return false;
    });
    await_senders(d);
    cancel();
    CHECK(cancelled.join());
    CHECK(t.v == 2);
  });
}

TEST_CASE("a boxed value that several cases offer goes with the one that happens, and stays if none does") {
  with_workers([] {
    touchy::throws = 0;
    auto a = weft::make_chan<touchy>(), b = weft::make_chan<touchy>();
    auto never = weft::make_chan<int>();
    for (auto const& taken_from : {a, b}) {
      touchy t(7), other(8);
      auto h = weft::spawn([&] {
        return weft::select(weft::on_send(a, std::move(t)), weft::on_recv(never), weft::on_send(b, std::move(t)),
                            weft::on_send(weft::make_chan<touchy>(), std::move(other)));
      });
      await_senders(a);
      auto const got = taken_from.recv();
      CHECK(got->v == 7);
      CHECK(h.join() == (taken_from == a ? 0u : 2u));
      CHECK(other.v == 8);
    }
    touchy t(9);
    CHECK(weft::select(weft::on_send(a, std::move(t)), weft::on_send(b, std::move(t)), weft::on_timeout(1ms)) == 2);
    CHECK(t.v == 9);
    auto room = weft::make_chan<touchy>(1);
    CHECK(weft::select(weft::on_send(a, std::move(t)), weft::on_send(room, std::move(t)), weft::otherwise()) == 1);
    CHECK(room.recv()->v == 9);
  });
}

/// Takes the lock of the channel that carries it wherever it is copied or destroyed: under that lock it would hang.
struct intruder {
  explicit intruder(weft::detail::chan_core* c) noexcept : home(c) {}
  intruder(intruder const& other) noexcept : home(other.home) { look(); }
  intruder& operator=(intruder const&) = default;
  ~intruder() { look(); }
  void look() const noexcept { (void)weft::detail::chan_take(*home, nullptr, 0, 0); }
  weft::detail::chan_core* home;
};

TEST_CASE("copies and destructors of values do not run under the channel's lock") {
  with_workers([] {
    for (std::size_t capacity : {0u, 2u}) {
      auto c = weft::make_chan<intruder>(capacity);
      auto* core = weft::detail::core_of(c);
      auto h = weft::spawn([c, core] {
        intruder const v(core);
        for (int i = 0; i < 5; ++i) c.send(v);
        for (int i = 0; i < 5; ++i) c.send(intruder(core));
        for (int i = 0; i < 5; ++i) weft::select(weft::on_send(c, v), weft::on_send(c, intruder(core)));
      });
      int n = 0;
      for (; n < 5; ++n) CHECK(c.recv());
      for (; n < 10; ++n) weft::select(weft::on_recv(c));
      std::vector<intruder> out;
      while (n < 15) n += static_cast<int>(c.recv_many(out, 3));
      h.join();
      out.clear();
      CHECK(n == 15);
    }
  });
}

TEST_CASE("types whose move could be a copy in disguise are boxed, those of the library are not") {
  using weft::detail::is_boxed;
  struct shared_and_more {
    std::shared_ptr<int> p;
    int n;
  };
  struct strings {
    std::string a, b;
  };
  struct copies_quietly {
    copies_quietly(copies_quietly const&) noexcept {}
  };
  STATIC_REQUIRE(is_boxed<shared_and_more>);
  STATIC_REQUIRE(is_boxed<copies_quietly>);
  STATIC_REQUIRE_FALSE(is_boxed<strings>);
  STATIC_REQUIRE_FALSE(is_boxed<std::shared_ptr<int>>);
  STATIC_REQUIRE_FALSE(is_boxed<std::expected<std::string, std::error_code>>);
  STATIC_REQUIRE_FALSE(is_boxed<weft::chan<int>>);
  STATIC_REQUIRE_FALSE(is_boxed<std::optional<std::pair<int, std::shared_ptr<int>>>>);
  passes_through<shared_and_more>([](int i) { return shared_and_more{std::make_shared<int>(i), i}; },
                                  [](shared_and_more v, int i) { return *v.p == i && v.p.use_count() == 1; });
}

/// Goes by boxes; its assignment throws when told so.
struct sticky {
  explicit sticky(std::string s) : text(std::move(s)) {}
  sticky(sticky const&) = default;
  sticky(sticky&& other) noexcept(false) : text(std::exchange(other.text, "")) {}
  sticky& operator=(sticky&& other) {
    if (std::exchange(throws, false)) throw std::runtime_error("sticky");
    text = std::exchange(other.text, "");
    return *this;
  }
  std::string text;
  static inline bool throws = false;
};
static_assert(weft::detail::is_boxed<sticky>);

TEST_CASE("a move back to what a select did not send comes out behind the handler of what has happened") {
  with_workers([] {
    auto in = weft::make_chan<std::string>();
    auto out = weft::make_chan<sticky>();
    auto const feed = [&] {
      return weft::spawn([&] {
        await_receivers(in);
        sticky::throws = true;
        in.send("text");
      });
    };
    std::string got;
    auto const take = [&](std::string s) { got = s; };
    sticky offered("offered");
    auto first = feed();
    CHECK_THROWS_WITH(weft::select(weft::on_send(out, std::move(offered)), weft::on_recv(in, take)), "sticky");
    CHECK(std::exchange(got, "") == "text");
    first.join();
    weft::selector s;
    s.send(out, sticky("kept"));
    s.recv(in, take);
    auto second = feed();
    CHECK_THROWS_WITH(s.wait(), "sticky");
    CHECK(got == "text");
    second.join();
    auto third = weft::spawn([&] { return out.recv()->text; });
    CHECK(s.wait() == 0);
    CHECK(third.join() == "kept");
  });
}

TEST_CASE("a select that may move an object to one channel and copy it to another gives both the object") {
  with_workers([] {
    auto a = weft::make_chan<sticky>(), b = weft::make_chan<sticky>();
    for (auto const& [moved_to, copied_to] : {std::pair(a, b), std::pair(b, a)}) {
      for (bool copy : {true, false}) {
        sticky v("text");
        auto const receive = [&] {
          return weft::spawn([&] {
            await_senders(a);
            await_senders(b);
            return (copy ? copied_to : moved_to).recv()->text;
          });
        };
        auto of_first = receive();
        CHECK(weft::select(weft::on_send(moved_to, std::move(v)), weft::on_send(copied_to, v)) == (copy ? 1u : 0u));
        CHECK(of_first.join() == "text");
        CHECK(v.text == (copy ? "text" : ""));
        v = sticky("more");
        auto of_second = receive();
        CHECK(weft::select(weft::on_send(copied_to, v), weft::on_send(moved_to, std::move(v))) == (copy ? 0u : 1u));
        CHECK(of_second.join() == "more");
        CHECK(v.text == (copy ? "more" : ""));
      }
    }
  });
}

}  // namespace
